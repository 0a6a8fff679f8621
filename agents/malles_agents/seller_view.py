"""`SellerView`: one seller's place in a scenario, in physical units; what rules need to know of spaces and layouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env._moved import old_names
from malles_env.envs.core.base_stock import BaseStock, expected_units
from malles_env.envs.spaces.actions import ActionMode, Actions
from malles_env.envs.spaces.observations import Block, Layout
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.market import Catalog, Consumers
from malles_env.market.demand.reference import slow_states, with_reference
from malles_env.market.tastes import tastes_of
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from gymnasium import spaces


@dataclass(frozen=True)
class Seen:
    """What a batch of observations says, in the catalog's order of products.

    Attributes:
        prices: Last asked, money, shape ``(B, J)``; the middle of the price box where not listed.
        listed: Last shelf, shape ``(B, J)``.
        mean_field: Shares consumers will feel, shape ``(B, J)``.
        stock: Units on hand, infinite where unlimited or not visible, shape ``(B, J)``.
        sales: Units sold last, NaN where not visible, shape ``(B, J)``.
        long_share: Long-run shares, NaN where the market has none, shape ``(B, J)``.
        reference: Reference prices, money, NaN where the market has none, shape ``(B, J)``.
        promoted: What was displayed, then what was advertised, shape ``(2, B, J)``; None where not visible.
        ordered: Units ordered last, NaN where not visible, shape ``(B, J)``; None where products are not ordered.
    """

    prices: FloatArray
    listed: BoolArray
    mean_field: FloatArray
    stock: FloatArray
    sales: FloatArray
    long_share: FloatArray
    reference: FloatArray
    promoted: BoolArray | None = None
    ordered: FloatArray | None = None


@dataclass(frozen=True)
class SellerView:
    """One seller's place: its products, and the way between money and the env's spaces.

    Attributes:
        scenario: The market.
        agent: ``"seller_<n>"``.
        action_mode: ``"continuous"`` or ``"discrete"``.
        price_levels: Prices of the discrete grid.
        history: Periods that observations show; what stands in them of earlier ones is for trained policies.
        given: Consumers to know instead of building the scenario's own.
    """

    scenario: Scenario
    agent: str
    action_mode: ActionMode = "continuous"
    price_levels: int = 15
    history: int = 1
    given: Consumers | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        scenario: Scenario | str,
        agent: str,
        *,
        consumers: Consumers | None = None,
        action_mode: ActionMode = "continuous",
        price_levels: int = 15,
        history: int = 1,
    ) -> SellerView:
        """Return the view of `agent`.

        Raises:
            InvalidInput: No such scenario, agent or action mode.
        """
        view = cls(load_scenario(scenario), agent, action_mode, price_levels, history, consumers)
        view._actions.space(agent)
        return view

    @cached_property
    def catalog(self) -> Catalog:
        """All products of the market."""
        return self.scenario.catalog()

    @cached_property
    def _slot_layout(self) -> SlotLayout:
        return SlotLayout(self.catalog)

    @cached_property
    def _actions(self) -> Actions:
        return Actions(self._slot_layout, self.action_mode, self.price_levels)

    @cached_property
    def _layout(self) -> Layout:
        scenario, tastes = self.scenario, tastes_of(self.consumers)
        prices = None if scenario.reference_price is None else scenario.reference_price.settings()
        known = with_reference(() if tastes is None else (tastes,), prices)
        memories = slow_states(known, prices, scenario.mean_field_settings())
        return Layout(self._slot_layout, self.scenario.population_size, memories=memories, history=self.history)

    @cached_property
    def consumers(self) -> Consumers:
        """Who buys; built at first use."""
        return self.given or self.scenario.build_consumers()

    @cached_property
    def index(self) -> int:
        """Number of the seller in the catalog."""
        return self._slot_layout.index(self.agent)

    @cached_property
    def products(self) -> IntArray:
        """Indices of its products, shape ``(J_n,)``."""
        return self._slot_layout.products(self.index)

    @property
    def product_ids(self) -> tuple[str, ...]:
        """Names of its products."""
        return tuple(self.catalog.product_ids[j] for j in self.products)

    @property
    def capacity(self) -> int:
        """Most products it may list."""
        return int(self.catalog.shelf[self.index])

    @property
    def display_slots(self) -> int:
        """Most products it may display; 0 where sellers cannot promote."""
        slots = self._slot_layout.promotion_slots
        return 0 if slots is None else int(slots[0, self.index])

    @property
    def unit_cost(self) -> FloatArray:
        """Money, shape ``(J_n,)``."""
        return self.catalog.unit_cost[self.products]

    @property
    def regular_price(self) -> FloatArray:
        """Money, shape ``(J_n,)``."""
        return self.catalog.regular_price[self.products]

    @property
    def price_low(self) -> FloatArray:
        """Money, shape ``(J_n,)``."""
        return self.catalog.price_low[self.products]

    @property
    def price_high(self) -> FloatArray:
        """Money, shape ``(J_n,)``."""
        return self.catalog.price_high[self.products]

    @cached_property
    def past_share(self) -> FloatArray:
        """Share of the population whose last purchase before the episode was each product, shape ``(J_n,)``."""
        population = self.scenario.population()
        return (population.weights @ population.initial_loyalty[:, 1:])[self.products]

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The flat observation space of the agent."""
        return self._layout.space("flat")

    @property
    def action_space(self) -> spaces.Space[Any]:
        """The action space of the agent."""
        return self._actions.space(self.agent)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The parts of the flat observation, in order."""
        return self._layout.blocks

    @property
    def action_parts(self) -> dict[str, int]:
        """The parts of an action and where in it each begins; each has `slots` numbers."""
        return self._actions.parts

    @property
    def slots(self) -> int:
        """W, the largest number of products that a seller of the market has."""
        return self._slot_layout.slots

    @property
    def orders(self) -> bool:
        """Whether products are ordered."""
        return self._actions.orders

    def encode(
        self, prices: FloatArray, listed: BoolArray, order: FloatArray | None = None,
        promoted: BoolArray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return the action(s) for prices (money), listings and orders (units) of its products, ``(..., J_n)``.

        `promoted` says what is displayed and what is advertised, shape ``(2, ..., J_n)``; None: nothing.
        """
        display, feature = (None, None) if promoted is None else (promoted[0], promoted[1])
        action: np.ndarray = self._actions.encode(self.index, prices, listed, display, feature, order)
        return action

    def act(
        self, observation: np.ndarray, prices: FloatArray, listed: BoolArray, *, lots: bool = False,
        promoted: BoolArray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return the actions for prices and listings ``(B, J_n)``, with the orders of `BaseStock` where there are any.

        Args:
            observation: Flat observations, shape ``(B, D)``.
            prices: Money.
            listed: Flags.
            lots: Whether to order in lots.
            promoted: See `encode`.
        """
        if not self._actions.orders:
            return self.encode(prices, listed, promoted=promoted)
        order = self._policies[lots].orders(np.asarray(observation), np.asarray(listed))
        return self.encode(prices, listed, order, promoted)

    @cached_property
    def _policies(self) -> dict[bool, BaseStock]:
        expected = expected_units(self.scenario.market(consumers=self.consumers, demand="expected"))
        return {lots: BaseStock(self._layout, self.index, expected, lots=lots) for lots in (False, True)}

    def read(self, observation: np.ndarray) -> Seen:
        """Return what flat observations ``(B, D)`` say."""
        said = self._layout.read(observation, self.index)
        stock = np.where(np.isnan(said["stock"]), np.inf, said["stock"])
        return Seen(
            said["price"], said["listed"] > 0, said["mean_field"], stock, said["sales"], said["long_share"],
            said["reference"], np.stack([said["display"], said["feature"]]),
            said["ordered"] if self._actions.orders else None,
        )  # fmt: skip


__getattr__ = old_names(__name__)
