"""Measures of a market's outcome: how close to competition or cartel it is, who gains, and whether it has settled.

Prices and profits are in money. Arrays are batch-first; time, where there is one, is the axis before the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from malles_env.market.solvers.equilibrium import best_response
from malles_env.market.solvers.game import Game
from malles_env.type_aliases import BoolArray, FloatArray

UNDEFINED = 1e-6


def profit_gain(profit: ArrayLike, nash: ArrayLike, monopoly: ArrayLike) -> FloatArray:
    """Return Delta = (pi - pi_N) / (pi_M - pi_N) of profits averaged over sellers (Calvano et al. 2020, section II).

    0 is Bertrand-Nash, 1 joint monopoly. With unequal sellers the averages are compared, as one seller's share of the
    monopoly's profit may lie below its Nash profit.

    Args:
        profit: Of each seller, shape ``(..., N)``.
        nash: Of each seller in competition, same money and period, shape ``(N,)``.
        monopoly: Of each seller in the cartel, shape ``(N,)``.

    Returns:
        Shape ``(...)``; NaN where competition and cartel earn the same (relative difference below 1e-6).
    """
    low, high = _mean(nash), _mean(monopoly)
    mean = np.asarray(profit, dtype=np.float64).mean(axis=-1)
    return _ratio(mean - low, high - low, abs(high))


def seller_gain(profit: ArrayLike, nash: ArrayLike, monopoly: ArrayLike) -> FloatArray:
    """Return Delta_i = (pi_i - pi_i^N) / (pi_i^M - pi_i^N) of each seller, shape as `profit`; NaN where undefined."""
    low, high = np.asarray(nash, dtype=np.float64), np.asarray(monopoly, dtype=np.float64)
    return _ratio(np.asarray(profit, dtype=np.float64) - low, high - low, np.abs(high))


def price_index(prices: ArrayLike, nash: ArrayLike, monopoly: ArrayLike) -> FloatArray:
    """Return (p - p_N) / (p_M - p_N) of mean prices, shape ``(...)``: another number than the profit gain."""
    low, high = _mean(nash), _mean(monopoly)
    return _ratio(np.asarray(prices, dtype=np.float64).mean(axis=-1) - low, high - low, abs(high))


def _mean(values: ArrayLike) -> float:
    return float(np.asarray(values, dtype=np.float64).mean())


def _ratio(above: FloatArray, span: ArrayLike, size: ArrayLike) -> FloatArray:
    wide = np.abs(span) > UNDEFINED * np.maximum(size, 1e-300)
    return np.asarray(np.where(wide, above / np.where(wide, span, 1.0), np.nan))


def logit_surplus(utility: ArrayLike, money_per_util: float, outside: float = 0.0) -> FloatArray:
    """Return the log-sum ln(exp(u_0) + sum_j exp(u_j)) in money per consumer, shape ``(...)`` (Small and Rosen 1981).

    Args:
        utility: u_j in utils, shape ``(..., J)``; minus infinity where not offered.
        money_per_util: 1 / beta, or mu in the notation of Calvano et al.
        outside: u_0, utils.
    """
    u = np.asarray(utility, dtype=np.float64)
    top = np.maximum(u.max(axis=-1), outside)
    total = np.exp(outside - top) + np.exp(u - top[..., None]).sum(axis=-1)
    return np.asarray(money_per_util * (top + np.log(total)))


def tax_revenue(game: Game, prices: ArrayLike, listed: ArrayLike | None = None) -> FloatArray:
    """Return what sales tax and unit tax bring, money per period, shape ``(B,)``."""
    catalog, money = game.catalog, np.atleast_2d(np.asarray(prices, dtype=np.float64))
    units = game.population.size * game.demand(money, listed)
    return np.asarray(((money * (1.0 - catalog.net_of_tax) + catalog.unit_tax) * units).sum(axis=1))


def welfare(game: Game, prices: ArrayLike, listed: ArrayLike | None = None) -> FloatArray:
    """Return consumer surplus plus all profits and taxes, money per period, ``(B,)``; defined up to a constant."""
    profit = game.product_profit(prices, listed).sum(axis=1)
    return np.asarray(game.surplus(prices, listed) + profit + tax_revenue(game, prices, listed))


def deadweight_loss(game: Game, prices: ArrayLike, listed: ArrayLike | None = None) -> FloatArray:
    """Return the welfare lost against prices at unit cost without tax, money per period, shape ``(B,)``.

    Taxes move money and lose none by themselves: at the same prices the loss is the same with and without them. With
    linear prices and no coupling, marginal-cost prices maximise welfare, so the loss is at least 0. Unit costs of
    0 are replaced by 1e-12, as prices must be positive.
    """
    at_cost = np.maximum(game.catalog.unit_cost - game.catalog.unit_tax, 1e-12)[None]
    return np.asarray(welfare(game, at_cost, listed) - welfare(game, prices, listed))


def regret(profit: ArrayLike, best: ArrayLike) -> FloatArray:
    """Return the running sum over periods of best - profit, shape ``(..., T)``.

    With `best` the optimal policy's expected profit this is the pseudo-regret of bandits (Lattimore and Szepesvari
    2020, section 4.2); with the best reply to each period's rivals it is the hindsight regret per period.

    Args:
        profit: Earned in each period, shape ``(..., T)``.
        best: What the benchmark earns, broadcastable to the same shape.
    """
    return np.cumsum(np.asarray(best, dtype=np.float64) - np.asarray(profit, dtype=np.float64), axis=-1)


def fixed_price_regret(counterfactual: ArrayLike, profit: ArrayLike) -> FloatArray:
    """Return max_a sum_t pi(a, t) - sum_t pi_t: regret to the best fixed action (external regret, Hannan 1957).

    Args:
        counterfactual: What each fixed action would have earned, shape ``(..., A, T)``.
        profit: Earned, shape ``(..., T)``.
    """
    best = np.asarray(counterfactual, dtype=np.float64).sum(axis=-1).max(axis=-1)
    return np.asarray(best - np.asarray(profit, dtype=np.float64).sum(axis=-1))


def best_response_gap(value: ArrayLike, best: ArrayLike) -> FloatArray:
    """Return (V(BR) - V) / V(BR), the share of the best reply's value that a strategy leaves; same shape."""
    top = np.asarray(best, dtype=np.float64)
    return np.asarray((top - np.asarray(value, dtype=np.float64)) / np.where(top == 0.0, np.nan, top))


def nash_conv(game: Game, prices: ArrayLike, listed: ArrayLike | None = None) -> float:
    """Return the sum over sellers of what each gains by its best reply, money per period (Lanctot et al. 2017).

    0 exactly in a Nash equilibrium of the game in constant prices within the catalog's bounds.
    """
    replies = (best_response(game, n, prices, listed) for n in range(game.catalog.num_sellers))
    return float(sum(reply.gain for reply in replies))


def hhi(share: ArrayLike, seller_of: ArrayLike | None = None) -> FloatArray:
    """Return the Herfindahl-Hirschman index 10^4 sum_i (s_i / sum s)^2 of the inside shares, shape ``(...)``.

    10,000 is one seller, 5,000 a symmetric duopoly; the outside option does not count (Hirschman 1964). NaN where
    nobody buys.

    Args:
        share: Of each seller, or of each product with `seller_of`, shape ``(..., N)``.
        seller_of: Seller of each product.
    """
    inside = np.asarray(share, dtype=np.float64)
    if seller_of is not None:
        of = np.asarray(seller_of)
        inside = inside @ (of[:, None] == np.arange(of.max() + 1))
    total = inside.sum(axis=-1, keepdims=True)
    part = inside / np.where(total > 0, total, np.nan)
    return np.asarray(1e4 * (part**2).sum(axis=-1))


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How prices differ between sellers.

    Attributes:
        deviation: Standard deviation over sellers, mean over periods, money.
        variation: The same over the mean price (coefficient of variation; Baye, Morgan and Scholten 2006).
        spread: Highest minus lowest price, mean over periods, money.
        equal: Share of periods in which all prices are the same.
        over_time: Standard deviation over periods, mean over sellers, money.
    """

    deviation: float
    variation: float
    spread: float
    equal: float
    over_time: float


def price_dispersion(prices: ArrayLike) -> Dispersion:
    """Return the dispersion of prices of shape ``(T, N)``."""
    p = np.asarray(prices, dtype=np.float64)
    deviation, spread = p.std(axis=1), np.ptp(p, axis=1)
    return Dispersion(
        float(deviation.mean()), float((deviation / p.mean(axis=1)).mean()), float(spread.mean()),
        float((spread < 1e-12).mean()), float(p.std(axis=0).mean()),
    )  # fmt: skip


def settled(prices: ArrayLike, *, last: int = 100, within: float = 0.05) -> BoolArray:
    """Return per series whether the last periods lie close together, shape ``(...)``.

    The test of Fish, Gonczarowski and Shorrer (2024): over the last `last` periods the 10th and the 90th percentile lie
    within `within` of the median, relative to it.

    Args:
        prices: Shape ``(..., T)``.
        last: Periods looked at.
        within: Relative width allowed.
    """
    tail = np.asarray(prices, dtype=np.float64)[..., -last:]
    low, middle, high = np.percentile(tail, [10, 50, 90], axis=-1)
    return np.asarray((high - middle <= within * np.abs(middle)) & (middle - low <= within * np.abs(middle)))


def stable_since(strategy: ArrayLike) -> int:
    """Return the first period from which a sequence of strategies never changes again.

    Calvano et al. (2020) call a session converged when this lies at least 100,000 periods back.

    Args:
        strategy: Shape ``(T, ...)``.
    """
    rows = np.asarray(strategy)
    changed = (rows[1:] != rows[:-1]).reshape(len(rows) - 1, -1).any(axis=1)
    return int(np.flatnonzero(changed)[-1]) + 1 if changed.any() else 0


@dataclass(frozen=True, slots=True)
class Punishment:
    """What follows a forced price cut.

    Attributes:
        cut: Largest fall of the rival's price in the two periods after the deviation, money.
        recovery: Periods until both prices are back within tolerance for good; -1 if never.
        gain: The deviator's discounted profit with the deviation over that without it, minus 1.
    """

    cut: float
    recovery: int
    gain: float


def punishment(
    prices: ArrayLike, profit: ArrayLike, *, before: ArrayLike, discount: float, tolerance: float = 1e-6
) -> Punishment:
    """Measure the response to a deviation in the first period (Calvano et al. 2020, section IV.C).

    Args:
        prices: From the deviation on, the deviator first, shape ``(T, N)``.
        profit: The deviator's with the deviation and without it, shape ``(2, T)``.
        before: Prices of each seller before the deviation, shape ``(N,)``.
        discount: Discount factor per period.
        tolerance: Difference that counts as back, money.
    """
    p, usual = np.asarray(prices, dtype=np.float64), np.asarray(before, dtype=np.float64)
    away = np.flatnonzero((np.abs(p - usual) > tolerance).any(axis=1))
    recovery = 0 if not len(away) else int(away[-1]) + 1
    values = np.asarray(profit, dtype=np.float64) @ discount ** np.arange(len(p))
    cut = float((usual[1:] - p[1:3, 1:].min(axis=0)).max())
    return Punishment(cut, -1 if recovery == len(p) else recovery, float(values[0] / values[1] - 1.0))
