"""What an action holds in each mode: its parts, their bounds in a row of numbers, and the spaces that agents see."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from malles_env.envs.spaces.kernels import CONTINUOUS, DISCRETE, MONEY
from malles_env.envs.spaces.slot_layout import NOTHING, SlotLayout
from malles_env.envs.spaces.tiers import STEPS, TIER
from malles_env.errors import invalid
from malles_env.market.seller_rules.promotion import KINDS
from malles_env.type_aliases import FloatArray

ActionMode = Literal["continuous", "discrete", "dict", "flat-discrete"]
MODES: dict[str, int] = {
    "continuous": CONTINUOUS, "discrete": DISCRETE, "dict": MONEY, "flat-discrete": DISCRETE,
}  # fmt: skip
SLACK = 1e-6  # of a bound, relative: float32 cannot hold every one, and arithmetic on bounds rounds
MOST_CHOICES = 10_000
"""Largest `Discrete` space of the flat-discrete mode."""
ORDER = "order"


def parts_of(slot_layout: SlotLayout, mode: ActionMode) -> dict[str, int]:
    """Return the parts of an action and where in a row the W numbers of each begin."""
    names = ["price"] if MODES[mode] == DISCRETE else ["price", "listed"]
    names += KINDS if slot_layout.promotion_slots is not None else ()
    names += [TIER] if slot_layout.deepest_tier is not None else []
    names += [ORDER] if slot_layout.largest_order is not None else []
    return {name: i * slot_layout.slots for i, name in enumerate(names)}


def bounds_of(
    slot_layout: SlotLayout, mode: ActionMode, levels: int, parts: dict[str, int]
) -> tuple[FloatArray, FloatArray]:
    """Return the smallest and largest numbers of every seller's row, shape ``(N, A)`` each."""
    shape, at = (slot_layout.count, len(parts) * slot_layout.slots), parts.get(ORDER, 0)
    if mode == "continuous":
        return np.full(shape, -1.0 - SLACK), np.full(shape, 1.0 + SLACK)
    low, high = np.zeros(shape), np.ones(shape)
    if MODES[mode] == DISCRETE:
        high[:, : slot_layout.slots] = levels
        if TIER in parts:
            high[:, parts[TIER] : parts[TIER] + slot_layout.slots] = STEPS
        if ORDER in parts:
            high[:, at:] = levels
        return low, high
    seller, slot = np.nonzero(slot_layout.own != NOTHING)
    products = slot_layout.own[seller, slot]
    low[seller, slot] = slot_layout.catalog.price_low[products] * (1.0 - SLACK)
    high[seller, slot] = slot_layout.catalog.price_high[products] * (1.0 + SLACK)
    if slot_layout.deepest_tier is not None:
        high[seller, parts[TIER] + slot] = slot_layout.deepest_tier[products] * (1.0 + SLACK)
    if slot_layout.largest_order is not None:
        high[seller, at + slot] = slot_layout.largest_order[products]
    return low, high


def choices_of(high: FloatArray) -> tuple[int, ...]:
    """Return how many choices each number of a discrete action has; all sellers have the same.

    Args:
        high: From `bounds_of`.

    Raises:
        InvalidInput: Too many combinations for the flat-discrete mode.
    """
    choices = tuple(int(most) + 1 for most in high[0])
    if math.prod(choices) > MOST_CHOICES:
        found = f"flat-discrete, which has {' x '.join(map(str, choices))} choices here"
        raise invalid("action_mode", found, f"at most {MOST_CHOICES:,}: fewer price_levels, or action_mode discrete")
    return choices


def kinds_open(slot_layout: SlotLayout, seller: int) -> tuple[str, ...]:
    """Return the kinds of promotion that a seller has slots for."""
    slots = slot_layout.promotion_slots
    return () if slots is None else tuple(kind for kind, most in zip(KINDS, slots[:, seller], strict=True) if most > 0)


def space_of(slot_layout: SlotLayout, seller: int, mode: ActionMode, high: FloatArray) -> spaces.Space[Any]:
    """Return a new action space of a seller; `high` is from `bounds_of`."""
    if mode == "continuous":
        return spaces.Box(-1.0, 1.0, (high.shape[1],), np.float32)
    if mode == "discrete":
        return spaces.MultiDiscrete((high[seller] + 1.0).astype(np.int64))
    if mode == "flat-discrete":
        return spaces.Discrete(math.prod(choices_of(high)))
    catalog, products = slot_layout.catalog, slot_layout.products(seller)
    price = spaces.Box(catalog.price_low[products], catalog.price_high[products], dtype=np.float64)
    more: dict[str, Any] = {
        name: spaces.MultiBinary(len(products)) for name in ("listed", *kinds_open(slot_layout, seller))
    }
    if slot_layout.deepest_tier is not None and len(slot_layout.tier_slots(seller)):
        most = slot_layout.deepest_tier[products[slot_layout.tier_slots(seller)]]
        more[TIER] = spaces.Box(np.zeros_like(most), most, dtype=np.float64)
    if slot_layout.largest_order is not None:
        kind: Any = np.int64 if slot_layout.whole_orders else np.float64
        most = slot_layout.largest_order[products].astype(kind)
        more[ORDER] = spaces.Box(np.zeros(len(products), kind), most, dtype=kind)
    return spaces.Dict({**more, "price": price})
