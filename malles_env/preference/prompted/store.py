"""Save and load prompted consumers: safetensors and JSON, verified by SHA-256; adapters in peft's layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from malles_env.errors import CorruptFile, MissingResource
from malles_env.files import file_hash, new_directory, read_json_object, text_hash, write_json, write_text
from malles_env.preference.encoder.adapters import is_adapted, save_adapter
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.prompted.prompt import WORDING
from malles_env.preference.storage import load_into, write_tensors
from malles_env.preference.store.backbone_files import check_files, described_backbone, stored_backbone
from malles_env.preference.store.locate import WEIGHTS

CONFIG = "prompted.json"


@dataclass
class StoredPrompted:
    """What a folder holds of a prompted model: base of `PromptedModel`, which loads and saves itself by it.

    Attributes:
        backbone: Language model body and tokenizer; the tied input embeddings of the labels are the output rows.
        prior: Strength of the attention prior on price, discount and promotion tokens, in nats; 0 is off.
        reference: ``"none"``, or ``"base"`` for scores relative to the model before training.
        beta: Scale of reference-adjusted scores.
        card: How it was made and what it scores.
        weights_hash: Identifies weights and wording; empty for a model that was never saved.
        base: The body before training, where scores are relative to it.
    """

    backbone: Backbone
    prior: float = 0.0
    reference: str = "none"
    beta: float = 1.0
    card: dict[str, Any] = field(default_factory=dict)
    weights_hash: str = ""
    base: nn.Module | None = field(default=None, init=False, repr=False, compare=False)


Model = TypeVar("Model", bound=StoredPrompted)


def save_prompted(model: StoredPrompted, directory: Path) -> str:
    """Write `model` into `directory`, replacing a model there in one step; return the weights' hash."""
    with new_directory(directory, "card.json") as target:
        _write_weights(model, target)
        files = {path.name: file_hash(path) for path in sorted(target.iterdir())}
        config = _config(model, files)
        write_json(target / CONFIG, config, sort_keys=True)
        write_json(target / "card.json", model.card, sort_keys=True)
        write_text(target / "README.md", render(model.card, config))
    model.weights_hash = str(config["weights_hash"])
    return model.weights_hash


def load_prompted(kind: type[Model], name: str | Path) -> Model:
    """Load a model by shipped name or folder as an object of class `kind`; see `PromptedModel.load`."""
    directory = locate_prompted(name)
    config = read_json_object(directory / CONFIG)
    needed = ("wording", "backbone", "adapted", "prior", "reference", "beta", "files", "weights_hash")
    check_files(directory / CONFIG, config, needed)
    if config["wording"] != WORDING:
        raise CorruptFile(
            f"{directory / CONFIG}: made for wording {config['wording']}, this package speaks {WORDING}; "
            "train it anew with `malles align-prompted`"
        )
    settings = {key: config[key] for key in ("prior", "reference", "beta")}
    card = read_json_object(directory / "card.json")
    model = kind(stored_backbone(directory, config), card=card, **settings)
    if model.base is not None:
        load_into(model.base, directory / "reference.safetensors")
    model.backbone.model.eval()
    model.weights_hash = str(config["weights_hash"])
    return model


def locate_prompted(name: str | Path) -> Path:
    """Return the folder of a prompted model: a shipped name, a folder, or a run with a ``model`` folder.

    Raises:
        MissingResource: There is none.
    """
    for directory in (WEIGHTS / str(name), Path(name) / "model", Path(name)):
        if (directory / CONFIG).is_file():
            return directory
    shipped = ", ".join(sorted(path.parent.name for path in WEIGHTS.glob(f"*/{CONFIG}"))) or "none"
    raise MissingResource(
        f"prompted model {str(name)!r}: no such model; shipped are: {shipped}; "
        "a directory made by `malles align-prompted --out DIRECTORY` works too"
    )


def recorded_prompted(name: str | Path) -> str:
    """Return the weights' hash of a saved prompted model."""
    return str(read_json_object(locate_prompted(name) / CONFIG)["weights_hash"])


def _write_weights(model: StoredPrompted, target: Path) -> None:
    if is_adapted(model.backbone):
        save_adapter(model.backbone, target)
    elif model.backbone.owned:
        write_tensors(target / "model.safetensors", model.backbone.model.state_dict())
        model.backbone.encoder.tokenizer.save(str(target / "tokenizer.json"))
        if model.base is not None:
            write_tensors(target / "reference.safetensors", model.base.state_dict())


def _config(model: StoredPrompted, files: dict[str, str]) -> dict[str, Any]:
    backbone = model.backbone
    described = described_backbone(backbone, backbone.base or backbone.digest)
    listed = [f"{file}={digest}" for file, digest in sorted(files.items())]
    return {
        "format": 1,
        "wording": WORDING,
        "backbone": described,
        "adapted": is_adapted(backbone),
        "prior": model.prior,
        "reference": model.reference,
        "beta": model.beta,
        "files": files,
        "weights_hash": text_hash(str(WORDING), described["digest"], str(model.prior), *listed),
    }


def render(card: dict[str, Any], config: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    lines = [
        f"# Prompted consumer `{card.get('name', config['backbone']['name'])}`",
        "",
        card.get("summary", "A language model asked the listwise question in words; answers are label probabilities."),
        "",
        f"- backbone: {card.get('backbone', config['backbone']['name'])}",
        f"- attention prior on price, discount and promotion tokens: {config['prior']:g} nats",
        f"- reference: {config['reference']}",
        f"- licence of the training data: {card.get('data_licence', 'not stated')}",
        f"- made by: `{card.get('command', 'not stated')}`",
        f"- weights hash: `{config['weights_hash']}`",
        *(f"- {key}: {value}" for key, value in card.get("training", {}).items()),
    ]
    for title, rows in card.get("tables", {}).items():
        names = list(rows[0])
        lines += ["", f"## {title}", "", "| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    for note in card.get("limits", []):
        lines += ["", note]
    return "\n".join(lines) + "\n"
