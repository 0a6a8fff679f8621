"""Markets to test the faces on: the bundled scenarios with quick consumers, and an awkward one of our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

import malles_env
from malles_env.consumers import LogitConsumers
from malles_env.market import (
    Catalog,
    Market,
    MeanField,
    Population,
    PriceRules,
    Product,
    Promotions,
    Replenishment,
    Supply,
    Tastes,
    Tier,
    Tiers,
)

CROOKED = "crooked"  # sellers of unequal size, shelves too small, stock that runs out, listing fees
ALONE = "alone"  # one seller
PROMOTED = "promoted"  # the crooked one with fees and unequal slots for display and advertising
RULED = "ruled"  # the crooked one with price rules, some that bind and some that are counted
STOCKED = "stocked"  # the promoted one with orders, of lead times from 0 to 2 periods
TIERED = "tiered"  # the stocked one with quantity discounts on two products of the large seller and one of the small
OWN = [CROOKED, ALONE, PROMOTED, RULED, STOCKED, TIERED]
NAMES = [*malles_env.list_scenarios(), *OWN]


@dataclass(frozen=True)
class Small:
    """The part of a scenario that the envs ask for."""

    name: str
    products: tuple[Product, ...]
    capacity: tuple[tuple[str, int], ...] = ()
    title: str = "A small market"
    reward_scale: float = 50.0
    max_cycles: int = 6
    size: float = 300.0
    promotions: Promotions | None = None
    price_rules: PriceRules | None = None
    replenishment: Replenishment | None = None
    tiers: Tiers | None = None

    def catalog(self) -> Catalog:
        return Catalog(
            self.products, dict(self.capacity), promotions=self.promotions, price_rules=self.price_rules,
            replenishment=self.replenishment, tiers=self.tiers,
        )  # fmt: skip

    def market(self, num_markets: int = 1, demand: Any = "multinomial", consumers: Any = None) -> Market:
        products = len(self.products)
        loyalty = np.full((2, products + 1), 1.0 / (products + 1))
        population = Population(self.size, np.array([0.3, 0.7]), loyalty)
        return Market(
            self.catalog(), population, consumers or quick_consumers(2, products), num_markets=num_markets,
            demand=demand, mean_field=MeanField(window=3),
        )  # fmt: skip


def quick_consumers(segments: int, products: int) -> LogitConsumers:
    rng = np.random.default_rng(7)
    return LogitConsumers(
        Tastes(
            alpha=rng.normal(0.0, 0.5, (segments, products)),
            beta=2.0,
            gamma=0.5,
            rho=1.0,
            lambda_=1.0,
            kappa=np.full((segments, products), -1.0),
            delta=0.5,
            display=0.8,
            feature=0.5,
        )
    )


@cache
def scenario_of(name: str) -> Any:
    if name == CROOKED:
        goods = tuple(
            Product(f"p{j}", "big" if j in (0, 2, 3) else "small", 0.5 + 0.2 * j, 2.0 + j, stock=150.0 * (1 + j),
                    listing_fee=0.5)
            for j in range(4)
        )  # fmt: skip
        return Small(name, (*goods, Product("p4", "third", 0.0, 1.0)), (("big", 2),))
    if name == PROMOTED:
        promotions = Promotions(3.25, 7.5, {"big": (1, 2), "small": (0, 1)})
        return replace(scenario_of(CROOKED), name=name, promotions=promotions)
    if name == RULED:
        rules = PriceRules((0.99, 0.49), change_share=0.4, margin=4.0, counted=frozenset({"margin"}))
        return replace(scenario_of(CROOKED), name=name, price_rules=rules)
    if name == STOCKED:
        supplies = (
            Supply(120.0, 60.0, 2, 4.0, 0.05, 40.0, 0.2),
            Supply(90.0, None, 0, 2.5, 0.1),
            Supply(80.0, 33.0, 1, 0.0, 0.02, 10.0),
            Supply(60.0, 7.0, 2, 1.25, 0.0, 60.0, 1.0),
            Supply(100.0, 100.0, 0),
        )
        goods = tuple(replace(product, stock=np.inf) for product in scenario_of(PROMOTED).products)
        return replace(scenario_of(PROMOTED), name=name, products=goods, replenishment=Replenishment(supplies))
    if name == TIERED:
        tiers = Tiers({"p0": Tier(2, 0.4), "p3": Tier(3, 0.25), "p1": Tier(2, 0.5)})
        return replace(scenario_of(STOCKED), name=name, tiers=tiers)
    if name == ALONE:
        return Small(name, (Product("p0", "only", 1.0, 2.0), Product("p1", "only", 1.0, 3.0)), (("only", 1),))
    return malles_env.load_scenario(name)


@cache
def settings_of(name: str) -> dict[str, Any]:
    """Return scenario and consumers; a language model's tastes are replaced by quick ones of the same shape."""
    scenario = scenario_of(name)
    if name in OWN:
        return {"scenario": scenario}
    if scenario.consumers.kind == "logit":
        return {"scenario": scenario, "consumers": scenario.build_consumers()}
    shape = (len(scenario.segments), len(scenario.products))
    return {"scenario": scenario, "consumers": quick_consumers(*shape)}


def draw(env: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Return random actions from our own stream, so that spaces need no seed."""
    return {agent: random_action(env.action_space(agent), rng) for agent in env.agents}


def random_action(space: Any, rng: np.random.Generator) -> Any:
    if hasattr(space, "spaces"):
        price = space["price"]
        bits = [key for key in sorted(space.spaces, reverse=True) if key not in ("price", "order", "tier")]
        drawn = {"price": rng.uniform(price.low, price.high)} | {
            key: rng.integers(0, 2, space[key].n).astype(np.int8) for key in bits
        }
        drawn |= {"tier": rng.uniform(0.0, space["tier"].high)} if "tier" in space.spaces else {}
        return drawn | ({"order": rng.integers(0, space["order"].high + 1)} if "order" in space.spaces else {})
    if hasattr(space, "nvec"):
        return rng.integers(0, space.nvec)
    if hasattr(space, "n"):
        return rng.integers(space.n)
    return rng.uniform(-1.0, 1.0, space.shape).astype(np.float32)


def same(first: Any, second: Any) -> bool:
    """Return whether two nested results are equal bit for bit, types included."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=True)
    return bool(first == second)


SCENARIOS = malles_env.list_scenarios()
ACTION_MODES = ["continuous", "discrete", "dict"]
OBSERVATION_MODES = ["flat", "dict"]


def consumers_of(name: str) -> Any:
    """Return the consumers that stand in for a bundled scenario's own; None leaves those of our own scenarios."""
    return settings_of(name).get("consumers")


def make(name: str, **settings: Any) -> Any:
    """Return the parallel env of a scenario with quick consumers."""
    return malles_env.parallel_env(**(settings_of(name) | settings))


def alike(env: Any, batch: Any, many: Any, seed: int = 4, periods: int = 9) -> Iterator[tuple[Any, Any, Any]]:
    """Play a parallel env beside a batch of one market and of three, and hold all that they show against it.

    Yields:
        After each period the joint action, infos of the parallel env, and observations of the batch of one.
    """
    batch.seed(seed)
    many.seed(seed)
    rows, all_rows = batch.reset(), many.reset()
    observations, _ = env.reset(seed=seed)
    for joint in sampled(env, 9, periods):
        for i, agent in enumerate(env.possible_agents):
            np.testing.assert_array_equal(observations[agent], rows[i])
            np.testing.assert_array_equal(observations[agent], all_rows[i])
        observations, rewards, _, _, infos = env.step(joint)
        action = np.stack(list(joint.values()))
        rows, gains, _, found = batch.step(action)
        all_rows, *_ = many.step(np.tile(action, (3, 1)))
        np.testing.assert_array_equal(np.float32(list(rewards.values())), gains)
        for info, other in zip(map(numbers, infos.values()), found, strict=True):
            assert info == {key: other[key] for key in info}
        yield joint, infos, rows


def numbers(info: dict[str, Any]) -> dict[str, Any]:
    """Return an info without what is no number: the action mask of the discrete modes."""
    return {key: value for key, value in info.items() if key != "action_mask"}


def play(env: Any, joint: list[dict[str, Any]]) -> list[Any]:
    """Return what each step answered."""
    return [env.step(actions) for actions in joint]


def sampled(env: Any, seed: int, count: int) -> list[dict[str, Any]]:
    """Return joint actions of all agents for `count` periods."""
    rng = np.random.default_rng(seed)
    spaces = {agent: env.action_space(agent) for agent in env.possible_agents}
    return [{agent: random_action(space, rng) for agent, space in spaces.items()} for _ in range(count)]


def arrays_of(observation: Any) -> list[np.ndarray]:
    """Return the arrays of a flat or dict observation."""
    return list(observation.values()) if isinstance(observation, dict) else [observation]
