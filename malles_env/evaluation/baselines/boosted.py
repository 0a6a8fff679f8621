"""LightGBM: trees whose scores go through a softmax over the shelf, and trees for purchase and units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from malles_env.errors import MissingResource
from malles_env.evaluation.baselines.base import Row, check_size, in_chunks
from malles_env.evaluation.baselines.incidence import MarketRates
from malles_env.evaluation.baselines.logit import FEWEST, fit_choice, inclusive
from malles_env.evaluation.baselines.shares import with_odds
from malles_env.evaluation.baselines.table import AT, Table, purchases, table, thinned
from malles_env.evaluation.baselines.units import spread, tail
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.heads.quantities import QUANTITIES
from malles_env.preference.prediction import Prediction, log_softmax
from malles_env.type_aliases import Float32Array, FloatArray, IntArray

CHOICE_SAMPLE = 100_000
"""Purchases the choice trees learn from: what about four minutes of one core carry."""
CHECKED = 12_000
"""Validation occasions that stop the trees."""
FEWEST_CHECKED = 20
"""Validation purchases needed to stop them."""
UNIT_CLASSES = 12
"""Units distinguished by the trees; the last class stands for that many or more, spread as in training."""
_RELATIVE = ("log popularity", "log urn", "log decayed urn", "log store popularity", "discount", "log trend")
_COMMON = {
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "feature_pre_filter": False,
}
_CHOICE = {
    "learning_rate": 0.1,
    "num_leaves": 63,
    "min_data_in_leaf": 200,
    "min_sum_hessian_in_leaf": 10.0,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
}
_SMALLER = {"learning_rate": 0.1, "num_leaves": 31, "min_data_in_leaf": 200, "feature_fraction": 0.7, "max_bin": 127}
_STOP = 15  # rounds without a better validation score


@dataclass(frozen=True)
class Boosted(Row):
    """Three boosters that start from simple models: choice from conditional logit, purchase from the market's rate.

    Attributes:
        start: Conditional logit the choice trees begin at.
        rates: Base rates the purchase trees begin at.
        choice: Text of the choice booster.
        purchase: Text of the purchase booster.
        units: Text of the units booster.
        tail: How the last class of units spreads.
    """

    name = "lightgbm"
    start: FloatArray
    rates: MarketRates
    choice: str
    purchase: str
    units: str
    tail: FloatArray

    @classmethod
    def fit(cls, train: TasteData, validation: TasteData, seed: int = 0, *, identities: bool = True) -> Boosted:
        """Fit the three boosters, each stopped on the validation occasions."""
        check_size(train, FEWEST, "training")
        check_size(validation, FEWEST_CHECKED, "validation")
        bought = purchases(train, CHOICE_SAMPLE, seed)
        checked = purchases(validation, CHECKED, seed)
        rows, other = table(bought), table(checked)
        start = fit_choice(rows)
        choice = _fit_choice(rows, other, start, seed)
        units = _fit_units(rows, bought.quantity, other, checked.quantity, seed)
        rates = MarketRates.fit(train)
        visits = [thinned(train, CHOICE_SAMPLE, seed), thinned(validation, CHECKED, seed)]
        purchase = _fit_purchase(visits, rates, start, seed)
        return cls(start, rates, choice, purchase, units, tail(bought.quantity.clip(1, QUANTITIES), UNIT_CLASSES))

    def predict(self, data: TasteData) -> Prediction:
        """Return predictions; trees have no price coefficient."""
        boosters = [_booster(text) for text in (self.choice, self.purchase, self.units)]
        return in_chunks(data, lambda part: self._part(part, *boosters))

    def _part(self, data: TasteData, choice: Any, purchase: Any, units: Any) -> Prediction:
        rows = table(data)
        base = rows.options @ self.start
        scores = base + choice.predict(_choice_features(rows), raw_score=True, num_threads=1)
        visit, offset = _purchase_features(data, rows, base, self.rates)
        odds = offset + data.log_sampling + purchase.predict(visit, raw_score=True, num_threads=1)
        classes = np.log(
            np.maximum(units.predict(_unit_features(rows, np.maximum(rows.picked, 0)), num_threads=1), 1e-9)
        )
        utilities = with_odds(log_softmax(rows.wide(scores)), odds, data)
        return Prediction(utilities, quantity=spread(classes, self.tail))


def _choice_features(rows: Table) -> Float32Array:
    """Return the facts of the options, some of them also less the best on the shelf, and those of the household."""
    at = [AT[name] for name in _RELATIVE]
    best = np.maximum.reduceat(rows.options[:, at], rows.starts)
    parts = [rows.options, rows.options[:, at] - best[rows.row], rows.shelf[rows.row]]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _unit_features(rows: Table, alternatives: IntArray) -> Float32Array:
    occasion = rows.row[alternatives]
    mean = np.add.reduceat(np.exp(rows.options[:, 0]) * rows.quantity[:, 0], rows.starts)[occasion]
    parts = [rows.quantity[alternatives], rows.options[alternatives], rows.shelf[occasion], mean[:, None]]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _purchase_features(
    data: TasteData, rows: Table, scores: FloatArray, rates: MarketRates
) -> tuple[Float32Array, FloatArray]:
    """Return features of the visits [B, F] and the base log odds in the sample [B]."""
    live = rows.options[:, [AT["discount"], AT["display"], AT["feature ad"], AT["log price"]]]
    share = rows.shares(scores)
    weighed = np.add.reduceat(live * share[:, None], rows.starts)
    odds = rates.of(data)
    worth = inclusive(rows, scores)
    most = np.maximum.reduceat(live, rows.starts)
    features = np.column_stack([rows.shelf, most, weighed, worth, odds])
    return features.astype(np.float32), odds - data.log_sampling


def _fit_choice(rows: Table, other: Table, start: FloatArray, seed: int) -> str:
    lightgbm = _lightgbm()
    label = np.zeros(len(rows.row))
    label[rows.picked] = 1.0

    def slope(scores: FloatArray, _: Any) -> tuple[FloatArray, FloatArray]:
        share = rows.shares(scores)
        return share - label, np.maximum(share * (1.0 - share), 1e-6)

    def judged(scores: FloatArray, _: Any) -> tuple[str, float, bool]:
        return "nll", other.nll(scores), False

    data = lightgbm.Dataset(_choice_features(rows), label, init_score=rows.options @ start)
    check = lightgbm.Dataset(
        _choice_features(other), np.zeros(len(other.row)), init_score=other.options @ start, reference=data
    )
    return _train({**_CHOICE, "objective": slope, "metric": "None"}, data, check, 400, seed, judged)


def _fit_units(rows: Table, quantity: IntArray, other: Table, other_quantity: IntArray, seed: int) -> str:
    lightgbm = _lightgbm()
    data = lightgbm.Dataset(_unit_features(rows, rows.picked), quantity.clip(1, UNIT_CLASSES) - 1)
    check = lightgbm.Dataset(
        _unit_features(other, other.picked), other_quantity.clip(1, UNIT_CLASSES) - 1, reference=data
    )
    settings = {**_SMALLER, "objective": "multiclass", "num_class": UNIT_CLASSES, "num_leaves": 15}
    return _train(settings, data, check, 80, seed)


def _fit_purchase(visits: list[TasteData], rates: MarketRates, start: FloatArray, seed: int) -> str:
    lightgbm = _lightgbm()
    sets: list[Any] = []
    for visit in visits:
        rows = table(visit)
        features, offset = _purchase_features(visit, rows, rows.options @ start, rates)
        label = (visit.chosen > 0).astype(np.float64)
        sets.append(lightgbm.Dataset(features, label, init_score=offset, reference=sets[0] if sets else None))
    return _train({**_SMALLER, "objective": "binary"}, sets[0], sets[1], 200, seed)


def _train(
    settings: dict[str, Any],
    data: Any,
    check: Any,
    rounds: int,
    seed: int,
    judged: Callable[[FloatArray, Any], tuple[str, float, bool]] | None = None,
) -> str:
    lightgbm = _lightgbm()
    stop = lightgbm.early_stopping(_STOP, verbose=False)
    booster = lightgbm.train(
        {**_COMMON, **settings, "seed": seed}, data, rounds, valid_sets=[check], feval=judged, callbacks=[stop]
    )
    text: str = booster.model_to_string(num_iteration=booster.best_iteration)
    return text


def _booster(text: str) -> Any:
    return _lightgbm().Booster(model_str=text)


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingResource("lightgbm: not installed; get it with `pip install lightgbm`") from error
    return lightgbm
