"""The Stable-Baselines3 environment: thousands of markets as one native `VecEnv`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from malles_env.envs.core.market_batch import check_seed
from malles_env.envs.core.rivals import Policies
from malles_env.envs.core.settings import EnvSettings, check_names
from malles_env.envs.core.vector_core import Turn, VectorCore
from malles_env.envs.display.rendering import Renderer
from malles_env.envs.spaces.money_actions import as_array
from malles_env.errors import check_choice, invalid
from malles_env.market import Market, Outcome

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from malles_env.envs.core.settings import ScenarioLike

InfoMode = Literal["episode", "step"]


class PricingVecEnv(VecEnv):
    """Many independent markets of one scenario for Stable-Baselines3.

    With ``learner="all"`` every seller of every market is a slot (slot = market * N + seller), so that one
    policy learns from all sellers: parameter sharing. With ``learner="seller_0"`` a slot is a market, and the
    other sellers follow `rivals`. Actions, observations and rewards are those of `PricingParallelEnv`.

    A market starts anew in the step that ends its episode. The infos of that step hold
    ``terminal_observation``, ``TimeLimit.truncated`` (always True: nobody is terminated) and the episode's
    sums of revenue, cost, fees, profit, units and surplus (and of what price rules count, and of orders and their
    costs) and its mean share (and stock);
    wrap in `VecMonitor` for SB3's own statistics. With ``info="step"`` every step's infos hold those of the
    period; otherwise they are empty, and `outcome` has all of it as arrays.

    >>> from malles_env import vec_env
    >>> markets = vec_env("bertrand-duopoly", num_markets=8)
    >>> markets.num_envs
    16

    Args:
        scenario: Name, path, scenario or `Market`.
        num_markets: B; market b is seeded with seed + b.
        learner: ``"all"`` or an agent's name.
        rivals: Policies of the others when one learns: None (regular prices), one policy or seller's name (e.g.
            ``"cost-plus:0.3"``), or either by agent name. Each is asked once per step with the batch of its own
            observations, as ``predict(observation, state, episode_start, deterministic=True)``.
        seed: Of the first reset; by default from the system's entropy.
        info: ``"episode"`` or ``"step"``.
        render_mode: None or ``"rgb_array"``, which draws market 0.
        settings: See `EnvSettings`; SB3 takes no dict actions, and for DQN `action_mode` is ``"flat-discrete"``.

    Attributes:
        outcome: Last period of all markets, as arrays; None before the first.
        market: The engine.

    Raises:
        InvalidInput: An argument out of range.
    """

    def __init__(
        self,
        scenario: ScenarioLike = "bertrand-duopoly",
        num_markets: int = 256,
        *,
        learner: str = "all",
        rivals: Policies = None,
        seed: int | None = None,
        info: InfoMode = "episode",
        render_mode: str | None = None,
        **settings: Unpack[EnvSettings],
    ) -> None:
        check_names(settings, type(self))
        mode = settings.get("action_mode")
        if isinstance(mode, str) and mode == "dict":
            allowed = "continuous, discrete, flat-discrete (Stable-Baselines3 takes no dict actions)"
            raise invalid("action_mode", mode, allowed)
        check_choice("info", info, ("episode", "step"))
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.core = VectorCore(scenario, num_markets, learner=learner, rivals=rivals, **settings)
        market_batch, self.info, self.render_mode = self.core.market_batch, info, render_mode
        self.scenario, self.num_markets = market_batch.scenario, num_markets
        self.agents = self.core.agents
        self._renderer = Renderer(
            market_batch.market.catalog,
            render_mode,
            getattr(market_batch.scenario, "title", ""),
            currency=getattr(market_batch.scenario, "currency", ""),
        )
        self._fresh_picture = False
        self._totals = np.zeros((num_markets, market_batch.slot_layout.count, len(market_batch.info_keys)))
        super().__init__(
            num_markets * len(self.agents),
            market_batch.observation_space(),
            market_batch.actions.space(self.agents[0]),
        )
        if seed is not None:
            self.seed(seed)

    def __repr__(self) -> str:
        """Return one line: scenario, sizes, markets, slots and action mode."""
        return self.core.market_batch.summary(self, f"{self.num_markets} markets", f"{self.num_envs} slots")

    def _repr_html_(self) -> str:
        """Return a table of the products for notebooks."""
        return self.core.market_batch.html(self, markets=self.num_markets, slots=self.num_envs)

    @property
    def market(self) -> Market:
        """The market engine."""
        return self.core.market_batch.market

    @property
    def outcome(self) -> Outcome | None:
        """What happened in the last period in all markets."""
        return self.core.market_batch.outcome

    @property
    def max_cycles(self) -> int:
        """Periods of an episode; can be set with `set_attr`."""
        return self.core.max_cycles

    @max_cycles.setter
    def max_cycles(self, value: int) -> None:
        self.core.max_cycles = value

    def encode_action(
        self, agent: str, prices: Any, listed: Any, display: Any = None, feature: Any = None, order: Any = None,
        tier: Any = None,
    ) -> Any:  # fmt: skip
        """Return the action of `agent` for prices, listings, promotion, orders and tiers, see `Actions.encode`."""
        market_batch = self.core.market_batch
        return market_batch.actions.encode(
            market_batch.slot_layout.index(agent), prices, listed, display, feature, order, tier
        )

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Choose the seeds of the next reset: market b gets seed + b; None takes one from the system.

        Returns:
            The seed of each slot.

        Raises:
            InvalidInput: Not a whole number of at least 0.
        """
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        first = check_seed(seed)
        self._seeds = [first + slot // len(self.agents) for slot in range(self.num_envs)]
        return self._seeds

    def reset(self) -> Any:
        """Start all episodes anew; return the observations of all slots."""
        seeds = self._seeds[:: len(self.agents)]
        observations = self.core.reset(None if seeds[0] is None else [int(seed or 0) for seed in seeds])
        self._reset_seeds()
        self._reset_options()
        self._totals[:] = 0.0
        self._fresh_picture = False
        if self.render_mode is not None:
            self._renderer.start()
        return self._shape(observations)

    def _shape(self, observations: np.ndarray) -> Any:
        flat = observations.reshape(self.num_envs, -1)
        if self.core.market_batch.as_dict:
            return self.core.market_batch.layout.copies(flat)
        return flat

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of all slots, shape ``(num_envs, A)``, or ``(num_envs,)`` of single numbers.

        Raises:
            InvalidInput: A wrong shape.
        """
        shape, array = self.core.market_batch.actions.shape, as_array("all slots", actions)
        if array.shape == (self.num_envs,) and shape == (1,):
            array = array[:, None]
        if array.shape != (self.num_envs, *shape):
            raise invalid("actions", array.shape, f"shape {(self.num_envs, *shape)}, one row per slot")
        self._actions = array.reshape(self.num_markets, -1, *shape)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play the period; return observations, float32 rewards, dones and infos of all slots.

        Raises:
            InvalidInput: An action outside its space; the state is unchanged then.
        """
        turn = self.core.step(self._actions[:, 0] if self.core.rivals is not None else self._actions)
        num_agents = len(self.agents)
        infos = self._infos(turn)
        if self.render_mode is not None:
            self._render_record(turn)
        rewards = turn.rewards.reshape(-1).astype(np.float32)
        return self._shape(turn.observations), rewards, np.repeat(turn.over, num_agents), infos

    def _infos(self, turn: Turn) -> list[dict[str, Any]]:
        ledger = self.core.market_batch.ledger(turn.outcome)
        self._totals += ledger
        if self.info == "step":
            rows = ledger[:, self.core.learners].reshape(self.num_envs, -1).tolist()
            infos: list[dict[str, Any]] = list(self.core.market_batch.as_infos(rows))
        else:
            infos = [{} for _ in range(self.num_envs)]
        if turn.over.any():
            self._close_episodes(turn, infos)
        return infos

    def _close_episodes(self, turn: Turn, infos: list[dict[str, Any]]) -> None:
        num_agents, keys = len(self.agents), self.core.market_batch.info_keys
        means = [keys.index(key) for key in ("share", "stock") if key in keys]
        for market in np.flatnonzero(turn.over):
            for i, row in enumerate(self._totals[market, self.core.learners].tolist()):
                for mean in means:
                    row[mean] /= self.max_cycles
                last: Any = turn.last[market, i].copy()
                if self.core.market_batch.as_dict:
                    last = self.core.market_batch.layout.copies(last)
                info = infos[market * num_agents + i]
                if self.info == "episode":
                    info.update(self.core.market_batch.as_infos([row])[0])
                info["terminal_observation"], info["TimeLimit.truncated"] = last, True
        self._totals[turn.over] = 0.0

    def _render_record(self, turn: Turn) -> None:
        if self._fresh_picture:
            self._renderer.start()
        self._renderer.add(turn.outcome)
        self._fresh_picture = bool(turn.over[0])

    def close(self) -> None:
        """Nothing needs closing."""

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return the picture of market 0."""
        image = self._renderer.render()
        return [image if isinstance(image, np.ndarray) else None]

    def action_masks(self, slot: int) -> np.ndarray:
        """Return which discrete choices make sense in a slot: without product or stock only 'not listed'.

        Raises:
            InvalidInput: The actions are continuous.
        """
        market, i = divmod(slot, len(self.agents))
        market_batch = self.core.market_batch
        return market_batch.masks(range(market_batch.slot_layout.count)[self.core.learners][i], market)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute for each slot; ``"agent"`` is the slot's agent, all others are shared."""
        slots = self._get_indices(indices)
        if attr_name == "agent":
            return [self.agents[slot % len(self.agents)] for slot in slots]
        return [getattr(self, attr_name) for _ in slots]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute; slots share it, so `indices` is ignored."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method for each slot; ``action_masks`` answers for the slot, all others are shared."""
        slots: Iterable[int] = self._get_indices(indices)
        if method_name == "action_masks":
            return [self.action_masks(slot) for slot in slots]
        return [getattr(self, method_name)(*method_args, **method_kwargs) for _ in slots]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Return False for each slot: markets are not wrapped."""
        return [False for _ in self._get_indices(indices)]


def vec_env(
    scenario: ScenarioLike = "bertrand-duopoly",
    num_markets: int = 256,
    *,
    learner: str = "all",
    rivals: Policies = None,
    seed: int | None = None,
    info: InfoMode = "episode",
    render_mode: str | None = None,
    **settings: Unpack[EnvSettings],
) -> PricingVecEnv:
    """Return many markets as a Stable-Baselines3 `VecEnv`; arguments as in `PricingVecEnv`."""
    return PricingVecEnv(
        scenario, num_markets, learner=learner, rivals=rivals, seed=seed, info=info, render_mode=render_mode, **settings
    )
