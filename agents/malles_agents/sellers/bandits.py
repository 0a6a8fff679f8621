"""Bandits over price levels, and a tabular Q-learner: sellers that learn while they play."""

from __future__ import annotations

import numpy as np

from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.oracles import PriceIndex, benchmarks_of
from malles_agents.sellers.remembering import Memory, RememberingSeller, own_profit
from malles_env.errors import invalid
from malles_env.type_aliases import BoolArray, FloatArray, IntArray


class LevelLearner(RememberingSeller):
    """A seller that learns which of m price levels pays; all its products move together along their price boxes.

    Levels lie at (k + 1/2) / m of each product's price box. It lists what it would in the joint maximum. It observes
    its own prices, sales and costs, and learns from the profit they give; each episode it starts from nothing.

    Args:
        view: Whose products it prices.
        levels: m, at least 2.
        seed: Of its exploration; one stream per agent for all markets, so runs repeat by seed.
    """

    def __init__(self, view: SellerView, levels: int = 9, seed: int = 0) -> None:
        super().__init__(view)
        if levels < 2:
            raise invalid("levels", levels, "a whole number of at least 2")
        # with one stream for all, sellers of a kind would explore in step and look as if they colluded
        self.levels, self.rng = levels, np.random.default_rng([seed, view.index])
        self.listed = benchmarks_of(view).monopoly.listed[view.products]
        share = (np.arange(levels)[:, None] + 0.5) / levels
        self.grid = view.price_low + share * (view.price_high - view.price_low)

    def start(self, batch: int) -> Memory:
        """Return untried arms."""
        shape = (batch, self.levels)
        return {
            "tried": np.zeros(shape),
            "earned": np.zeros(shape),
            "last": np.zeros(batch, dtype=np.int64),
            "low": np.full(batch, np.inf),
            "high": np.full(batch, -np.inf),
        }

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Book the last period's profit, then choose a level."""
        rows = np.flatnonzero(~fresh)
        profit = own_profit(self.view, seen)[rows]
        memory["low"][rows] = np.minimum(memory["low"][rows], profit)
        memory["high"][rows] = np.maximum(memory["high"][rows], profit)
        self.learn(memory, rows, profit, seen)
        arm = self.choose(memory, fresh)
        memory["last"] = arm
        return self.grid[arm], np.broadcast_to(self.listed, (len(arm), len(self.listed)))

    def learn(self, memory: Memory, rows: IntArray, profit: FloatArray, seen: Seen) -> None:
        """Add the last profit to the arm that earned it."""
        arm = memory["last"][rows]
        memory["tried"][rows, arm] += 1
        memory["earned"][rows, arm] += profit

    def choose(self, memory: Memory, fresh: BoolArray) -> IntArray:
        """Return the next level of each market, shape ``(B,)``."""
        raise NotImplementedError

    def mean_and_width(self, memory: Memory) -> tuple[FloatArray, FloatArray]:
        """Return mean profit of each arm, infinite where untried, and the range of profits seen (at least 1e-9)."""
        tried = memory["tried"]
        mean = np.where(tried > 0, memory["earned"] / np.maximum(tried, 1), np.inf)
        width = np.where(np.isfinite(memory["low"]), memory["high"] - memory["low"], 1.0)
        return mean, np.maximum(width, 1e-9)[:, None]

    def first_untried(self, mean: FloatArray) -> FloatArray:
        """Return a random order among untried arms as scores above all others."""
        return np.where(np.isinf(mean), 1e300 * (0.5 + 0.5 * self.rng.random(mean.shape)), mean)


class EpsilonGreedy(LevelLearner):
    """The best sample mean; with probability max(0.01, 1 / (1 + t / 20)) a random arm (Sutton and Barto 2018)."""

    def choose(self, memory: Memory, fresh: BoolArray) -> IntArray:
        """Return the best arm so far or a random one."""
        mean, _ = self.mean_and_width(memory)
        mean = np.where(np.isinf(mean), -np.inf, mean)
        epsilon = np.maximum(0.01, 1.0 / (1.0 + memory["tried"].sum(axis=1) / 20.0))
        explore = self.rng.random(len(mean)) < epsilon
        return np.where(explore, self.rng.integers(self.levels, size=len(mean)), mean.argmax(axis=1))


class Ucb(LevelLearner):
    """UCB1: mean + c width sqrt(2 ln t / n), each arm once first (Auer, Cesa-Bianchi and Fischer 2002).

    Args:
        view: Whose products it prices.
        scale: c; the range of profits is that seen so far.
        levels: Price levels.
        seed: Of the order of the first tries.
    """

    def __init__(self, view: SellerView, scale: float = 0.3, levels: int = 9, seed: int = 0) -> None:
        super().__init__(view, levels, seed)
        if not scale >= 0:
            raise invalid("ucb scale", scale, "at least 0")
        self.scale = scale

    def choose(self, memory: Memory, fresh: BoolArray) -> IntArray:
        """Return the arm with the highest upper bound."""
        mean, width = self.mean_and_width(memory)
        tried = memory["tried"]
        log = np.log(np.maximum(tried.sum(axis=1, keepdims=True), 1.0))
        bonus = self.scale * width * np.sqrt(2.0 * log / np.maximum(tried, 1.0))
        return np.asarray(self.first_untried(mean + bonus).argmax(axis=1))


class Thompson(LevelLearner):
    """Gaussian Thompson sampling: mean + normal noise of sd width / (2 sqrt(n)), untried arms first (Thompson 1933)."""

    def choose(self, memory: Memory, fresh: BoolArray) -> IntArray:
        """Return the arm with the highest draw."""
        mean, width = self.mean_and_width(memory)
        noise = self.rng.standard_normal(mean.shape) * 0.5 * width / np.sqrt(np.maximum(memory["tried"], 1.0))
        return np.asarray(self.first_untried(mean + noise).argmax(axis=1))


class QLearning(LevelLearner):
    """Tabular Q-learning on the cheapest rival's last price level (Calvano et al. 2020), started anew each episode.

    A state is the rivals' lowest price index in as many classes as there are levels. Q starts at 0, profits are scaled
    by the seller's profit at monopoly prices, and exploration fades as exp(-beta t). At an episode's length it learns
    far less than in the million periods of the papers; `malles_agents.sellers.tabular` runs those.

    Args:
        view: Whose products it prices.
        alpha: Learning rate.
        beta: Decay of exploration per period.
        discount: Discount factor.
        levels: Price levels.
        seed: Of its exploration.
    """

    def __init__(
        self,
        view: SellerView,
        alpha: float = 0.15,
        beta: float = 0.01,
        discount: float = 0.95,
        levels: int = 9,
        seed: int = 0,
    ) -> None:
        super().__init__(view, levels, seed)
        self.alpha, self.beta, self.discount = alpha, beta, discount
        self.line = PriceIndex.of(view)
        found = benchmarks_of(view).monopoly
        self.scale = max(abs(float(found.profit[view.index])), 1e-9)
        self.others = view.catalog.seller_of != view.index

    def start(self, batch: int) -> Memory:
        """Return empty tables."""
        table = np.zeros((batch, self.levels, self.levels))
        return super().start(batch) | {
            "values": table,
            "state": np.zeros(batch, dtype=np.int64),
            "time": np.zeros(batch),
        }

    def learn(self, memory: Memory, rows: IntArray, profit: FloatArray, seen: Seen) -> None:
        """Move Q of the last state and level towards profit + discount max Q of the state now seen."""
        place = (rows, memory["state"][rows], memory["last"][rows])
        now = self._state(seen)[rows]
        target = profit / self.scale + self.discount * memory["values"][rows, now].max(axis=1)
        memory["values"][place] += self.alpha * (target - memory["values"][place])
        memory["state"][rows] = now
        memory["time"][rows] += 1

    def _state(self, seen: Seen) -> IntArray:
        share = np.where(
            seen.listed & self.others,
            (seen.prices - self.view.catalog.price_low) / (self.view.catalog.price_high - self.view.catalog.price_low),
            1.0,
        ).min(axis=1)
        return np.clip((share * self.levels).astype(np.int64), 0, self.levels - 1)

    def choose(self, memory: Memory, fresh: BoolArray) -> IntArray:
        """Return the best level in the present state, or a random one while exploring."""
        rows = np.arange(len(fresh))
        values = memory["values"][rows, memory["state"]]
        # ties, as at the start, are broken at random
        best = (values + 1e-12 * self.rng.random(values.shape)).argmax(axis=1)
        explore = self.rng.random(len(fresh)) < np.exp(-self.beta * memory["time"])
        return np.where(explore, self.rng.integers(self.levels, size=len(fresh)), best)
