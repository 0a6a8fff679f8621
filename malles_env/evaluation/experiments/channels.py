"""Channels by which a price acts beyond its own week and its own buyers, and markets in which they are held."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np

from malles_env.evaluation.experiments.price_test import OUTCOMES, PriceTest
from malles_env.market import Market, PooledMarket, Pooling
from malles_env.market.episodes import loyalty_of, put_loyalty
from malles_env.market.state import Demand, MarketState, Outcome
from malles_env.market.tastes import tastes_of
from malles_env.type_aliases import BoolArray, FloatArray

CHANNELS = {
    "loyalty": "the last purchase; held: as in the control world",
    "coupling": "the mean field; held: as in the control world",
    "reference": "reference prices; held: as in the control world",
    "pantry": "stock at home; held: as in the control world",
    "stock": "a stock that may run short; held: never short",
}
"""Channels, and what it means that one is held."""
Channels = frozenset[str]
MEMORIES = frozenset({"loyalty", "coupling", "reference", "pantry"})
"""Channels that are held by giving consumers the memories of the control world."""


def active_channels(market: Market) -> tuple[str, ...]:
    """Return the channels that a market has, in the order of `CHANNELS`."""
    tastes = tastes_of(market.consumers)
    there = {
        "loyalty": tastes is not None and bool(np.any(tastes.lambda_)),
        "coupling": tastes is not None and bool(np.any(tastes.rho)),
        "reference": "reference" in market.memories,
        "pantry": tastes is not None and bool(np.any(tastes.pantry)),
        "stock": bool(np.isfinite(market.catalog.stock).any()),
    }
    return tuple(name for name in CHANNELS if there[name])


@dataclass(frozen=True)
class ControlWorld:
    """The expected path of one market that is never treated, see `control_world`.

    Attributes:
        states: State before each recorded week.
        perceived: Mean field that was perceived in each recorded week, ``(J,)`` each.
    """

    states: tuple[MarketState, ...]
    perceived: tuple[FloatArray, ...]


def control_world(
    market: Market, test: PriceTest, *, warmup: int, before: int, horizon: int, held: Channels = frozenset()
) -> ControlWorld:
    """Play a market that is never treated with expected demand; record the last `before` + `horizon` weeks.

    Args:
        market: Any market of this kind.
        test: Gives the control prices.
        warmup: Weeks from the market's first period to the experiment, at least `before`.
        before: Recorded weeks before the experiment.
        horizon: Weeks of the experiment.
        held: Whether ``"stock"`` is held; the others change nothing here.
    """
    world = PooledMarket(market, Pooling(), groups=1, demand="expected")
    off = np.zeros((1, warmup + horizon, 1), dtype=bool)
    states, perceived = [], []
    for week in range(warmup + horizon):
        _stock_up(world, week - warmup, held)
        if week >= warmup - before:
            states.append(world.state.copy())
        shown = _week(world, test, off[:, week])[1]
        if week >= warmup - before:
            perceived.append(shown.mean_field[0])
    return ControlWorld(tuple(states), tuple(perceived))


def play(
    market: Market,
    test: PriceTest,
    treated: BoolArray,
    *,
    sizes: FloatArray,
    pooling: Pooling,
    control: ControlWorld,
    before: int = 0,
    held: Channels = frozenset(),
) -> FloatArray:
    """Play experiments with expected demand, from where the control world stands before its first recorded week.

    Args:
        market: Any market of this kind.
        test: Prices.
        treated: Who sees the changed price, ``(R, weeks, C)``; the control world has as many weeks.
        sizes: Of the cells, ``(R, C)``.
        pooling: What cells share.
        control: Recorded with the same stock channel held or not.
        before: Weeks before the experiment among `weeks`.
        held: Channels that are held.

    Returns:
        What the seller had in each week, ``(R, weeks, C, K)``, outcomes in the order of `OUTCOMES`.
    """
    world = PooledMarket(market, pooling, groups=len(treated), sizes=sizes, demand="expected")
    for name in MEMORIES:
        _set(world, name, control.states[0])
    world.state.period[:] = control.states[0].period
    world.solves = world.solves and "coupling" not in held
    found = []
    for week in range(treated.shape[1]):
        _stock_up(world, week - before, held)
        for name in held & MEMORIES:
            _set(world, name, control.states[week])
        if "coupling" in held:
            world.state.mean_field[:] = control.perceived[week]
        found.append(_week(world, test, treated[:, week])[0])
    return np.stack(found, axis=1)


def play_drawn(
    market: Market,
    test: PriceTest,
    treated: BoolArray,
    *,
    sizes: FloatArray,
    pooling: Pooling,
    warmup: int,
    before: int,
    seeds: list[int],
    demand: Demand = "multinomial",
) -> FloatArray:
    """Play experiments with drawn purchases, from the market's first period; see `play` for what is returned.

    Args:
        market: Any market of this kind.
        test: Prices.
        treated: Who sees the changed price, ``(R, weeks, C)``, `before` weeks without treatment first.
        sizes: Of the cells, ``(R, C)``.
        pooling: What cells share.
        warmup: Weeks at control prices before the experiment, of which the last `before` are measured.
        before: Measured weeks before the experiment.
        seeds: One per cell, R times C.
        demand: How purchases are drawn.
    """
    world = PooledMarket(market, pooling, groups=len(treated), sizes=sizes, demand=demand)
    world.reset(seeds)
    off, found = np.zeros_like(treated[:, 0]), []
    for week in range(before - warmup, treated.shape[1]):
        _stock_up(world, week - before, frozenset())
        measured = _week(world, test, treated[:, week] if week >= 0 else off)[0]
        if week >= 0:
            found.append(measured)
    return np.stack(found, axis=1)


def shapley(value: dict[Channels, FloatArray], channels: tuple[str, ...]) -> dict[str, FloatArray]:
    """Share a number that depends on which channels are open out over them (Shapley 1953; Shorrocks 2013).

    A channel gets the mean, over all orders in which channels may be opened, of what opening it adds. The parts sum to
    the number with all open minus that with none.

    Args:
        value: The number for each set of open channels.
        channels: All channels.
    """
    parts, n = {}, len(channels)
    for name in channels:
        rest = [other for other in channels if other != name]
        parts[name] = sum(
            (
                factorial(size) * factorial(n - size - 1) / factorial(n)
                * (value[frozenset(chosen) | {name}] - value[frozenset(chosen)])
                for size in range(n)
                for chosen in combinations(rest, size)
            ),
            start=np.zeros_like(value[frozenset()]),
        )  # fmt: skip
    return parts


def subsets(channels: tuple[str, ...]) -> list[Channels]:
    """Return all sets of channels, the empty one first."""
    return [frozenset(chosen) for size in range(len(channels) + 1) for chosen in combinations(channels, size)]


def _week(world: PooledMarket, test: PriceTest, treated: BoolArray) -> tuple[FloatArray, Outcome]:
    """Play a week in which the cells `treated` ``(R, C)`` see the changed price; return what was had, ``(R, C, K)``."""
    prices = np.where(treated.reshape(-1, 1), test.treatment, test.control)
    outcome = world.step(prices, test.listed)
    owned = test.catalog.seller_of == test.seller
    sums = [getattr(outcome, name)[:, owned].sum(axis=1) for name in OUTCOMES]
    return np.stack(sums, axis=1).reshape(*treated.shape, len(OUTCOMES)), outcome


def _stock_up(world: PooledMarket, week: int, held: Channels) -> None:
    """Let nothing run short before week 0 of the experiment, and deliver the first stock then, unless it is held."""
    if week < 0 or "stock" in held:
        world.state.stock[:] = np.inf
    elif week == 0:
        world.restock()


def _set(world: PooledMarket, channel: str, like: MarketState) -> None:
    """Give all cells what one market remembers in a channel."""
    state = world.state
    if channel == "loyalty":
        put_loyalty(state, np.arange(world.num_markets), loyalty_of(like)[0])
    elif channel == "coupling":
        for name in ("mean_field", "window", "centre"):
            getattr(state, name)[:] = getattr(like, name)[0]
    elif channel == "pantry":
        state.pantry[:] = like.pantry[0]
    else:
        state.reference[:] = like.reference[0]
        state.log_reference[:] = like.log_reference[0]
