"""Stock that sellers order: lead times, what ordering and holding cost, and how much there may be of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import InvalidInput, invalid
from malles_env.market.arrays import as_floats
from malles_env.type_aliases import FloatArray

CLOSE = 1e-9  # units: stock that fractional sales leave is this far from whole at most


@dataclass(frozen=True, slots=True)
class Supply:
    """How one product is ordered and kept.

    Sellers order at the start of a period, together with prices. An order arrives `lead_time` periods later, before
    that period's sales; with lead time 0 it can be sold in the period in which it is placed. It is paid when it is
    placed: the fixed cost and, per unit, the product's unit cost without unit tax. At the end of the period what is on
    hand costs `holding_cost` a unit; at the end of an episode, after that, it is sold for `salvage` a unit, and what is
    still on order is lost.

    Attributes:
        storage: Most units on hand and on order together, more than 0: so much fits even if nothing is sold.
        max_order: Most units of one order, more than 0 and at most `storage`; None: `storage`.
        lead_time: Whole periods, at least 0.
        fixed_cost: Money per order, whatever its size.
        holding_cost: Money per unit on hand at the end of a period.
        initial: Units on hand at the start of an episode, at most `storage`; they have cost nothing.
        salvage: Money per unit on hand at the end of an episode.
    """

    storage: float
    max_order: float | None = None
    lead_time: int = 0
    fixed_cost: float = 0.0
    holding_cost: float = 0.0
    initial: float = 0.0
    salvage: float = 0.0

    @property
    def largest(self) -> float:
        """Most units of one order."""
        return self.storage if self.max_order is None else self.max_order

    def problems(self, whole_units: bool) -> Iterator[tuple[str, object, str]]:
        """Yield the field, its value and what is allowed for each value out of range."""
        for name in ("storage", "max_order"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < np.inf:
                yield name, value, "a finite number of more than 0"
        for name in ("fixed_cost", "holding_cost", "initial", "salvage"):
            if not 0.0 <= getattr(self, name) < np.inf:
                yield name, getattr(self, name), "a finite number of at least 0"
        if self.lead_time < 0 or self.lead_time != int(self.lead_time):
            yield "lead_time", self.lead_time, "a whole number of periods, at least 0"
        for name, value in (("max_order", self.largest), ("initial", self.initial)):
            if value > self.storage:
                yield name, value, f"at most storage = {self.storage:g}"
            if whole_units and value != np.floor(value):
                yield name, value, "a whole number, as whole_units is true"


@dataclass(frozen=True, slots=True)
class Replenishment:
    """How the products of a catalog are ordered.

    Attributes:
        supplies: One per product, in the catalog's order.
        whole_units: Whether orders are whole numbers.

    Raises:
        InvalidInput: A value out of range.
    """

    supplies: tuple[Supply, ...]
    whole_units: bool = True

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for j, supply in enumerate(self.supplies):
            for name, value, allowed in supply.problems(self.whole_units):
                raise invalid(f"replenishment[{j}].{name}", value, allowed)

    def of(self, name: str) -> FloatArray:
        """Return a fresh array of one of `Supply`'s numbers, ``"largest"`` included, shape ``(J,)``."""
        return np.array([getattr(supply, name) for supply in self.supplies], dtype=np.float64)

    @property
    def longest(self) -> int:
        """The longest lead time, periods."""
        return max(supply.lead_time for supply in self.supplies)

    def room(self, stock: FloatArray, pipeline: FloatArray) -> FloatArray:
        """Return the most units that may be ordered now, whole where orders are.

        Args:
            stock: On hand, shape ``(..., J)``.
            pipeline: On order, by remaining lead time, shape ``(..., L, J)``.
        """
        free = np.clip(self.of("storage") - stock - pipeline.sum(axis=-2), 0.0, self.of("largest"))
        return np.floor(free + CLOSE) if self.whole_units else free

    def complaint(self, field: str, value: float, most: float) -> InvalidInput | None:
        """Return what is wrong with an order, None if nothing.

        Args:
            field: Name for the message.
            value: Units ordered.
            most: Units that may be ordered.
        """
        if not 0.0 <= value <= most + CLOSE:
            return invalid(field, value, f"0 to {most:g} units")
        if self.whole_units and value != np.floor(value):
            return invalid(field, value, f"whole units from 0 to {most:g}")
        return None

    def checked(self, orders: ArrayLike, room: FloatArray, product_ids: tuple[str, ...]) -> FloatArray:
        """Return orders as a fresh array ``(B, J)``.

        Args:
            orders: Units, broadcastable to ``(B, J)``.
            room: Most units, see `room`, shape ``(B, J)``.
            product_ids: For the message.

        Raises:
            InvalidInput: A wrong shape, or a negative, fractional (where whole ones are due) or too large order.
        """
        units = as_floats("orders", orders, room.shape).copy()
        bad = (units < 0.0) | (units > room + CLOSE) | (self.whole_units & (units != np.floor(units)))
        for b, j in np.argwhere(bad)[:1]:
            where = f" in market {b}" if len(room) > 1 else ""
            problem = self.complaint(f"order of {product_ids[j]}{where}", float(units[b, j]), float(room[b, j]))
            assert problem is not None
            raise problem
        return units
