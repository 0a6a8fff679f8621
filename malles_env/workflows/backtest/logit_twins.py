"""The economist's twins: a conditional logit with the same facts, fitted on the market's own past, as tastes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.baselines.fitting import minimize
from malles_env.evaluation.baselines.table import AT, COLUMNS, Table, purchases, table, thinned
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.features import QUANTITY_FEATURES
from malles_env.preference.persona_coefficients import TasteReading
from malles_env.type_aliases import FloatArray

VISITS = 40_000
"""Occasions the coefficients are fitted on, at most."""
RIDGE = 1e-4
"""Weight of the squared coefficients of scaled facts, so that facts that say the same share their effect."""
_DROPPED = ("log trend",)  # moves with the market's shares and has no place in the market's formula
_LIVE = ("log price", "discount", "display", "feature ad", "last", "share deviation", *_DROPPED)
_MOST_EXTRA = 23


@dataclass(frozen=True)
class LogitTwins:
    """A logit over the lines and buying nothing, and a Poisson regression of the units beyond the first.

    Attributes:
        option: One coefficient per entry of `COLUMNS`, 0 for what is left out.
        shelf: One per household fact and a constant, worth of buying anything at all.
        units: One per entry of `QUANTITY_FEATURES`, for discount depth and a constant.
    """

    option: FloatArray
    shelf: FloatArray
    units: FloatArray

    @classmethod
    def fit(cls, train: TasteData, seed: int = 0) -> LogitTwins:
        """Fit by maximum likelihood.

        Args:
            train: Occasions of the market, no-purchase visits included.
            seed: Seed of the draw where there are more than `VISITS`.
        """
        visits = thinned(train, VISITS, seed)
        rows = table(visits)
        options, shelf = _parts(rows)
        weights = _fit_choice(np.hstack([options, shelf[rows.row]]), rows, visits.log_sampling)
        bought = purchases(visits)
        units = _fit_units(table(bought), np.minimum(bought.quantity - 1, _MOST_EXTRA))
        return cls(weights[: len(COLUMNS)], weights[len(COLUMNS) :], units)

    def read(self, data: TasteData) -> TasteReading:
        """Return the coefficients of the market's utility for households before one and the same shelf.

        Args:
            data: Visits [S] with the same K lines at regular prices.
        """
        rows, shape = table(data), data.mask.shape
        options, shelf = _parts(rows)
        still = self.option.copy()
        still[[AT[name] for name in _LIVE]] = 0.0
        alpha = rows.wide(options @ still) + (shelf @ self.shelf)[:, None]
        worth = {name: self.option[AT[name]] for name in _LIVE}
        known = np.hstack([rows.quantity, np.zeros((len(rows.row), 1)), np.ones((len(rows.row), 1))])

        def everyone(value: float) -> FloatArray:
            return np.full(shape[0], float(value))

        return TasteReading(
            alpha=alpha,
            beta=np.full(shape, max(-worth["log price"], 0.0)),
            gamma=everyone(worth["discount"]),
            rho=everyone(worth["share deviation"]),
            lambda_=everyone(worth["last"]),
            kappa=rows.wide(np.clip(known @ self.units, -10.0, 3.0)),
            delta=everyone(self.units[len(QUANTITY_FEATURES)]),
            display=everyone(worth["display"]),
            feature=everyone(worth["feature ad"]),
        )


def _parts(rows: Table) -> tuple[FloatArray, FloatArray]:
    """Return the facts of the lines [N, F] without those left out, and of the households with a constant [B, G + 1]."""
    options = rows.options.astype(np.float64)
    options[:, [AT[name] for name in _DROPPED]] = 0.0
    return options, np.hstack([rows.shelf.astype(np.float64), np.ones((len(rows.shelf), 1))])


def _fit_choice(features: FloatArray, rows: Table, outside: np.ndarray) -> FloatArray:
    """Return the coefficients [F + G + 1] of lines against buying nothing, whose utility is `outside` [B]."""
    spread = np.abs(features).max(axis=0)
    spread = np.where(spread > 0, np.maximum(features.std(axis=0), 0.05 * spread), 1.0)
    scaled, count = features / spread, len(rows.starts)
    bought = rows.picked[rows.picked >= 0]
    mean = scaled[bought].sum(axis=0) / count

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        scores = scaled @ weights
        top = np.maximum(np.maximum.reduceat(scores, rows.starts), outside)
        mass = np.exp(scores - top[rows.row])
        whole = np.add.reduceat(mass, rows.starts) + np.exp(outside - top)
        value = float((np.log(whole) + top).mean() - scores[bought].sum() / count)
        slope = scaled.T @ (mass / whole[rows.row]) / count - mean
        return value + RIDGE * float(weights @ weights), slope + 2 * RIDGE * weights

    return minimize(loss, np.zeros(features.shape[1])) / spread


def _fit_units(rows: Table, extra: np.ndarray) -> FloatArray:
    """Return the coefficients of the log of the mean units beyond the first; discount's is at least 0."""
    at = rows.picked
    depth = rows.options[at, AT["discount"]].astype(np.float64)
    features = np.column_stack([rows.quantity[at].astype(np.float64), depth, np.ones(len(at))])

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        logs = np.clip(features @ weights, -20.0, 4.0)
        rate = np.exp(logs)
        value = float((rate - extra * logs).mean()) + RIDGE * float(weights @ weights)
        return value, features.T @ (rate - extra) / len(at) + 2 * RIDGE * weights

    found = minimize(loss, np.zeros(features.shape[1]))
    found[len(QUANTITY_FEATURES)] = max(found[len(QUANTITY_FEATURES)], 0.0)
    return found
