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
from malles_env.market.arrays import FloatArray
from malles_env.market.seller_rules.promotion import KINDS

ActionMode = Literal["continuous", "discrete", "dict", "flat-discrete"]
MODES: dict[str, int] = {
    "continuous": CONTINUOUS, "discrete": DISCRETE, "dict": MONEY, "flat-discrete": DISCRETE,
}  # fmt: skip
SLACK = 1e-6  # of a bound, relative: float32 cannot hold every one, and arithmetic on bounds rounds
MOST_CHOICES = 10_000
"""Largest `Discrete` space of the flat-discrete mode."""
ORDER = "order"


def parts_of(seats: SlotLayout, mode: ActionMode) -> dict[str, int]:
    """Return the parts of an action and where in a row the W numbers of each begin."""
    names = ["price"] if MODES[mode] == DISCRETE else ["price", "listed"]
    names += KINDS if seats.promotion_slots is not None else ()
    names += [TIER] if seats.deepest_tier is not None else []
    names += [ORDER] if seats.largest_order is not None else []
    return {name: i * seats.slots for i, name in enumerate(names)}


def bounds_of(seats: SlotLayout, mode: ActionMode, levels: int, parts: dict[str, int]) -> tuple[FloatArray, FloatArray]:
    """Return the smallest and largest numbers of every seller's row, shape ``(N, A)`` each."""
    shape, at = (seats.count, len(parts) * seats.slots), parts.get(ORDER, 0)
    if mode == "continuous":
        return np.full(shape, -1.0 - SLACK), np.full(shape, 1.0 + SLACK)
    low, high = np.zeros(shape), np.ones(shape)
    if MODES[mode] == DISCRETE:
        high[:, : seats.slots] = levels
        if TIER in parts:
            high[:, parts[TIER] : parts[TIER] + seats.slots] = STEPS
        if ORDER in parts:
            high[:, at:] = levels
        return low, high
    seat, slot = np.nonzero(seats.own != NOTHING)
    products = seats.own[seat, slot]
    low[seat, slot] = seats.catalog.price_low[products] * (1.0 - SLACK)
    high[seat, slot] = seats.catalog.price_high[products] * (1.0 + SLACK)
    if seats.deepest_tier is not None:
        high[seat, parts[TIER] + slot] = seats.deepest_tier[products] * (1.0 + SLACK)
    if seats.largest_order is not None:
        high[seat, at + slot] = seats.largest_order[products]
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


def kinds_open(seats: SlotLayout, seat: int) -> tuple[str, ...]:
    """Return the kinds of promotion that a seller has slots for."""
    slots = seats.promotion_slots
    return () if slots is None else tuple(kind for kind, most in zip(KINDS, slots[:, seat], strict=True) if most > 0)


def space_of(seats: SlotLayout, seat: int, mode: ActionMode, high: FloatArray) -> spaces.Space[Any]:
    """Return a new action space of a seller; `high` is from `bounds_of`."""
    if mode == "continuous":
        return spaces.Box(-1.0, 1.0, (high.shape[1],), np.float32)
    if mode == "discrete":
        return spaces.MultiDiscrete((high[seat] + 1.0).astype(np.int64))
    if mode == "flat-discrete":
        return spaces.Discrete(math.prod(choices_of(high)))
    catalog, products = seats.catalog, seats.products(seat)
    price = spaces.Box(catalog.price_low[products], catalog.price_high[products], dtype=np.float64)
    more: dict[str, Any] = {name: spaces.MultiBinary(len(products)) for name in ("listed", *kinds_open(seats, seat))}
    if seats.deepest_tier is not None and len(seats.tier_slots(seat)):
        most = seats.deepest_tier[products[seats.tier_slots(seat)]]
        more[TIER] = spaces.Box(np.zeros_like(most), most, dtype=np.float64)
    if seats.largest_order is not None:
        kind: Any = np.int64 if seats.whole_orders else np.float64
        most = seats.largest_order[products].astype(kind)
        more[ORDER] = spaces.Box(np.zeros(len(products), kind), most, dtype=kind)
    return spaces.Dict({**more, "price": price})
