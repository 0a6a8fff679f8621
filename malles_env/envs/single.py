"""The Gymnasium environment: one seller learns, its rivals follow given policies."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from malles_env.envs.core.market_batch import check_seed
from malles_env.envs.core.rivals import Policies
from malles_env.envs.core.settings import EnvSettings, check_names
from malles_env.envs.core.vector_core import VectorCore
from malles_env.envs.display.rendering import RENDER_MODES, Renderer
from malles_env.errors import MallesError, invalid
from malles_env.market import Market, Outcome

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from malles_env.envs.core.settings import ScenarioLike


class PricingEnv(gymnasium.Env[Any, Any]):
    """One seller sets prices and chooses its assortment against rivals with given policies.

    ## Description

    The market of `malles_env.envs.PricingParallelEnv` seen by one seller; the other sellers act inside.

    ## Action Space

    As in `PricingParallelEnv`: ``Box(-1, 1, (2 W,), float32)``, ``MultiDiscrete([m + 1] * W)``,
    ``Discrete((m + 1) ** W)`` or a dict in money.

    ## Observation Space

    As in `PricingParallelEnv`; own products first.

    ## Rewards

    Profit of the period / the scenario's `reward_scale`. ``info`` holds ``revenue, cost, fees, profit,
    surplus`` in money, ``units`` and ``share`` as NumPy floats (0 at `reset`), and what price rules count, see
    `PricingParallelEnv`.

    ## Starting State

    As in `PricingParallelEnv`.

    ## Episode End

    Truncated after `max_cycles` periods; never terminated.

    ## Arguments

    | argument | default | meaning |
    |---|---|---|
    | `scenario` | `"bertrand-duopoly"` | name, path, `Scenario` or `Market` |
    | `seller` | `"seller_0"` | the agent that learns |
    | `rivals` | None | None (regular prices), a seller's name, a policy with SB3's `predict`, or such by agent |
    | others | | as in `PricingParallelEnv` |

    >>> import gymnasium, malles_env
    >>> env = gymnasium.make("malles_env/Pricing-v0", scenario="bertrand-duopoly", demand="expected")
    >>> observation, info = env.reset(seed=1)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample() * 0)
    >>> float(info["units"])
    0.0

    (A listing score of 0 lists nothing, so nothing is sold.)

    ## Vectorized environment

    ``gymnasium.make_vec("malles_env/Pricing-v0", num_envs=64, vectorization_mode="vector_entry_point")``
    steps 64 markets at once; for Stable-Baselines3 see `malles_env.vec_env`.

    ## Version History

    * v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        scenario: ScenarioLike = "bertrand-duopoly",
        *,
        seller: str = "seller_0",
        rivals: Policies = None,
        render_mode: str | None = None,
        **settings: Unpack[EnvSettings],
    ) -> None:
        check_names(settings, type(self))
        if isinstance(seller, str) and seller == "all":
            raise invalid("seller", seller, "the name of one agent, e.g. seller_0")
        self.core = VectorCore(scenario, learner=seller, rivals=rivals, autoreset=False, **settings)
        self.metadata = copy.deepcopy(type(self).metadata)  # wrappers add to it
        market_batch = self.core.market_batch
        self.scenario, self.seller = market_batch.scenario, seller
        self.seller_index = market_batch.slot_layout.index(seller)
        self.action_space = market_batch.actions.space(seller)
        self.observation_space = market_batch.observation_space()
        self._renderer = Renderer(
            market_batch.market.catalog,
            render_mode,
            getattr(self.scenario, "title", ""),
            currency=getattr(self.scenario, "currency", ""),
        )
        self.render_mode = render_mode
        self._over = True

    def __repr__(self) -> str:
        """Return one line: scenario, sizes, who learns and action mode."""
        return self.core.market_batch.summary(self, self.seller)

    def _repr_html_(self) -> str:
        """Return a table of the products for notebooks."""
        return self.core.market_batch.html(self, seller=self.seller)

    @property
    def market(self) -> Market:
        """The market engine, a batch of one."""
        return self.core.market_batch.market

    @property
    def outcome(self) -> Outcome | None:
        """What happened in the last period, product by product; None before the first."""
        return self.core.market_batch.outcome

    @property
    def max_cycles(self) -> int:
        """Periods of an episode."""
        return self.core.max_cycles

    def encode_action(
        self, prices: Any, listed: Any, display: Any = None, feature: Any = None, order: Any = None, tier: Any = None
    ) -> Any:
        """Return the action for prices (money), listings, promotion, orders and tiers, see `Actions.encode`."""
        return self.core.market_batch.actions.encode(self.seller_index, prices, listed, display, feature, order, tier)

    def action_masks(self) -> np.ndarray:
        """Return which discrete choices make sense, see `Actions.masks`.

        Raises:
            InvalidInput: The actions are not discrete.
        """
        return self.core.market_batch.masks(self.seller_index, 0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Equal seeds give equal episodes; None continues the present random stream.
            options: Ignored; there are none.

        Returns:
            Observation and an info with the keys of those of `step`, all 0.

        Raises:
            InvalidInput: A seed that is no whole number of at least 0.
        """
        seeds = None if seed is None else [check_seed(seed)]
        super().reset(seed=seed)
        observation = self.core.reset(seeds)
        self._over = False
        if self.render_mode is not None:
            self._renderer.start()
        return self._shape(observation), self.core.market_batch.blank_info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play one period; return observation, reward, terminated (False), truncated and info, all fresh.

        Args:
            action: In `action_space`.

        Raises:
            InvalidInput: An action of the wrong shape or outside its space; the state is unchanged then.
            MallesError: The episode is over or was never started.
        """
        if self._over:
            raise MallesError("step: there is no episode under way; call reset() first")
        market_batch = self.core.market_batch
        turn = self.core.step(action)
        self._over = bool(turn.over[0])
        if self.render_mode is not None:
            self._renderer.add(turn.outcome)
        info = market_batch.as_infos(market_batch.ledger(turn.outcome)[0, self.seller_index : self.seller_index + 1])[0]
        return self._shape(turn.observations), float(turn.rewards[0, 0]), False, self._over, info

    def _shape(self, observations: np.ndarray) -> Any:
        flat = observations[0, 0]
        return self.core.market_batch.layout.copies(flat) if self.core.market_batch.as_dict else flat.copy()

    def render(self) -> Any:
        """Render the episode so far: pixels, text or (human) None."""
        return self._renderer.render()

    def close(self) -> None:
        """Close the window if one is open."""
        self._renderer.close()
