"""Action spaces, and the one way from actions to prices and listings for one market or thousands."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from malles_env.envs.kernels import CONTINUOUS, DISCRETE, MONEY, decode, promote
from malles_env.envs.seats import NOTHING, Seats
from malles_env.errors import InvalidInput, invalid
from malles_env.market.arrays import BoolArray, FloatArray, IntArray
from malles_env.market.promotion import KINDS

ActionMode = Literal["continuous", "discrete", "dict"]
MODES: dict[str, int] = {"continuous": CONTINUOUS, "discrete": DISCRETE, "dict": MONEY}
SLACK = 1e-6  # of a price in dict mode, relative: float32 cannot hold every bound


class Actions:
    """Spaces, checks, decoding and encoding of the actions of all seats.

    * ``continuous``: ``Box(-1, 1, (2 W,), float32)``: W prices, linear in each product's price box, then W
      listing scores. A score above 0 lists the product; beyond the shelf capacity the best scores stay, of
      equals the first.
    * ``discrete``: ``MultiDiscrete``, per slot 0 = not listed, 1 to m = a grid of m prices from the lowest to
      the highest. Beyond capacity the products with the largest price minus unit cost stay, of equals the
      first.
    * ``dict``: ``{"price": Box in money (J_n,), "listed": MultiBinary(J_n)}``; beyond capacity as in
      ``discrete``.

    Where sellers can promote (the catalog has `Promotions`), each mode goes on with a part for display and one for
    feature ads: W scores each (above 0 promotes), W choices of 0 or 1 each, or ``"display"`` and ``"feature"``, each
    ``MultiBinary(J_n)`` and there only if the seller has slots for it. Only what is on the shelf is promoted, and
    beyond a seller's slots the best stay, as with listings.

    Slots in which a seat has no product (see `Seats`) are checked like the others and then ignored.

    Args:
        seats: Who owns what.
        mode: ``"continuous"``, ``"discrete"`` or ``"dict"``.
        levels: m, prices of the discrete grid, at least 2.

    Attributes:
        width: A, numbers of an action in a row.
        promotes: Whether actions say what is displayed and advertised.
        flags: Where in a row these parts begin, if it does.

    Raises:
        InvalidInput: An unknown mode, or fewer than two levels.
    """

    def __init__(self, seats: Seats, mode: ActionMode = "continuous", levels: int = 15) -> None:
        if mode not in MODES:
            raise invalid("action_mode", mode, ", ".join(MODES))
        if not isinstance(levels, int) or levels < 2:
            raise invalid("price_levels", levels, "a whole number of at least 2")
        self.seats, self.mode, self.levels = seats, mode, levels
        self.promotes = seats.promotion_slots is not None
        parts = (1 if mode == "discrete" else 2) + (2 if self.promotes else 0)
        self.width = parts * seats.slots
        self._one = (self.width,)
        self.flags = self.width - 2 * seats.slots, self.width - seats.slots
        self._open = [self._kinds_open(n) for n in range(seats.count)]
        self.low, self.high = self._bounds()
        self._spaces = {agent: self._space(n) for n, agent in enumerate(seats.agents)}
        self._blank = np.empty((0, seats.count, self.width))
        self._kind = MODES[mode]
        self._keys = ("price", "listed", *(KINDS if self.promotes else ()))
        self._dtypes = "iu" if mode == "discrete" else "fiu"

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        seats, shape = self.seats, (self.seats.count, self.width)
        if self.mode == "continuous":
            return np.full(shape, -1.0), np.full(shape, 1.0)
        if self.mode == "discrete":
            most = np.ones(shape)
            most[:, : seats.slots] = self.levels
            return np.zeros(shape), most
        low, high = np.zeros(shape), np.ones(shape)
        filled = np.nonzero(seats.own != NOTHING)
        low[filled] = seats.catalog.price_low[seats.own[filled]] * (1.0 - SLACK)
        high[filled] = seats.catalog.price_high[seats.own[filled]] * (1.0 + SLACK)
        return low, high

    def _space(self, seat: int) -> spaces.Space[Any]:
        if self.mode == "continuous":
            return spaces.Box(-1.0, 1.0, (self.width,), np.float32)
        if self.mode == "discrete":
            return spaces.MultiDiscrete((self.high[seat] + 1.0).astype(np.int64))
        catalog, products = self.seats.catalog, self.seats.products(seat)
        price = spaces.Box(catalog.price_low[products], catalog.price_high[products], dtype=np.float64)
        flags = {name: spaces.MultiBinary(len(products)) for name in ("listed", *self._open[seat])}
        return spaces.Dict({**flags, "price": price})

    def _kinds_open(self, seat: int) -> tuple[str, ...]:
        """Return the kinds of promotion that a seat has slots for."""
        slots = self.seats.promotion_slots
        return (
            () if slots is None else tuple(kind for kind, most in zip(KINDS, slots[:, seat], strict=True) if most > 0)
        )

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

    def put(self, rows: FloatArray, seat: int, action: Any) -> None:
        """Write one seat's action, or a batch of them, into `rows`.

        Args:
            rows: From `blank`, shape ``(B, N, A)``.
            seat: Whose.
            action: As its space says, or with a leading axis of B; shape is checked here, values in `decode`.

        Raises:
            InvalidInput: A wrong shape or kind.
        """
        if self.mode == "dict":
            self._put_dict(rows, seat, action)
            return
        array = action if type(action) is np.ndarray else _as_array(self.seats.agents[seat], action)
        fits = array.shape == self._one or array.shape == (len(rows), self.width)
        if not fits or array.dtype.kind not in self._dtypes:
            self._refuse(self.seats.agents[seat], array, self._one)
        rows[:, seat] = array

    def put_all(self, rows: FloatArray, actions: Any) -> None:
        """Write the actions of all seats into `rows`; both have shape ``(B, N, A)``.

        Raises:
            InvalidInput: A wrong shape or kind.
        """
        array = np.asarray(actions)
        if array.shape != rows.shape or array.dtype.kind not in self._dtypes:
            self._refuse("all sellers", array, rows.shape)
        rows[...] = array

    def _put_dict(self, rows: FloatArray, seat: int, action: Any) -> None:
        agent, count = self.seats.agents[seat], len(self.seats.products(seat))
        needed = ("price", "listed", *self._open[seat])
        if not isinstance(action, dict) or not set(needed) <= set(action) <= {*needed, *self._keys}:
            words = " and ".join((", ".join(map(repr, needed[:-1])), repr(needed[-1])))
            raise invalid(f"action of {agent}", action, f"a dict with {words}")
        for part, key in enumerate(self._keys):
            if key not in action:
                continue
            start = part * self.seats.slots
            array = _as_array(f"{agent}[{key!r}]", action[key])
            if array.dtype.kind not in "fiub" or array.shape not in ((count,), (len(rows), count)):
                allowed = f"{count} numbers, one per product of {agent}"
                raise invalid(f"action of {agent}[{key!r}]", action[key], allowed)
            if key not in needed:
                self._refuse_flags(seat, key, array)
            rows[:, seat, start : start + count] = array

    def _refuse_flags(self, seat: int, kind: str, flags: np.ndarray) -> None:
        """Refuse a promoted product where a seat has no slot to promote any."""
        if kind not in self._open[seat] and np.any(flags):
            why = f"the seller has no {kind} slot" if self.promotes else "the scenario has no promotions"
            raise invalid(f"action of {self.seats.agents[seat]}[{kind!r}]", np.asarray(flags).tolist(), f"0, as {why}")

    def _refuse(self, who: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
        kind = "whole numbers" if self.mode == "discrete" else "real numbers"
        found = f"{array.dtype} of shape {array.shape}"
        raise InvalidInput(f"action of {who}: got {found}; allowed: {kind} of shape {shape}")

    def decode(self, rows: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return prices (money) and listings, each ``(B, J)``, fresh.

        Raises:
            InvalidInput: A value outside its space; names agent, entry, value and what is allowed.
        """
        shape = (len(rows), self.seats.catalog.num_products)
        prices, listed, seats = np.empty(shape), np.empty(shape, dtype=np.bool_), self.seats
        bad = decode(
            self._kind, self.levels, rows, self.low, self.high, seats.own, seats.shelf, seats.table,
            prices, listed,
        )  # fmt: skip
        if bad >= 0:
            raise self._complaint(rows, bad)
        return prices, listed

    def promoted(self, rows: FloatArray, prices: FloatArray, listed: BoolArray) -> BoolArray:
        """Return what is displayed and what is advertised, fresh, shape ``(2, B, J)``; only where sellers can promote.

        Args:
            rows: As given to `decode`, which checks them.
            prices: From `decode`.
            listed: From `decode`.
        """
        seats, slots = self.seats, self.seats.promotion_slots
        assert slots is not None
        flags = np.empty((2, *listed.shape), dtype=np.bool_)
        promote(self._kind, rows, self.flags[0], seats.own, slots, seats.table, prices, listed, flags)
        return flags

    def _complaint(self, rows: FloatArray, bad: int) -> InvalidInput:
        market, seat, entry = (int(i) for i in np.unravel_index(bad, rows.shape))
        low, high = float(self.low[seat, entry]), float(self.high[seat, entry])
        place = f"[{entry}]"
        if self.mode == "dict":
            part, i = divmod(entry, self.seats.slots)
            key = self._keys[part]
            product = self.seats.own[seat, i]
            place = f"[{key!r}][{i}]"
            if key == "price":
                catalog = self.seats.catalog
                low, high = float(catalog.price_low[product]), float(catalog.price_high[product])
        where = f" in market {market}" if len(rows) > 1 else ""
        value = float(rows[market, seat, entry])
        return invalid(f"action of {self.seats.agents[seat]}{where}, {place}", value, f"{low:g} to {high:g}")

    def encode(
        self, seat: int, prices: ArrayLike, listed: ArrayLike, display: ArrayLike | None = None,
        feature: ArrayLike | None = None,
    ) -> Any:  # fmt: skip
        """Return the action that asks for given prices, listings and promotion; the inverse of decoding.

        Args:
            seat: Whose.
            prices: Money, shape ``(J_n,)`` or ``(B, J_n)``; held in the price box, on the grid if discrete.
            listed: Which of its products, same shape (or one that broadcasts).
            display: Which of them to display, likewise; None: none.
            feature: Which of them to advertise, likewise; None: none.

        Raises:
            InvalidInput: Promotion that the seat has no slot for.
        """
        products, slots = self.seats.products(seat), self.seats.slots
        low, span = self.seats.table[0, products], self.seats.table[1, products]
        money = np.clip(np.asarray(prices, dtype=np.float64), low, low + span)
        shelf, *flags = (
            np.broadcast_to(np.asarray(False if given is None else given, dtype=bool), money.shape)
            for given in (listed, display, feature)
        )
        for kind, wanted in zip(KINDS, flags, strict=True):
            self._refuse_flags(seat, kind, wanted)
        if self.mode == "dict":
            parts = {"listed": shelf, **dict(zip(KINDS, flags, strict=True))}
            bits = {name: parts[name].astype(np.int8) for name in ("listed", *self._open[seat])}
            return {"price": money, **bits}
        share, count = (money - low) / span, len(products)
        discrete = self.mode == "discrete"
        action = np.zeros((*money.shape[:-1], self.width), dtype=np.int64 if discrete else np.float32)
        if discrete:
            action[..., :count] = np.where(shelf, 1 + np.rint(share * (self.levels - 1)), 0)
        else:
            action[..., :count] = 2.0 * share - 1.0
        scored = [] if discrete else [(slots, shelf)]
        if self.promotes:
            scored += zip(self.flags, flags, strict=True)
        for start, wanted in scored:
            action[..., start : start + count] = np.where(wanted, 1, 0 if discrete else -1)
        return action

    def masks(self, seat: int, stock: FloatArray) -> BoolArray:
        """Return which discrete choices of a seat make sense, flat.

        Args:
            seat: Whose.
            stock: On hand in its market, shape ``(J,)``.

        Returns:
            Shape ``(W * (m + 1),)``; where sellers can promote ``(W * (m + 5),)``.

        Raises:
            InvalidInput: The actions are not discrete.
        """
        if self.mode != "discrete":
            raise invalid("action_masks in action_mode", self.mode, "discrete")
        own = self.seats.own[seat]
        closed = (own == NOTHING) | (stock[own] <= 0.0)
        parts = [_open_choices(closed, self.levels + 1)]
        slots: IntArray | None = self.seats.promotion_slots
        parts += [_open_choices(closed | (most == 0), 2) for most in (() if slots is None else slots[:, seat])]
        return np.concatenate(parts)


def _open_choices(closed: BoolArray, choices: int) -> BoolArray:
    """Return a mask of so many choices per slot, flat, with all but the first closed where `closed` says so."""
    open_ = np.ones((len(closed), choices), dtype=np.bool_)
    open_[closed, 1:] = False
    return open_.reshape(-1)


def _as_array(name: str, action: Any) -> np.ndarray:
    try:
        return np.asarray(action)
    except (TypeError, ValueError):
        raise invalid(f"action of {name}", action, "an array of numbers") from None
