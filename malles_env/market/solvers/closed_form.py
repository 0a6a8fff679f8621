"""Exact answers of the multinomial logit: what solvers, tests and oracles are checked against.

Notation: product j has quality a_j, unit cost c_j and utility (a_j - p_j) / mu; the outside option has quality a_0.
Prices, costs, qualities and mu are in money; profits are per consumer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import wrightomega

from malles_env.errors import invalid
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Optimum:
    """Prices and what they earn.

    Attributes:
        prices: Money, shape ``(J,)``.
        share: Choice probability of each product, shape ``(J,)``.
        profit: Money per consumer, shape ``(J,)``.
    """

    prices: FloatArray
    share: FloatArray
    profit: FloatArray


def lambert_w_exp(x: ArrayLike) -> FloatArray:
    """Return W(exp(x)) for the principal branch of Lambert's W, without overflow (Wright's omega)."""
    return np.asarray(wrightomega(np.asarray(x, dtype=np.float64)).real)


def logit_shares(prices: ArrayLike, quality: ArrayLike, mu: float, outside: float = 0.0) -> FloatArray:
    """Return choice probabilities ``(..., J)`` of products with utility (a - p) / mu (McFadden 1974)."""
    utility = (np.asarray(quality, dtype=np.float64) - np.asarray(prices, dtype=np.float64)) / mu
    top = np.maximum(utility.max(axis=-1, keepdims=True), outside / mu)
    weight = np.exp(utility - top)
    return np.asarray(weight / (np.exp(outside / mu - top) + weight.sum(axis=-1, keepdims=True)))


def joint_optimum(quality: ArrayLike, cost: ArrayLike, mu: float, outside: float = 0.0) -> Optimum:
    """Return what one seller of all products asks: the same mark-up mu (1 + w) on each.

    w = W(sum_j exp((a_j - c_j - a_0) / mu - 1)); total profit is mu w and the inside share w / (1 + w) (Li and Huh
    2011; Zhang, Rusmevichientong and Topaloglu 2018).

    Args:
        quality: a, money, shape ``(J,)``.
        cost: c, money, shape ``(J,)``.
        mu: Spread of tastes, money, more than 0.
        outside: a_0, money.

    Raises:
        InvalidInput: mu is not positive.
    """
    a, c = _pair(quality, cost, mu)
    w = float(lambert_w_exp(_log_sum((a - c - outside) / mu - 1.0)))
    prices = c + mu * (1.0 + w)
    share = logit_shares(prices, a, mu, outside)
    return Optimum(prices, share, (prices - c) * share)


def sensitivity_optimum(quality: ArrayLike, cost: ArrayLike, slope: ArrayLike, outside: float = 0.0) -> Optimum:
    """Return one seller's prices when products differ in price sensitivity: u_j = a_j - b_j p_j, in utils.

    p_j = c_j + 1 / b_j + R, where R, the total profit, is the only root of
    R = sum_j exp(a_j - b_j (c_j + R) - 1 - u_0) / b_j (Gallego and Wang 2014).

    Args:
        quality: a, utils, shape ``(J,)``.
        cost: c, money, shape ``(J,)``.
        slope: b, utils per money, more than 0, shape ``(J,)``.
        outside: u_0, utils.

    Raises:
        InvalidInput: A slope is not positive.
    """
    a, c = np.asarray(quality, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    b = np.broadcast_to(np.asarray(slope, dtype=np.float64), a.shape)
    if not (b > 0).all():
        raise invalid("slope", b.tolist(), "numbers above 0")

    def excess(profit: float) -> float:
        return float((np.exp(a - b * (c + profit) - 1.0 - outside) / b).sum()) - profit

    high = 1.0
    while excess(high) > 0:
        high *= 2.0
    root = float(brentq(excess, 0.0, high, xtol=1e-14, rtol=1e-14))
    prices = c + 1.0 / b + root
    weight = np.exp(a - b * prices - outside)
    share = weight / (1.0 + weight.sum())
    return Optimum(prices, share, (prices - c) * share)


def nash(quality: ArrayLike, cost: ArrayLike, owner: ArrayLike, mu: float, outside: float = 0.0) -> Optimum:
    """Return the only Bertrand-Nash equilibrium of multi-product sellers (Nocke and Schutz 2018).

    A seller asks one mark-up m_f on all its products, m_f = mu (1 + W(S_f exp(-1) / (H - A_f))) with the type
    S_f = sum_j exp((a_j - c_j) / mu), A_f its part of the aggregate H = exp(a_0 / mu) + sum_f A_f. Given H,
    x_f = m_f / mu solves x (1 - (S_f / H) exp(-x)) = 1, and H is the root of a decreasing function.

    Args:
        quality: a, money, shape ``(J,)``.
        cost: c, money, shape ``(J,)``.
        owner: Seller of each product, whole numbers, shape ``(J,)``.
        mu: Spread of tastes, money, more than 0.
        outside: a_0, money.

    Raises:
        InvalidInput: mu is not positive.
    """
    a, c = _pair(quality, cost, mu)
    sellers, of = np.unique(np.asarray(owner), return_inverse=True)
    # everything relative to exp(a_0 / mu), so that nothing overflows
    types = np.array([_log_sum((a[of == f] - c[of == f] - outside) / mu) for f in range(len(sellers))])

    def markups(log_h: float) -> FloatArray:
        return np.array([_markup(float(kind) - log_h) for kind in types])

    def excess(log_h: float) -> float:
        return float(np.exp(-log_h) + np.exp(types - log_h - markups(log_h)).sum()) - 1.0

    high = 1.0 + float(np.log1p(np.exp(np.minimum(types, 700.0)).sum()))
    log_h = float(brentq(excess, 0.0, high, xtol=1e-14, rtol=1e-14))
    prices = c + mu * markups(log_h)[of]
    share = logit_shares(prices, a, mu, outside)
    return Optimum(prices, share, (prices - c) * share)


def _markup(log_ratio: float) -> float:
    """Return the root x > 1 of x (1 - exp(log_ratio - x)) = 1."""

    def gap(x: float) -> float:
        return x * (1.0 - np.exp(min(log_ratio - x, 50.0))) - 1.0

    high = max(2.0, log_ratio + 2.0)
    while gap(high) < 0:
        high += 2.0
    return float(brentq(gap, max(1.0, log_ratio), high, xtol=1e-15, rtol=1e-14))


def critical_discount(collusive: float, deviation: float, punished: float) -> float:
    """Return the smallest discount factor at which grim trigger sustains a price (Friedman 1971).

    delta* = (deviation - collusive) / (deviation - punished), all of them one seller's profits per period.
    """
    return (deviation - collusive) / (deviation - punished)


def symmetric_coupled_nash(
    sellers: int, quality: float, cost: float, mu: float, coupling: float, outside: float = 0.0
) -> float:
    """Return the symmetric Nash price of one-product sellers whose consumers feel the shares of the population.

    Utility is (a - p_j + J q_j) / mu at the fixed point of q, with `coupling` J in money. The first-order condition is
    p - c = s / d with d = (s (1 - n s) / (1 - k s (1 - n s)) + (n - 1) s / (1 - k s)) / (n mu), k = J / mu. It comes
    from implicit differentiation along the common and the difference mode; valid while J < 2 mu (unique demand).

    Raises:
        InvalidInput: J is 2 mu or more.
    """
    if not coupling < 2.0 * mu:
        raise invalid("coupling", coupling, f"less than 2 mu = {2.0 * mu:g}, where demand is unique")
    n, k = sellers, coupling / mu

    def price(s: float) -> float:
        return quality + coupling * s - outside - mu * float(np.log(s / (1.0 - n * s)))

    def condition(s: float) -> float:
        common, difference = s * (1 - n * s) / (1 - k * s * (1 - n * s)), (n - 1) * s / (1 - k * s)
        return price(s) - cost - s * n * mu / (common + difference)

    return price(float(brentq(condition, 1e-12, 1.0 / n - 1e-12, xtol=1e-15)))


def capped_price(quality: float, mu: float, stock_share: float, sellers: int = 2, outside: float = 0.0) -> float:
    """Return the price at which symmetric sellers just sell their stock: p = a - a_0 - mu ln(k / (1 - n k)).

    It is the Nash price where the stock per consumer and period, `stock_share` k, binds (and the unconstrained Nash
    price lies below); stated with n = 2 for the market of Friedrich et al. (2024).
    """
    if not 0.0 < stock_share < 1.0 / sellers:
        raise invalid("stock_share", stock_share, f"more than 0 and less than 1 / {sellers}")
    return quality - outside - mu * float(np.log(stock_share / (1.0 - sellers * stock_share)))


def _pair(quality: ArrayLike, cost: ArrayLike, mu: float) -> tuple[FloatArray, FloatArray]:
    if not mu > 0:
        raise invalid("mu", mu, "more than 0")
    a = np.asarray(quality, dtype=np.float64)
    return a, np.broadcast_to(np.asarray(cost, dtype=np.float64), a.shape)


def _log_sum(values: FloatArray) -> float:
    top = float(values.max())
    return top + float(np.log(np.exp(values - top).sum()))


def tops(values: FloatArray, most: int) -> IntArray:
    """Return the indices of the at most `most` largest positive values, ascending."""
    order = np.argsort(-values, kind="stable")[:most]
    return np.sort(order[values[order] > 0])
