"""How far a forecast is from the real weeks: shares, units, category demand, price response, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.scenarios.from_log.panel import Panel, shares_of
from malles_env.type_aliases import BoolArray, FloatArray, IntArray
from malles_env.workflows.backtest.playback import Forecast

MEASURES = {
    "share_error": "mean absolute error of the products' weekly shares of purchases",
    "share_distance": "total variation between the weekly shares, mean over weeks",
    "line_units_error": "sum of absolute errors of weekly units by product / real units",
    "units_error": "sum of absolute errors of the market's weekly units / real units",
    "units_bias": "sum of errors of the market's weekly units / real units",
    "demand_error": "sum of absolute errors of weekly purchases of the category / real purchases",
    "demand_bias": "sum of errors of weekly purchases of the category / real purchases",
}
"""Measures of a forecast; each is a ratio of two sums over weeks, and lower (biases: nearer to 0) is better."""
BLOCK = 3
"""Weeks that a bootstrap draws together, since errors of neighbouring weeks are alike."""


@dataclass(frozen=True)
class Interval:
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Response:
    """How units answer to prices within a product.

    Attributes:
        slope: Elasticity of weekly units per shopper [1 number].
        error: Its standard error, clustered by week.
        gap: Slope of the forecast less the real one.
        gap_error: Standard error of the gap, clustered by week.
        cells: Weeks x products that it was measured on.
    """

    slope: float
    error: float
    gap: float
    gap_error: float
    cells: int


def weekly(forecast: Forecast, real: Panel) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return numerator and denominator of every measure by week, each [T]."""
    ones = np.ones(len(real.periods))
    apart = np.abs(shares_of(forecast.purchases) - real.shares)
    units, bought = forecast.units - real.units, forecast.purchases - real.purchases
    all_units, all_bought = real.units.sum(axis=1), real.purchases.sum(axis=1)
    return {
        "share_error": (apart.mean(axis=1), ones),
        "share_distance": (apart.sum(axis=1) / 2.0, ones),
        "line_units_error": (np.abs(units).sum(axis=1), all_units),
        "units_error": (np.abs(units.sum(axis=1)), all_units),
        "units_bias": (units.sum(axis=1), all_units),
        "demand_error": (np.abs(bought.sum(axis=1)), all_bought),
        "demand_bias": (bought.sum(axis=1), all_bought),
    }


def week_draws(weeks: int, draws: int, seed: int, block: int = BLOCK) -> IntArray:
    """Return the weeks of each draw of a circular block bootstrap (Politis and Romano 1992) [draws, weeks]."""
    rng = np.random.default_rng(seed)
    blocks = -(-weeks // block)
    first = rng.integers(weeks, size=(draws, blocks, 1))
    return ((first + np.arange(block)) % weeks).reshape(draws, -1)[:, :weeks]


def scores(forecast: Forecast, real: Panel, drawn: IntArray) -> dict[str, Interval]:
    """Return the measures of a forecast with intervals over drawn weeks."""
    return {name: _interval(*parts, drawn) for name, parts in weekly(forecast, real).items()}


def differences(forecast: Forecast, other: Forecast, real: Panel, drawn: IntArray) -> dict[str, Interval]:
    """Return by how much `other` errs more than `forecast`, on the same drawn weeks; biases by their size."""
    ours, theirs, found = weekly(forecast, real), weekly(other, real), {}
    for name in ours:
        values = [
            [_ratio(*parts[name], rows) for rows in (np.arange(len(real.periods))[None], drawn)]
            for parts in (theirs, ours)
        ]
        if name.endswith("bias"):
            values = [[np.abs(value) for value in pair] for pair in values]
        (whole, draws), (own, own_draws) = values
        found[name] = _quantiles(float(whole[0] - own[0]), draws - own_draws)
    return found


def price_response(forecast: Forecast, real: Panel) -> Response:
    """Return the price response of a forecast and how far it is from the real one.

    Ordinary least squares of log units per shopper on log price with a constant per product, on the cells where a
    product was listed and sold. The gap regresses the log of forecast / real units on the same prices, so that noise
    common to both drops out.
    """
    cells = real.listed & (real.units > 0) & (forecast.units > 0)
    own, truth = (np.log(np.maximum(units, 1e-300) / real.shoppers[:, None]) for units in (forecast.units, real.units))
    slope, error = _within(own, np.log(real.prices), cells)
    gap, gap_error = _within(own - truth, np.log(real.prices), cells)
    return Response(slope, error, gap, gap_error, int(cells.sum()))


def _within(outcome: FloatArray, price: FloatArray, cells: BoolArray) -> tuple[float, float]:
    """Return slope and standard error of a regression with a constant per column; errors clustered by row."""
    count = np.maximum(cells.sum(axis=0), 1)

    def centred(values: FloatArray) -> FloatArray:
        there = np.where(cells, values, 0.0)
        return np.where(cells, there - there.sum(axis=0) / count, 0.0)

    x, y = centred(price), centred(outcome)
    spread = float((x * x).sum())
    if spread < 1e-9:
        return float("nan"), float("nan")
    slope = float((x * y).sum()) / spread
    moments = (x * (y - slope * x)).sum(axis=1)
    weeks = len(moments)
    return slope, float(np.sqrt((moments**2).sum() * weeks / max(weeks - 1, 1))) / spread


def _interval(numerator: FloatArray, denominator: FloatArray, drawn: IntArray) -> Interval:
    whole = _ratio(numerator, denominator, np.arange(len(numerator))[None])
    return _quantiles(float(whole[0]), _ratio(numerator, denominator, drawn))


def _ratio(numerator: FloatArray, denominator: FloatArray, rows: IntArray) -> FloatArray:
    ratio: FloatArray = numerator[rows].sum(axis=1) / np.maximum(denominator[rows].sum(axis=1), 1e-300)
    return ratio


def _quantiles(value: float, draws: FloatArray) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(value, float(low), float(high))
