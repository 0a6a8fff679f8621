"""The compiled second half of a period: draw purchases, serve them from stock, keep the books, move the mean field."""

from __future__ import annotations

from math import floor, log, sqrt
from typing import Any, NamedTuple

import numpy as np

from malles_env.compiling import njit
from malles_env.market.kernels.response_kernel import respond_block
from malles_env.market.kernels.sampling import StateArray, binomial, normal, poisson
from malles_env.type_aliases import FloatArray, IntArray

EXPECTED, MULTINOMIAL, GAUSSIAN = 0, 1, 2
DEMAND, UNITS, LOST, REVENUE, COST, FEES, PROFIT, SHARE = range(8)


class Terms(NamedTuple):
    """What settling needs to know of the catalog and population."""

    unit_cost: FloatArray
    listing_fee: FloatArray
    seller_of: IntArray
    size: float
    mode: int
    buyers: bool
    net_of_tax: float
    """Share of the price that is left after sales tax."""
    pace: float
    """Share of the way that the mean field's centre moves towards the period's shares; 0 where it is fixed."""
    memory: float
    """What a log reference price keeps of itself in a period."""


@njit(inline="always", error_model="numpy")
def draw_count(stream: StateArray, trials: float, probability: float, mode: int) -> float:
    """Draw a binomial count: exact, or from the normal with the same mean and variance."""
    if mode == MULTINOMIAL:
        return binomial(stream, trials, probability)
    if trials <= 0.0 or probability <= 0.0:
        return 0.0
    p = min(probability, 1.0)
    draw = floor(trials * p + sqrt(trials * p * (1.0 - p)) * normal(stream) + 0.5)
    return min(max(draw, 0.0), trials)


@njit(inline="always", error_model="numpy")
def draw_extra(stream: StateArray, mean: float, mode: int) -> float:
    """Draw the units beyond one per buyer: Poisson, or from the normal with the same mean and variance."""
    if mean <= 0.0:
        return 0.0
    if mode == MULTINOMIAL:
        return poisson(stream, mean)
    return max(0.0, floor(mean + sqrt(mean) * normal(stream) + 0.5))


@njit(inline="always", error_model="numpy")
def buyers_and_units(
    b: int, share: Any, extra: Any, sums: Any, traffic: Any, streams: Any, t: Terms, buyers: Any, units: Any
) -> None:
    """Fill buyers and units wanted per product of market b; `traffic` times the usual number of consumers came.

    Buyers are one multinomial draw of J + 1 from the population's mean choice probabilities (the exact law when
    consumers are drawn independently from the segments), made of conditional binomials. The units beyond one per
    buyer are Poisson with the buyers' mean rate.
    """
    products, stream = share.shape[1], streams[b]
    left, remaining = float(floor(t.size * traffic[b] + 0.5)), sums[0, b]
    for j in range(products):
        remaining += share[b, j]
    for j in range(products):
        chance, more = share[b, j], extra[b, j]
        count = draw_count(stream, left, chance / remaining, t.mode) if chance > 0.0 else 0.0
        left -= count
        remaining -= chance
        buyers[b, j] = count
        if more > 0.0 and count > 0.0:
            count += draw_extra(stream, count * more / chance, t.mode)
        units[b, j] = count


@njit(inline="always", error_model="numpy")
def settle(
    b: int,
    prices: Any,
    listed: Any,
    buyers: Any,
    wanted: Any,
    t: Terms,
    stock: Any,
    books: Any,
    seller_profit: Any,
) -> None:
    """Serve `wanted` units from stock and write the books of market b; `buyers` become the served ones."""
    for j in range(prices.shape[1]):
        want = wanted[b, j]
        sold = min(want, stock[b, j])
        stock[b, j] -= sold
        buyers[b, j] *= sold / want if sold < want else 1.0
        revenue, cost = prices[b, j] * sold * t.net_of_tax, t.unit_cost[j] * sold
        fee = t.listing_fee[j] if listed[b, j] else 0.0
        books[DEMAND, b, j], books[UNITS, b, j], books[LOST, b, j] = want, sold, want - sold
        books[REVENUE, b, j], books[COST, b, j], books[FEES, b, j] = revenue, cost, fee
        books[PROFIT, b, j] = revenue - cost - fee
        seller_profit[b, t.seller_of[j]] += revenue - cost - fee


@njit(cache=True)
def charge(
    listed: Any, flags: Any, display_fee: float, feature_fee: float, seller_of: Any, books: Any, seller_profit: Any
) -> None:
    """Add the fees for promoting listed products to the books of all markets, and sum the sellers' profits anew."""
    seller_profit[:] = 0.0
    for b in range(len(listed)):
        for j in range(listed.shape[1]):
            books[FEES, b, j] += listed[b, j] * (flags[0, b, j] * display_fee + flags[1, b, j] * feature_fee)
            profit = books[REVENUE, b, j] - books[COST, b, j] - books[FEES, b, j]
            books[PROFIT, b, j] = profit
            seller_profit[b, seller_of[j]] += profit


@njit(inline="always", error_model="numpy")
def move_mean_field(
    b: int, period: int, buyers: Any, size: float, t: Terms, window: Any, mean_field: Any, centre: Any, books: Any,
    keep: bool,
) -> None:  # fmt: skip
    """Write the period's purchase shares of market b, move its centre and, unless `keep`, the windowed mean field.

    A period without any purchase has no shares of buyers; it repeats the perceived mean field.
    """
    products, length = buyers.shape[1], window.shape[1]
    total = size
    if t.buyers:
        total = 0.0
        for j in range(products):
            total += buyers[b, j]
    slot = period % length
    for j in range(products):
        share = buyers[b, j] / total if total > 0.0 else mean_field[b, j]
        books[SHARE, b, j] = share
        window[b, slot, j] = share
        centre[b, j] += t.pace * (share - centre[b, j])
    if keep:
        return
    for j in range(products):
        mean_field[b, j] = 0.0
    for i in range(length):
        for j in range(products):
            mean_field[b, j] += window[b, i, j]
    for j in range(products):
        mean_field[b, j] /= length


@njit(cache=True, nogil=True, error_model="numpy")
def draw_rows(
    order: Any, start: int, stop: int, share: Any, extra: Any, sums: Any, traffic: Any, streams: Any, t: Terms,
    buyers: Any, wanted: Any,
) -> None:  # fmt: skip
    """Fill buyers and wanted units of the markets at `start` to before `stop` of `order`: drawn, or the mean."""
    for i in range(start, stop):
        b = order[i]
        if t.mode == EXPECTED:
            for j in range(share.shape[1]):
                buyers[b, j] = t.size * traffic[b] * share[b, j]
                wanted[b, j] = t.size * traffic[b] * (share[b, j] + extra[b, j])
        else:
            buyers_and_units(b, share, extra, sums, traffic, streams, t, buyers, wanted)


@njit(cache=True)
def draw_exact(probability: Any, quantity: Any, sizes: Any, streams: Any, buyers: Any, wanted: Any) -> None:
    """Fill buyers and wanted units by one multinomial and one Poisson draw per segment.

    Args:
        probability: Choice probabilities, shape ``(B, S, J + 1)``.
        quantity: Mean units per buyer, shape ``(B, S, J)``.
        sizes: Whole number of consumers in each segment, shape ``(B, S)``.
        streams: Random streams, shape ``(B, 4)``.
        buyers: Filled, shape ``(B, J)``.
        wanted: Filled, shape ``(B, J)``.
    """
    batch, segments, choices = probability.shape
    buyers[:] = 0.0
    wanted[:] = 0.0
    for b in range(batch):
        for s in range(segments):
            left, remaining = sizes[b, s], 1.0
            for j in range(choices - 1):
                p = probability[b, s, j + 1]
                count = binomial(streams[b], left, p / remaining) if p > 0.0 else 0.0
                left -= count
                remaining -= p
                buyers[b, j] += count
                wanted[b, j] += count + poisson(streams[b], count * (quantity[b, s, j] - 1.0))


@njit(cache=True, nogil=True, error_model="numpy")
def settle_rows(
    order: Any, start: int, stop: int, prices: Any, listed: Any, buyers: Any, wanted: Any, t: Terms, traffic: Any,
    stock: Any, mean_field: Any, centre: Any, window: Any, period: Any, seen: Any, books: Any, seller_profit: Any,
    equilibrium: bool,
) -> bool:  # fmt: skip
    """Settle the markets at `start` to before `stop` of `order`; return whether any sale was lost."""
    short = False
    for i in range(start, stop):
        b = order[i]
        settle(b, prices, listed, buyers, wanted, t, stock, books, seller_profit)
        for j in range(prices.shape[1]):
            short |= books[LOST, b, j] > 0.0
        if equilibrium:
            for j in range(
                prices.shape[1]
            ):  # assigning a row compiles numba's message about shapes, which takes seconds
                mean_field[b, j] = seen[b, j]
        size = t.size * traffic[b]
        move_mean_field(b, period[b], buyers, size, t, window, mean_field, centre, books, equilibrium)
        period[b] += 1
    return short


@njit(cache=True, nogil=True, error_model="numpy")
def move_references(
    order: Any, start: int, stop: int, prices: Any, listed: Any, regular: Any, t: Terms, log_reference: Any
) -> None:
    """Move the log reference prices of listed products towards the prices seen."""
    for i in range(start, stop):
        b = order[i]
        for j in range(prices.shape[1]):
            if listed[b, j]:
                seen = log(prices[b, j] / regular[j])
                log_reference[b, j] = t.memory * log_reference[b, j] + (1.0 - t.memory) * seen


@njit(cache=True)
def move_seasons(streams: Any, deviation: float, persistence: float, chosen: Any, fresh: bool, season: Any) -> None:
    """Move the log of the traffic one period on in the chosen markets, or draw it anew.

    It is a stationary first-order autoregression with standard deviation `deviation`.
    """
    for b in range(len(season)):
        if chosen[b]:
            draw = deviation * normal(streams[b])
            season[b] = draw if fresh else persistence * season[b] + sqrt(1.0 - persistence**2) * draw


@njit(cache=True, nogil=True)
def answer_blocks(  # type: ignore[no-untyped-def]
    blocks, perceived, listed, flags, c, rules, stock, mean_field, centre, log_reference, pantry, loyalty, next_loyalty,
    share, extra, sums, seen,
):  # fmt: skip
    """Fill the consumers' answer of all blocks of markets, see `respond_block`; nothing is drawn or sold yet."""
    order, first, draw = blocks
    for block in range(len(draw)):
        respond_block(
            perceived, listed, flags, stock, mean_field, centre, log_reference, pantry, loyalty, next_loyalty, block,
            order, first[block], first[block + 1], draw[block], c, rules, share, extra, sums, seen,
        )  # fmt: skip


@njit(cache=True, nogil=True)
def play(  # type: ignore[no-untyped-def]
    low, high, blocks, prices, perceived, listed, flags, c, rules, t, traffic, stock, mean_field, centre,
    log_reference, pantry, window, period, streams, loyalty, next_loyalty, books, sums, seen, seller_profit,
):  # fmt: skip
    """Play one period in the blocks of markets from `low` to before `high`; return whether any sale was lost.

    Each block goes through the whole period before the next, while its numbers are in the cache. Blocks share nothing,
    so several threads may play different ones at once. Consumers answer the prices `perceived`, which are `prices`
    unless they compare linear prices with reference prices; they pay `prices`.
    """
    shape, short = prices.shape, False
    order, first, draw = blocks
    drawn = np.empty((4, *shape))
    share, extra, buyers, wanted = drawn[0], drawn[1], drawn[2], drawn[3]
    for block in range(low, high):
        start, stop = first[block], first[block + 1]
        respond_block(
            perceived, listed, flags, stock, mean_field, centre, log_reference, pantry, loyalty, next_loyalty, block,
            order, start, stop, draw[block], c, rules, share, extra, sums, seen,
        )  # fmt: skip
        draw_rows(order, start, stop, share, extra, sums, traffic, streams, t, buyers, wanted)
        short |= settle_rows(
            order, start, stop, prices, listed, buyers, wanted, t, traffic, stock, mean_field, centre, window, period,
            seen, books, seller_profit, rules[0],
        )  # fmt: skip
        for i in range(start, stop):
            sums[1, order[i]] *= traffic[order[i]]
        if c.compares:
            move_references(order, start, stop, prices, listed, c.regular_price, t, log_reference)
    return short
