"""Dynamic pricing problems with exact answers: stock that must last, stock as a cap, and reference prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, logsumexp
from scipy.stats import binom

from malles_env.errors import invalid
from malles_env.market.solvers.closed_form import lambert_w_exp
from malles_env.type_aliases import FloatArray, IntArray


def gallego_van_ryzin(stock: int, potential: float) -> tuple[float, float]:
    """Return expected revenue and the best price now, selling `stock` units at rate a exp(-p) over a horizon.

    V(n) = ln sum_{i<=n} (a t / e)^i / i! and p* = V(n) - V(n - 1) + 1 (Gallego and van Ryzin 1994, section 2.3).

    Args:
        stock: n, whole units, at least 0.
        potential: a t, mean number of buyers over the horizon at price 0, more than 0.

    Returns:
        Expected revenue and price, money; the price is infinite without stock.

    Raises:
        InvalidInput: A negative stock or a potential that is not positive.
    """
    if stock < 0 or not potential > 0:
        raise invalid("stock, potential", (stock, potential), "at least 0, and more than 0")
    terms = np.arange(stock + 1) * (np.log(potential) - 1.0) - gammaln(np.arange(stock + 1) + 1.0)
    value = float(logsumexp(terms))
    return value, np.inf if stock == 0 else value - float(logsumexp(terms[:-1])) + 1.0


@dataclass(frozen=True, slots=True)
class StockPlan:
    """What to ask with so much stock so many periods before the end.

    Attributes:
        value: Expected profit to go with t periods left and n units, money, shape ``(T + 1, n + 1)``.
        choice: Index of the best price, shape ``(T + 1, n + 1)``; row 0 is unused.
        prices: The price grid, money, shape ``(m,)``.
    """

    value: FloatArray
    choice: IntArray
    prices: FloatArray

    def price(self, periods_left: ArrayLike, stock: ArrayLike) -> FloatArray:
        """Return the best price, money, for arrays of periods left (at least 1) and units on hand."""
        units = np.minimum(np.asarray(stock, dtype=np.int64), self.value.shape[1] - 1)
        return np.asarray(self.prices[self.choice[np.asarray(periods_left, dtype=np.int64), units]])


def finite_stock_plan(
    prices: ArrayLike, share: ArrayLike, *, size: int, stock: int, periods: int, unit_cost: float = 0.0,
    terminal: ArrayLike | None = None,
) -> StockPlan:  # fmt: skip
    """Return the best prices for a stock that cannot be refilled, by backward induction.

    In a period each of `size` consumers buys one unit with the probability that belongs to the price, so buyers are
    binomial, as `Market` draws them; sales beyond the stock are lost.

    Args:
        prices: The grid, money, shape ``(m,)``.
        share: Choice probability at each price, shape ``(m,)``.
        size: Consumers per period.
        stock: Units at the start.
        periods: T.
        unit_cost: Money per unit sold.
        terminal: What n units are worth after the last period, money, shape ``(stock + 1,)``; default nothing.

    Raises:
        InvalidInput: Shapes that differ, or a size, stock or number of periods below 1.
    """
    grid, chance = np.asarray(prices, dtype=np.float64), np.asarray(share, dtype=np.float64)
    if grid.ndim != 1 or grid.shape != chance.shape:
        raise invalid("prices and share", (grid.shape, chance.shape), "two vectors of the same length")
    if min(size, stock, periods) < 1:
        raise invalid("size, stock, periods", (size, stock, periods), "whole numbers of at least 1")
    last = np.zeros(stock + 1) if terminal is None else np.asarray(terminal, dtype=np.float64)
    if last.shape != (stock + 1,):
        raise invalid("terminal", last.shape, f"shape {(stock + 1,)}, one value per stock")
    most = min(size, stock)
    odds = binom.pmf(np.arange(most + 1), size, chance[:, None])  # (m, most + 1)
    odds[:, -1] = 1.0 - odds[:, :-1].sum(axis=1)  # all larger demands sell what there is
    units = np.arange(stock + 1)
    sold = np.minimum(np.arange(most + 1)[:, None], units)  # (most + 1, n + 1)
    margin = (grid[:, None] - unit_cost) * (odds @ sold)
    value, choice = np.zeros((periods + 1, stock + 1)), np.zeros((periods + 1, stock + 1), dtype=np.int64)
    value[0] = last
    for left in range(1, periods + 1):
        worth = margin + odds @ value[left - 1, units - sold]
        choice[left, 1:] = worth[:, 1:].argmax(axis=0)
        value[left, 1:] = worth[:, 1:].max(axis=0)
        value[left, 0] = last[0]
    return StockPlan(value, choice, grid)


def reference_steady_price(
    quality: float, cost: float, mu: float, strength: float, memory: float, discount: float, outside: float = 0.0
) -> float:
    """Return the price a patient monopolist settles at when consumers compare with a reference price.

    Utility is (a - p + strength (r - p)) / mu with r' = memory r + (1 - memory) p. Setting the derivative of discounted
    profit to zero at p = r gives p = c + mu / k + mu W(exp((a - c - a_0) / mu - 1 / k) / k) with
    k = 1 + strength (1 - discount) / (1 - discount memory); the linear-demand case is Popescu and Wu (2007).

    Args:
        quality: a, money.
        cost: c, money.
        mu: Spread of tastes, money, more than 0.
        strength: At least 0.
        memory: In [0, 1).
        discount: In [0, 1).
        outside: a_0, money.
    """
    k = 1.0 + strength * (1.0 - discount) / (1.0 - discount * memory)
    w = float(lambert_w_exp((quality - cost - outside) / mu - 1.0 / k - np.log(k)))
    return cost + mu / k + mu * w


@dataclass(frozen=True, slots=True)
class ReferencePlan:
    """The best price at each reference price.

    Attributes:
        reference: Grid, money, shape ``(m,)``.
        price: Best price, money, shape ``(m,)``.
        value: Discounted profit per consumer, money, shape ``(m,)``.
    """

    reference: FloatArray
    price: FloatArray
    value: FloatArray

    def steady(self, memory: float, start: float, periods: int = 2_000) -> float:
        """Return the price that following the plan leads to from a first reference price."""
        r = start
        for _ in range(periods):
            p = float(np.interp(r, self.reference, self.price))
            r = memory * r + (1.0 - memory) * p
        return p


def reference_plan(
    quality: float, cost: float, mu: float, strength: float, memory: float, discount: float, outside: float = 0.0,
    *, low: float = 1.0, high: float = 3.0, points: int = 801,
) -> ReferencePlan:  # fmt: skip
    """Solve the same problem by value iteration on a grid of prices, for any first reference price.

    Args:
        quality: a, money.
        cost: c, money.
        mu: Spread of tastes, money.
        strength: Of the reference price.
        memory: Of the reference price.
        discount: Discount factor.
        outside: a_0, money.
        low: Lowest price of the grid.
        high: Highest price of the grid.
        points: Prices of the grid.
    """
    grid = np.linspace(low, high, points)
    utility = (quality - grid[None, :] + strength * (grid[:, None] - grid[None, :]) - outside) / mu
    profit = (grid - cost) / (1.0 + np.exp(-utility))
    following = memory * grid[:, None] + (1.0 - memory) * grid[None, :]
    value, rows = np.zeros(points), np.arange(points)
    for _ in range(10_000):
        worth = profit + discount * np.interp(following, grid, value)
        best = worth.argmax(axis=1)
        done = np.abs(worth[rows, best] - value).max() < 1e-10
        value = worth[rows, best]
        if done:
            break
        # a sweep with the prices held costs one row of a search over prices (Puterman and Shin 1978)
        earned, then = profit[rows, best], following[rows, best]
        for _ in range(100):
            value = earned + discount * np.interp(then, grid, value)
    return ReferencePlan(grid, grid[best], value)
