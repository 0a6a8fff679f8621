"""The PettingZoo environment: all sellers act at once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.utils import OrderEnforcingWrapper
from pettingzoo.utils.conversions import parallel_to_aec_wrapper

from malles_env.envs.core.market_batch import MarketBatch, need_all
from malles_env.envs.core.settings import EnvSettings, check_names
from malles_env.envs.display.rendering import RENDER_MODES, Renderer
from malles_env.errors import MallesError, invalid
from malles_env.market import Catalog, Market, Outcome

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from malles_env.envs.core.settings import ScenarioLike


class PricingParallelEnv(ParallelEnv[str, Any, Any]):
    """Sellers set prices and choose assortments in a market of consumers with given tastes.

    ## Description

    Each period every seller lists some of its products and asks a price for each. All offers are revealed at
    once; consumers choose by price, discount, loyalty to their last purchase and what others bought (the mean
    field). A scenario fixes products, costs, consumers and their tastes. Agents are ``"seller_0"``,
    ``"seller_1"``, ... in the order of the scenario's sellers.

    ## Action Space

    W is the largest number of products a seller has; slots beyond a seller's own products are ignored.

    | mode | space | meaning |
    |---|---|---|
    | `continuous` | `Box(-1, 1, (2 W,), float32)` | W prices from lowest to highest, then W listing scores |
    | `discrete` | `MultiDiscrete([m + 1] * W)` | 0 = not listed, 1..m = price grid from lowest to highest |
    | `flat-discrete` | `Discrete((m + 1) ** W)` | the same choices numbered through, `[m + 1] * W` read as digits |
    | `dict` | `{"price": Box (J_n,), "listed": MultiBinary(J_n)}` | prices in money |

    Continuous prices are linear in each product's price box; a listing score above 0 lists the product. Beyond the
    shelf capacity the best scores stay, in the other modes the largest price - unit cost; of equals the first.

    Where the scenario has `promotions`, each mode goes on with display and then advertising: W scores each (above 0
    promotes), `[2] * W` each, or `"display"` and `"feature"`, each `MultiBinary(J_n)`. Only listed products are
    promoted, for a fee each; beyond a seller's slots the best stay as above. In the dict mode a seller without slots
    has no such key, and asking all the same is an error.

    Where products carry `tiers` (quantity discounts), a part for the depth of the tier price below the list price
    follows: W numbers, linear from none at -1 to the deepest at 1; `[5] * W`, none to the deepest in equal steps; or
    `"tier"`, a `Box` of shares, one per product with a tier. No tier price is below the product's lowest price.

    Where the scenario has `replenishment`, each mode ends with orders: W numbers, linear from none (-1) to the largest
    order (1) and rounded to whole units where these are due, `[m + 1] * W` (0 = none, 1..m = grid up to the largest),
    or `"order"`, a `Box` of units `(J_n,)`. What there is no room for is not ordered; infos say how much that was. In
    the dict mode a fraction where whole units are due is an error.

    A wrong shape, NaN, infinity or a value outside the space is an `InvalidInput` that leaves the state unchanged; what
    is outside by rounding (1e-6) is moved onto the bound. A single number may come with or without an axis of length 1.

    ## Observation Space

    A flat `Box` of float32 (or with ``observation_mode="dict"`` its blocks by name). N sellers; own slots
    come first, so that one policy serves every seller. Rivals come in a circle, the next seller first.

    | block | size | min | max | unit |
    |---|---|---|---|---|
    | own_price | W | -1 | 1 | place in the price box in the last period; 0 where not listed |
    | own_listed | W | 0 | 1 | was on the shelf |
    | own_cost | W | 0 | 1 | unit cost / highest price |
    | own_stock | W | 0 | 1 | share of the starting stock left (only if the catalog limits stock) |
    | own_sales | W | 0 | 1 | units / (units + consumers / J) |
    | own_reference | W | -1 | 1 | log(reference / regular price); only where reference prices matter |
    | own_display, own_feature | W each | 0 | 1 | was displayed, advertised; only with `promotions` |
    | own_tier | W | 0 | 1 | discount of the tier price / the deepest; only with `tiers` |
    | own_ordered | W | 0 | 1 | last order / largest order; only with `replenishment` |
    | own_on_order_1, ... | W each | 0 | 1 | arrives in the coming period, in the one after, ... / storage; likewise |
    | rivals_price | (N - 1) W | -1 | 1 | as above; not with ``monitoring="own"`` |
    | rivals_listed | (N - 1) W | 0 | 1 | as above; not with ``monitoring="own"`` |
    | rivals_reference | (N - 1) W | -1 | 1 | as above; not with ``monitoring="own"`` |
    | rivals_display, _feature, _tier | (N - 1) W each | 0 | 1 | as above; not with ``monitoring="own"`` |
    | rivals_cost, _stock, _sales | (N - 1) W each | 0 | 1 | only with ``monitoring="full"``; also rivals' orders |
    | mean_field | N W | 0 | 1 | purchase shares that consumers will see; W with ``monitoring="own"`` |
    | long_share | N W | 0 | 1 | long-run purchase shares; only where the mean field is centred there |
    | time | 1 | 0 | 1 | periods played / max_cycles |
    | seller | N | 0 | 1 | one-hot number of the seller |
    | past_1_own_price, ... | as above | | | only with a `history`, see below |

    With ``history=k``, the blocks of prices, listings, sales and the mean field, as far as they stand above, follow as
    they were 1, 2, ..., k - 1 periods before the last: ``past_1_own_price``, ``past_1_own_listed``, ...,
    ``past_2_own_price``, ... Before the first period they show the starting state.

    `state()` is the global view: price, listed, cost, stock, sales and mean field of all J products (long-run shares,
    reference prices, display and feature, orders and what is on order where they matter), and time. With
    `replenishment`, stock is units on hand / storage.

    ## Rewards

    Profit of the period / the scenario's `reward_scale` (1 for a `Market`), or what
    `reward_fn` says. `infos[agent]` holds ``revenue, cost, fees, profit,
    surplus`` in money (surplus is that of all consumers), ``units`` and ``share`` (of purchases) as NumPy
    floats; at `reset` all are 0. Where the scenario has `price_rules`, prices are moved to the nearest ones that obey
    those that bind, and infos also hold ``moved_prices`` (how many were) and ``cost_<rule>`` of each rule that is only
    counted (money). Where products carry tiers, ``tier_units`` are the units sold below the list price and
    ``tier_revenue`` what they brought. Where it has `replenishment`, profit is also less ``ordering_cost`` and
    ``holding_cost`` and with ``salvage`` (money), units are paid when ordered (``cost`` is then their unit tax alone),
    and infos also hold ``ordered``, ``stock`` (at the period's end) and ``capped_orders`` (units there was no room
    for).

    In the discrete modes infos also hold ``action_mask``, what makes sense to choose next, as the action space's
    `sample` takes it: without product or stock only "not listed".

    ## Starting State

    Stock, loyalty and mean field of the scenario. The period before the first shows regular prices, on each
    shelf the products with the largest margins, and no sales.

    ## Episode End

    All agents are truncated after `max_cycles` periods; nobody is terminated.

    ## Arguments

    | argument | default | meaning |
    |---|---|---|
    | `scenario` | `"bertrand-duopoly"` | name, path, `Scenario` or `Market` |
    | `max_cycles` | the scenario's (52) | periods of an episode |
    | `action_mode` | `"continuous"` | `"continuous"`, `"discrete"`, `"flat-discrete"`, `"dict"` |
    | `observation_mode` | `"flat"` | `"flat"`, `"dict"` |
    | `demand` | `"multinomial"` | or `"gaussian"` (faster), `"expected"` (no noise), `"exact"` (slow) |
    | `consumers` | None | who buys instead of the scenario's own |
    | `render_mode` | None | `"human"`, `"rgb_array"`, `"ansi"` |
    | `monitoring` | `"prices"` | what is public: `"full"`, `"prices"`, `"own"` |
    | `price_levels` | 15 | m, prices (and orders) of the discrete grid |
    | `tastes` | None | `"mean"`, or `"draws"`: each market has one of the consumers' draws, hidden, per episode |
    | `history` | 1 | k, periods that an observation shows, from 1 to `max_cycles` |
    | `reward_fn` | None | function of the period's `Outcome` that returns rewards, shape `(1, N)` |
    | `observation_fn` | None | function of the blocks above by name, `(1, N, size)` each, that returns `(1, N, K)` |

    >>> from malles_env import parallel_env
    >>> env = parallel_env("bertrand-duopoly", max_cycles=2, demand="expected")
    >>> observations, infos = env.reset(seed=1)
    >>> action = env.encode_action("seller_0", prices=[1.47292666], listed=[True])
    >>> actions = {agent: action for agent in env.agents}
    >>> observations, rewards, terminated, truncated, infos = env.step(actions)
    >>> round(float(infos["seller_0"]["profit"]), 2)
    222.93

    ## Vectorized environment

    `malles_env.vec_env` (Stable-Baselines3) and `gymnasium.make_vec("malles_env/Pricing-v0")` step thousands
    of markets at once; with one market they give the same numbers bit for bit.

    ## Version History

    * v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "name": "pricing_v0",
        "render_modes": list(RENDER_MODES),
        "render_fps": 4,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        scenario: ScenarioLike = "bertrand-duopoly",
        *,
        render_mode: str | None = None,
        **settings: Unpack[EnvSettings],
    ) -> None:
        check_names(settings, type(self))
        self.market_batch = market_batch = MarketBatch(scenario, **settings)
        self.metadata = copy.deepcopy(type(self).metadata)  # wrappers add to it
        self.max_cycles, self.scenario = market_batch.max_cycles, market_batch.scenario
        self.possible_agents = list(market_batch.slot_layout.agents)
        self.agents: list[str] = []
        self.observation_spaces = {agent: market_batch.observation_space() for agent in self.possible_agents}
        self.action_spaces = {agent: market_batch.actions.space(agent) for agent in self.possible_agents}
        self.state_space = market_batch.layout.state_space
        self._masked = market_batch.actions.mode in ("discrete", "flat-discrete")
        self._np_random: np.random.Generator | None = None
        self._seed: int | None = None
        self._renderer = Renderer(
            self.catalog,
            render_mode,
            getattr(self.scenario, "title", ""),
            currency=getattr(self.scenario, "currency", ""),
        )
        self.render_mode = render_mode

    def __repr__(self) -> str:
        """Return one line: scenario, sizes and action mode."""
        return self.market_batch.summary(self)

    def _repr_html_(self) -> str:
        """Return a table of the products for notebooks."""
        return self.market_batch.html(self)

    @property
    def catalog(self) -> Catalog:
        """Products and sellers."""
        return self.market.catalog

    @property
    def market(self) -> Market:
        """The market engine, a batch of one."""
        return self.market_batch.market

    @property
    def outcome(self) -> Outcome | None:
        """What happened in the last period, product by product; None before the first."""
        return self.market_batch.outcome

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return the observation space of an agent, the same object each time.

        Raises:
            InvalidInput: There is no such agent.
        """
        try:
            return self.observation_spaces[agent]
        except KeyError:
            raise invalid("agent", agent, ", ".join(self.possible_agents)) from None

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return the action space of an agent, the same object each time.

        Raises:
            InvalidInput: There is no such agent.
        """
        return self.market_batch.actions.space(agent)

    def encode_action(
        self, agent: str, prices: Any, listed: Any, display: Any = None, feature: Any = None, order: Any = None,
        tier: Any = None,
    ) -> Any:  # fmt: skip
        """Return the action of `agent` for prices, listings, promotion, orders and tiers, see `Actions.encode`."""
        return self.market_batch.actions.encode(
            self.market_batch.slot_layout.index(agent), prices, listed, display, feature, order, tier
        )

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start an episode.

        Args:
            seed: Equal seeds give equal episodes; None continues the present random stream.
            options: Ignored; there are none.

        Returns:
            Observations and infos by agent; these hold the same keys as those of `step`, with 0 for every number.

        Raises:
            InvalidInput: A seed that is no whole number of at least 0.
        """
        self.market_batch.reset(None if seed is None else [seed])
        self.agents = self.possible_agents[:]
        if seed is not None:
            self._seed, self._np_random = seed, None
        if self.render_mode is not None:
            self._renderer.start()
        infos = {agent: self.market_batch.blank_info() for agent in self.agents}
        if self._masked:
            self._add_masks(infos)
        return self._by_agent(self.market_batch.observe(self.max_cycles)[0]), infos

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Play one period.

        Args:
            actions: One action per agent.

        Returns:
            Observations, rewards, terminations, truncations and infos by agent, all of them fresh.

        Raises:
            InvalidInput: An action is missing, of the wrong shape or outside its space; the state is
                unchanged then.
            MallesError: The episode is over or was never started.
        """
        agents = self.agents
        if not agents:
            raise MallesError("step: there is no episode under way; call reset() first")
        if not isinstance(actions, dict) or actions.keys() != self.observation_spaces.keys():
            need_all(agents, actions)
        return self.step_rows(self.market_batch.actions.rows_of(agents, actions))

    def step_rows(
        self, rows: np.ndarray
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Play one period of an episode under way; `step` with actions as `Actions.put` writes them, ``(1, N, A)``."""
        agents, market_batch = self.agents, self.market_batch
        seen, rewards, ledger = market_batch.play(rows, self.max_cycles)
        over = bool(market_batch.market.state.period[0] >= self.max_cycles)
        if self.render_mode is not None:
            assert market_batch.outcome is not None
            self._renderer.add(market_batch.outcome)
        if over:
            self.agents = []
        # Arrays have a row per agent, so nothing is checked by `zip`: that costs a tenth of a small market's step.
        infos = dict(zip(agents, market_batch.as_infos(ledger[0])))  # noqa: B905
        if self._masked:
            self._add_masks(infos)
        return (
            self._by_agent(seen[0]),
            dict(zip(agents, rewards.tolist())),  # noqa: B905
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            infos,
        )

    def _add_masks(self, infos: dict[str, dict[str, Any]]) -> None:
        for seller, info in enumerate(infos.values()):
            info["action_mask"] = self.market_batch.mask_info(seller, 0)

    @property
    def np_random(self) -> np.random.Generator:
        """A stream for wrappers that draw, of the seed of the last seeded reset; the market has its own."""
        if self._np_random is None:
            self._np_random = np.random.default_rng(self._seed)
        return self._np_random

    def _by_agent(self, rows: np.ndarray) -> dict[str, Any]:
        if self.market_batch.as_dict:
            return {
                agent: self.market_batch.layout.split(row)
                for agent, row in zip(self.possible_agents, rows, strict=True)
            }
        return dict(zip(self.possible_agents, rows))  # noqa: B905  # rows of one fresh array; none overlap

    def state(self) -> np.ndarray:
        """Return the global view, a fresh float32 array in `state_space`."""
        return self.market_batch.observe(self.max_cycles, state=True)[0, 0]

    def render(self) -> Any:
        """Render the episode so far: pixels, text or (human) None.

        Raises:
            MallesError: No `render_mode` was chosen.
        """
        if self.render_mode is None:
            raise MallesError(f"render: no render_mode was given; allowed: {', '.join(RENDER_MODES)}")
        return self._renderer.render()

    def close(self) -> None:
        """Close the window if one is open."""
        self._renderer.close()


def parallel_env(
    scenario: ScenarioLike = "bertrand-duopoly",
    *,
    render_mode: str | None = None,
    **settings: Unpack[EnvSettings],
) -> PricingParallelEnv:
    """Return the market as a PettingZoo parallel env; arguments as in `PricingParallelEnv`."""
    return PricingParallelEnv(scenario, render_mode=render_mode, **settings)


def raw_env(
    scenario: ScenarioLike = "bertrand-duopoly",
    *,
    render_mode: str | None = None,
    **settings: Unpack[EnvSettings],
) -> parallel_to_aec_wrapper[str, Any, Any]:
    """Return the market as a PettingZoo AEC env without any wrapper; arguments as in `PricingParallelEnv`."""
    return parallel_to_aec_wrapper(PricingParallelEnv(scenario, render_mode=render_mode, **settings))


def env(
    scenario: ScenarioLike = "bertrand-duopoly",
    *,
    render_mode: str | None = None,
    **settings: Unpack[EnvSettings],
) -> OrderEnforcingWrapper[str, Any, Any]:
    """Return `raw_env` with PettingZoo's checks on the order of calls."""
    return OrderEnforcingWrapper(raw_env(scenario, render_mode=render_mode, **settings))
