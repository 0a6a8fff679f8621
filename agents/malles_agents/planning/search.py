"""The best stationary prices and assortment of one seller against given rivals, found by search over full episodes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from malles_agents.planning.common_random import same_draws
from malles_agents.registry import Seller, default_rivals
from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import StationarySeller, best_sellers
from malles_env import envs
from malles_env.market.solvers.ascent import Box, Objective, climb
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

MOST_ENUMERATED = 512


@dataclass(frozen=True)
class Stationary:
    """The action a search found.

    Attributes:
        agent: Whose products they are.
        prices: Money, shape ``(J_n,)``.
        listed: Shape ``(J_n,)``.
        value: Profit per episode in money under expected demand.
        evaluations: Episodes played by the search.
        product_ids: The seller's products, in the order of the arrays.
    """

    agent: str
    prices: FloatArray
    listed: BoolArray
    value: float
    evaluations: int
    product_ids: tuple[str, ...]

    def words(self, currency: str) -> str:
        """Return the listed products with their prices in one line."""
        listed = [i for i in range(len(self.prices)) if self.listed[i]]
        return ", ".join(f"{self.product_ids[i]} {self.prices[i]:,.2f}" for i in listed) + f" ({currency})"

    def seller(self, view: SellerView) -> StationarySeller:
        """Return the seller that plays this action for ever."""
        return StationarySeller(view, self.prices, self.listed)


class EpisodeValue:
    """Profit per episode of stationary actions, many at once: one market of a vector env per candidate.

    Rivals act inside the env on what they see, so those that react are met as they are. Rivals that draw at random
    draw the same for every candidate and in every call: the same action always has the same value.

    Args:
        scenario: The market.
        agent: Whose action is searched.
        rivals: Seller per other agent.
        num_markets: Candidates valued side by side.
        max_cycles: Periods per episode.
        consumers: Built consumers, to avoid building them anew.
    """

    def __init__(
        self,
        scenario: Scenario,
        agent: str,
        rivals: dict[str, Seller],
        *,
        num_markets: int = 128,
        max_cycles: int | None = None,
        consumers: Any = None,
    ) -> None:
        self.view = SellerView.of(scenario, agent, consumers=consumers)
        self.env = envs.vec_env(
            scenario,
            num_markets=num_markets,
            learner=agent,
            rivals=rivals,
            demand="expected",
            consumers=self.view.consumers,
            max_cycles=max_cycles,
        )
        self.batch, self.scale = num_markets, scenario.reward_scale
        self.rivals = tuple(rivals.values())

    def __call__(self, rows: IntArray, prices: FloatArray, listed: BoolArray) -> FloatArray:
        """Return the profit per episode in money of each candidate, shape ``(n,)``."""
        chunks = range(0, len(prices), self.batch)
        return np.concatenate([self._play(prices[i : i + self.batch], listed[i : i + self.batch]) for i in chunks])

    def _play(self, prices: FloatArray, listed: BoolArray) -> FloatArray:
        count = len(prices)
        fill = np.minimum(np.arange(self.batch), count - 1)
        total = np.zeros(self.batch)
        with same_draws(self.rivals, shared=True):
            seen = self.env.core.reset([0] * self.batch)[:, 0]  # one seed: rivals that start by it start alike
            action = self.view.act(seen, prices[fill], listed[fill])
            for _ in range(self.env.max_cycles):
                after, reward, _, _ = self.env.step(action)
                if self.view.orders:
                    action = self.view.act(np.asarray(after), prices[fill], listed[fill])
                total += reward
        return total[:count] * self.scale


def search(
    scenario: Scenario | str,
    agent: str = "seller_0",
    rivals: dict[str, Seller] | None = None,
    *,
    seed: int = 0,
    finalists: int = 8,
    num_markets: int = 128,
    max_cycles: int | None = None,
    consumers: Any = None,
) -> Stationary:
    """Find the best stationary prices and assortment of `agent`.

    Every assortment that fits the shelf is priced at a few price levels (when there are more than 512, a greedy
    choice and random ones stand in); the best of them climb over prices, then over adds, drops and swaps. Demand is
    expected, so the value carries no noise; play the answer on held-out seeds to compare it with other sellers.

    Args:
        scenario: The market.
        agent: Whose action is searched.
        rivals: Seller per other agent; default cost-plus.
        seed: Decides the random starts.
        finalists: Starting points that climb.
        num_markets: Candidates valued side by side; changes speed only.
        max_cycles: Periods per episode; default the scenario's.
        consumers: Built consumers, to avoid building them anew.

    Returns:
        The best action found; deterministic by `seed`.
    """
    loaded = load_scenario(scenario)
    rivals = default_rivals(loaded, agent, consumers=consumers) if rivals is None else rivals
    value = EpisodeValue(loaded, agent, rivals, num_markets=num_markets, max_cycles=max_cycles, consumers=consumers)
    view = value.view
    box = Box(view.price_low, view.price_high, view.unit_cost, view.capacity)
    prices, listed, tried = _starts(value, box, view, finalists, np.random.default_rng(seed))
    top = climb(value, box, prices, listed)
    best = int(top.value.argmax())
    return Stationary(
        agent, top.prices[best], top.listed[best], float(top.value[best]), top.evaluations + tried, view.product_ids
    )


def _starts(
    value: Objective, box: Box, view: SellerView, finalists: int, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray, int]:
    """Return the most promising assortments at their best price level, and how many candidates were valued."""
    shelves = assortments(view, rng)
    levels = [box.low + share * (box.high - box.low) for share in np.linspace(0.1, 0.9, 5)]
    levels += [np.clip(view.regular_price, box.low, box.high)]
    levels += [np.clip(view.unit_cost * (1 + m), box.low, box.high) for m in (0.15, 0.3, 0.5, 0.8)]
    grid = np.array(levels)
    prices = np.tile(grid, (len(shelves), 1))
    listed = np.repeat(shelves, len(grid), axis=0)
    values = value(np.zeros(len(prices), dtype=np.int64), prices, listed).reshape(len(shelves), len(grid))
    order = np.argsort(-values.max(axis=1), kind="stable")[:finalists]
    return grid[values[order].argmax(axis=1)], shelves[order], values.size


def assortments(view: SellerView, rng: np.random.Generator) -> BoolArray:
    """Return the assortments to start from: all that fit when few, else the best sellers and random full shelves."""
    products, capacity = len(view.products), view.capacity
    if sum(comb(products, size) for size in range(1, capacity + 1)) <= MOST_ENUMERATED:
        sizes = range(1, capacity + 1)
        chosen = [list(group) for size in sizes for group in combinations(range(products), size)]
    else:
        chosen = [rng.choice(products, capacity, replace=False).tolist() for _ in range(MOST_ENUMERATED)]
        chosen[0] = np.flatnonzero(best_sellers(view, view.regular_price)).tolist()
    shelves = np.zeros((len(chosen), products), dtype=bool)
    for row, group in enumerate(chosen):
        shelves[row, group] = True
    return shelves
