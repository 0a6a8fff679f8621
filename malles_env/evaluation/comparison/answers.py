"""What a row answered on one split, kept on disk as it is finished, so that a stopped comparison continues."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.evaluation.metrics import Elasticity, Estimate, Values
from malles_env.files import cache_dir, json_hash, keeping, replacing
from malles_env.preference.data.dataset import TasteData
from malles_env.type_aliases import IntArray

_LOG = logging.getLogger(__name__)
CODE = 1
"""Raised whenever scores are computed in another way from the same predictions, so that old files are not used."""
_PURCHASE = "purchase_"


@dataclass(frozen=True)
class Scores:
    """What one row scored on one split.

    Attributes:
        metrics: By name, see `malles_env.evaluation.metrics`; besides, order_variation is the total variation
            between answers to one shelf listed in different orders, repeat_variance the variance over repeated asking.
        seconds: Per 1,000 decisions, everything from occasions to answers included.
        history: By history length.
        shelf: By shelf size.
        markets: Average over markets.
        elasticities: Of each market with enough occasions; empty for a model without price coefficients.
    """

    metrics: dict[str, Estimate]
    seconds: float
    history: dict[str, dict[str, Estimate | int]] = field(default_factory=dict)
    shelf: dict[str, dict[str, Estimate | int]] = field(default_factory=dict)
    markets: dict[str, Estimate | int] = field(default_factory=dict)
    elasticities: list[Elasticity] = field(default_factory=list)


@dataclass(frozen=True)
class KeptAnswers:
    """A row's answers.

    Attributes:
        values: Of each purchase and visit it was asked about, for differences between rows.
        scores: What they score.
        places: The occasions it was asked about; None means all.
    """

    values: Values
    scores: Scores
    places: IntArray | None


def answers_path(name: str, split: str, key: Mapping[str, Any], data: TasteData) -> Path:
    """Return where a row's answers on some occasions are kept.

    Args:
        name: The row's name.
        split: The split's.
        key: What the answers depend on besides the occasions, JSON values only.
        data: The occasions.
    """
    asked = hashlib.sha256()
    for part in (data.product, data.chosen, data.household, data.quantity, data.price, data.mask):
        asked.update(np.ascontiguousarray(part).tobytes())
    digest = json_hash([CODE, name, split, key, asked.hexdigest()], sort_keys=True, default=str)
    return cache_dir() / "answers" / f"{split}-{name}-{digest[:20]}.npz"


def save_answers(asked: KeptAnswers, path: Path) -> None:
    """Write answers, whole or not at all; where the disk does not let us, say so and go on."""
    arrays = {_PURCHASE + name: values for name, values in asked.values.purchase.items()}
    scores = json.dumps(asdict(asked.scores))
    with keeping(path), replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, visit=asked.values.visit, scores=np.array(scores), **arrays)


def kept_answers(path: Path, places: IntArray | None) -> KeptAnswers | None:
    """Return answers that `save_answers` wrote; None where there are none or they are damaged (which is logged).

    Args:
        path: The file.
        places: The occasions that they are about; None means all.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            purchase = {n.removeprefix(_PURCHASE): kept[n] for n in kept.files if n.startswith(_PURCHASE)}
            return KeptAnswers(Values(purchase, kept["visit"]), _scores(json.loads(kept["scores"].item())), places)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        _LOG.warning("%s: not whole answers (%s); asking again", path, error)
        return None


def _scores(content: dict[str, Any]) -> Scores:
    elasticities = [Elasticity(**_table(of)) for of in content["elasticities"]]
    parts = {name: _table(content[name]) for name in ("metrics", "history", "shelf", "markets")}
    return Scores(seconds=content["seconds"], elasticities=elasticities, **parts)


def _table(content: dict[str, Any]) -> dict[str, Any]:
    """Return a table with its estimates, which JSON holds as objects of mean and se."""
    return {name: _estimate(value) if isinstance(value, dict) else value for name, value in content.items()}


def _estimate(value: dict[str, Any]) -> Any:
    return Estimate(**value) if set(value) == {"mean", "se"} else _table(value)
