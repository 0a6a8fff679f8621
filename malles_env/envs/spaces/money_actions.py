"""Actions in money and units, the dict mode: what they must hold, and what is wrong with those that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from malles_env.envs.spaces.action_spaces import ORDER, kinds_open
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.envs.spaces.tiers import TIER, allowed_depth
from malles_env.errors import InvalidInput, brief, invalid
from malles_env.type_aliases import FloatArray


class MoneyActions:
    """Reads dict actions into rows of numbers, and checks promotion and orders wherever they are given in words.

    Args:
        slot_layout: Who owns what.
        parts: From `malles_env.envs.spaces.action_spaces.parts_of`.
    """

    def __init__(self, slot_layout: SlotLayout, parts: dict[str, int]) -> None:
        self.slot_layout, self.parts = slot_layout, parts
        self.open = [kinds_open(slot_layout, n) for n in range(slot_layout.count)]
        ordered = (ORDER,) if slot_layout.largest_order is not None else ()
        tiers = [(TIER,) if len(slot_layout.tier_slots(n)) else () for n in range(slot_layout.count)]
        self.needed = [
            ("price", "listed", *kinds, *tier, *ordered) for kinds, tier in zip(self.open, tiers, strict=True)
        ]
        self._known = [{*self.parts} - (set() if tier else {TIER}) for tier in tiers]

    def put(self, rows: FloatArray, seller: int, action: Any) -> None:
        """Write one seller's action, or a batch of them, into `rows`, see `Actions.put`.

        Raises:
            InvalidInput: No dict, a missing or unknown key, a wrong shape, or a promoted product without a slot.
        """
        agent, needed = self.slot_layout.agents[seller], self.needed[seller]
        count = len(self.slot_layout.products(seller))
        if not isinstance(action, dict) or not set(needed) <= set(action) <= self._known[seller]:
            words = " and ".join((", ".join(map(repr, needed[:-1])), repr(needed[-1])))
            raise invalid(f"action of {agent}", action, f"a dict with {words}")
        for key, start in self.parts.items():
            if key not in action:
                continue
            array = as_array(f"{agent}[{key!r}]", action[key])
            tiered = self.slot_layout.tier_slots(seller) if key == TIER else None
            size = count if tiered is None else len(tiered)
            if array.dtype.kind not in "fiub" or array.shape not in ((size,), (len(rows), size)):
                allowed = f"{size} numbers, one per product of {agent}" + ("" if tiered is None else " with a tier")
                raise invalid(f"action of {agent}[{key!r}]", action[key], allowed)
            if key not in needed:
                self.refuse_flags(seller, key, array)
            rows[:, seller, slice(start, start + count) if tiered is None else start + tiered] = array

    def refuse_flags(self, seller: int, kind: str, flags: np.ndarray) -> None:
        """Refuse a promoted product where a seller has no slot to promote any.

        Raises:
            InvalidInput: Says why.
        """
        if kind not in self.open[seller] and np.any(flags):
            promotes = self.slot_layout.promotion_slots is not None
            why = f"the seller has no {kind} slot" if promotes else "the scenario has no promotions"
            where = f"action of {self.slot_layout.agents[seller]}[{kind!r}]"
            raise invalid(where, np.asarray(flags).tolist(), f"0, as {why}")

    def checked_orders(self, seller: int, order: ArrayLike | None, shape: tuple[int, ...]) -> FloatArray:
        """Return orders of a seller's products in units, of the given shape ``(..., J_n)``; None: nothing is ordered.

        Raises:
            InvalidInput: Orders where products are not ordered, or one that is negative, too large or fractional.
        """
        units = np.broadcast_to(np.asarray(0.0 if order is None else order, dtype=np.float64), shape)
        given, agent = self.slot_layout.catalog.replenishment, self.slot_layout.agents[seller]
        if given is None:
            if np.any(units):
                allowed = "0, as the scenario has no replenishment"
                raise invalid(f"action of {agent}[{ORDER!r}]", np.asarray(units).tolist(), allowed)
            return units
        most = given.of("largest")[self.slot_layout.products(seller)]
        for at in np.argwhere(~((units >= 0.0) & (units <= most)) | (given.whole_units & (units != np.floor(units))))[
            :1
        ]:
            field, value = f"action of {agent}[{ORDER!r}][{at[-1]}]", float(units[tuple(at)])
            raise given.complaint(field, value, float(most[at[-1]])) or invalid(field, value, "a number")
        return units

    def complaint(self, where: str, seller: int, entry: int, value: float) -> InvalidInput:
        """Return what is wrong with the number at `entry` of a seller's row; `where` names the agent."""
        key = [name for name, start in self.parts.items() if start <= entry][-1]
        i = entry - self.parts[key]
        product, catalog, field = self.slot_layout.own[seller, i], self.slot_layout.catalog, f"{where}, [{key!r}][{i}]"
        if key == "price":
            low, high = float(catalog.price_low[product]), float(catalog.price_high[product])
            return invalid(field, value, f"{low:g} to {high:g}")
        if key == TIER and self.slot_layout.deepest_tier is not None:
            return invalid(field, value, allowed_depth(float(self.slot_layout.deepest_tier[product])))
        if key == ORDER and catalog.replenishment is not None:
            problem = catalog.replenishment.complaint(field, value, catalog.replenishment.supplies[product].largest)
            if problem is not None:
                return problem
        return invalid(field, value, "0 to 1")


def as_array(name: str, action: Any) -> np.ndarray:
    """Return an action as an array.

    Raises:
        InvalidInput: It cannot be one.
    """
    if isinstance(action, np.ma.MaskedArray) and np.ma.is_masked(action):
        raise invalid(f"action of {name}", f"{np.ma.count_masked(action)} masked entries", "an array without a mask")
    try:
        return np.asarray(action)
    except Exception as error:  # whatever the object's own conversion raises, e.g. a tensor that requires grad
        shown = action if type(error) in (TypeError, ValueError) else f"{type(action).__name__}: {brief(error)}"
        raise invalid(f"action of {name}", shown, "an array of numbers") from None
