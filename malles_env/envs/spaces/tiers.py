"""Quantity discounts in actions, observations and infos: depths below the list price, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from malles_env.compiling import njit
from malles_env.envs.spaces.kernels import CONTINUOUS, DISCRETE
from malles_env.envs.spaces.slot_layout import NOTHING, SlotLayout
from malles_env.errors import invalid
from malles_env.market.state import Outcome
from malles_env.type_aliases import FloatArray

TIER = "tier"
STEPS = 4
"""Discounts of the discrete grid beside none: a quarter, half, three quarters and all of the deepest."""
TIER_KEYS = ("tier_units", "tier_revenue")
"""What infos hold besides where products carry tiers: units sold below the list price, and their revenue."""
NO_TIERS = np.zeros((0, 0))


def checked_depths(slot_layout: SlotLayout, seller: int, tier: ArrayLike | None, shape: tuple[int, ...]) -> FloatArray:
    """Return the depths of a seller's tier prices below its list prices, of the given shape ``(..., J_n)``.

    Raises:
        InvalidInput: A discount where there are no tiers, or one that is negative or too deep.
    """
    depths = np.broadcast_to(np.asarray(0.0 if tier is None else tier, dtype=np.float64), shape)
    where = f"action of {slot_layout.agents[seller]}[{TIER!r}]"
    if slot_layout.deepest_tier is None:
        if np.any(depths):
            raise invalid(where, np.asarray(depths).tolist(), "0, as the scenario has no tiers")
        return depths
    most = slot_layout.deepest_tier[slot_layout.products(seller)]
    for at in np.argwhere(~((depths >= 0.0) & (depths <= most)))[:1]:
        raise invalid(f"{where}[{at[-1]}]", float(depths[tuple(at)]), allowed_depth(float(most[at[-1]])))
    return depths


def allowed_depth(most: float) -> str:
    """Return which discounts a product may have, in words."""
    return f"0 to {most:g} of the list price" if most > 0.0 else "0, as the product carries no tier"


@njit(cache=True)
def decode_tiers(
    mode: int, actions: Any, first: int, own: Any, deepest: Any, lowest: Any, prices: Any, tier: Any
) -> None:
    """Turn checked actions into tier prices.

    Args:
        mode: CONTINUOUS, DISCRETE or MONEY.
        actions: One row per market and seller, shape ``(B, N, A)``.
        first: Where in a row the W discounts stand.
        own: Product in each of a seller's slots or NOTHING, shape ``(N, W)``.
        deepest: Deepest discount of each product, share of the list price, shape ``(J,)``.
        lowest: Money below which no tier price goes, shape ``(J,)``.
        prices: List prices, money, shape ``(B, J)``.
        tier: Filled, money, shape ``(B, J)``; the list price where there is no discount.
    """
    for b in range(len(actions)):
        for n in range(len(own)):
            for i in range(own.shape[1]):
                j = own[n, i]
                if j == NOTHING:
                    continue
                depth = actions[b, n, first + i]
                if mode == CONTINUOUS:
                    depth = deepest[j] * (0.5 * (depth + 1.0))
                elif mode == DISCRETE:
                    depth = deepest[j] * depth / STEPS
                depth = min(depth, deepest[j])
                asked = prices[b, j] * (1.0 - depth) if deepest[j] > 0.0 else prices[b, j]
                tier[b, j] = min(max(asked, lowest[j]), prices[b, j])


def shown_depths(slot_layout: SlotLayout, outcome: Outcome) -> FloatArray:
    """Return what observations state of a period: depth over deepest depth, 0 where none was posted, ``(B, J)``."""
    assert outcome.tier_prices is not None
    if slot_layout.deepest_tier is None:
        return NO_TIERS
    most = np.where(slot_layout.deepest_tier > 0.0, slot_layout.deepest_tier, 1.0)
    depths = np.minimum((1.0 - outcome.tier_prices / outcome.prices) / most, 1.0)
    return np.asarray(np.where(outcome.listed & (slot_layout.deepest_tier > 0.0), depths, 0.0))


@njit(cache=True)
def write_tier_ledger(
    tier_prices: Any, tier_units: Any, net_of_tax: float, seller_of: Any, first: int, out: Any
) -> None:
    """Add TIER_KEYS of each seller from column `first` of `out`, shape ``(B, N, first + 2 or more)``, which hold 0."""
    for b in range(len(out)):
        for j in range(len(seller_of)):
            row = out[b, seller_of[j]]
            row[first] += tier_units[b, j]
            row[first + 1] += tier_prices[b, j] * tier_units[b, j] * net_of_tax
