"""Save and load taste models: a folder of safetensors and JSON whose files are verified by SHA-256."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from malles_env.errors import CorruptFile
from malles_env.files import file_hash, new_directory, read_json_object, text_hash, write_json, write_text
from malles_env.preference.data.text import TEXT_VERSION
from malles_env.preference.encoder.adapters import adapted_digest, is_adapted, save_adapter
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.taste_heads import Sizes
from malles_env.preference.storage import load_into, write_tensors
from malles_env.preference.store.backbone_files import check_files, described_backbone, stored_backbone
from malles_env.preference.store.card import render_card
from malles_env.preference.store.locate import locate

FORMAT = 2
"""Of the folder. In 1 heads saw the windowed share and had a rho each; since 2 rho is a market's own."""


@dataclass
class Stored:
    """What a folder holds of a taste model: base of `TasteModel`, which loads and saves itself by it.

    Attributes:
        backbone: Language model body and tokenizer.
        heads: The taste heads.
        card: How it was made and what it scores; kept beside the weights.
        weights_hash: Identifies weights and wording; empty for a model that was never saved.
    """

    backbone: Backbone
    heads: HeadSet
    card: dict[str, Any] = field(default_factory=dict)
    weights_hash: str = ""


Model = TypeVar("Model", bound=Stored)


def save_model(model: Stored, directory: Path) -> str:
    """Write `model` into `directory`, replacing a model there in one step; return the weights' hash."""
    with new_directory(directory, "card.json") as target:
        files = {"heads.safetensors": _save_module(model.heads, target / "heads.safetensors")}
        if model.backbone.owned:
            files["model.safetensors"] = _save_module(model.backbone.model, target / "model.safetensors")
            model.backbone.encoder.tokenizer.save(str(target / "tokenizer.json"))
            files["tokenizer.json"] = file_hash(target / "tokenizer.json")
        elif is_adapted(model.backbone):
            files.update(save_adapter(model.backbone, target))
        config = _config(model, files, target)
        write_json(target / "config.json", config, sort_keys=True)
        write_json(target / "card.json", model.card, sort_keys=True)
        write_text(target / "README.md", render_card(model.card, config))
    model.weights_hash = str(config["weights_hash"])
    return model.weights_hash


def load_model(kind: type[Model], name: str | Path) -> Model:
    """Load a model by shipped name or directory as an object of class `kind`; see `TasteModel.load`."""
    directory = locate(name)
    config = read_model_config(directory)
    if config["format"] != FORMAT:
        raise CorruptFile(
            f"{directory / 'config.json'}: format {config['format']}, this package reads {FORMAT}; convert it with "
            f"`malles align --start-from {directory} --continue-heads --head-steps 0 --out RUN` (more steps train it "
            "on), or train it anew with `malles align`"
        )
    backbone = stored_backbone(directory, config)
    heads = untrained_heads(backbone, config["heads"])
    load_into(heads, directory / "heads.safetensors")
    heads.eval()
    card = read_json_object(directory / "card.json")
    return kind(backbone, heads, card, _weights_hash(config["files"], backbone.digest))


def load_backbone_of(name: str | Path) -> Backbone:
    """Return the backbone of a saved model, with its adapter, without its heads.

    Raises:
        MissingResource: No such model, or its backbone is not installed.
        CorruptFile: A file of it is damaged.
    """
    directory = locate(name)
    return stored_backbone(directory, read_model_config(directory))


def read_model_config(directory: Path) -> dict[str, Any]:
    """Return the configuration of a saved model of any format, once every file has the SHA-256 it records.

    Raises:
        CorruptFile: A file is damaged; the message names it.
    """
    config = read_json_object(directory / "config.json")
    check_files(directory / "config.json", config, ("format", "files", "backbone", "heads", "text_version"))
    if config["text_version"] != TEXT_VERSION:
        raise CorruptFile(
            f"{directory / 'config.json'}: made for wording version {config['text_version']}, this package "
            f"speaks version {TEXT_VERSION}; train it anew with `malles align`"
        )
    return config


def untrained_heads(backbone: Backbone, described: dict[str, Any]) -> HeadSet:
    """Return heads of the shape that a configuration's entry `heads` describes."""
    described = dict(described)
    members, lines = int(described.pop("members")), tuple(described.pop("lines"))
    markets, households = described.pop("markets"), tuple(described.pop("households", ()))
    known, draws = None if markets is None else tuple(markets), int(described.pop("draws", 0))
    described.pop("kin", None)  # false in every model of version 0.1; such heads are no more
    return HeadSet(backbone.width, members, Sizes(**described), lines, known, households, draws)


def _save_module(module: nn.Module, path: Path) -> str:
    write_tensors(path, module.state_dict())
    return file_hash(path)


def _config(model: Stored, files: dict[str, str], directory: Path) -> dict[str, Any]:
    backbone = model.backbone
    digest = adapted_digest(backbone.base, directory) if is_adapted(backbone) else backbone.digest
    described = described_backbone(backbone, digest) | {"pooling": backbone.pooling}
    return {
        "format": FORMAT,
        "text_version": TEXT_VERSION,
        "backbone": described,
        "heads": {
            "members": len(model.heads.warm.members),
            "lines": list(model.heads.lines),
            "markets": None if model.heads.markets is None else list(model.heads.markets),
            "households": list(model.heads.households),
            "draws": len(model.heads.market_draws),
            **asdict(model.heads.warm.sizes),
        },
        "files": files,
        "weights_hash": _weights_hash(files, digest),
    }


def _weights_hash(files: dict[str, str], backbone_digest: str) -> str:
    listed = [f"{file}={digest}" for file, digest in sorted(files.items())]
    return text_hash(str(TEXT_VERSION), backbone_digest, *listed)
