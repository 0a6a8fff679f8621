"""One compiled call for a step of one market: decode actions, play the period, write the ledger, encode observations.

Handing arrays to compiled code, named tuples of them above all, costs one market a good part of what its period does.
So everything that never changes is packed into two arrays, and a step is one call instead of four or, with orders
and promotion, ten. The kernels called are those that batches of markets use: the numbers are the same bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from malles_env.compiling import njit
from malles_env.envs.spaces.kernels import decode, decode_orders, encode, promote, write_ledger, write_stock_ledger
from malles_env.market.kernels.ordering import HOLDING, LEFT, ORDERED, ORDERING, SALVAGE, pay, receive
from malles_env.market.kernels.period_kernel import COST, FEES, PROFIT, REVENUE, SHARE, UNITS, Terms, charge, play
from malles_env.market.kernels.response_kernel import Coefficients
from malles_env.market.state import Blocks

MONEY_COLUMNS = 7
"""Columns of a ledger before those of stock."""
(N, J, W, A, D, S, K, DRAWS, PADDED, KIND, LEVELS, LINEAR, LOYAL, QUANTITIES, COMPARES, PROMOTES, STORES, MODE, BUYERS,
 EQUILIBRIUM, RULE_BUYERS, ITERATIONS, FIRST_ORDER, WHOLE, FIRST_AD,
 FELT_ADS, HEAD) = range(27)  # fmt: skip
"""Where the whole numbers begin: sizes, settings, then the tables in their order."""
(SIZE, KEEP, STORED, KEPT, PACE, MEMORY, RELAXATION, TOLERANCE, SCALE, DISPLAY_FEE, FEATURE_FEE, FLOAT_HEAD) = range(12)
"""Where the real numbers begin; SCALE is that of rewards."""


@njit(inline="always")
def part(numbers: Any, at: int, rows: int, columns: int) -> Any:
    """Return a table that begins at a place of packed numbers."""
    return numbers[at : at + rows * columns].reshape(rows, columns)


@njit(cache=True, error_model="numpy")
def step_market(  # type: ignore[no-untyped-def]
    rows, whole, real, cycles, traffic, stock, mean_field, centre, log_reference, pantry, window, period, streams,
    loyalty, next_loyalty, pipeline, on_hand, coming, prices, listed, flags, asked, books, stock_books, rest, ledger,
    out,
):  # fmt: skip
    """Play a period of one market from actions to observations.

    Args:
        rows: Actions, shape ``(1, N, A)``.
        whole: Packed whole numbers, see `malles_env.envs.core.single_market.packed`.
        real: Packed real numbers, likewise.
        cycles: Periods of an episode.
        traffic: Consumers over the usual number, ``(1,)``; this and the next eleven are the market's state, see
            `MarketState`, moved on in place but for stock and pipeline where products are ordered.
        stock: On hand.
        mean_field: Shares that consumers perceive.
        centre: Their long-run shares.
        log_reference: Log of reference over regular price.
        pantry: Stocks at home.
        window: Shares of the last periods.
        period: Periods played.
        streams: Random stream.
        loyalty: Shares by last purchase.
        next_loyalty: Filled: the same after the period.
        pipeline: On order.
        on_hand: Filled: stock after the period; without orders the same array as `stock`.
        coming: Filled: pipeline after the period; likewise.
        prices: Filled, decoded, money, shape ``(1, J)``.
        listed: Filled, decoded, shape ``(1, J)``.
        flags: Filled, displayed and advertised, shape ``(2, 1, J)``; None where sellers do not promote. What a None
            leaves out is not compiled.
        asked: Filled with orders, units, shape ``(1, J)``; None where products are not ordered.
        books: Filled, see `Outcome`, shape ``(8, 1, J)``.
        stock_books: Filled with orders, see `Outcome`, shape ``(5, 1, J)``; not read without.
        rest: Filled: the four sums of the response, the perceived mean field, the sellers' profits and rewards, shape
            ``(4 + J + 2 N,)``.
        ledger: Filled, shape ``(1, N, 7)``, with orders ``(1, N, 13)``.
        out: Filled with the observations, shape ``(1, N, D)``.

    Returns:
        Whether a sale was lost (0 or 1); -1 - the flat index of an action out of its space (then nothing has happened);
        or, where an order is to be whole, minus the size of `rows` less again.
    """
    sellers, products, slots, width, seen_numbers = whole[N], whole[J], whole[W], whole[A], whole[D]
    segments, classes, draws, padded = whole[S], whole[K], whole[DRAWS], whole[PADDED]
    i = HEAD
    own = part(whole, i, sellers, slots)
    i += sellers * slots
    shelf = whole[i : i + sellers]
    i += sellers
    seller_of = whole[i : i + products]
    i += products
    members = whole[i : i + segments]
    i += segments
    class_start = whole[i : i + classes + 1]
    i += classes + 1
    places = part(whole, i, sellers, seen_numbers)
    i += sellers * seen_numbers
    ad_slots = part(whole, i, 2, sellers)

    r = FLOAT_HEAD
    low = part(real, r, sellers, width)
    r += sellers * width
    high = part(real, r, sellers, width)
    r += sellers * width
    table = part(real, r, 4, products)
    r += 4 * products
    scales = part(real, r, 4, products)
    r += 4 * products
    unit_cost = real[r : r + products]
    r += products
    listing_fee = real[r : r + products]
    r += products
    regular = real[r : r + products]
    r += products
    level = real[r : r + draws * segments * padded].reshape(draws, segments, padded)
    r += draws * segments * padded
    level_extra = real[r : r + draws * segments * padded].reshape(draws, segments, padded)
    r += draws * segments * padded
    by_product = real[r : r + draws * 4 * classes * products].reshape(draws, 4, classes, products)
    r += draws * 4 * classes * products
    slopes = real[r : r + draws * 5 * classes].reshape(draws, 5, classes)
    r += draws * 5 * classes
    by_segment = real[r : r + draws * 5 * segments].reshape(draws, 5, segments)
    r += draws * 5 * segments

    bad = decode(whole[KIND], whole[LEVELS], rows, low, high, own, shelf, table, prices, listed)
    if bad >= 0:
        return -1 - bad
    largest, store = real[r : r + products], part(real, r + products, 8, products)  # zeros without orders
    if asked is not None:
        bad = decode_orders(
            whole[KIND], whole[LEVELS], rows, whole[FIRST_ORDER], own, largest, whole[WHOLE] != 0, asked
        )
        if bad >= 0:
            return -1 - rows.size - bad
        receive(asked, stock, pipeline, period, store, whole[WHOLE] != 0, stock_books, on_hand, coming)

    nothing, marks = np.empty((0, 0)), np.empty((2, 0, 0), np.bool_)
    if flags is not None:
        marks = flags
        promote(whole[KIND], rows, whole[FIRST_AD], own, ad_slots, table, prices, listed, flags)
    c = Coefficients(
        level, level_extra, members, class_start, by_product, slopes, by_segment, real[SIZE], regular,
        whole[LINEAR] != 0, whole[LOYAL] != 0, whole[QUANTITIES] != 0, whole[COMPARES] != 0, whole[PROMOTES] != 0,
        real[KEEP], whole[STORES] != 0, real[STORED],
    )  # fmt: skip
    rules = (
        whole[EQUILIBRIUM] != 0, whole[RULE_BUYERS] != 0, real[RELAXATION], real[TOLERANCE], whole[ITERATIONS],
        whole[FELT_ADS] != 0,
    )  # fmt: skip
    terms = Terms(
        unit_cost, listing_fee, seller_of, real[SIZE], whole[MODE], whole[BUYERS] != 0, real[KEPT], real[PACE],
        real[MEMORY],
    )  # fmt: skip
    lone = np.zeros(3, np.int64)  # one market in one block
    lone[2] = 1
    blocks = Blocks(lone[:1], lone[1:], lone[:1])
    sums, seen = part(rest, 0, 4, 1), part(rest, 4, 1, products)
    seller_profit = part(rest, 4 + products, 1, sellers)
    seller_profit[:] = 0.0
    short = play(  # numbers from an array: for literals numba compiles it anew
        lone[0], lone[2], blocks, prices, prices, listed, marks, c, rules, terms, traffic, on_hand, mean_field, centre,
        log_reference, pantry, window, period, streams, loyalty, next_loyalty, books, sums, seen, seller_profit,
    )  # fmt: skip
    if flags is not None:
        charge(listed, flags, real[DISPLAY_FEE], real[FEATURE_FEE], seller_of, books, seller_profit)
    if asked is not None:
        pay(on_hand, coming, period, cycles, store, seller_of, books, stock_books, seller_profit)
    for n in range(sellers):
        rest[4 + products + sellers + n] = seller_profit[0, n] / real[SCALE]
    write_ledger(
        books[REVENUE], books[COST], books[FEES], books[PROFIT], books[UNITS], books[SHARE], sums[1], seller_of, ledger
    )
    ordered = nothing
    if asked is not None:
        write_stock_ledger(
            stock_books[ORDERED], stock_books[ORDERING], stock_books[HOLDING], stock_books[SALVAGE],
            stock_books[LEFT], asked, seller_of, MONEY_COLUMNS, ledger,
        )  # fmt: skip
        ordered = stock_books[ORDERED]
    encode(
        prices, listed, books[UNITS], on_hand, mean_field, centre, log_reference, marks[: 0 if flags is None else 2],
        nothing, ordered, coming, period, cycles, table, scales, places, out,
    )  # fmt: skip
    return 1 if short else 0
