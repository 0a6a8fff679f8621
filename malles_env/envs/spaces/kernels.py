"""Compiled loops between policies and market: decode actions, encode observations, sum the sellers' books."""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from malles_env.compiling import njit

CONTINUOUS, DISCRETE, MONEY = range(3)
LOW, SPAN, COST, REGULAR = range(4)  # rows of the table of product constants, money
# What an observed number holds.
(PRICE, LISTED, UNIT_COST, STOCK, SALES, MEAN_FIELD, LONG_SHARE, REFERENCE, DISPLAY, FEATURE, TIER, ORDERED,
 TIME, CONSTANT) = range(14)  # fmt: skip
ON_ORDER = CONSTANT + 1  # units that arrive in the coming period; the kinds behind it: in the one after, and so on
NOTHING = -1  # marks a padded product slot
REVENUE, EXPENSE, FEES, PROFIT, UNITS, SHARE, SURPLUS = range(7)  # columns of a ledger


@njit(cache=True)
def first_bad(actions: Any, low: Any, high: Any) -> int:
    """Return the flat index of the first entry outside its bounds (NaN is), or -1."""
    batch, sellers, width = actions.shape
    for b in range(batch):
        for n in range(sellers):
            for i in range(width):
                if not (low[n, i] <= actions[b, n, i] <= high[n, i]):
                    return (b * sellers + n) * width + i
    return -1


@njit(cache=True)
def clamp(actions: Any, low: float, high: float) -> None:
    """Move entries that are out by rounding onto the bounds."""
    batch, sellers, width = actions.shape
    for b in range(batch):
        for n in range(sellers):
            for i in range(width):
                actions[b, n, i] = min(max(actions[b, n, i], low), high)


@njit(cache=True)
def keep_best(score: Any, products: Any, capacity: int, listed: Any) -> None:
    """Take the worst scored products off one seller's shelf until it fits; of equals the last goes first."""
    count = 0
    for i in range(len(products)):
        if products[i] >= 0 and listed[products[i]]:
            count += 1
    while count > capacity:
        worst = -1
        for i in range(len(products)):
            if products[i] >= 0 and listed[products[i]] and (worst < 0 or score[i] <= score[worst]):
                worst = i
        listed[products[worst]] = False
        count -= 1


@njit(cache=True)
def decode(
    mode: int,
    levels: int,
    actions: Any,
    low: Any,
    high: Any,
    own: Any,
    shelf: Any,
    table: Any,
    prices: Any,
    listed: Any,
) -> int:
    """Turn checked actions into prices and listings.

    Args:
        mode: CONTINUOUS, DISCRETE or MONEY.
        levels: Prices of the discrete grid.
        actions: One row per market and seller, shape ``(B, N, A)``; continuous ones are clamped to [-1, 1].
        low: Smallest allowed action, shape ``(N, A)``.
        high: Largest allowed action, shape ``(N, A)``.
        own: Product in each of a seller's slots or NOTHING, shape ``(N, W)``.
        shelf: Capacity, shape ``(N,)``.
        table: Product constants, shape ``(4, J)``.
        prices: Filled, money, shape ``(B, J)``.
        listed: Filled, shape ``(B, J)``.

    Returns:
        -1, or the flat index of the first action out of bounds; then nothing was filled.
    """
    bad = first_bad(actions, low, high)
    if bad >= 0:
        return bad
    if mode == CONTINUOUS:
        clamp(actions, -1.0, 1.0)
    slots = own.shape[1]
    score = np.empty(slots)
    for b in range(len(actions)):
        for n in range(len(own)):
            for i in range(slots):
                j = own[n, i]
                if j == NOTHING:
                    continue
                a = actions[b, n, i]
                if mode == CONTINUOUS:
                    price = table[LOW, j] + 0.5 * (a + 1.0) * table[SPAN, j]
                    score[i] = actions[b, n, slots + i]
                    listed[b, j] = score[i] > 0.0
                elif mode == DISCRETE:
                    listed[b, j] = a > 0.0
                    price = table[LOW, j] + table[SPAN, j] * (a - 1.0) / (levels - 1.0)
                    price = price if listed[b, j] else table[REGULAR, j]
                else:
                    price = a
                    listed[b, j] = actions[b, n, slots + i] > 0.0
                prices[b, j] = min(max(price, table[LOW, j]), table[LOW, j] + table[SPAN, j])
                if mode != CONTINUOUS:
                    score[i] = prices[b, j] - table[COST, j]
            keep_best(score, own[n], shelf[n], listed[b])
    return -1


@njit(cache=True)
def promote(
    mode: int, actions: Any, first: int, own: Any, slots: Any, table: Any, prices: Any, listed: Any, promoted: Any
) -> None:
    """Turn checked actions into what is displayed and what is advertised: of what is listed the best scored.

    Args:
        mode: CONTINUOUS, DISCRETE or MONEY.
        actions: One row per market and seller, shape ``(B, N, A)``.
        first: Where in a row the W scores (or bits) for display stand; those for advertising follow.
        own: Product in each of a seller's slots or NOTHING, shape ``(N, W)``.
        slots: Most products that each seller may display and advertise, shape ``(2, N)``.
        table: Product constants, shape ``(4, J)``.
        prices: From `decode`, money, shape ``(B, J)``.
        listed: From `decode`, shape ``(B, J)``.
        promoted: Filled, shape ``(2, B, J)``.
    """
    width = own.shape[1]
    score = np.empty(width)
    promoted[:] = False
    for b in range(len(actions)):
        for n in range(len(own)):
            for kind in range(2):
                for i in range(width):
                    j = max(own[n, i], 0)
                    asked = actions[b, n, first + kind * width + i]
                    chosen = (own[n, i] != NOTHING) & (asked > 0.0) & listed[b, j]
                    worth = asked if mode == CONTINUOUS else prices[b, j] - table[COST, j]
                    score[i] = worth if chosen else -np.inf
                for _ in range(min(slots[kind, n], width)):
                    best, most = 0, score[0]
                    for i in range(1, width):  # selections, not branches, which random actions would make slow
                        better = score[i] > most
                        best, most = (i if better else best), (score[i] if better else most)
                    if most == -np.inf:
                        break
                    promoted[kind, b, own[n, best]] = True
                    score[best] = -np.inf


@njit(cache=True)
def decode_orders(
    mode: int, levels: int, actions: Any, first: int, own: Any, largest: Any, whole: bool, orders: Any
) -> int:
    """Turn checked actions into units ordered.

    Args:
        mode: CONTINUOUS, DISCRETE or MONEY.
        levels: Orders of the discrete grid.
        actions: One row per market and seller, shape ``(B, N, A)``.
        first: Where in a row the W orders stand.
        own: Product in each of a seller's slots or NOTHING, shape ``(N, W)``.
        largest: Units of the largest order, shape ``(J,)``.
        whole: Whether orders are whole numbers: shares of the largest one are rounded, halves up.
        orders: Filled, shape ``(B, J)``.

    Returns:
        -1, or the flat index of the first order in MONEY mode that is not whole but should be.
    """
    batch, sellers, width = actions.shape
    for b in range(batch):
        for n in range(sellers):
            for i in range(own.shape[1]):
                j = own[n, i]
                if j == NOTHING:
                    continue
                units = actions[b, n, first + i]
                if mode == MONEY:
                    if whole and units != floor(units):
                        return (b * sellers + n) * width + first + i
                else:
                    units = largest[j] * (0.5 * (units + 1.0) if mode == CONTINUOUS else units / levels)
                    units = floor(units + 0.5) if whole else units
                orders[b, j] = units
    return -1


@njit(cache=True)
def encode(
    prices: Any,
    listed: Any,
    units: Any,
    stock: Any,
    mean_field: Any,
    centre: Any,
    log_reference: Any,
    promoted: Any,
    tier: Any,
    ordered: Any,
    pipeline: Any,
    period: Any,
    cycles: float,
    table: Any,
    scales: Any,
    places: Any,
    out: Any,
) -> None:
    """Write the observation of every seller in every market.

    Args:
        prices: Last asked, money, shape ``(B, J)``.
        listed: Last shelf, shape ``(B, J)``.
        units: Last sold, shape ``(B, J)``.
        stock: On hand, shape ``(B, J)``.
        mean_field: Shares that consumers will see, shape ``(B, J)``.
        centre: Their long-run shares, shape ``(B, J)``.
        log_reference: Log of reference over regular price, shape ``(B, J)``.
        promoted: Last displayed and last advertised, shape ``(2, B, J)``; of size 0 where sellers cannot promote.
        tier: Depth of the last tier prices over the deepest, shape ``(B, J)``; of size 0 where no product carries one.
        ordered: Last ordered, units, shape ``(B, J)``; of size 0 where products are not ordered.
        pipeline: On order by remaining lead time, shape ``(B, L, J)``.
        period: Periods played, shape ``(B,)``.
        cycles: Periods of an episode.
        table: Product constants, shape ``(4, J)``.
        scales: Per product: highest price, largest stock, units that show as one half, largest order; shape ``(4, J)``.
        places: Of each observed number: what it states times J plus its product, or one of the two places after those
            of TIME, which hold 0 and 1; those on order come behind. Shape ``(N, D)``.
        out: Filled, shape ``(B, N, D)``.
    """
    batch, sellers, size = out.shape
    promotes = promoted.size > 0
    products = prices.shape[1]
    fixed = CONSTANT * products
    store = np.empty(fixed + 2 + pipeline.shape[1] * products)
    store[fixed], store[fixed + 1] = 0.0, 1.0
    facts = store[:fixed].reshape(CONSTANT, products)
    for b in range(batch):
        for j in range(products):
            scaled = 2.0 * (prices[b, j] - table[LOW, j]) / table[SPAN, j] - 1.0
            facts[PRICE, j] = min(max(scaled, -1.0), 1.0) if listed[b, j] else 0.0
            facts[LISTED, j] = 1.0 if listed[b, j] else 0.0
            facts[UNIT_COST, j] = min(table[COST, j] / scales[0, j], 1.0)
            facts[STOCK, j] = stock[b, j] / scales[1, j] if 0.0 < scales[1, j] < np.inf else 1.0
            facts[SALES, j] = units[b, j] / (units[b, j] + scales[2, j])
            facts[MEAN_FIELD, j] = min(mean_field[b, j], 1.0)
            facts[LONG_SHARE, j] = min(centre[b, j], 1.0)
            facts[REFERENCE, j] = min(max(log_reference[b, j], -1.0), 1.0)
            if promotes:
                facts[DISPLAY, j] = 1.0 if promoted[0, b, j] else 0.0
                facts[FEATURE, j] = 1.0 if promoted[1, b, j] else 0.0
            if tier.size > 0:
                facts[TIER, j] = tier[b, j]
            if ordered.size > 0:
                facts[ORDERED, j] = ordered[b, j] / scales[3, j]
                for age in range(pipeline.shape[1]):
                    store[fixed + 2 + age * products + j] = min(pipeline[b, age, j] / scales[1, j], 1.0)
            facts[TIME, j] = min(period[b] / cycles, 1.0)
        for n in range(sellers):
            for i in range(size):
                out[b, n, i] = store[places[n, i]]


@njit(cache=True)
def write_ledger(
    revenue: Any, cost: Any, fees: Any, profit: Any, units: Any, share: Any, surplus: Any, seller_of: Any, out: Any
) -> None:
    """Write each seller's books of a period: columns REVENUE to SURPLUS of `out`, ``(B, N, 7 or more)``."""
    out[:] = 0.0
    for b in range(len(out)):
        for j in range(len(seller_of)):
            row = out[b, seller_of[j]]
            row[REVENUE] += revenue[b, j]
            row[EXPENSE] += cost[b, j]
            row[FEES] += fees[b, j]
            row[PROFIT] += profit[b, j]
            row[UNITS] += units[b, j]
            row[SHARE] += share[b, j]
        for n in range(out.shape[1]):
            out[b, n, SURPLUS] = surplus[b]


@njit(cache=True)
def write_stock_ledger(
    ordered: Any,
    ordering: Any,
    holding: Any,
    salvage: Any,
    stock: Any,
    asked: Any,
    seller_of: Any,
    first: int,
    out: Any,
) -> None:
    """Add each seller's stock books from column `first` of `out`, shape ``(B, N, first + 6)``, which hold 0.

    The last column is what was `asked` for, ``(B, J)``, and not ordered for lack of room.
    """
    for b in range(len(out)):
        for j in range(len(seller_of)):
            n, placed = seller_of[j], ordered[b, j]
            out[b, n, first] += placed
            out[b, n, first + 1] += ordering[b, j]
            out[b, n, first + 2] += holding[b, j]
            out[b, n, first + 3] += salvage[b, j]
            out[b, n, first + 4] += stock[b, j]
            out[b, n, first + 5] += asked[b, j] - placed
