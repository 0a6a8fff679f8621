"""A step of one market in one compiled call, where nothing but the period itself is to be played."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from malles_env.market import Market, Outcome
from malles_env.market.kernels.ordering import STOCK_LEDGER
from malles_env.market.state import LEDGER
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from malles_env.envs.spaces.actions import Actions
    from malles_env.envs.spaces.observations import Layout
    from malles_env.envs.spaces.price_rules import RuledPrices
    from malles_env.envs.spaces.slot_layout import SlotLayout

NO_ORDERS, NO_BOOKS = np.zeros((0, 0)), np.zeros((0, 0, 0))
STOCK_ROWS = 8
"""Rows of the table of `StockRoom`."""


class Playable(Protocol):
    """What a step of one market needs of its `MarketBatch`; see there."""

    market: Market
    slot_layout: SlotLayout
    actions: Actions
    layout: Layout
    rules: RuledPrices | None
    info_keys: tuple[str, ...]
    reward_scale: float

    @property
    def num_markets(self) -> int:
        """B."""
        ...

    @property
    def observation_fn(self) -> object:
        """A user's own observations, or None."""
        ...

    def played(
        self, prices: FloatArray, listed: BoolArray, flags: BoolArray | None, asked: FloatArray, books: FloatArray,
        stocked: FloatArray, rest: FloatArray,
    ) -> None:  # fmt: skip
        """Keep what was played."""
        ...


def fits(market_batch: Playable) -> bool:
    """Say whether steps of `market_batch` are one plain market's: no price rules, tiers or own observations."""
    special = market_batch.rules is not None or market_batch.actions.tiers
    shown = market_batch.layout.history == 1 and market_batch.observation_fn is None
    return market_batch.num_markets == 1 and not special and shown and market_batch.market.is_plain


class SingleMarket:
    """Plays one market; the numbers are those of `MarketBatch.step`, `observe`, `ledger` and `rewards`, bit for bit.

    Args:
        market_batch: One that `fits`.
    """

    def __init__(self, market_batch: Playable) -> None:
        self.market_batch = market_batch
        self.orders, self.ads = market_batch.actions.orders, market_batch.actions.promotes
        self.whole, self.real = packed(market_batch)
        self.shape = (1, market_batch.slot_layout.catalog.num_products)
        self._flags = (2, *self.shape)
        self._sellers = market_batch.slot_layout.count
        self._rest = 4 + self.shape[1] + 2 * self._sellers
        self._ledger = (1, self._sellers, len(market_batch.info_keys))
        self._seen = (1, self._sellers, market_batch.layout.size)

    def play(self, rows: FloatArray, cycles: float) -> tuple[np.ndarray, FloatArray, FloatArray]:
        """Play one period.

        Args:
            rows: Actions of all sellers, shape ``(1, N, A)``.
            cycles: Periods of an episode.

        Returns:
            Observations ``(1, N, D)``, rewards ``(N,)`` (profit / reward_scale) and the ledger ``(1, N, K)``, fresh.
            What `MarketBatch.outcome` is made of is left with the market batch.

        Raises:
            InvalidInput: An action outside its space; the state is unchanged then.
        """
        market_batch, shape, empty = self.market_batch, self.shape, np.empty
        market = market_batch.market
        traffic, state, next_loyalty = market.compiled_state()
        prices, listed, books = empty(shape), empty(shape, np.bool_), empty((LEDGER, *shape))
        rest, ledger, seen = empty(self._rest), empty(self._ledger), empty(self._seen, np.float32)
        on_hand, coming, asked, stocked = state.stock, state.pipeline, None, NO_BOOKS
        flags = empty(self._flags, np.bool_) if self.ads else None
        if self.orders:
            on_hand, coming = empty(shape), empty(coming.shape)
            asked, stocked = empty(shape), empty((STOCK_LEDGER, *shape))
        answer = _kernel()(
            rows, self.whole, self.real, float(cycles), traffic, state.stock, state.mean_field, state.centre,
            state.log_reference, state.pantry, state.window, state.period, state.streams, state.loyalty, next_loyalty,
            state.pipeline, on_hand, coming, prices, listed, flags, asked, books, stocked, rest, ledger, seen,
        )  # fmt: skip
        if answer < 0:
            raise market_batch.actions.complaint(rows, (-1 - answer) % rows.size)
        market.move_on(on_hand, coming)
        market_batch.played(prices, listed, flags, NO_ORDERS if asked is None else asked, books, stocked, rest)
        return seen, rest[self._rest - self._sellers :], ledger


@cache
def _kernel() -> Any:
    """Return the compiled step; imported when first played, as numba is slow to load."""
    from malles_env.envs.spaces.step_kernel import step_market

    return step_market


def outcome_of(
    prices: FloatArray, listed: BoolArray, flags: BoolArray | None, books: FloatArray, stocked: FloatArray,
    rest: FloatArray,
) -> Outcome:  # fmt: skip
    """Return the outcome of a period that `SingleMarket` played."""
    products = prices.shape[1]
    demand, units, lost, revenue, cost, fees, profit, share = books
    outside, surplus, residual, iterations = rest[:4].reshape(4, 1)
    perceived, profits = rest[4 : 4 + products].reshape(1, -1), rest[4 + products :].reshape(2, -1)[:1]
    return Outcome(
        prices, listed, demand, units, lost, revenue, cost, fees, profit, share, profits, surplus, outside, perceived,
        residual, iterations, flags, None, None, *(stocked if len(stocked) else ()),
    )  # fmt: skip


def packed(market_batch: Playable) -> tuple[IntArray, FloatArray]:
    """Return all that never changes as whole and as real numbers, in the order in which `step_market` reads them."""
    from malles_env.envs.spaces import step_kernel as k

    slot_layout, actions, layout = market_batch.slot_layout, market_batch.actions, market_batch.layout
    c, rules, terms, room = market_batch.market.compiled_parts()
    equilibrium, buyers, relaxation, tolerance, iterations, _ = rules
    places, products = layout.places, slot_layout.catalog.num_products
    draws, _, classes, _ = c.by_product.shape
    head = np.zeros(k.HEAD, dtype=np.int64)
    head[[k.N, k.J, k.W, k.A, k.D]] = slot_layout.count, products, slot_layout.slots, actions.width, places.shape[1]
    head[[k.S, k.K, k.DRAWS, k.PADDED]] = len(c.members), classes, draws, c.level.shape[2]
    head[[k.KIND, k.LEVELS, k.MODE]] = actions.kind, actions.levels, terms.mode
    head[[k.LINEAR, k.LOYAL, k.QUANTITIES]] = c.linear, c.loyal, c.quantities
    head[[k.COMPARES, k.PROMOTES, k.STORES]] = c.compares, c.promotes, c.stores
    head[[k.BUYERS, k.EQUILIBRIUM, k.RULE_BUYERS, k.ITERATIONS]] = terms.buyers, equilibrium, buyers, iterations
    head[[k.FIRST_ORDER, k.WHOLE]] = actions.first_order, slot_layout.whole_orders
    perceived = actions.promotes and c.promotes
    head[[k.FIRST_AD, k.FELT_ADS]] = actions.first_promotion, perceived
    ad_slots = np.zeros((2, slot_layout.count)) if slot_layout.promotion_slots is None else slot_layout.promotion_slots
    tables = (slot_layout.own, slot_layout.shelf, terms.seller_of, c.members, c.class_start, places, ad_slots)
    whole = np.concatenate([head, *(np.ravel(table) for table in tables)]).astype(np.int64)
    real_head = np.zeros(k.FLOAT_HEAD)
    real_head[[k.SIZE, k.KEEP, k.STORED]] = c.size, c.keep, c.stored
    real_head[[k.KEPT, k.PACE, k.MEMORY]] = terms.net_of_tax, terms.pace, terms.memory
    real_head[[k.RELAXATION, k.TOLERANCE, k.SCALE]] = relaxation, tolerance, market_batch.reward_scale
    if (promotions := slot_layout.catalog.promotions) is not None:
        real_head[[k.DISPLAY_FEE, k.FEATURE_FEE]] = promotions.display_fee, promotions.feature_fee
    largest = np.zeros(products) if slot_layout.largest_order is None else slot_layout.largest_order
    store = np.zeros((STOCK_ROWS, products)) if room is None else room.table
    numbers = (
        actions.low, actions.high, slot_layout.table, layout.scales, terms.unit_cost, terms.listing_fee,
        c.regular_price, c.level, c.level_extra, c.by_product, c.slopes, c.by_segment, largest, store,
    )  # fmt: skip
    return whole, np.concatenate([real_head, *(np.ravel(table) for table in numbers)]).astype(np.float64)
