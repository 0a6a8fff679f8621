"""Save and load the word model: a folder of safetensors and JSON whose files are verified by SHA-256."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malles_env.errors import CorruptFile, MissingResource
from malles_env.evaluation.baselines.deep_sets import Network
from malles_env.evaluation.baselines.fitting import Scale
from malles_env.evaluation.baselines.set_network import Scales, SetNetwork
from malles_env.evaluation.transfer.word_model.model import Catalogued, TransferModel
from malles_env.evaluation.transfer.word_model.word_fit import FittedWords
from malles_env.evaluation.transfer.word_model.word_map import WordMap
from malles_env.files import file_hash, new_directory, read_json, text_hash, write_json, write_text
from malles_env.preference.encoder.adapters import FILES as ADAPTER
from malles_env.preference.encoder.adapters import load_adapter, save_adapter
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.heads.quantities import QUANTITIES
from malles_env.preference.storage import load_tensors_into, read_tensors, write_tensors
from malles_env.preference.store.card import render_card

FORMAT = 2
"""Models of format 1, which have no adapter, are read as well."""
KIND = "words"
"""Distinguishes a word model's folder from a taste model's."""
WEIGHTS = Path(__file__).parent / "weights"
"""Where the shipped models lie."""
COLD, CATALOGUE, KNOWN = "words.safetensors", "catalogue.safetensors", "known.safetensors"
_SCALES = ("options", "quantity", "shelf")


def save_model(model: TransferModel, directory: Path) -> str:
    """Write a model into `directory`, replacing one there in one step; return the weights' hash."""
    fitted, kept = model.fitted, model.catalogue
    with new_directory(directory, "card.json") as target:
        write_tensors(target / COLD, _cold_tensors(fitted, model.known_fitted))
        names = list(kept.means)
        tensors = {"means": _half([kept.means[name] for name in names])}
        if kept.products:
            tensors |= {
                "own": torch.as_tensor(fitted.vectors).half(),
                "told": _half([kept.mean_vectors[name] for name in names]),
            }
        adapter = fitted.adapter
        if adapter is not None:
            tensors["adapted"] = _half([kept.adapted_means[name] for name in names])
            save_adapter(adapter, target)
        write_tensors(target / CATALOGUE, tensors)
        files = [COLD, CATALOGUE, *(ADAPTER if adapter is not None else ())]
        if model.known is not None:
            write_tensors(target / KNOWN, _network_tensors(model.known))
            files.append(KNOWN)
        config: dict[str, Any] = {
            "format": FORMAT,
            "kind": KIND,
            "backbone": {
                "name": model.backbone.name,
                "pooling": model.backbone.pooling,
                "digest": model.backbone.digest,
            },
            "scale": None if fitted.word_map is None else fitted.word_map.scale,
            "penalty": fitted.penalty,
            "categories": names,
            "trained": sorted(kept.trained),
            "prices": kept.prices,
            "products": [list(product) for product in kept.products],
            "files": {name: file_hash(target / name) for name in files},
        }
        config["weights_hash"] = _hash(config)
        write_json(target / "config.json", config)
        write_json(target / "card.json", model.card)
        write_text(target / "README.md", render_card(model.card, config).replace("# Taste model", "# Word model", 1))
    model.weights_hash = str(config["weights_hash"])
    return model.weights_hash


def load_model(name: str | Path) -> TransferModel:
    """Load a model by shipped name or directory; see `TransferModel.from_pretrained`."""
    directory = locate_words(name)
    config = read_json(directory / "config.json")
    if config.get("kind") != KIND or config.get("format") not in (1, FORMAT):
        raise CorruptFile(
            f"{directory / 'config.json'}: not a word model of format {FORMAT}; train one with "
            "`malles align --protocol online-retail`"
        )
    for file, digest in config["files"].items():
        if file_hash(directory / file) != digest:
            raise CorruptFile(f"{directory / file}: is damaged or from another model (its hash differs)")
    backbone = load_backbone(config["backbone"]["name"], pooling=config["backbone"]["pooling"])
    cold = {part: values.float().numpy() for part, values in read_tensors(directory / COLD).items()}
    kept = {part: values.float().numpy() for part, values in read_tensors(directory / CATALOGUE).items()}
    names = config["categories"]
    catalogue = Catalogued(
        dict(zip(names, kept["means"], strict=True)),
        dict(zip(names, kept["told"], strict=True)) if "told" in kept else {},
        {kind: float(price) for kind, price in config["prices"].items()},
        frozenset(config["trained"]),
        tuple((str(code), str(name), str(kind)) for code, name, kind in config["products"]),
        dict(zip(names, kept["adapted"], strict=True)) if "adapted" in kept else {},
    )
    fitted = FittedWords(cold["unseen"], cold["seen"])
    if set(ADAPTER) <= set(config["files"]):  # whose hashes were compared
        encoder = load_backbone(config["backbone"]["name"], pooling="alone")
        fitted.adapter = load_adapter(encoder, directory)
    if "map" in cold:
        fitted = replace(
            fitted,
            word_map=WordMap(cold["map"], float(config["scale"])),
            vectors=kept["own"],
            penalty=float(config["penalty"]),
        )
    known = _network(directory / KNOWN) if KNOWN in config["files"] else None
    known_fitted = None if known is None else fitted
    if "known_unseen" in cold:
        known_fitted = replace(fitted, unseen=cold["known_unseen"], seen=cold["known_seen"], adapter=None)
    card = read_json(directory / "card.json")
    return TransferModel(backbone, fitted, catalogue, known, known_fitted, card, str(config["weights_hash"]))


def locate_words(name: str | Path) -> Path:
    """Return the directory of a word model, given a shipped name or a directory (also a run's).

    Raises:
        MissingResource: There is no such model; the message lists the shipped ones.
    """
    directory = WEIGHTS / name if (WEIGHTS / name / "config.json").is_file() else Path(name)
    if (directory / "model" / "config.json").is_file():
        directory = directory / "model"
    if not (directory / "config.json").is_file():
        shipped = ", ".join(sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))) or "none"
        raise MissingResource(
            f"word model {str(name)!r}: no such model; shipped are: {shipped}; a directory made by "
            "`malles align --protocol online-retail --out DIRECTORY` works too"
        )
    return directory


def recorded_words(name: str | Path) -> str:
    """Return the weights' hash of a saved word model."""
    return str(read_json(locate_words(name) / "config.json")["weights_hash"])


def _cold_tensors(fitted: FittedWords, known: FittedWords | None) -> dict[str, torch.Tensor]:
    tensors = {"unseen": torch.as_tensor(fitted.unseen), "seen": torch.as_tensor(fitted.seen)}
    if known is not None and known.adapter is not fitted.adapter:
        tensors |= {"known_unseen": torch.as_tensor(known.unseen), "known_seen": torch.as_tensor(known.seen)}
    return tensors if fitted.word_map is None else tensors | {"map": torch.as_tensor(fitted.word_map.weights)}


def _half(rows: list[Any]) -> torch.Tensor:
    return torch.as_tensor(np.stack(rows)).half()


def _network_tensors(network: SetNetwork) -> dict[str, torch.Tensor]:
    tensors = {f"net.{name}": values for name, values in network.net.state_dict().items()}
    for part in _SCALES:
        scale: Scale = getattr(network.scales, part)
        tensors |= {f"{part}.centre": torch.as_tensor(scale.centre), f"{part}.spread": torch.as_tensor(scale.spread)}
    return tensors


def _network(path: Path) -> SetNetwork:
    tensors = read_tensors(path)
    scales = Scales(*(Scale(tensors[f"{p}.centre"].numpy(), tensors[f"{p}.spread"].numpy()) for p in _SCALES))
    weights = {name.removeprefix("net."): values for name, values in tensors.items() if name.startswith("net.")}
    # absent where the network was fitted without weights of single customers and products
    people, lines = (
        len(weights[f"{part}.weight"]) - 1 if f"{part}.weight" in weights else 0 for part in ("household", "line")
    )
    options, quantity, shelf = (len(getattr(scales, part).centre) for part in _SCALES)
    net = Network(options, quantity, shelf, people, lines, QUANTITIES)
    load_tensors_into(net, weights, path)
    return SetNetwork(net.eval(), scales)


def _hash(config: dict[str, Any]) -> str:
    listed = [f"{file}={digest}" for file, digest in sorted(config["files"].items())]
    return text_hash(config["backbone"]["digest"], *listed)
