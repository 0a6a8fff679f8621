"""The one way from actions to prices, listings, promotion and orders, and back, for one market or thousands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from malles_env.envs.spaces.action_spaces import MODES, ORDER, ActionMode, bounds_of, choices_of, parts_of, space_of
from malles_env.envs.spaces.kernels import DISCRETE, decode, decode_orders, promote
from malles_env.envs.spaces.money_actions import MoneyActions, as_array
from malles_env.envs.spaces.slot_layout import NOTHING, SlotLayout
from malles_env.envs.spaces.tiers import STEPS, TIER, checked_depths, decode_tiers
from malles_env.errors import InvalidInput, invalid
from malles_env.market.seller_rules.promotion import KINDS
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

__all__ = ["ActionMode", "Actions"]

MOST_LEVELS = 10_000


class Actions:
    """Spaces, checks, decoding and encoding of the actions of all sellers.

    * ``continuous``: ``Box(-1, 1, (2 W,), float32)``: W prices, linear in each product's price box, then W
      listing scores. A score above 0 lists the product; beyond the shelf capacity the best scores stay, of
      equals the first.
    * ``discrete``: ``MultiDiscrete``, per slot 0 = not listed, 1 to m = a grid of m prices from the lowest to
      the highest. Beyond capacity the products with the largest price minus unit cost stay, of equals the
      first.
    * ``flat-discrete``: ``Discrete``, the actions of ``discrete`` numbered in the order of `numpy.ravel_multi_index`;
      with one product and nothing but its price to choose, the same numbers.
    * ``dict``: ``{"price": Box in money (J_n,), "listed": MultiBinary(J_n)}``; beyond capacity as in
      ``discrete``.

    Continuous numbers may be out of [-1, 1] by rounding (1e-6) and are clamped.

    Where sellers can promote (the catalog has `Promotions`), each mode goes on with a part for display and one for
    feature ads: W scores each (above 0 promotes), W choices of 0 or 1 each, or ``"display"`` and ``"feature"``, each
    ``MultiBinary(J_n)`` and there only if the seller has slots for it. Only what is on the shelf is promoted, and
    beyond a seller's slots the best stay, as with listings.

    Where products carry quantity discounts (the catalog has `Tiers`), each mode goes on with a part for the depth of
    the tier price below the list price: W numbers, linear from none at -1 to the deepest at 1; W choices, 0 = none to
    4 = the deepest in equal steps; or ``"tier"``, ``Box`` of shares, one per product of the seller that carries a tier,
    there only if one does. No tier price is below the product's lowest price, or the one that a least margin leaves.

    Where products are ordered (the catalog has a `Replenishment`), each mode ends with a part for orders: W numbers,
    linear from no order to the largest one and rounded where orders are whole; W choices, 0 = none, 1 to m = a grid of
    m orders up to the largest, rounded likewise; or ``"order"``, ``Box`` in units ``(J_n,)``. What there is no room for
    is not ordered.

    Slots in which a seller has no product (see `SlotLayout`) are checked like the others and then ignored.

    Args:
        slot_layout: Who owns what.
        mode: ``"continuous"``, ``"discrete"``, ``"flat-discrete"`` or ``"dict"``.
        levels: m, prices of the discrete grid and orders of theirs, at least 2.

    Attributes:
        width: A, numbers of an action in a row.
        shape: Of an action as its space has it: ``(A,)``, or ``()`` in the flat-discrete mode.
        parts: Where in a row each part begins.
        promotes: Whether actions say what is displayed and advertised.
        tiers: Whether actions say tier prices.
        orders: Whether actions say what is ordered.

    Raises:
        InvalidInput: An unknown mode, fewer than two levels, or too many choices for the flat-discrete mode.
    """

    def __init__(self, slot_layout: SlotLayout, mode: ActionMode = "continuous", levels: int = 15) -> None:
        if not isinstance(mode, str) or mode not in MODES:
            raise invalid("action_mode", mode, ", ".join(MODES))
        if isinstance(levels, bool) or not isinstance(levels, int) or not 2 <= levels <= MOST_LEVELS:
            raise invalid("price_levels", levels, f"a whole number from 2 to {MOST_LEVELS}")
        self.slot_layout, self.mode, self.levels = slot_layout, mode, levels
        self.parts = parts_of(slot_layout, mode)
        self.promotes, self.orders, self.tiers = (name in self.parts for name in (KINDS[0], ORDER, TIER))
        self.width = len(self.parts) * slot_layout.slots
        self.low, self.high = bounds_of(slot_layout, mode, levels, self.parts)
        self._spaces = {agent: space_of(slot_layout, n, mode, self.high) for n, agent in enumerate(slot_layout.agents)}
        self._blank = np.empty((0, slot_layout.count, self.width))
        self._kind = MODES[mode]
        self._flat = choices_of(self.high) if mode == "flat-discrete" else None
        self.shape: tuple[int, ...] = (self.width,) if self._flat is None else ()
        self._single = self.shape in ((), (1,))
        self._money = MoneyActions(slot_layout, self.parts)
        self._dtypes = "iu" if self._kind == DISCRETE else "fiu"

    def space(self, agent: str) -> spaces.Space[Any]:
        """Return the space of one agent, the same object each time.

        Raises:
            InvalidInput: There is no such agent.
        """
        try:
            return self._spaces[agent]
        except KeyError:
            raise invalid("agent", agent, ", ".join(self._spaces)) from None

    def blank(self, batch: int) -> FloatArray:
        """Return rows to be filled by `put`, shape ``(batch, N, A)``."""
        if len(self._blank) != batch:
            self._blank = np.tile(np.clip(0.0, self.low, self.high), (batch, 1, 1))
        return self._blank.copy()

    def put(self, rows: FloatArray, seller: int, action: Any) -> None:
        """Write one seller's action, or a batch of them, into `rows`.

        Args:
            rows: From `blank`, shape ``(B, N, A)``.
            seller: Number of the seller.
            action: As its space says, or with a leading axis of B; where it is a single number, with or without an
                axis of length 1. Shape is checked here, values in `decode`.

        Raises:
            InvalidInput: A wrong shape or kind, or a number of no choice in the flat-discrete mode.
        """
        if self.mode == "dict":
            self._money.put(rows, seller, action)
            return
        array = action if type(action) is np.ndarray else as_array(self.slot_layout.agents[seller], action)
        fits = array.shape == self.shape or array.shape == (len(rows), *self.shape)
        if self._single and not fits:
            fits = array.shape in ((), (1,), (len(rows),), (len(rows), 1))
        if not fits or array.dtype.kind not in self._dtypes:
            self._refuse(self.slot_layout.agents[seller], array, self.shape)
        if self._single:
            array = array.reshape(-1, 1)
        rows[:, seller] = array if self._flat is None else self._split(array, self.slot_layout.agents[seller])

    def _split(self, choices: np.ndarray, who: str) -> np.ndarray:
        """Return the numbers behind flat choices of shape ``(..., 1)``: shape ``(..., A)``.

        Raises:
            InvalidInput: A number of no choice.
        """
        assert self._flat is not None
        most = math.prod(self._flat) - 1
        for bad in choices[(choices < 0) | (choices > most)][:1]:
            raise invalid(f"action of {who}", int(bad), f"0 to {most}")
        return np.stack(np.unravel_index(choices[..., 0], self._flat), axis=-1)

    def put_all(self, rows: FloatArray, actions: Any) -> None:
        """Write the actions of all sellers, shape ``(B, N, A)`` (``(B, N)`` of single numbers), into `rows`.

        Raises:
            InvalidInput: A wrong shape or kind, or a number of no choice in the flat-discrete mode.
        """
        array = as_array("all sellers", actions)
        if self._single and array.shape == rows.shape[:2]:
            array = array[..., None]
        shape = (*rows.shape[:2], 1) if self._flat is not None else rows.shape
        if array.shape != shape or array.dtype.kind not in self._dtypes:
            self._refuse("all sellers", array, shape)
        rows[...] = array if self._flat is None else self._split(array, "a seller")

    def _refuse(self, who: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
        kind = "whole numbers" if self._kind == DISCRETE else "real numbers"
        found = f"{array.dtype} of shape {array.shape}"
        raise InvalidInput(f"action of {who}: got {found}; allowed: {kind} of shape {shape}")

    @property
    def kind(self) -> int:
        """The mode as the kernels have it."""
        return self._kind

    @property
    def first_order(self) -> int:
        """Where in a row the orders begin; 0 without orders."""
        return self.parts.get(ORDER, 0)

    @property
    def first_promotion(self) -> int:
        """Where in a row what is displayed begins; 0 where sellers cannot promote."""
        return self.parts.get(KINDS[0], 0)

    def rows_of(self, agents: Sequence[str], actions: Mapping[str, Any]) -> FloatArray:
        """Return the actions of all agents, in their order, as rows for one market, shape ``(1, N, A)``, fresh.

        Raises:
            InvalidInput: A wrong shape or kind, or a number of no choice in the flat-discrete mode.
        """
        given = [actions[agent] for agent in agents]
        if self._flat is None and self.mode != "dict":  # the usual case, several times faster than one by one
            shape, kind = self.shape, self._dtypes[0]
            for action in given:
                if type(action) is not np.ndarray or action.shape != shape or action.dtype.kind != kind:
                    break
            else:
                return np.array(given, dtype=np.float64, ndmin=3)
        rows = self.blank(1)
        for n, action in enumerate(given):
            self.put(rows, n, action)
        return rows

    def decode(self, rows: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return prices (money) and listings, each ``(B, J)``, fresh.

        Raises:
            InvalidInput: A value outside its space; names agent, entry, value and what is allowed.
        """
        shape = (len(rows), self.slot_layout.catalog.num_products)
        prices, listed, slot_layout = np.empty(shape), np.empty(shape, dtype=np.bool_), self.slot_layout
        bad = decode(
            self._kind, self.levels, rows, self.low, self.high, slot_layout.own, slot_layout.shelf, slot_layout.table,
            prices, listed,
        )  # fmt: skip
        if bad >= 0:
            raise self.complaint(rows, bad)
        return prices, listed

    def promoted(self, rows: FloatArray, prices: FloatArray, listed: BoolArray) -> BoolArray:
        """Return what is displayed and what is advertised, fresh, shape ``(2, B, J)``; only where sellers can promote.

        Args:
            rows: As given to `decode`, which checks them.
            prices: From `decode`.
            listed: From `decode`.
        """
        slot_layout, slots = self.slot_layout, self.slot_layout.promotion_slots
        assert slots is not None
        flags = np.empty((2, *listed.shape), dtype=np.bool_)
        promote(
            self._kind, rows, self.parts[KINDS[0]], slot_layout.own, slots, slot_layout.table, prices, listed, flags
        )
        return flags

    def tiered(self, rows: FloatArray, prices: FloatArray, lowest: FloatArray) -> FloatArray:
        """Return tier prices, money, fresh, shape ``(B, J)``; only where products carry tiers.

        Args:
            rows: As given to `decode`, which checks them.
            prices: List prices, money, shape ``(B, J)``.
            lowest: Money below which no tier price goes, shape ``(J,)``.
        """
        tier, slot_layout = np.empty_like(prices), self.slot_layout
        decode_tiers(
            self._kind, rows, self.parts[TIER], slot_layout.own, slot_layout.deepest_tier, lowest, prices, tier
        )
        return tier

    def ordered(self, rows: FloatArray) -> FloatArray:
        """Return what is ordered, units, fresh, shape ``(B, J)``; only where products are ordered.

        Args:
            rows: As given to `decode`, which checks them.

        Raises:
            InvalidInput: A fractional order in the dict mode where whole ones are due.
        """
        slot_layout = self.slot_layout
        units = np.empty((len(rows), slot_layout.catalog.num_products))
        bad = decode_orders(
            self._kind, self.levels, rows, self.parts[ORDER],
            slot_layout.own, slot_layout.largest_order, slot_layout.whole_orders, units,
        )  # fmt: skip
        if bad >= 0:
            raise self.complaint(rows, bad)
        return units

    def complaint(self, rows: FloatArray, bad: int) -> InvalidInput:
        """Return the error about the entry with flat index `bad` of `rows`."""
        market, seller, entry = (int(i) for i in np.unravel_index(bad, rows.shape))
        where = f"action of {self.slot_layout.agents[seller]}" + (f" in market {market}" if len(rows) > 1 else "")
        value = float(rows[market, seller, entry])
        if self.mode == "dict":
            return self._money.complaint(where, seller, entry, value)
        allowed = f"{float(self.low[seller, entry]):g} to {float(self.high[seller, entry]):g}"
        if self.mode == "continuous" and math.isfinite(value):
            allowed += " (gymnasium.wrappers.ClipAction or supersuit.clip_actions_v0 clips what a policy draws outside)"
        return invalid(f"{where}, [{entry}]", value, allowed)

    def encode(
        self, seller: int, prices: ArrayLike, listed: ArrayLike, display: ArrayLike | None = None,
        feature: ArrayLike | None = None, order: ArrayLike | None = None, tier: ArrayLike | None = None,
    ) -> Any:  # fmt: skip
        """Return the action for given prices, listings, promotion, orders and discounts; the inverse of decoding.

        Args:
            seller: Number of the seller.
            prices: Money, shape ``(J_n,)`` or ``(B, J_n)``; held in the price box, on the grid if discrete.
            listed: Which of its products, same shape (or one that broadcasts).
            display: Which of them to display, likewise; None: none.
            feature: Which of them to advertise, likewise; None: none.
            order: Units to order of each, likewise, on the grid if discrete; None: none.
            tier: Depths of tier prices, as shares of list prices, likewise, on the grid if discrete; None: none.

        Raises:
            InvalidInput: Promotion that the seller has no slot for, or an order that is negative, too large, or
                fractional where whole ones are due, or a discount that is negative, too deep or of no tier.
        """
        products = self.slot_layout.products(seller)
        low, span = self.slot_layout.table[0, products], self.slot_layout.table[1, products]
        money = np.clip(np.asarray(prices, dtype=np.float64), low, low + span)
        bits = {
            name: np.broadcast_to(np.asarray(False if given is None else given, dtype=bool), money.shape)
            for name, given in zip(("listed", *KINDS), (listed, display, feature), strict=True)
        }
        units = self._money.checked_orders(seller, order, money.shape)
        depths = checked_depths(self.slot_layout, seller, tier, money.shape)
        for kind in KINDS:
            self._money.refuse_flags(seller, kind, bits[kind])
        if self.mode == "dict":
            return self._as_dict(seller, money, bits, units, depths)
        share, count, steps = (money - low) / span, len(products), self.levels - 1
        discrete = self._kind == DISCRETE
        action = np.zeros((*money.shape[:-1], self.width), dtype=np.int64 if discrete else np.float32)
        action[..., :count] = np.where(bits["listed"], 1 + np.rint(share * steps), 0) if discrete else 2.0 * share - 1.0
        for name, start in self.parts.items():
            place = slice(start, start + count)
            if name in bits:
                action[..., place] = np.where(bits[name], 1, 0 if discrete else -1)
            elif name == TIER and self.slot_layout.deepest_tier is not None:
                most = self.slot_layout.deepest_tier[products]
                cut = depths / np.where(most > 0.0, most, 1.0)
                action[..., place] = np.rint(cut * STEPS) if discrete else 2.0 * cut - 1.0
            elif name == ORDER and self.slot_layout.largest_order is not None:
                full = units / self.slot_layout.largest_order[products]
                action[..., place] = np.rint(full * self.levels) if discrete else 2.0 * full - 1.0
        if self._flat is not None:
            return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(action, -1, 0)), self._flat))
        return action

    def _as_dict(
        self, seller: int, money: FloatArray, bits: dict[str, BoolArray], units: FloatArray, depths: FloatArray
    ) -> dict[str, np.ndarray]:
        """Return an action in money of the dict mode, with the keys that the seller's space has."""
        own_bits = {name: bits[name].astype(np.int8) for name in self._money.needed[seller] if name in bits}
        number = np.int64 if self.slot_layout.whole_orders else np.float64
        whole = {ORDER: units.astype(number)} if self.orders else {}
        slots = self.slot_layout.tier_slots(seller)
        cuts = {TIER: depths[..., slots]} if len(slots) else {}
        return {"price": money, **own_bits, **cuts, **whole}

    def masks(self, seller: int, stock: FloatArray, room: FloatArray | None = None) -> BoolArray:
        """Return which discrete choices of a seller make sense: flat, or of each choice in the flat-discrete mode.

        Args:
            seller: Number of the seller.
            stock: What can be sold of each product in this period, shape ``(J,)``.
            room: Units that may be ordered, shape ``(J,)``; needed where products are ordered.

        Returns:
            Shape ``(W * (m + 1),)``, with W * 4 more where sellers can promote, W * 5 more where products carry tiers
            and W * (m + 1) more where products are ordered; in the flat-discrete mode one per choice. An order that
            comes to the same as a smaller choice makes no sense.

        Raises:
            InvalidInput: The actions are not discrete.
        """
        if self._kind != DISCRETE:
            raise invalid("action_masks in action_mode", self.mode, "discrete, flat-discrete")
        own = self.slot_layout.own[seller]
        closed = (own == NOTHING) | (stock[own] <= 0.0)
        parts = [_open_choices(closed, self.levels + 1)]
        slots: IntArray | None = self.slot_layout.promotion_slots
        parts += [_open_choices(closed | (most == 0), 2) for most in (() if slots is None else slots[:, seller])]
        if self.slot_layout.deepest_tier is not None:
            parts.append(_open_choices(closed | (self.slot_layout.deepest_tier[own] == 0.0), STEPS + 1))
        if room is not None and self.slot_layout.largest_order is not None:
            sizes = np.arange(self.levels + 1) / self.levels * self.slot_layout.largest_order[own, None]
            sizes = np.minimum(np.floor(sizes + 0.5) if self.slot_layout.whole_orders else sizes, room[own, None])
            more = np.diff(sizes, axis=1, prepend=-1.0) > 0.0
            more[own == NOTHING, 1:] = False
            parts.append(more.reshape(-1))
        mask = np.concatenate(parts)
        return mask if self._flat is None else np.ravel(reduce(np.logical_and.outer, self.parted(mask)))

    def parted(self, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return a flat mask of the numbers of a discrete action as one mask per number, as `MultiDiscrete` samples."""
        return tuple(np.split(mask, np.cumsum(self.high[0].astype(np.int64) + 1)[:-1]))


def _open_choices(closed: BoolArray, choices: int) -> BoolArray:
    """Return a mask of so many choices per slot, flat, with all but the first closed where `closed` says so."""
    open_ = np.ones((len(closed), choices), dtype=np.bool_)
    open_[closed, 1:] = False
    return open_.reshape(-1)
