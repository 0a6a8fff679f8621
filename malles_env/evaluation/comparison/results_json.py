"""The comparison as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from malles_env.evaluation.audit.references import ElasticityComparison, compare_elasticities
from malles_env.evaluation.comparison.answers import Scores
from malles_env.evaluation.comparison.runner import Comparison
from malles_env.evaluation.metrics import Elasticity, Estimate
from malles_env.files import json_plain


def as_json(found: Comparison) -> dict[str, Any]:
    """Return split -> row -> numbers, and under ``paired`` and ``elasticities`` the same; null where not finite."""
    content: dict[str, Any] = {}
    for split, rows in found.scores.items():
        content[split] = {name: _row_json(scores) for name, scores in rows.items()}
    content["paired"] = {s: {n: _flat(v) for n, v in rows.items()} for s, rows in found.paired.items()}
    content["elasticities"] = {
        split: {name: [_elasticity_json(e) for e in scores.elasticities] for name, scores in rows.items()}
        for split, rows in found.scores.items()
    }
    content["elasticity_agreement"] = {
        split: {name: fit.as_json() for name, scores in rows.items() if (fit := agreement(scores)) is not None}
        for split, rows in found.scores.items()
    }
    content["counts"] = found.counts
    content["judged"] = found.judged
    content["left_out"] = found.left_out
    plain: dict[str, Any] = json_plain(content)
    return plain


def agreement(scores: Scores) -> ElasticityComparison | None:
    """Return how a row's elasticities compare with those measured in the data; None without three shared markets."""
    pairs = {of.market: (of.choice.mean, of.units.mean) for of in scores.elasticities}
    pairs = {market: pair for market, pair in pairs.items() if all(map(math.isfinite, pair))}
    compared = compare_elasticities(pairs)
    return compared if len(compared.markets) >= 3 else None


def _row_json(scores: Scores) -> dict[str, Any]:
    whole: dict[str, Any] = _flat(scores.metrics) | {"seconds_per_1000": scores.seconds}
    if scores.history:
        whole["by_history"] = {name: _flat(part) for name, part in scores.history.items()}
        whole["by_shelf"] = {name: _flat(part) for name, part in scores.shelf.items()}
        whole["market_average"] = _flat(scores.markets)
    return whole


def _elasticity_json(of: Elasticity) -> dict[str, Any]:
    numbers = {"market": of.market, "beta": of.beta, "gamma": of.gamma, "occasions": of.occasions}
    return numbers | _flat({"choice": of.choice, "units": of.units})


def _flat(values: Mapping[str, Estimate | int]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Estimate):
            flat[name], flat[f"{name}_se"] = value.mean, value.se
        else:
            flat[name] = value
    return flat
