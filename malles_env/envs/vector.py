"""The Gymnasium vector face: one seller learns in thousands of markets at once."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from malles_env.envs.display.rendering import Renderer
from malles_env.envs.rivals import Policies
from malles_env.envs.spaces.actions import ActionMode
from malles_env.envs.spaces.observations import Monitoring, ObservationMode
from malles_env.envs.vector_core import Batch, Turn
from malles_env.errors import check_choice, invalid
from malles_env.market import Consumers, Demand, Market, Outcome, TastesMode

if TYPE_CHECKING:
    from malles_env.scenarios import Scenario


class PricingVectorEnv(VectorEnv[Any, Any, Any]):
    """The batched twin of `PricingEnv`: same spaces, rewards and episodes; market b is seeded with seed + b.

    A market starts anew in the step that ends its episode (`AutoresetMode.SAME_STEP`); that step's infos hold
    ``final_obs`` and ``final_info``. Every step's infos hold ``revenue, cost, fees, profit, units, share,
    surplus`` as arrays of shape ``(num_envs,)``, and what price rules count, see `PricingParallelEnv`.

    >>> import gymnasium, malles_env
    >>> envs = gymnasium.make_vec("malles_env/Pricing-v0", 3, "vector_entry_point")
    >>> observations, infos = envs.reset(seed=1)
    >>> observations.shape
    (3, 11)

    Args:
        num_envs: Number of markets.
        scenario, seller, rivals, and others: As in `PricingEnv`; `render_mode` may be None or
            ``"rgb_array"``, which draws market 0.

    Raises:
        InvalidInput: An argument out of range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | PathLike[str] | Scenario = "bertrand-duopoly",
        *,
        seller: str = "seller_0",
        rivals: Policies = None,
        max_cycles: int | None = None,
        action_mode: ActionMode = "continuous",
        observation_mode: ObservationMode = "flat",
        demand: Demand = "multinomial",
        consumers: Consumers | None = None,
        render_mode: str | None = None,
        monitoring: Monitoring = "prices",
        price_levels: int = 15,
        tastes: TastesMode = "mean",
        history: int = 1,
    ) -> None:
        if isinstance(seller, str) and seller == "all":
            raise invalid("seller", seller, "the name of one agent, e.g. seller_0")
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.batch = Batch(
            scenario, num_envs, learner=seller, rivals=rivals, max_cycles=max_cycles, action_mode=action_mode,
            demand=demand, consumers=consumers, monitoring=monitoring, price_levels=price_levels, tastes=tastes,
            history=history, as_dict=observation_mode == "dict",
        )  # fmt: skip
        arena = self.batch.arena
        self.num_envs, self.render_mode, self.seat = num_envs, render_mode, arena.seats.index(seller)
        self.single_observation_space = arena.layout.space(observation_mode)
        self.single_action_space = arena.actions.space(seller)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._as_dict = observation_mode == "dict"
        self._renderer = Renderer(arena.market.catalog, render_mode, getattr(arena.scenario, "title", ""))
        self._new_picture = True

    @property
    def market(self) -> Market:
        """The market engine."""
        return self.batch.arena.market

    @property
    def outcome(self) -> Outcome | None:
        """What happened in the last period in all markets; None before the first."""
        return self.batch.arena.outcome

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start all episodes anew.

        Args:
            seed: One number (market b gets seed + b), one per market, or None to go on with the streams.
            options: Ignored; there are none.

        Returns:
            Observations and empty infos.

        Raises:
            InvalidInput: A seed that is no whole number of at least 0, or not one per market.
        """
        first = seed if seed is None or isinstance(seed, (int, np.integer)) else None
        if first is not None and first >= 0:
            super().reset(seed=int(first))
        self._new_picture = True
        return self._shape(self.batch.reset(seed)[:, 0]), {}  # type: ignore[arg-type]

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one period in all markets.

        Args:
            actions: In `action_space`.

        Raises:
            InvalidInput: An action of the wrong shape or outside its space; nothing has happened then.
        """
        turn = self.batch.step(actions)
        if self.render_mode is not None:
            self._record(turn)
        arena = self.batch.arena
        ledger = arena.ledger(turn.outcome)[:, self.seat]
        infos: dict[str, Any] = {key: ledger[:, i].copy() for i, key in enumerate(arena.info_keys)}
        if turn.over.any():
            infos |= self._final(turn, dict(infos))
        rewards = np.array(turn.rewards[:, 0])
        return (
            self._shape(turn.observations[:, 0]),
            rewards,
            np.zeros(self.num_envs, dtype=bool),
            turn.over,
            infos,
        )

    def _shape(self, flat: np.ndarray) -> Any:
        if self._as_dict:
            return self.batch.arena.layout.copies(flat)
        return flat.copy()

    def _final(self, turn: Turn, infos: dict[str, Any]) -> dict[str, Any]:
        final = np.full(self.num_envs, None, dtype=object)
        for market in np.flatnonzero(turn.over):
            final[market] = self._shape(turn.last[market, 0])
        infos = {key: value.copy() for key, value in infos.items()}
        masks = {f"_{key}": turn.over.copy() for key in infos}
        return {
            "final_obs": final,
            "_final_obs": turn.over.copy(),
            "final_info": infos | masks,
            "_final_info": turn.over.copy(),
        }

    def _record(self, turn: Turn) -> None:
        if self._new_picture:
            self._renderer.start()
        self._renderer.add(turn.outcome)
        self._new_picture = bool(turn.over[0])

    def render(self) -> tuple[Any, ...] | None:
        """Return the picture of market 0 as a tuple of one, or None without a render mode."""
        return None if self.render_mode is None else (self._renderer.render(),)

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing needs closing."""
