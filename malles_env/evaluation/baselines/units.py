"""How many units a buyer takes: histograms by one number, and an ordered logit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from malles_env.evaluation.baselines.fitting import Scale, minimize
from malles_env.evaluation.baselines.table import AT, QUANTITY_AT, SHELF_AT, Table
from malles_env.preference.heads.quantities import QUANTITIES
from malles_env.type_aliases import FloatArray, IntArray

CLASSES = 8
"""Units distinguished by the ordered logit: 1..7, and 8 or more."""
BINS = 24
_OWN_WEIGHT = 2.0  # purchases' worth of the line's mean in a household's own
_SMOOTHING = 2.0  # purchases' worth of the overall histogram in every bin

Value = Callable[[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]], NDArray[np.floating]]


def _nothing(line: NDArray[np.floating], market: NDArray[np.floating], shelf: NDArray[np.floating]) -> FloatArray:
    return np.zeros(len(line))


def _market(line: NDArray[np.floating], market: NDArray[np.floating], shelf: NDArray[np.floating]) -> FloatArray:
    return market.astype(np.float64)


def _line(line: NDArray[np.floating], market: NDArray[np.floating], shelf: NDArray[np.floating]) -> FloatArray:
    return line.astype(np.float64)


def _last(line: NDArray[np.floating], market: NDArray[np.floating], shelf: NDArray[np.floating]) -> FloatArray:
    some = shelf[:, SHELF_AT["log purchases"]] > 0
    return np.where(some, shelf[:, SHELF_AT["last log quantity"]], line).astype(np.float64)


def _household(line: NDArray[np.floating], market: NDArray[np.floating], shelf: NDArray[np.floating]) -> FloatArray:
    count = np.expm1(shelf[:, SHELF_AT["log purchases"]])
    own = shelf[:, SHELF_AT["own log quantity"]]
    return ((count * own + _OWN_WEIGHT * line) / (count + _OWN_WEIGHT)).astype(np.float64)


VALUES: dict[str, Value] = {
    "all": _nothing,
    "market": _market,
    "line": _line,
    "last": _last,
    "household": _household,
}
"""The number a histogram is chosen by; of the log mean units of line and market and the household's facts."""


@dataclass(frozen=True)
class Histogram:
    """Distribution of units among training purchases of like value.

    Attributes:
        by: Key of `VALUES`.
        edges: Inner limits of the bins [K - 1].
        log_probability: Of 1..Q units [K, Q].
    """

    by: str
    edges: FloatArray
    log_probability: FloatArray

    @classmethod
    def fit(cls, by: str, rows: Table, quantity: IntArray) -> Histogram:
        """Count units in bins of equal size.

        Args:
            by: Key of `VALUES`.
            rows: Training occasions.
            quantity: Units bought [B].
        """
        bought = rows.picked >= 0
        at = rows.picked[bought]
        value = VALUES[by](rows.quantity[at, 0], market_mean(rows)[bought], rows.shelf[bought])
        edges = np.unique(np.quantile(value.astype(np.float64), np.linspace(0, 1, BINS + 1)[1:-1]))
        place = np.searchsorted(edges, value, side="right")
        units = np.clip(quantity[bought], 1, QUANTITIES) - 1
        counts = np.zeros((len(edges) + 1, QUANTITIES))
        np.add.at(counts, (place, units), 1.0)
        overall = (counts.sum(0) + 0.01) / (counts.sum() + 0.01 * QUANTITIES)
        smooth = counts + _SMOOTHING * overall
        return cls(by, edges, np.log(smooth / smooth.sum(1, keepdims=True)))

    def of(self, rows: Table) -> FloatArray:
        """Return log probabilities of units, given that an alternative is bought [N, Q]."""
        value = VALUES[self.by](rows.quantity[:, 0], market_mean(rows)[rows.row], rows.shelf[rows.row])
        return self.log_probability[np.searchsorted(self.edges, value, side="right")]


def market_mean(rows: Table) -> FloatArray:
    """Return the log mean units of the shelf's lines, weighed by popularity [B]."""
    weight = np.exp(rows.options[:, 0].astype(np.float64))
    top = np.add.reduceat(weight * rows.quantity[:, 0], rows.starts)
    whole: FloatArray = top / np.add.reduceat(weight, rows.starts)
    return whole


@dataclass(frozen=True)
class OrderedLogit:
    """Ordered logit: P(q <= k) = sigmoid(threshold_k - x b); 8 and more spread as in training.

    Attributes:
        scale: Scale of the features.
        weights: b, then the first threshold, then the logs of the steps to the others [F + 7].
        tail: Log probabilities of 8..Q units, given 8 or more [Q - 7].
    """

    scale: Scale
    weights: FloatArray
    tail: FloatArray

    @classmethod
    def fit(cls, rows: Table, quantity: IntArray) -> OrderedLogit:
        """Fit by maximum likelihood."""
        bought = np.flatnonzero(rows.picked >= 0)
        raw = _features(rows, rows.picked[bought], bought)
        units = np.clip(quantity[bought], 1, QUANTITIES)
        scale = Scale.of(raw)
        features, place = scale(raw)[:, :-1], np.minimum(units, CLASSES) - 1
        start = np.concatenate([np.zeros(features.shape[1]), [1.0], np.zeros(CLASSES - 2)])

        def loss(weights: FloatArray) -> tuple[float, FloatArray]:
            return _ordered_loss(weights, features, place)

        return cls(scale, minimize(loss, start), tail(units))

    def of(self, rows: Table) -> FloatArray:
        """Return log probabilities of units, given that an alternative is bought [N, Q]."""
        features = self.scale(_features(rows, np.arange(len(rows.row)), rows.row))[:, :-1]
        size = features.shape[1]
        upper = _thresholds(self.weights[size:]) - (features @ self.weights[:size])[:, None]
        below = np.column_stack([np.zeros(len(upper)), 1 / (1 + np.exp(-upper)), np.ones(len(upper))])
        return spread(np.log(np.maximum(np.diff(below, axis=1), 1e-9)), self.tail)


def tail(units: IntArray, first: int = CLASSES) -> FloatArray:
    """Return log probabilities of `first`..Q units given that many or more, a little smoothed [Q - first + 1]."""
    counts = np.bincount(units, minlength=QUANTITIES + 1)[first : QUANTITIES + 1] + 0.05
    return np.log(counts / counts.sum())


def spread(classes: FloatArray, last: FloatArray) -> FloatArray:
    """Return log probabilities of 1..Q units from those of classes whose last one is spread as `last` says [N, Q]."""
    return np.concatenate([classes[:, :-1], classes[:, -1:] + last], axis=1)


def _features(rows: Table, alternatives: IntArray, occasions: IntArray) -> FloatArray:
    live = [AT[n] for n in ("discount", "display", "feature ad", "size on shelf", "price level on shelf", "last")]
    own = rows.quantity[alternatives]
    usual = own[:, QUANTITY_AT["own line log quantity"]] * np.minimum(own[:, QUANTITY_AT["own line purchases"]], 1.5)
    return np.column_stack([own, usual, rows.options[alternatives][:, live], rows.shelf[occasions]]).astype(np.float64)


def _thresholds(raw: FloatArray) -> FloatArray:
    return np.concatenate([raw[:1], raw[0] + np.cumsum(np.exp(raw[1:]))])


def _ordered_loss(weights: FloatArray, features: FloatArray, place: IntArray) -> tuple[float, FloatArray]:
    size = features.shape[1]
    limits = _thresholds(weights[size:])
    score = features @ weights[:size]
    padded = np.concatenate([[-50.0], limits, [50.0]])
    low, high = padded[place] - score, padded[place + 1] - score
    below, above = 1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))
    mass = np.maximum(above - below, 1e-12)
    at_low, at_high = below * (1 - below) / mass, above * (1 - above) / mass
    count = len(place)
    slopes = np.bincount(place, at_low, CLASSES)[1:] - np.bincount(place, at_high, CLASSES)[:-1]
    steps = np.exp(weights[size + 1 :])
    raised = np.cumsum(slopes[::-1])[::-1]
    gradient = np.concatenate([features.T @ (at_high - at_low), raised[:1], raised[1:] * steps]) / count
    return float(-np.log(mass).mean()), gradient
