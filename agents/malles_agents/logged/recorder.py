"""Plays sellers against each other and keeps what each saw, did and earned, and how likely it was to do so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from malles_agents.logged.log import Log, World
from malles_agents.logged.stochastic import StochasticSeller, as_stochastic
from malles_agents.planning.common_random import same_draws
from malles_agents.registry import Seller, check_name, make_seller
from malles_agents.seller_view import SellerView
from malles_env.envs.core.named import Beginner
from malles_env.envs.core.vector_core import VectorCore
from malles_env.envs.spaces.actions import ActionMode
from malles_env.errors import invalid
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import FloatArray, OnProgress

if TYPE_CHECKING:
    from malles_env.market import Consumers

SIDE_BY_SIDE = 256
MOST_EPISODES = 10_000_000


@dataclass(frozen=True)
class Plan:
    """What to record.

    Attributes:
        scenario: Name or path.
        sellers: Seller of each agent by its name, in the order of the agents; one name alone serves all.
        agent: The only seller to log, or None: all. The others are then rivals, who need no propensities.
        rivals: Kind of the other sellers where one is logged.
        episodes: n.
        cycles: T, periods of an episode; None: the scenario's.
        seed: Episode i is seeded with seed + i.
        action_mode: ``"continuous"`` or ``"discrete"``.
        price_levels: Prices of the discrete grid.
        history: Periods that observations show.
        model: Taste model instead of the scenario's own.
    """

    scenario: str
    sellers: tuple[str, ...]
    agent: str | None = None
    rivals: str = "cost-plus"
    episodes: int = 100
    cycles: int | None = None
    seed: int = 0
    action_mode: ActionMode = "continuous"
    price_levels: int = 15
    history: int = 1
    model: str | None = None

    def by_agent(self, scenario: Scenario) -> dict[str, str]:
        """Return each agent's seller by name.

        Raises:
            InvalidInput: No such agent or seller, or another number of sellers than of agents.
        """
        agents = [f"seller_{n}" for n in range(scenario.catalog().num_sellers)]
        for spec in (*self.sellers, self.rivals):
            check_name(spec)
        if self.agent is not None:
            if self.agent not in agents:
                raise invalid("agent", self.agent, ", ".join(agents))
            if len(self.sellers) != 1:
                raise invalid("sellers", ",".join(self.sellers), "one seller, that of the agent; --rivals: the others")
            return {agent: self.sellers[0] if agent == self.agent else self.rivals for agent in agents}
        if len(self.sellers) not in (1, len(agents)):
            raise invalid("sellers", ",".join(self.sellers), f"one seller for all agents, or {len(agents)}, one each")
        names = self.sellers * len(agents) if len(self.sellers) == 1 else self.sellers
        return dict(zip(agents, names, strict=True))

    def world(self, scenario: Scenario) -> World:
        """Return what a log states of where it was played.

        Raises:
            InvalidInput: See `by_agent`, or an episode's length that is no whole number of at least 1.
        """
        from importlib.metadata import version

        from malles_env.envs.core.market_batch import check_cycles

        sellers = self.by_agent(scenario)
        logged = tuple(sellers) if self.agent is None else (self.agent,)
        return World(
            self.scenario, scenario.digest(), sellers, logged, self.action_mode, self.price_levels, self.history,
            check_cycles(self.cycles, scenario), self.model, self.seed, float(scenario.reward_scale),
            scenario.currency, version("malles-env"),
        )  # fmt: skip


class Table:
    """The sellers of a setting around their market, ready to play.

    Args:
        world: Who plays where.
        scenario: The market of that setting.
        absent: An agent whose seller is not built, as its policy file may be elsewhere; None: all are.

    Attributes:
        views: What each agent knows of its market, by agent.
        sellers: Seller by agent.
    """

    def __init__(self, world: World, scenario: Scenario, absent: str | None = None) -> None:
        self.world, self.scenario = world, scenario
        self.consumers: Consumers = scenario.build_consumers(world.model)
        self.options: dict[str, Any] = {
            "consumers": self.consumers, "action_mode": world.action_mode, "price_levels": world.price_levels,
            "history": world.history,
        }  # fmt: skip
        self.views = {agent: SellerView.of(scenario, agent, **self.options) for agent in world.sellers}
        made = {agent: self.make(spec, agent) for agent, spec in world.sellers.items() if agent != absent}
        self.sellers: dict[str, Seller | StochasticSeller] = {
            agent: as_stochastic(seller, self.views[agent], world.sellers[agent]) if agent in world.logged else seller
            for agent, seller in made.items()
        }

    def make(self, spec: str, agent: str) -> Seller:
        """Return a seller for one of the agents."""
        return make_seller(spec, self.scenario, agent, **self.options)

    def play(
        self,
        sellers: Mapping[str, Any],
        agents: tuple[str, ...],
        episodes: int,
        seed: int,
        watch: OnProgress | None = None,
    ) -> list[Log]:
        """Play episodes and return the logs of some agents.

        Sellers with a distribution are drawn from; all others are asked for their action. The same call gives the same
        play, whatever was played before.

        Args:
            sellers: Who plays, by agent.
            agents: Whose play is kept; their propensities are 1 where they have no distribution.
            episodes: How many.
            seed: Of the first; also decides the draws.
            watch: Called with episodes played and wanted.

        Raises:
            InvalidInput: A number of episodes that is not from 1 to ten million.
        """
        if not 1 <= episodes <= MOST_EPISODES:
            raise invalid("episodes", episodes, f"a whole number from 1 to {MOST_EPISODES}")
        in_order = {agent: sellers[agent] for agent in self.world.sellers}
        with same_draws(in_order.values()):
            return self._play(in_order, agents, episodes, seed, watch)

    def _play(
        self, sellers: Mapping[str, Any], agents: tuple[str, ...], episodes: int, seed: int, watch: OnProgress | None
    ) -> list[Log]:
        rngs = {agent: np.random.default_rng([seed, n]) for n, agent in enumerate(sellers)}
        kept: dict[str, list[_Rows]] = {agent: [] for agent in agents}
        batch: VectorCore | None = None
        for first in range(0, episodes, SIDE_BY_SIDE):
            count = min(SIDE_BY_SIDE, episodes - first)
            if batch is None or batch.market_batch.num_markets != count:
                batch = self._batch(count)
            for agent, rows in self._episodes(batch, sellers, rngs, seed + first).items():
                if agent in kept:
                    kept[agent].append(rows)
            if watch is not None:
                watch(first + count, episodes)
        return [self._log(agent, rows) for agent, rows in kept.items()]

    def _batch(self, count: int) -> VectorCore:
        world = self.world
        return VectorCore(
            self.scenario, count, max_cycles=world.cycles, action_mode=cast(ActionMode, world.action_mode),
            consumers=self.consumers, price_levels=world.price_levels, history=world.history,
        )  # fmt: skip

    def _episodes(
        self, batch: VectorCore, sellers: Mapping[str, Any], rngs: Mapping[str, np.random.Generator], seed: int
    ) -> dict[str, _Rows]:
        """Play one episode in each market of `batch`."""
        seen, count = batch.reset(seed), batch.market_batch.num_markets
        fresh, states = np.ones(count, dtype=bool), dict.fromkeys(sellers)
        for agent, seller in sellers.items():
            if isinstance(seller, Beginner):
                states[agent] = seller.begin(None, batch.market_batch.episode, fresh)
        rows = {agent: _Rows([], [], [], []) for agent in sellers}
        for _ in range(self.world.cycles):
            actions = []
            for n, (agent, seller) in enumerate(sellers.items()):
                view = seen[:, n].copy()
                action, log_density, states[agent] = _act(seller, view, states[agent], fresh, rngs[agent])
                actions.append(action)
                rows[agent].add(view, action, log_density)
            turn = batch.step(np.stack(actions, axis=1))
            for n, agent in enumerate(sellers):
                rows[agent].rewards.append(turn.rewards[:, n].copy())
            seen, last, fresh = turn.observations, turn.last, np.zeros(count, dtype=bool)
        for n, agent in enumerate(sellers):
            rows[agent].observations.append(last[:, n].copy())
        return rows

    def _log(self, agent: str, parts: list[_Rows]) -> Log:
        def joined(name: str) -> np.ndarray:
            return np.concatenate([np.stack(getattr(part, name), axis=1) for part in parts])

        return Log(
            self.world, agent, joined("observations"), joined("actions"), joined("rewards"), joined("log_density")
        )


@dataclass(frozen=True)
class _Rows:
    """What one seller saw, did and earned, period by period."""

    observations: list[np.ndarray]
    actions: list[np.ndarray]
    rewards: list[FloatArray]
    log_density: list[FloatArray]

    def add(self, observation: np.ndarray, action: np.ndarray, log_density: FloatArray) -> None:
        self.observations.append(observation)
        self.actions.append(action)
        self.log_density.append(log_density)


def _act(
    seller: Any, seen: np.ndarray, state: Any, fresh: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, FloatArray, Any]:
    """Return the actions of a seller, the logarithms of their densities (0 without any), and its next state."""
    if isinstance(seller, StochasticSeller):
        found, state = seller.distribution(seen, state, fresh)
        action = found.draw(rng)
        return action, found.log_density(action), state
    action, state = seller.predict(seen, state, fresh, deterministic=True)
    return np.asarray(action), np.zeros(len(seen)), state


def record(plan: Plan, watch: OnProgress | None = None) -> list[Log]:
    """Return the logs of a plan, one per logged seller.

    Raises:
        InvalidInput: A seller that is deterministic, or a setting out of range.
    """
    scenario = load_scenario(plan.scenario)
    world = plan.world(scenario)
    table = Table(world, scenario)
    return table.play(table.sellers, world.logged, plan.episodes, plan.seed, watch)
