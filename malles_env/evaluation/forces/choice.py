"""Forces on which product is bought: promotion, reference price, fading inertia and the mean field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.forces.estimates import STRICT, Finding, ForceEstimate, absent, judge
from malles_env.evaluation.forces.likelihood import Model, best, covariances, errors, gains
from malles_env.evaluation.forces.log import MarketLog
from malles_env.evaluation.metrics import Estimate
from malles_env.type_aliases import FloatArray

MEMORIES = (0.5, 0.7, 0.8, 0.9, 0.95)
"""Weights of the old reference price against a week's price that the training rows choose from."""
FADES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
"""Shares of the loyalty lost per week that the training rows choose from."""
SEEMING_FADE = 0.05
"""What lasting loyalty can look like where tastes differ more than the facts say: who has not bought for long liked the
product less. The largest fade found in logs drawn without one."""
MEAN_FIELD_PRIOR = 0.5
"""Standard deviation of the prior that draws the mean field's slope to 0."""
LAGS = 8
"""Weeks of past prices that the mean field is estimated beside; as many as its window."""
SAME = 1e-5
"""Log prices nearer to each other are one price."""
_STEP = 1e-3
Slope = Callable[[int, FloatArray], FloatArray]


@dataclass(frozen=True)
class Tested:
    """A force's columns on a grid, fitted to all learned weeks.

    Attributes:
        at: Place of the likeliest value of the grid.
        weights: Coefficients of the force's own columns [K].
        errors: Their standard errors, and behind them that of the grid's parameter if it has one [K or K + 1].
    """

    at: int
    weights: FloatArray
    errors: FloatArray


def promotion(log: MarketLog) -> ForceEstimate:
    """Return what a display and a feature ad are worth, in utils."""
    there = [name for name in ("display", "feature ad") if log.fact(name).any()]
    if not there:
        return absent("promotion", "no display and no feature ad")
    own = np.stack([log.fact(name) for name in there], axis=1)
    shared = log.features("display", "feature ad")
    plain, full = Model(shared, own[:, :0]), [Model(shared, own)]
    found = _estimate(log, full)
    effect, error = {"display": 0.0, "feature": 0.0}, {"display": 0.0, "feature": 0.0}
    for name, value, se in zip(there, found.weights, found.errors, strict=True):
        effect[name.split()[0]], error[name.split()[0]] = float(value), float(se)
    return judge(Finding("promotion", effect, error, _gains(log, plain, full)), log.market)


def reference_price(log: MarketLog) -> ForceEstimate:
    """Return what a price below the remembered one gains, one above it loses, and how long prices are remembered."""
    shared = log.features()
    models = [Model(shared, _against_reference(log, memory)) for memory in MEMORIES]
    if not any(model.own.any() for model in models):
        return absent("reference_price", "prices never change")

    def slope(at: int, weights: FloatArray) -> FloatArray:
        upper, lower = (_against_reference(log, MEMORIES[at] + step) @ weights for step in (_STEP, -_STEP))
        return np.asarray(upper - lower) / (2 * _STEP)

    plain = Model(shared, shared.columns[:, :0])
    found = _estimate(log, models, weekly=True, slope=slope)
    gain, loss = found.weights
    effect = {"gain": float(gain), "loss": float(loss)}
    error = dict(zip(effect, map(float, found.errors), strict=False))
    if gain > 0 or loss > 0:
        effect["memory"], error["memory"] = MEMORIES[found.at], float(found.errors[2])
    return judge(Finding("reference_price", effect, error, _gains(log, plain, models, weekly=True)), log.market)


def inertia(log: MarketLog) -> ForceEstimate:
    """Return the share of the loyalty to the last purchase that fades per week.

    `loyalty` is its worth before any fading, `constant` what it would be worth if it did not fade.
    """
    last, ago = log.fact("last"), log.data.past_ago[:, 0].astype(np.float64)[log.rows.row]
    if not last.any():
        return absent("inertia", "nobody bought twice")
    shared = log.features("last")
    models = [Model(shared, (last * (1.0 - fade) ** ago)[:, None]) for fade in FADES]

    def slope(at: int, weights: FloatArray) -> FloatArray:
        return weights[0] * last * -ago * (1.0 - FADES[at]) ** np.maximum(ago - 1.0, 0.0)

    found, constant = _estimate(log, models, slope=slope), _estimate(log, models[:1])
    effect = {"fade": FADES[found.at], "loyalty": float(found.weights[0]), "constant": float(constant.weights[0])}
    error = {"fade": float(found.errors[1]), "loyalty": float(found.errors[0]), "constant": float(constant.errors[0])}
    surely = effect["fade"] - STRICT * error["fade"]
    against = (
        () if surely > SEEMING_FADE else (f"not clearly above {SEEMING_FADE:g}, which differing tastes can feign",)
    )
    return judge(Finding("inertia", effect, error, _gains(log, models[0], models), against), log.market)


def mean_field(log: MarketLog) -> ForceEstimate:
    """Return the slope of utility in the windowed share less the long-run share, past prices held fixed."""
    own = log.fact("share deviation")[:, None]
    if not own.any():
        return absent("mean_field", "shares never move")
    shared = log.features("share deviation").beside(_past_prices(log))
    drawn = [Model(shared, own, signed=False, prior=MEAN_FIELD_PRIOR)]
    found = _estimate(log, drawn, weekly=True)
    free = _estimate(log, [Model(shared, own, signed=False)], weekly=True)
    effect = {"rho": float(found.weights[0]), "rho_unshrunk": float(free.weights[0])}
    error = {"rho": float(found.errors[0]), "rho_unshrunk": float(free.errors[0])}
    plain = Model(shared, own[:, :0])
    return judge(Finding("mean_field", effect, error, _gains(log, plain, drawn, weekly=True)), log.market)


def references(prices: FloatArray, memory: float, before: FloatArray) -> FloatArray:
    """Return the remembered log price of each week, from the weeks before it alone; NaN before any [S, J, T].

    R' = memory R + (1 - memory) log p while the product is listed, from the mean of the weeks before the first one or
    else from the first price. (A single week's price would be a poor start: noise in R draws gain and loss to 0.)

    Args:
        prices: Weekly log(p/r), NaN where not listed [S, J, T].
        memory: Weight of the old reference, in [0, 1).
        before: Mean log(p/r) before the first week, NaN where unknown [J].
    """
    now = np.broadcast_to(before, prices.shape[:2])
    out = np.empty(prices.shape)
    for week in range(prices.shape[2]):
        out[..., week] = now
        price = prices[..., week]
        moved = np.where(np.isnan(now), price, memory * now + (1.0 - memory) * price)
        now = np.where(np.isnan(price), now, moved)
    return out


def _against_reference(log: MarketLog, memory: float) -> FloatArray:
    """Return (R - log p)+ and -(log p - R)+, 0 where no price is remembered [N, 2]."""
    below = np.nan_to_num(log.at(references(log.prices, memory, log.before)) - log.fact("log price"))
    below = np.where(np.abs(below) < SAME, 0.0, below)
    return np.stack([np.maximum(below, 0.0), np.minimum(below, 0.0)], axis=1)


def _past_prices(log: MarketLog) -> FloatArray:
    """Return log(p/r) of the last `LAGS` weeks; this week's where none is known [N, LAGS]."""
    now = log.fact("log price")
    lags = [log.at(log.prices, back) for back in range(1, LAGS + 1)]
    return np.stack([np.where(np.isnan(lag), now, lag) for lag in lags], axis=1)


def _estimate(log: MarketLog, models: Sequence[Model], *, weekly: bool = False, slope: Slope | None = None) -> Tested:
    """Fit the models of a grid to all learned weeks.

    Args:
        log: Purchases.
        models: One per value of the grid.
        weekly: Whether errors are the larger of household and week clustering.
        slope: Derivative of the utility by the grid's parameter, from its place and the force's coefficients.
    """
    choices = log.choices()
    at, found = best(models, choices, np.ones(len(choices.group), dtype=bool))
    first = models[at].first
    own = found.weights[first:]
    extra = np.zeros((len(choices.group), 0)) if slope is None else slope(at, own)[:, None]
    matrices = covariances(models[at], found, choices, extra, weekly)
    return Tested(at, own, errors(matrices)[first:])


def _gains(log: MarketLog, plain: Model, models: Sequence[Model], *, weekly: bool = False) -> dict[str, Estimate]:
    """Return the held-out gains by kind of split."""
    choices = log.choices()
    return {
        kind: gains(plain, models, choices, log.row_splits(kind), choices.bought, weekly)
        for kind in ("households", "time")
    }
