"""The Gymnasium vector environment: one seller learns in thousands of markets at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from malles_env.envs.core.market_batch import MOST_CYCLES
from malles_env.envs.core.rivals import Policies
from malles_env.envs.core.settings import EnvSettings, check_names
from malles_env.envs.core.vector_core import Turn, VectorCore
from malles_env.envs.display.rendering import Renderer
from malles_env.errors import MallesError, check_choice, invalid
from malles_env.market import Market, Outcome
from malles_env.type_aliases import BoolArray

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from malles_env.envs.core.settings import ScenarioLike


class PricingVectorEnv(VectorEnv[Any, Any, Any]):
    """The batched twin of `PricingEnv`: same spaces, rewards and episodes; market b is seeded with seed + b.

    What happens after the last period of an episode says `autoreset_mode`, as in Gymnasium's own vector envs:

    - ``SAME_STEP`` (default): in the step that ends an episode the market starts anew; infos hold ``final_obs`` and
      ``final_info``. The next step is the first period.
    - ``NEXT_STEP``: the step that ends an episode gives the last observation. In the next step the market starts anew:
      reward 0, the action is ignored.
    - ``DISABLED``: the step that ends an episode gives the last observation. The next step is an error, unless the
      market was reset with a mask before.

    ``reset(options={"reset_mask": mask})`` starts the markets of a mask anew and leaves the others where they are.
    Infos hold ``revenue, cost, fees, profit, units, share, surplus`` as arrays of shape ``(num_envs,)``, what price
    rules count, see `PricingParallelEnv`, and for each key a mask ``_key``; at a reset the numbers are 0.

    >>> import gymnasium, malles_env
    >>> envs = gymnasium.make_vec("malles_env/Pricing-v0", 3, "vector_entry_point")
    >>> observations, infos = envs.reset(seed=1)
    >>> observations.shape
    (3, 11)

    Args:
        num_envs: Number of markets.
        scenario: Name, path, scenario or `Market`.
        seller: The agent that learns.
        rivals: As in `PricingEnv`.
        autoreset_mode: An `AutoresetMode`, or its value: ``"SameStep"``, ``"NextStep"``, ``"Disabled"``. Gymnasium's
            wrappers that normalise or flatten observations need one of the last two.
        max_episode_steps: Periods after which episodes are cut off, as `gymnasium.make` does by `TimeLimit`: what is
            observed of time, and the salvage of stock, go by `max_cycles` all the same. None: `max_cycles` itself.
        render_mode: None or ``"rgb_array"``, which draws every market.
        settings: See `EnvSettings`.

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
        scenario: ScenarioLike = "bertrand-duopoly",
        *,
        seller: str = "seller_0",
        rivals: Policies = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **settings: Unpack[EnvSettings],
    ) -> None:
        check_names(settings, type(self))
        if isinstance(seller, str) and seller == "all":
            raise invalid("seller", seller, "the name of one agent, e.g. seller_0")
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.autoreset_mode = _autoreset(autoreset_mode)
        self.metadata = copy.deepcopy(type(self).metadata) | {"autoreset_mode": self.autoreset_mode}
        self.core = VectorCore(
            scenario, num_envs, learner=seller, rivals=rivals, limit=_limit(max_episode_steps),
            autoreset=self.autoreset_mode is AutoresetMode.SAME_STEP, **settings,
        )  # fmt: skip
        market_batch = self.core.market_batch
        self.num_envs, self.render_mode = num_envs, render_mode
        self.seller_index = market_batch.slot_layout.index(seller)
        self.single_observation_space = market_batch.observation_space()
        self.single_action_space = market_batch.actions.space(seller)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over, self._stale = np.zeros((2, num_envs), dtype=bool)
        catalog, title = market_batch.market.catalog, getattr(market_batch.scenario, "title", "")
        drawn = 0 if render_mode is None else num_envs
        currency = getattr(market_batch.scenario, "currency", "")
        self._renderers = [Renderer(catalog, render_mode, title, market, currency) for market in range(drawn)]

    def __repr__(self) -> str:
        """Return one line: scenario, sizes, markets and action mode."""
        return self.core.market_batch.summary(self, f"{self.num_envs} markets")

    def _repr_html_(self) -> str:
        """Return a table of the products for notebooks."""
        return self.core.market_batch.html(self, markets=self.num_envs)

    @property
    def market(self) -> Market:
        """The market engine."""
        return self.core.market_batch.market

    @property
    def outcome(self) -> Outcome | None:
        """What happened in the last period in all markets; None before the first."""
        return self.core.market_batch.outcome

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes anew.

        Args:
            seed: One number (market b gets seed + b), one per market, or None to go on with the streams, which may
                also stand for single markets.
            options: ``"reset_mask"``: which markets, a bool array of shape ``(num_envs,)`` with at least one True; by
                default all. Others are ignored.

        Returns:
            Observations of all markets, and infos of 0.

        Raises:
            InvalidInput: A seed that is no whole number of at least 0, not one per market, or another mask.
        """
        first = seed if seed is None or isinstance(seed, (int, np.integer)) else None
        if first is not None and first >= 0:
            super().reset(seed=int(first))
        mask = _mask(options, self.num_envs)
        observations = self.core.reset(seed, mask)[:, 0]
        started = np.ones(self.num_envs, dtype=bool) if mask is None else mask
        self._over, self._stale = self._over & ~started, self._stale & ~started
        for renderer in self._drawn(started):
            renderer.start()
        zeros = {key: np.zeros(self.num_envs) for key in self.core.market_batch.info_keys}
        return self._shape(observations), _masked(zeros, started)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one period in all markets.

        Args:
            actions: In `action_space`.

        Raises:
            InvalidInput: An action of the wrong shape or outside its space; the state is unchanged then.
            MallesError: An episode is over and `autoreset_mode` is `DISABLED`.
        """
        starting = self._over
        if starting.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            which = ", ".join(map(str, np.flatnonzero(starting)[:5]))
            raise MallesError(f"step: episodes are over (market {which}); call reset(options={{'reset_mask': mask}})")
        turn = self.core.step(actions, starting)
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        self._over = np.zeros_like(turn.over) if same_step else turn.over.copy()
        if self.render_mode is not None:
            self._record(turn, starting)
        market_batch = self.core.market_batch
        ledger = market_batch.ledger(turn.outcome)[:, self.seller_index]
        ledger[starting] = 0.0
        numbers = {key: ledger[:, i].copy() for i, key in enumerate(market_batch.info_keys)}
        infos = _masked(numbers, np.ones(self.num_envs, dtype=bool))
        if same_step and turn.over.any():
            infos |= self._final(turn, numbers)
        rewards = np.array(turn.rewards[:, 0])
        return (
            self._shape(turn.observations[:, 0]),
            rewards,
            np.zeros(self.num_envs, dtype=bool),
            turn.over,
            infos,
        )

    def _shape(self, flat: np.ndarray) -> Any:
        if self.core.market_batch.as_dict:
            return self.core.market_batch.layout.copies(flat)
        return flat.copy()

    def _final(self, turn: Turn, numbers: dict[str, Any]) -> dict[str, Any]:
        final = np.full(self.num_envs, None, dtype=object)
        for market in np.flatnonzero(turn.over):
            final[market] = self._shape(turn.last[market, 0])
        info = _masked({key: value.copy() for key, value in numbers.items()}, turn.over)
        return _masked({"final_obs": final, "final_info": info}, turn.over)

    def _drawn(self, markets: BoolArray) -> list[Renderer]:
        """Return what draws the markets of a mask."""
        return [self._renderers[market] for market in np.flatnonzero(markets)] if self._renderers else []

    def _record(self, turn: Turn, starting: BoolArray) -> None:
        for renderer in self._drawn(starting | self._stale):
            renderer.start()
        for renderer in self._drawn(~starting):
            renderer.add(turn.outcome)
        # SAME_STEP shows a whole episode until the first period of the next
        self._stale = turn.over & (self.autoreset_mode is AutoresetMode.SAME_STEP)

    def render(self) -> tuple[Any, ...] | None:
        """Return the pictures of all markets, or None without a render mode."""
        return None if self.render_mode is None else tuple(renderer.render() for renderer in self._renderers)

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing needs closing."""


def _masked(infos: dict[str, Any], mask: BoolArray) -> dict[str, Any]:
    """Return infos with a mask for each key, as Gymnasium's vector envs have them."""
    return infos | {f"_{key}": mask.copy() for key in infos}


def _autoreset(mode: Any) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise invalid("autoreset_mode", mode, ", ".join(str(known.value) for known in AutoresetMode)) from None


def _limit(steps: Any) -> int | None:
    if steps is None:
        return None
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or not 1 <= steps <= MOST_CYCLES:
        raise invalid("max_episode_steps", steps, f"a whole number from 1 to {MOST_CYCLES}")
    return int(steps)


def _mask(options: dict[str, Any] | None, num_envs: int) -> BoolArray | None:
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return None
    fits = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (num_envs,)
    if not fits or not mask.any():
        raise invalid("options['reset_mask']", mask, f"a bool array of shape ({num_envs},) with at least one True")
    return mask
