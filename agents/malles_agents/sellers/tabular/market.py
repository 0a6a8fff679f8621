"""`GridMarket`: the logit stage game of one-product sellers on a grid of prices, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.solvers import closed_form
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True)
class GridMarket:
    """N sellers with one product each; the defaults are the market of Calvano et al. (2020), section II.

    Each seller's m prices are equally spaced on [p_N - xi (p_M - p_N), p_M + xi (p_M - p_N)] with its own Nash and
    joint-profit price: xi stretches both ends, so neither benchmark price lies on the grid.

    Attributes:
        quality: a_i, money, shape ``(N,)``.
        cost: c_i, money, shape ``(N,)``.
        mu: Spread of tastes, money.
        outside: a_0, money.
        levels: m.
        margin: xi.
    """

    quality: tuple[float, ...] = (2.0, 2.0)
    cost: tuple[float, ...] = (1.0, 1.0)
    mu: float = 0.25
    outside: float = 0.0
    levels: int = 15
    margin: float = 0.1

    def __post_init__(self) -> None:
        """Check the shapes."""
        if not self.quality or len(self.quality) != len(self.cost):
            raise invalid("cost", self.cost, f"{len(self.quality)} numbers, one per quality (at least one)")
        if self.levels < 2:
            raise invalid("levels", self.levels, "a whole number of at least 2")

    @classmethod
    def symmetric(cls, sellers: int = 2, **settings: float) -> GridMarket:
        """Return the market of `sellers` equal sellers."""
        return cls(quality=(2.0,) * sellers, cost=(1.0,) * sellers, **settings)  # type: ignore[arg-type]

    @property
    def num_sellers(self) -> int:
        """N."""
        return len(self.quality)

    @property
    def num_states(self) -> int:
        """m^N, the price vectors."""
        return int(self.levels**self.num_sellers)

    @cached_property
    def nash(self) -> closed_form.Optimum:
        """Bertrand-Nash prices and profits in the continuous game."""
        return closed_form.nash(self.quality, self.cost, np.arange(self.num_sellers), self.mu, self.outside)

    @cached_property
    def monopoly(self) -> closed_form.Optimum:
        """Prices and profits that maximise joint profit in the continuous game."""
        return closed_form.joint_optimum(self.quality, self.cost, self.mu, self.outside)

    @cached_property
    def grid(self) -> FloatArray:
        """Prices, money, shape ``(N, m)``."""
        low, high = self.nash.prices, self.monopoly.prices
        reach = self.margin * (high - low)
        return np.linspace(low - reach, high + reach, self.levels, axis=1)

    @cached_property
    def actions(self) -> IntArray:
        """Price index of each seller in each state, shape ``(m^N, N)``; seller 0 is the slowest digit."""
        return np.array(list(product(range(self.levels), repeat=self.num_sellers)), dtype=np.int64)

    @cached_property
    def weights(self) -> IntArray:
        """What each seller's price index adds to the state's number, shape ``(N,)``."""
        return self.levels ** np.arange(self.num_sellers - 1, -1, -1, dtype=np.int64)

    def profits_at(self, prices: ArrayLike) -> FloatArray:
        """Return profits per consumer at prices of shape ``(..., N)``."""
        money = np.asarray(prices, dtype=np.float64)
        share = closed_form.logit_shares(money, self.quality, self.mu, self.outside)
        return np.asarray((money - np.asarray(self.cost)) * share)

    @cached_property
    def profit(self) -> FloatArray:
        """Profit of each seller in each state, shape ``(N, m^N)``."""
        return np.ascontiguousarray(self.profits_at(self.prices).T)

    @cached_property
    def prices(self) -> FloatArray:
        """Prices of each state, money, shape ``(m^N, N)``."""
        return self.grid[np.arange(self.num_sellers), self.actions]

    def first_values(self, discount: float) -> FloatArray:
        """Return the first Q values ``(N, m)``: discounted profit if the rivals choose uniformly for ever."""
        means = [
            [self.profit[i, self.actions[:, i] == a].mean() for a in range(self.levels)]
            for i in range(self.num_sellers)
        ]
        return np.array(means) / (1.0 - discount)

    def gain(self, profit: ArrayLike) -> FloatArray:
        """Return the profit gain Delta of profits ``(..., N)``, 0 at Nash and 1 at the joint optimum."""
        low, high = self.nash.profit.mean(), self.monopoly.profit.mean()
        return np.asarray((np.asarray(profit, dtype=np.float64).mean(axis=-1) - low) / (high - low))

    def pure_nash(self) -> IntArray:
        """Return the stage game's pure Nash equilibria on the grid: their states, shape ``(E,)``."""
        shape = (self.levels,) * self.num_sellers
        stable = np.ones(self.num_states, dtype=bool)
        for i in range(self.num_sellers):
            table = self.profit[i].reshape(shape)
            stable &= (table >= table.max(axis=i, keepdims=True)).reshape(-1)
        return np.flatnonzero(stable)
