"""Where a taste model's files lie and which weights they are, without loading a language model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from malles_env.errors import CorruptFile, MissingResource
from malles_env.jobs import Check

WEIGHTS = Path(__file__).parents[1] / "weights"
"""Where the shipped models lie."""


def shipped_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))


def locate(name: str | Path) -> Path:
    """Return the directory of a taste model, given a shipped name or a directory (also a run's).

    Raises:
        MissingResource: There is no such model; the message lists the shipped ones.
    """
    directory = WEIGHTS / str(name) if str(name) in shipped_models() else Path(name)
    if os.path.isfile(directory / "model" / "config.json"):
        directory = directory / "model"
    if not os.path.isfile(directory / "config.json"):
        shipped = ", ".join(shipped_models()) or "none"
        raise MissingResource(
            f"taste model {str(name)!r}: no such model; shipped are: {shipped}; "
            "a directory made by `malles align --out DIRECTORY` works too"
        )
    return directory


def recorded_hash(name: str | Path) -> str:
    """Return the hash of the weights that the model's files record.

    Raises:
        MissingResource: There is no such model.
        CorruptFile: Its configuration cannot be read.
    """
    path = locate(name) / "config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["weights_hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{path}: not the configuration of a taste model ({error!r})") from error


def weights_check(names: Iterable[str | None]) -> Check:
    """Return a check that another machine has the same taste models.

    Args:
        names: As in `locate`; None and whatever is no taste model here are passed over.
    """
    wanted = {str(name): _known_hash(str(name)) for name in names}
    return (check_weights, {name: weights for name, weights in wanted.items() if weights})


def _known_hash(name: str) -> str:
    """Return the recorded hash, empty where there is none."""
    with suppress(MissingResource, CorruptFile):
        return recorded_hash(name)
    return ""


def check_weights(wanted: dict[str, str]) -> None:
    """Make sure that taste models are there.

    Args:
        wanted: Hash of the weights by name.

    Raises:
        MissingResource: One is missing, or has other weights.
    """
    for name, weights in wanted.items():
        try:
            found = recorded_hash(name)
        except (MissingResource, CorruptFile) as error:
            raise MissingResource(f"has not the weights: {error}") from None
        if found != weights:
            raise MissingResource(f"has other weights of taste model {name!r} ({found[:12]}, not {weights[:12]})")
