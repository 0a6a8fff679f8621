"""Which products to offer: exact assortments under the multinomial logit, with prices given or chosen too.

Product j has attraction v_j = exp(u_j) relative to the outside option's 1 and earns r_j = p_j - c_j when sold.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from malles_env.errors import invalid
from malles_env.market.solvers.closed_form import tops
from malles_env.type_aliases import FloatArray, IntArray

MOST_ENUMERATED = 20


@dataclass(frozen=True, slots=True)
class Assortment:
    """A set of products and what it earns.

    Attributes:
        products: Indices, ascending.
        profit: Money per consumer.
        prices: Money, one per product of the set; empty where prices were given.
    """

    products: IntArray
    profit: float
    prices: FloatArray


def profit_of(products: ArrayLike, margin: ArrayLike, attraction: ArrayLike) -> float:
    """Return sum_S r v / (1 + sum_S v), money per consumer."""
    chosen = np.asarray(products, dtype=np.int64)
    v, r = np.asarray(attraction, dtype=np.float64)[chosen], np.asarray(margin, dtype=np.float64)[chosen]
    return float(r @ v) / (1.0 + float(v.sum()))


def revenue_ordered(margin: ArrayLike, attraction: ArrayLike) -> Assortment:
    """Return the best assortment without a limit: some set of the largest margins (Talluri and van Ryzin 2004).

    Args:
        margin: r, money per unit sold, shape ``(J,)``.
        attraction: v, more than 0, shape ``(J,)``.
    """
    r, v = _checked(margin, attraction)
    order = np.argsort(-r, kind="stable")
    value = np.cumsum(r[order] * v[order]) / (1.0 + np.cumsum(v[order]))
    best = int(value.argmax())
    if value[best] <= 0:
        return _nothing()
    return Assortment(np.sort(order[: best + 1]), float(value[best]), np.empty(0))


def capacity(margin: ArrayLike, attraction: ArrayLike, most: int) -> Assortment:
    """Return the best assortment of at most `most` products, exactly.

    The optimal profit is the largest lambda for which the `most` largest positive v_j (r_j - lambda) sum to lambda;
    Dinkelbach's iteration finds it in a few steps (Rusmevichientong, Shen and Shmoys 2010). The set need not be
    revenue-ordered.

    Args:
        margin: r, money per unit sold, shape ``(J,)``.
        attraction: v, more than 0, shape ``(J,)``.
        most: Capacity of the shelf, at least 1.

    Raises:
        InvalidInput: The capacity is below 1 or an attraction is not positive.
    """
    r, v = _checked(margin, attraction)
    if most < 1:
        raise invalid("most", most, "a whole number of at least 1")
    value, chosen = 0.0, np.empty(0, dtype=np.int64)
    while True:
        new = tops(v * (r - value), most)
        profit = profit_of(new, r, v)
        if len(new) == 0 or profit <= value:
            return Assortment(chosen, value, np.empty(0))
        value, chosen = profit, new


def priced(quality: ArrayLike, cost: ArrayLike, slope: ArrayLike, most: int | None = None) -> Assortment:
    """Return the best assortment and its best prices together, u_j = a_j - b_j p_j in utils against u_0 = 0.

    At total profit R product j is best priced at c_j + 1 / b_j + R and then adds exp(a_j - b_j (c_j + R) - 1) / b_j;
    R is the root at which the largest of these, up to the capacity, add up to R (Wang 2012; Gallego and Wang 2014).
    With a common slope these are the products with the largest a_j / b - c_j.

    Args:
        quality: a, utils, shape ``(J,)``.
        cost: c, money, shape ``(J,)``.
        slope: b, utils per money, more than 0.
        most: Capacity of the shelf; None: all products.

    Raises:
        InvalidInput: A slope is not positive.
    """
    a, c = np.asarray(quality, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    b = np.broadcast_to(np.asarray(slope, dtype=np.float64), a.shape)
    if not (b > 0).all():
        raise invalid("slope", b.tolist(), "numbers above 0")
    limit = len(a) if most is None else most

    def terms(profit: float) -> FloatArray:
        return np.asarray(np.exp(a - b * (c + profit) - 1.0) / b)

    def excess(profit: float) -> float:
        return float(np.sort(terms(profit))[-limit:].sum()) - profit

    high = 1.0
    while excess(high) > 0:
        high *= 2.0
    value = float(brentq(excess, 0.0, high, xtol=1e-14, rtol=1e-14))
    chosen = tops(terms(value), limit)
    return Assortment(chosen, value, (c + 1.0 / b + value)[chosen])


def brute_force(margin: ArrayLike, attraction: ArrayLike, most: int | None = None) -> Assortment:
    """Return the best assortment by trying all; for checks, and for limits no formula covers.

    Raises:
        InvalidInput: More than 20 products.
    """
    r, v = _checked(margin, attraction)
    if len(r) > MOST_ENUMERATED:
        raise invalid("products", len(r), f"at most {MOST_ENUMERATED} to enumerate")
    best = _nothing()
    for size in range(1, (most or len(r)) + 1):
        for group in combinations(range(len(r)), size):
            value = profit_of(group, r, v)
            if value > best.profit:
                best = Assortment(np.array(group), value, np.empty(0))
    return best


def _nothing() -> Assortment:
    return Assortment(np.empty(0, dtype=np.int64), 0.0, np.empty(0))


def _checked(margin: ArrayLike, attraction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    r, v = np.asarray(margin, dtype=np.float64), np.asarray(attraction, dtype=np.float64)
    if r.ndim != 1 or r.shape != v.shape or len(r) == 0:
        raise invalid("margin and attraction", (r.shape, v.shape), "two vectors of the same length, at least 1")
    if not (v > 0).all():
        raise invalid("attraction", v.tolist(), "numbers above 0")
    return r, v
