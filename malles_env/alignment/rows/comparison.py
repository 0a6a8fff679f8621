"""The comparison: every row on every split's test occasions, with paired differences and elasticities."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from malles_env.alignment import evaluation
from malles_env.alignment.audit.references import ElasticityComparison, compare_elasticities
from malles_env.alignment.dataset import TasteData
from malles_env.alignment.evaluation import Estimate, elasticities, fidelity, paired
from malles_env.alignment.prediction import Prediction
from malles_env.alignment.rows.base import Row
from malles_env.alignment.rows.breakdown import by_history, by_shelf, market_average
from malles_env.alignment.rows.registry import NUMBER_ROWS, Factory, Predictor
from malles_env.alignment.rows.stability import order_variation
from malles_env.alignment.rows.store import kept_row, row_path, save_row
from malles_env.alignment.rows.study import Judged, Study
from malles_env.alignment.rows.table import purchases

Told = Callable[[str], None]
REFERENCE = "aligned"
"""The row the others are compared with, pair by pair."""
REORDERED = 200
"""Purchases whose shelves are told again in two other orders, for `order_variation`."""


@dataclass(frozen=True)
class Scores:
    """What one row scored on one split.

    Attributes:
        metrics: By name, see `malles_env.alignment.evaluation`; besides, order_variation is the total variation
            between answers to one shelf told in different orders.
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
    elasticities: list[evaluation.Elasticity] = field(default_factory=list)


@dataclass
class Comparison:
    """All scores.

    Attributes:
        scores: Split -> row.
        paired: Split -> row -> the reference minus that row.
        counts: Split -> purchases and visits judged.
    """

    scores: dict[str, dict[str, Scores]] = field(default_factory=dict)
    paired: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


def compare(
    study: Study,
    rows: list[str],
    splits: list[str],
    *,
    language: Mapping[str, Factory] | None = None,
    limit: int | None = None,
    seed: int | None = None,
    told: Told = lambda _: None,
) -> Comparison:
    """Judge rows on the test occasions of splits.

    Args:
        study: Occasions and protocol.
        rows: Names out of `ROW_NAMES`.
        splits: Names out of `SPLITS`.
        language: The language models that can be asked, by row name.
        limit: Test purchases of each split, at most; None means the protocol's number.
        seed: Seed of the draw of test occasions; None means the protocol's.
        told: Called with what is being done.
    """
    found = Comparison()
    for split in splits:
        told(f"{split}: drawing occasions")
        judged = study.judging(split, limit=limit, seed=seed)
        bought = int((judged.data.chosen > 0).sum())
        found.counts[split] = {"purchases": bought, "visits": int(judged.buyer.sum())}
        makers = Makers(study, split, language or {}, told)
        predictions: dict[str, Prediction] = {}
        found.scores[split] = {}
        for name in rows:
            predictor = makers.of(name)
            told(f"{split}: asking {name}")
            started = time.perf_counter()
            predictions[name] = predictor.predict(judged.data)
            seconds = 1000 * (time.perf_counter() - started) / len(judged.data)
            found.scores[split][name] = scored(name, predictions[name], judged, seconds)
            if "hit" in found.scores[split][name].metrics:
                few = purchases(judged.data, REORDERED)
                found.scores[split][name].metrics["order_variation"] = order_variation(predictor.predict, few, orders=2)
        found.paired[split] = differences(predictions, judged)
    return found


class Makers:
    """Gives the fitted rows of one split, from the cache where it has them.

    Args:
        study: Occasions and protocol.
        split: The split.
        language: Language models by row name.
        told: Called with what is being done.
    """

    def __init__(self, study: Study, split: str, language: Mapping[str, Factory], told: Told) -> None:
        """Load nothing yet: training occasions are only needed for a row that was never fitted."""
        self.study, self.split, self.language, self.told = study, split, language, told
        self._training: tuple[TasteData, TasteData] | None = None

    def of(self, name: str) -> Predictor:
        """Return a row ready to be asked."""
        if name in self.language:
            return self.language[name](self.split)
        path = row_path(name, self.key())
        row = kept_row(path)
        if row is None:
            self.told(f"{self.split}: fitting {name}")
            row = self.fit(NUMBER_ROWS[name])
            save_row(row, path)
        return row

    def key(self) -> dict[str, Any]:
        """Return what a fitted row depends on: data, protocol, and what the split trains on."""
        rule, rules = self.study.rules.rule(self.split), self.study.rules
        return {
            "data": self.study.occasions.meta,
            "occasions": len(self.study.occasions),
            "protocol": rules.model_dump(mode="json", exclude={"splits"}) | {"held_out_categories": []},
            "trained_on": rule.trained_on,
            "cold": rule.cold,
        }

    def fit(self, kind: type[Row]) -> Row:
        """Return a row fitted on the split's training occasions."""
        if self._training is None:
            self._training = self.study.training(self.split)
        train, validation = self._training
        everything = self.study.rules.rule(self.split).trained_on == "all"
        return kind.fit(train, validation, self.study.rules.draw_seed, identities=everything)


def scored(name: str, prediction: Prediction, judged: Judged, seconds: float) -> Scores:
    """Return the scores of one row's predictions."""
    data = judged.data
    metrics = fidelity(prediction, data, judged.buyer)
    if name in NUMBER_ROWS and not NUMBER_ROWS[name].chooses:
        kept = {metric: metrics[metric] for metric in evaluation.QUANTITY_METRICS}
        return Scores(kept, seconds)
    return Scores(
        metrics,
        seconds,
        by_history(prediction, data),
        by_shelf(prediction, data),
        market_average(prediction, data),
        elasticities(prediction, data, data.markets),
    )


def differences(predictions: dict[str, Prediction], judged: Judged) -> dict[str, dict[str, Estimate]]:
    """Return the reference row minus each other row; empty without a reference row."""
    if REFERENCE not in predictions:
        return {}
    ours = predictions[REFERENCE]
    pairs = {}
    for name, theirs in predictions.items():
        if name == REFERENCE:
            continue
        pairs[name] = paired(ours, theirs, judged.data, judged.buyer)
        if name in NUMBER_ROWS and not NUMBER_ROWS[name].chooses:
            pairs[name] = {"quantity_error": pairs[name]["quantity_error"]} if "quantity_error" in pairs[name] else {}
    return pairs


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
    return content


def agreement(scores: Scores) -> ElasticityComparison | None:
    """Return how a row's elasticities compare with those measured in the data; None without three shared markets."""
    told = {of.market: (of.choice.mean, of.units.mean) for of in scores.elasticities}
    told = {market: pair for market, pair in told.items() if all(map(math.isfinite, pair))}
    compared = compare_elasticities(told)
    return compared if len(compared.markets) >= 3 else None


def _row_json(scores: Scores) -> dict[str, Any]:
    whole: dict[str, Any] = _flat(scores.metrics) | {"seconds_per_1000": _finite(scores.seconds)}
    if scores.history:
        whole["by_history"] = {name: _flat(part) for name, part in scores.history.items()}
        whole["by_shelf"] = {name: _flat(part) for name, part in scores.shelf.items()}
        whole["market_average"] = _flat(scores.markets)
    return whole


def _elasticity_json(of: evaluation.Elasticity) -> dict[str, Any]:
    numbers = {"market": of.market, "beta": of.beta, "gamma": of.gamma, "occasions": of.occasions}
    return numbers | _flat({"choice": of.choice, "units": of.units})


def _flat(values: Mapping[str, Estimate | int]) -> dict[str, float | int | None]:
    flat: dict[str, float | int | None] = {}
    for name, value in values.items():
        if isinstance(value, Estimate):
            flat[name], flat[f"{name}_se"] = _finite(value.mean), _finite(value.se)
        else:
            flat[name] = value
    return flat


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
