"""Action spaces, and the one way from actions to prices and listings for one market or thousands."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from malles_env.envs.kernels import CONTINUOUS, DISCRETE, MONEY, decode
from malles_env.envs.seats import NOTHING, Seats
from malles_env.errors import InvalidInput, invalid
from malles_env.market.arrays import BoolArray, FloatArray

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

    Slots in which a seat has no product (see `Seats`) are checked like the others and then ignored.

    Args:
        seats: Who owns what.
        mode: ``"continuous"``, ``"discrete"`` or ``"dict"``.
        levels: m, prices of the discrete grid, at least 2.

    Raises:
        InvalidInput: An unknown mode, or fewer than two levels.
    """

    def __init__(self, seats: Seats, mode: ActionMode = "continuous", levels: int = 15) -> None:
        if mode not in MODES:
            raise invalid("action_mode", mode, ", ".join(MODES))
        if not isinstance(levels, int) or levels < 2:
            raise invalid("price_levels", levels, "a whole number of at least 2")
        self.seats, self.mode, self.levels = seats, mode, levels
        self.width = seats.slots if mode == "discrete" else 2 * seats.slots
        self.low, self.high = self._bounds()
        self._spaces = {agent: self._space(n) for n, agent in enumerate(seats.agents)}
        self._blank = np.empty((0, seats.count, self.width))
        self._kind = MODES[mode]
        self._dtypes = "iu" if mode == "discrete" else "fiu"

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        seats, shape = self.seats, (self.seats.count, self.width)
        if self.mode == "continuous":
            return np.full(shape, -1.0), np.full(shape, 1.0)
        if self.mode == "discrete":
            return np.zeros(shape), np.full(shape, float(self.levels))
        low, high = np.zeros(shape), np.ones(shape)
        filled = np.nonzero(seats.own != NOTHING)
        low[filled] = seats.catalog.price_low[seats.own[filled]] * (1.0 - SLACK)
        high[filled] = seats.catalog.price_high[seats.own[filled]] * (1.0 + SLACK)
        return low, high

    def _space(self, seat: int) -> spaces.Space[Any]:
        if self.mode == "continuous":
            return spaces.Box(-1.0, 1.0, (self.width,), np.float32)
        if self.mode == "discrete":
            return spaces.MultiDiscrete([self.levels + 1] * self.width)
        catalog, products = self.seats.catalog, self.seats.products(seat)
        price = spaces.Box(catalog.price_low[products], catalog.price_high[products], dtype=np.float64)
        return spaces.Dict({"listed": spaces.MultiBinary(len(products)), "price": price})

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
        if array.dtype.kind not in self._dtypes or array.shape not in (
            (self.width,),
            (len(rows), self.width),
        ):
            self._refuse(self.seats.agents[seat], array, (self.width,))
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
        if not isinstance(action, dict) or set(action) != {"price", "listed"}:
            raise invalid(f"action of {agent}", action, "a dict with 'price' and 'listed'")
        for key, start in (("price", 0), ("listed", self.seats.slots)):
            array = _as_array(f"{agent}[{key!r}]", action[key])
            if array.dtype.kind not in "fiub" or array.shape not in ((count,), (len(rows), count)):
                allowed = f"{count} numbers, one per product of {agent}"
                raise invalid(f"action of {agent}[{key!r}]", action[key], allowed)
            rows[:, seat, start : start + count] = array

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

    def _complaint(self, rows: FloatArray, bad: int) -> InvalidInput:
        market, seat, entry = (int(i) for i in np.unravel_index(bad, rows.shape))
        low, high = float(self.low[seat, entry]), float(self.high[seat, entry])
        place = f"[{entry}]"
        if self.mode == "dict":
            key, i = ("price", entry) if entry < self.seats.slots else ("listed", entry - self.seats.slots)
            product = self.seats.own[seat, i]
            place = f"[{key!r}][{i}]"
            if key == "price":
                catalog = self.seats.catalog
                low, high = float(catalog.price_low[product]), float(catalog.price_high[product])
        where = f" in market {market}" if len(rows) > 1 else ""
        value = float(rows[market, seat, entry])
        return invalid(f"action of {self.seats.agents[seat]}{where}, {place}", value, f"{low:g} to {high:g}")

    def encode(self, seat: int, prices: ArrayLike, listed: ArrayLike) -> Any:
        """Return the action that asks for given prices and listings; the inverse of decoding.

        Args:
            seat: Whose.
            prices: Money, shape ``(J_n,)`` or ``(B, J_n)``; held in the price box, on the grid if discrete.
            listed: Which of its products, same shape (or one that broadcasts).
        """
        products = self.seats.products(seat)
        low, span = self.seats.table[0, products], self.seats.table[1, products]
        money = np.clip(np.asarray(prices, dtype=np.float64), low, low + span)
        shelf = np.broadcast_to(np.asarray(listed, dtype=bool), money.shape)
        if self.mode == "dict":
            return {"price": money, "listed": shelf.astype(np.int8)}
        share, count = (money - low) / span, len(products)
        if self.mode == "discrete":
            levels = np.zeros((*money.shape[:-1], self.width), dtype=np.int64)
            levels[..., :count] = np.where(shelf, 1 + np.rint(share * (self.levels - 1)), 0)
            return levels
        action = np.zeros((*money.shape[:-1], self.width), dtype=np.float32)
        action[..., :count] = 2.0 * share - 1.0
        action[..., self.seats.slots : self.seats.slots + count] = np.where(shelf, 1.0, -1.0)
        return action

    def masks(self, seat: int, stock: FloatArray) -> BoolArray:
        """Return which discrete choices of a seat make sense, flat, shape ``(W * (m + 1),)``.

        Args:
            seat: Whose.
            stock: On hand in its market, shape ``(J,)``.

        Raises:
            InvalidInput: The actions are not discrete.
        """
        if self.mode != "discrete":
            raise invalid("action_masks in action_mode", self.mode, "discrete")
        open_ = np.ones((self.width, self.levels + 1), dtype=np.bool_)
        own = self.seats.own[seat]
        open_[(own == NOTHING) | (stock[own] <= 0.0), 1:] = False
        return open_.reshape(-1)


def _as_array(name: str, action: Any) -> np.ndarray:
    try:
        return np.asarray(action)
    except (TypeError, ValueError):
        raise invalid(f"action of {name}", action, "an array of numbers") from None
