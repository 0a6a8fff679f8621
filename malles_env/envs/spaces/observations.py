"""What a seller sees: named blocks of numbers with known bounds, and the way back to money and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from malles_env.envs.spaces import kernels as k
from malles_env.envs.spaces.slot_layout import NOTHING, SlotLayout
from malles_env.envs.spaces.tiers import NO_TIERS
from malles_env.errors import check_choice, invalid
from malles_env.type_aliases import FloatArray

ObservationMode = Literal["flat", "dict"]
Monitoring = Literal["full", "prices", "own"]
MONITORING: tuple[Monitoring, ...] = ("full", "prices", "own")


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring numbers of an observation that state the same quantity.

    Attributes:
        name: Key in dict observations.
        start, size: Place in the flat observation.
        low, high: Bounds.
        unit: What 1 means.
    """

    name: str
    start: int
    size: int
    low: float
    high: float
    unit: str

    @property
    def slice(self) -> slice:
        """Its place in the flat observation."""
        return slice(self.start, self.start + self.size)


# name -> (what it states, lowest value, unit); all highest values are 1
FIELDS = {
    "price": (k.PRICE, -1.0, "place in the price box; 0 where not listed"),
    "listed": (k.LISTED, 0.0, "1 = was on the shelf"),
    "cost": (k.UNIT_COST, 0.0, "unit cost / highest price"),
    "stock": (k.STOCK, 0.0, "share of the starting stock left"),
    "sales": (k.SALES, 0.0, "units / (units + consumers / J)"),
    "mean_field": (k.MEAN_FIELD, 0.0, "purchase share that consumers will see"),
    "long_share": (k.LONG_SHARE, 0.0, "long-run purchase share, at which the mean field has no effect"),
    "reference": (k.REFERENCE, -1.0, "log(reference price / regular price), held to [-1, 1]"),
    "display": (k.DISPLAY, 0.0, "1 = was displayed"),
    "feature": (k.FEATURE, 0.0, "1 = was advertised"),
    "tier": (k.TIER, 0.0, "depth of the tier price below the list price / the deepest"),
    "ordered": (k.ORDERED, 0.0, "last order / largest order"),
}
ALWAYS = ("price", "listed", "cost", "sales", "mean_field")
"""Fields of every market; the others stand only where they move."""
REMEMBERED = (k.PRICE, k.LISTED, k.SALES, k.MEAN_FIELD)
"""What blocks of earlier periods hold, as far as it is visible."""
PUBLIC = ("price", "listed", "reference", "display", "feature", "tier")
"""Fields of rivals that a seller sees where prices are public."""
NO_FLAGS = np.zeros((2, 0, 0), dtype=np.bool_)
NO_ORDERS, NO_PIPELINE = np.zeros((0, 0)), np.zeros((0, 0, 0))


class Layout:
    """The observation of every seller: which number stands where.

    Blocks, in order (W slots per seller, N sellers; slots without a product hold 0):

    ``own_price, own_listed, own_cost, own_stock, own_sales, own_reference, own_display, own_feature`` (W each) of the
    last period (costs are constant; stock only if the catalog limits any, reference prices only where they matter,
    display and feature only where sellers can promote), ``own_tier`` where products carry quantity discounts (likewise
    of rivals, after their display and feature), where products are ordered ``own_ordered, own_on_order_1`` to
    ``own_on_order_<L>`` (W each: the last order, and what arrives in the coming period, in the one after, ..., L being
    the longest lead time), ``rivals_price, rivals_listed, rivals_reference, rivals_display, rivals_feature`` ((N - 1) W
    each; with monitoring ``full`` also ``rivals_cost, rivals_stock, rivals_sales`` and their orders; with ``own``
    none), ``mean_field`` (N W, own slots first; W with ``own``) and, where it matters, ``long_share`` likewise,
    ``time`` (1) and ``seller`` (N, one-hot). Rivals come in a circle: the next seller first.

    With a `history` of k periods the blocks of the k - 1 periods before the last follow behind all of these, the newest
    first: ``past_<a>_<block>`` for a = 1 to k - 1 periods earlier, where block is each of the above that holds prices,
    listings, sales or the mean field, in their order. Whoever knows the plain observation finds it unchanged at the
    front. Before an episode's first period, all of them show its usual start.

    Args:
        slot_layout: Who owns what.
        size: Number of consumers.
        monitoring: What is public: ``"full"``, ``"prices"`` (prices, listings and the mean field) or
            ``"own"``.
        memories: Which of ``"reference"`` and ``"long_share"`` move in this market.
        history: Periods shown, at least 1.

    Raises:
        InvalidInput: Another `monitoring`.
    """

    def __init__(
        self,
        slot_layout: SlotLayout,
        size: float,
        monitoring: Monitoring = "prices",
        memories: Sequence[str] = (),
        history: int = 1,
    ) -> None:
        check_choice("monitoring", monitoring, MONITORING)
        self.slot_layout, self.monitoring, self.history = slot_layout, monitoring, history
        catalog = slot_layout.catalog
        limited = bool(np.isfinite(catalog.stock).any())
        promoted = () if slot_layout.promotion_slots is None else ("display", "feature")
        tiers = () if slot_layout.deepest_tier is None else ("tier",)
        there = {*ALWAYS, *memories, *promoted, *tiers, *(("stock",) if limited else ())}
        given = catalog.replenishment
        self.lead_time = 0 if given is None else given.longest
        self._known = dict(FIELDS)
        if given is not None:
            there.add("ordered")
            self._known["stock"] = (k.STOCK, 0.0, "units on hand / storage")
            coming = {
                f"on_order_{age + 1}": (k.ON_ORDER + age, 0.0, "units / storage") for age in range(self.lead_time)
            }
            self._known |= coming
            there |= coming.keys()
        self.fields = tuple(name for name in self._known if name in there)
        typical = np.full(catalog.num_products, size / catalog.num_products)
        full = catalog.stock if given is None else given.of("storage")
        most = np.ones_like(full) if given is None else given.of("largest")
        self.scales = np.ascontiguousarray([catalog.price_high, full, typical, most])
        blocks: list[Block] = []
        kinds: list[np.ndarray] = []
        where: list[np.ndarray] = []
        for name, kind, low, unit, places in self._parts():
            start = blocks[-1].start + blocks[-1].size if blocks else 0
            blocks.append(Block(name, start, places.shape[1], low, 1.0, unit))
            kinds.append(np.full(places.shape[1], kind))
            where.append(places)
        self.blocks = (*blocks, *self._past_blocks(blocks, kinds))
        self.kinds, self.where = np.concatenate(kinds), np.ascontiguousarray(np.hstack(where))
        kept = np.flatnonzero(np.isin(self.kinds, REMEMBERED))
        # runs of neighbours are copied several times faster than single places
        runs = np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1)
        self._remembered = [slice(int(run[0]), int(run[-1]) + 1) for run in runs]
        self._state_kinds, self._state_where = self._state_places()
        self._places = self._flat(self.kinds, self.where), self._flat(self._state_kinds, self._state_where)

    def _parts(self) -> list[tuple[str, int, float, str, np.ndarray]]:
        slot_layout, slots = self.slot_layout, self.slot_layout.slots
        known = [name for name in self.fields if name not in ("mean_field", "long_share")]
        parts = [(f"own_{name}", *self._known[name], slot_layout.view[:, :slots]) for name in known]
        if self.monitoring != "own" and slot_layout.count > 1:
            public = [name for name in known if self.monitoring == "full" or name in PUBLIC]
            parts += [(f"rivals_{name}", *self._known[name], slot_layout.view[:, slots:]) for name in public]
        perceived = slot_layout.view[:, :slots] if self.monitoring == "own" else slot_layout.view
        first = np.zeros((slot_layout.count, 1), dtype=np.int64)
        return [
            *parts,
            *((name, *self._known[name], perceived) for name in self.fields if name in ("mean_field", "long_share")),
            ("time", k.TIME, 0.0, "periods played / max_cycles", first),
            ("seller", k.CONSTANT, 0.0, "one-hot number of the seller", np.eye(slot_layout.count, dtype=np.int64)),
        ]

    def _past_blocks(self, blocks: Sequence[Block], kinds: Sequence[np.ndarray]) -> list[Block]:
        """Return the blocks of earlier periods, newest first."""
        again = [block for block, kind in zip(blocks, kinds, strict=True) if kind[0] in REMEMBERED]
        start, past = blocks[-1].start + blocks[-1].size, []
        for age in range(1, self.history):
            for block in again:
                past.append(replace(block, name=f"past_{age}_{block.name}", start=start))
                start += block.size
        return past

    def as_past(self, now: np.ndarray) -> np.ndarray:
        """Return what observations would hold of earlier periods had all of them been as now, ``(B, N, P)``."""
        return np.concatenate([now[..., run] for run in self._remembered] * (self.history - 1), axis=-1)

    def moved_on(self, past: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Return earlier periods ``(B, N, P)`` one period later, `now` (without them) being the newest of them."""
        newest = [now[..., run] for run in self._remembered]
        left = past.shape[-1] - sum(part.shape[-1] for part in newest)
        return np.concatenate([*newest, past[..., :left]], axis=-1)

    def _state_places(self) -> tuple[np.ndarray, np.ndarray]:
        products = np.arange(self.slot_layout.catalog.num_products)
        shown = [name for name in self._known if name in self.fields or name == "stock"]
        kinds = [np.full(len(products), self._known[name][0]) for name in shown]
        where = [products] * len(shown)
        return np.concatenate([*kinds, [k.TIME]]), np.concatenate([*where, [0]])[None, :]

    def _flat(self, kinds: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Return where `kernels.encode` finds each number, shape of `where`."""
        products = self.slot_layout.catalog.num_products
        fixed = k.CONSTANT * products + np.maximum(where, 0)  # numbers that are 0 or 1 in every period
        ahead = kinds * products + where
        ahead = np.where(kinds >= k.ON_ORDER, ahead - products + 2, ahead)  # behind the fixed numbers
        return np.where((kinds == k.CONSTANT) | (where == NOTHING), fixed, ahead)

    @property
    def places(self) -> np.ndarray:
        """Where `kernels.encode` finds each number of a plain observation, shape ``(N, D)``."""
        return self._places[0]

    @property
    def size(self) -> int:
        """D, numbers in a flat observation."""
        return self.blocks[-1].start + self.blocks[-1].size

    def __getitem__(self, name: str) -> slice:
        """Return the place of a block in the flat observation.

        Raises:
            InvalidInput: There is no such block.
        """
        for block in self.blocks:
            if block.name == name:
                return block.slice
        raise invalid("observation block", name, ", ".join(block.name for block in self.blocks))

    def space(self, mode: ObservationMode) -> spaces.Space[Any]:
        """Return a new observation space.

        Raises:
            InvalidInput: `mode` is neither ``"flat"`` nor ``"dict"``.
        """
        check_choice("observation_mode", mode, ("flat", "dict"))
        if mode == "flat":
            low = np.concatenate([np.full(block.size, block.low) for block in self.blocks])
            return spaces.Box(low.astype(np.float32), np.float32(1.0), dtype=np.float32)
        return spaces.Dict({b.name: spaces.Box(b.low, b.high, (b.size,), np.float32) for b in self.blocks})

    def split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return the blocks of flat observation(s) ``(..., D)`` by name, as views."""
        return {block.name: flat[..., block.slice] for block in self.blocks}

    def copies(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return the blocks as `split` does, but as fresh arrays that share nothing."""
        return {name: block.copy() for name, block in self.split(flat).items()}

    @property
    def state_space(self) -> spaces.Box:
        """A new space of the global view: price, listed, cost, stock, sales, mean field of all J, then time.

        Long-run shares, reference prices, display and feature, tiers, orders and what is on order of all J stand before
        the time where they matter.
        """
        below = (self._state_kinds == k.PRICE) | (self._state_kinds == k.REFERENCE)
        low = np.where(below, -1.0, 0.0).astype(np.float32)
        return spaces.Box(low, np.float32(1.0), dtype=np.float32)

    def encode(
        self,
        prices: np.ndarray,
        listed: np.ndarray,
        units: np.ndarray,
        stock: np.ndarray,
        mean_field: np.ndarray,
        centre: np.ndarray,
        log_reference: np.ndarray,
        period: np.ndarray,
        cycles: float,
        *,
        promoted: np.ndarray = NO_FLAGS,
        tier: np.ndarray = NO_TIERS,
        ordered: np.ndarray = NO_ORDERS,
        pipeline: np.ndarray = NO_PIPELINE,
        state: bool = False,
    ) -> np.ndarray:
        """Return observations of all sellers ``(B, N, D)``, or with `state` the global view, see `state_space`.

        Without blocks of earlier periods: whoever keeps these puts them behind.

        Args:
            prices: Last asked, money, ``(B, J)``.
            listed: Last shelf, ``(B, J)``.
            units: Last sold, ``(B, J)``.
            stock: On hand, ``(B, J)``.
            mean_field: Shares consumers will see, ``(B, J)``.
            centre: Their long-run shares, ``(B, J)``.
            log_reference: Log of reference over regular price, ``(B, J)``.
            period: Periods played, ``(B,)``.
            cycles: Periods of an episode.
            promoted: Last displayed and last advertised, ``(2, B, J)``; needed only where sellers can promote.
            tier: Depth of the last tier prices over the deepest, ``(B, J)``; needed only where products carry tiers.
            ordered: Last ordered, units, ``(B, J)``; needed only where products are ordered, as is the next.
            pipeline: On order by remaining lead time, ``(B, L, J)``.
            state: Whether to describe the whole market instead of what each seller sees.
        """
        places = self._places[state]
        out = np.empty((len(prices), *places.shape), dtype=np.float32)
        k.encode(
            prices, listed, units, stock, mean_field, centre, log_reference, promoted, tier, ordered, pipeline,
            period, float(cycles), self.slot_layout.table, self.scales, places, out,
        )  # fmt: skip
        return out

    def read(self, observation: np.ndarray, seller: int) -> dict[str, FloatArray]:
        """Return what flat observation(s) of a seller say, in physical units and the catalog's order.

        Args:
            observation: Shape ``(D,)`` or ``(B, D)``.
            seller: Number of the seller.

        Returns:
            ``price`` (money; the middle of the box where not listed), ``listed`` (bool), ``sales`` (units),
            ``stock`` (units), ``mean_field`` (share), ``long_share`` (share), ``reference`` (money), ``display`` and
            ``feature`` (bool), ``tier`` (share of the list price), ``ordered`` (units), each ``(..., J)`` with NaN
            (False) where not visible, ``on_order`` (units, ``(..., L, J)``, the coming period first) and ``time`` of
            shape ``(...)``.
        """
        flat = np.asarray(observation, dtype=np.float64)
        shown = {name: self._gather(flat, name, seller) for name in self._known if name != "cost"}
        low, span = self.slot_layout.table[0], self.slot_layout.table[1]
        full = self.scales[1]
        coming = [shown[f"on_order_{age + 1}"] * full for age in range(self.lead_time)]
        sales = shown["sales"]
        return {
            "price": low + 0.5 * (shown["price"] + 1.0) * span,
            "listed": shown["listed"] > 0.5,
            "sales": sales * self.scales[2] / np.maximum(1.0 - sales, 1e-7),
            "stock": np.where(np.isfinite(full), shown["stock"] * np.where(np.isfinite(full), full, 0.0), np.inf),
            "mean_field": shown["mean_field"],
            "long_share": shown["long_share"],
            "reference": self.slot_layout.catalog.regular_price * np.exp(shown["reference"]),
            "display": shown["display"] > 0.5,
            "feature": shown["feature"] > 0.5,
            "tier": shown["tier"] * (0.0 if self.slot_layout.deepest_tier is None else self.slot_layout.deepest_tier),
            "ordered": shown["ordered"] * self.scales[3],
            "on_order": np.stack(coming, axis=-2) if coming else np.empty((*flat.shape[:-1], 0, len(full))),
            "time": flat[..., self["time"].start],
        }

    def _gather(self, flat: FloatArray, name: str, seller: int) -> FloatArray:
        values = np.full((*flat.shape[:-1], self.slot_layout.catalog.num_products), np.nan)
        places = np.flatnonzero((self.kinds == self._known[name][0]) & (self.where[seller] != NOTHING))
        values[..., self.where[seller, places]] = flat[..., places]
        return values
