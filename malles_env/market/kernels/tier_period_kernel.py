"""The compiled period where quantity discounts are posted: draws of orders, units at both prices, and the books.

Markets without a posted discount are answered by the plain kernel, with the same bits as where nobody can post one.
"""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from malles_env.compiling import njit
from malles_env.market.kernels.period_kernel import (
    COST,
    DEMAND,
    EXPECTED,
    FEES,
    PROFIT,
    REVENUE,
    UNITS,
    draw_count,
    draw_extra,
    draw_rows,
    move_references,
    settle_rows,
)
from malles_env.market.kernels.response_kernel import respond_block
from malles_env.market.kernels.sampling import binomial, poisson
from malles_env.market.kernels.tier_response_kernel import respond_market
from malles_env.market.seller_rules.tiers import CLOSE, MEET, RAISED
from malles_env.market.seller_rules.tiers import UNITS as TIER_UNITS


@njit(cache=True)
def posts(b: int, prices: Any, tier: Any, listed: Any, threshold: Any) -> bool:
    """Return whether market b has a product on the shelf with a tier price below its list price."""
    found = False
    for j in range(prices.shape[1]):
        found |= listed[b, j] and threshold[j] > 0.0 and tier[b, j] < prices[b, j]
    return found


@njit(cache=True, error_model="numpy")
def draw_tiered(  # type: ignore[no-untyped-def]
    b, share, extra, tiered, sums, traffic, streams, t, threshold, buyers, wanted, at_tier
):  # fmt: skip
    """Fill buyers, units wanted and those of them at the tier price in market b; `settle.buyers_and_units` with tiers.

    Buyers are drawn alike. Of those of a product with a discount a binomial number meets the threshold; each of these
    orders has at least the threshold's units, each other one at least one, and what is beyond that is Poisson with the
    mean rate of its kind of order.
    """
    products, stream = share.shape[1], streams[b]
    left, remaining = float(floor(t.size * traffic[b] + 0.5)), sums[0, b]
    for j in range(products):
        remaining += share[b, j]
    for j in range(products):
        chance, more, meet, units = share[b, j], extra[b, j], tiered[MEET, b, j], tiered[TIER_UNITS, b, j]
        at_tier[b, j] = 0.0
        if t.mode == EXPECTED:
            size = t.size * traffic[b]
            buyers[b, j], wanted[b, j], at_tier[b, j] = size * chance, size * (chance + more), size * units
            continue
        count = draw_count(stream, left, chance / remaining, t.mode) if chance > 0.0 else 0.0
        left -= count
        remaining -= chance
        buyers[b, j] = count
        large = draw_count(stream, count, meet / chance, t.mode) if meet > 0.0 and count > 0.0 else 0.0
        small = count - large
        if large > 0.0:
            at_tier[b, j] = threshold[j] * large + draw_extra(stream, large * (units / meet - threshold[j]), t.mode)
        rest, rest_units = chance - meet, more + chance - units
        if small > 0.0 and rest_units > rest > 0.0:
            small += draw_extra(stream, small * (rest_units / rest - 1.0), t.mode)
        wanted[b, j] = small + at_tier[b, j]


@njit(cache=True, error_model="numpy")
def draw_exact_tiered(  # type: ignore[no-untyped-def]
    probability, quantity, tiered, ratio, threshold, sizes, streams, buyers, wanted, at_tier
):  # fmt: skip
    """Fill buyers, wanted units and those `at_tier` prices, ``(B, J)`` each, order by order; see `settle.draw_exact`.

    `tiered` is `Response.tier`, `ratio` the tier price over the list price, ``(B, J)``, `threshold` in units, ``(J,)``.
    """
    batch, segments, choices = probability.shape
    buyers[:] = 0.0
    wanted[:] = 0.0
    at_tier[:] = 0.0
    for b in range(batch):
        for s in range(segments):
            left, remaining = sizes[b, s], 1.0
            for j in range(choices - 1):
                p = probability[b, s, j + 1]
                count = binomial(streams[b], left, p / remaining) if p > 0.0 else 0.0
                left -= count
                remaining -= p
                buyers[b, j] += count
                more = quantity[b, s, j] - 1.0 - tiered[b, RAISED, s, j]
                if threshold[j] == 0.0 or ratio[b, j] >= 1.0:
                    wanted[b, j] += count + poisson(streams[b], count * more)
                    continue
                first = floor(threshold[j] * ratio[b, j] + CLOSE) + 1.0
                for _ in range(int(count)):
                    order = 1.0 + poisson(streams[b], more)
                    if order >= first:
                        order = max(order, threshold[j])
                        at_tier[b, j] += order
                    wanted[b, j] += order


@njit(cache=True, error_model="numpy")
def sell_at_tier(b, prices, tier, at_tier, net_of_tax, whole, seller_of, books, seller_profit):  # type: ignore[no-untyped-def]
    """Turn units wanted at the tier price in market b into units sold at it, and put them right in the books.

    Where stock runs out, orders of both kinds get the same share of what they want, in whole units if `whole`.
    """
    products = prices.shape[1]
    for j in range(products):
        if tier[b, j] >= prices[b, j] or at_tier[b, j] == 0.0:
            at_tier[b, j] = 0.0
            continue
        sold = at_tier[b, j]
        if books[UNITS, b, j] < books[DEMAND, b, j]:
            sold *= books[UNITS, b, j] / books[DEMAND, b, j]
            sold = floor(sold) if whole else sold
        at_tier[b, j] = sold
        paid = prices[b, j] * (books[UNITS, b, j] - sold) + tier[b, j] * sold
        books[REVENUE, b, j] = paid * net_of_tax
        books[PROFIT, b, j] = books[REVENUE, b, j] - books[COST, b, j] - books[FEES, b, j]
    seller_profit[b] = 0.0
    for j in range(products):
        seller_profit[b, seller_of[j]] += books[PROFIT, b, j]


@njit(cache=True)
def settle_tiers(prices, tier, at_tier, tt, listed, t, books, seller_profit):  # type: ignore[no-untyped-def]
    """Put the books of all markets that post a discount right, see `sell_at_tier`."""
    for b in range(len(prices)):
        if posts(b, prices, tier, listed, tt.threshold):
            sell_at_tier(b, prices, tier, at_tier, t.net_of_tax, t.mode != EXPECTED, t.seller_of, books, seller_profit)


@njit(cache=True, error_model="numpy")
def draw_all(  # type: ignore[no-untyped-def]
    order, start, stop, prices, tier, listed, share, extra, tiered, sums, traffic, streams, t, threshold, buyers,
    wanted, at_tier,
):  # fmt: skip
    """Fill buyers and units wanted of the markets at `start` to before `stop` of `order`, with or without discounts."""
    for i in range(start, stop):
        b = order[i]
        if posts(b, prices, tier, listed, threshold):
            draw_tiered(b, share, extra, tiered, sums, traffic, streams, t, threshold, buyers, wanted, at_tier)
        else:
            draw_rows(order, i, i + 1, share, extra, sums, traffic, streams, t, buyers, wanted)


@njit(cache=True, nogil=True)
def play_tiered(  # type: ignore[no-untyped-def]
    low, high, tier, at_tier, tt, blocks, prices, perceived, listed, flags, c, rules, t, traffic, stock, mean_field,
    centre, log_reference, pantry, window, period, streams, loyalty, next_loyalty, books, sums, seen, seller_profit,
):  # fmt: skip
    """Play one period as `period_kernel.play` does, where some markets post discounts.

    `tier` are tier prices, `at_tier` is written: units sold at them, shape ``(B, J)``; `tt` are `TierTerms`.
    """
    shape, short = prices.shape, False
    order, first, draw = blocks
    before = pantry.copy() if c.stores else pantry
    drawn, tiered = np.empty((4, *shape)), np.empty((2, *shape))
    share, extra, buyers, wanted = drawn[0], drawn[1], drawn[2], drawn[3]
    for block in range(low, high):
        start, stop = first[block], first[block + 1]
        respond_block(
            perceived, listed, flags, stock, mean_field, centre, log_reference, pantry, loyalty, next_loyalty, block,
            order, start, stop, draw[block], c, rules, share, extra, sums, seen,
        )  # fmt: skip
        for i in range(start, stop):
            if posts(order[i], prices, tier, listed, tt.threshold):
                respond_market(
                    i, i - start, prices, perceived, tier, listed, flags, stock, mean_field, centre, log_reference,
                    before, pantry, loyalty, next_loyalty, block, order, draw[block], c, tt, rules, share, extra,
                    tiered, sums, seen,
                )  # fmt: skip
        draw_all(
            order, start, stop, prices, tier, listed, share, extra, tiered, sums, traffic, streams, t, tt.threshold,
            buyers, wanted, at_tier,
        )  # fmt: skip
        short |= settle_rows(
            order, start, stop, prices, listed, buyers, wanted, t, traffic, stock, mean_field, centre, window, period,
            seen, books, seller_profit, rules[0],
        )  # fmt: skip
        for i in range(start, stop):
            b = order[i]
            if posts(b, prices, tier, listed, tt.threshold):
                sell_at_tier(
                    b, prices, tier, at_tier, t.net_of_tax, t.mode != EXPECTED, t.seller_of, books, seller_profit
                )
            sums[1, b] *= traffic[b]
        if c.compares:
            move_references(order, start, stop, prices, listed, c.regular_price, t, log_reference)
    return short
