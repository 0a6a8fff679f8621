"""Rows of one idea each: uniform, popularity, trailing popularity, last purchase, household urn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize as scipy_minimize

from malles_env.evaluation.baselines.base import Row, in_chunks
from malles_env.evaluation.baselines.incidence import MarketRates
from malles_env.evaluation.baselines.table import Table, purchases, table
from malles_env.evaluation.baselines.units import Histogram
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction, log_softmax
from malles_env.type_aliases import FloatArray

SAMPLE = 40_000
"""Training purchases the one or two numbers of such a row, and its units, are fitted on."""


@dataclass(frozen=True)
class SharesRow(Row):
    """Shares of the options times the market's base rate, and units by a histogram.

    Attributes:
        rates: Base rates.
        units: Histogram of units.
        weights: What the shares' formula needs, found by maximum likelihood.
    """

    rates: MarketRates
    units: Histogram
    weights: FloatArray
    start: ClassVar[tuple[float, ...]] = ()
    units_by: ClassVar[str] = "market"

    @classmethod
    def fit(cls, train: TasteData, validation: TasteData, seed: int = 0, *, identities: bool = True) -> SharesRow:
        """Fit the base rates, the units, and the formula's numbers where it has any."""
        bought = purchases(train, SAMPLE, seed)
        rows = table(bought)
        weights = _likeliest(cls, bought) if cls.start else np.zeros(0)
        return cls(MarketRates.fit(train), Histogram.fit(cls.units_by, rows, bought.quantity), weights)

    @staticmethod
    def shares(data: TasteData, weights: FloatArray) -> FloatArray:
        """Return shares of the options, anything at least 0 [B, J]."""
        raise NotImplementedError

    def predict(self, data: TasteData) -> Prediction:
        """Return predictions that know neither price nor promotion."""
        return in_chunks(data, self._part)

    def _part(self, data: TasteData) -> Prediction:
        inside = _log_shares(self.shares(data, self.weights), data)
        rows = table(data)
        units, quantity = option_units(self.units.of(rows), rows)
        return Prediction(with_odds(inside, self.rates.of(data), data), units, quantity)


class Uniform(SharesRow):
    """All options alike."""

    name = "uniform"
    units_by = "all"

    @staticmethod
    def shares(data: TasteData, weights: FloatArray) -> FloatArray:
        """Return ones."""
        return data.mask.astype(np.float64)


class Popularity(SharesRow):
    """Shares over the reference periods, which never move."""

    name = "popularity"
    start = (-6.0,)

    @staticmethod
    def shares(data: TasteData, weights: FloatArray) -> FloatArray:
        """Return shares plus a floor."""
        return data.reference_share + _balls(weights[0])


class TrailingPopularity(SharesRow):
    """Shares over the trailing window."""

    name = "trailing_popularity"
    start = (-5.0,)
    units_by = "line"

    @staticmethod
    def shares(data: TasteData, weights: FloatArray) -> FloatArray:
        """Return shares plus a floor."""
        return data.share + _balls(weights[0])


class LastPurchase(SharesRow):
    """The last purchase with a fixed probability, else popularity."""

    name = "last_purchase"
    start = (0.0, -5.0)
    units_by = "last"

    @staticmethod
    def shares(data: TasteData, weights: FloatArray) -> FloatArray:
        """Return the mixture."""
        last = data.last & data.mask
        popular = _normal(data.long_share + _balls(weights[1]), data)
        weight = last.any(1, keepdims=True) / (1 + np.exp(-weights[0]))
        mixed: FloatArray = weight * last + (1 - weight) * popular
        return mixed


class Urn(SharesRow):
    """Pólya urn of a household: its own purchases, older ones counting less, and some balls of popularity."""

    name = "urn"
    start = (2.0, 0.0, -5.0)
    units_by = "household"

    @staticmethod
    def shares(data: TasteData, weights: FloatArray) -> FloatArray:
        """Return decayed own counts plus popularity; decay per purchase, balls and floor are the weights."""
        match = (data.product[:, :, None] == data.past[:, None, :]) & data.mask[:, :, None]
        decay = (1 / (1 + np.exp(-weights[0]))) ** np.arange(match.shape[2])
        popular = _normal(data.long_share + _balls(weights[2]), data)
        own: FloatArray = match @ decay + _balls(weights[1]) * popular
        return own


def option_units(log_probability: FloatArray, rows: Table) -> tuple[FloatArray, FloatArray]:
    """Return mean units of each option [B, J] and log probabilities of units of the chosen one [B, Q].

    Args:
        log_probability: Log probabilities of 1..Q units of each alternative [N, Q].
        rows: The alternatives.
    """
    mean = np.exp(log_probability) @ np.arange(1, log_probability.shape[1] + 1)
    wide = rows.wide(mean)
    return np.where(np.isfinite(wide), wide, 1.0), log_probability[np.maximum(rows.picked, 0)]


def with_odds(inside: FloatArray, odds: FloatArray, data: TasteData) -> FloatArray:
    """Return utilities [B, J + 1] of log shares [B, J] and log odds of buying at all [B]."""
    outside = data.log_sampling[:, None].astype(np.float64)
    return np.concatenate([outside, inside + odds[:, None]], axis=1)


def _balls(weight: np.float64) -> np.float64:
    """Return the exponential of a weight, in double precision; weights beyond 50, as small logs find them, are 50."""
    return np.float64(np.exp(np.minimum(weight, 50.0)))


def _normal(values: FloatArray, data: TasteData) -> FloatArray:
    there = np.where(data.mask, values, 0.0)
    whole: FloatArray = there / there.sum(1, keepdims=True)
    return whole


def _log_shares(shares: FloatArray, data: TasteData) -> FloatArray:
    return log_softmax(np.where(data.mask, np.log(np.maximum(shares, 1e-12)), -np.inf))


def _likeliest(kind: type[SharesRow], bought: TasteData) -> FloatArray:
    """Return the formula's numbers of highest likelihood; few of them, so without derivatives."""
    place = (np.arange(len(bought)), bought.chosen - 1)

    def loss(weights: FloatArray) -> float:
        return float(-_log_shares(kind.shares(bought, weights), bought)[place].mean())

    options = {"xatol": 1e-2, "fatol": 1e-6, "maxiter": 80}
    return np.asarray(scipy_minimize(loss, np.array(kind.start), method="Nelder-Mead", options=options).x)


ROWS: tuple[type[SharesRow], ...] = (Uniform, Popularity, TrailingPopularity, LastPurchase, Urn)
Formula = Callable[[TasteData, FloatArray], FloatArray]
