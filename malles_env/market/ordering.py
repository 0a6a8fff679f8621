"""Compiled stock keeping: orders that are placed, on their way and arriving, and what they cost."""

from __future__ import annotations

from math import floor
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from malles_env.market.arrays import FloatArray, IntArray
from malles_env.market.replenishment import CLOSE
from malles_env.market.settle import COST, FEES, PROFIT, REVENUE
from malles_env.market.state import MarketState

STOCK_BOOKS = 5
ORDERED, ORDERING, HOLDING, SALVAGE, LEFT = range(STOCK_BOOKS)  # rows of the stock books, as in `Outcome`


class Supplies(NamedTuple):
    """What stock keeping needs to know of the catalog; arrays have shape ``(J,)``, writable copies."""

    storage: FloatArray
    largest: FloatArray
    lead_time: IntArray
    fixed_cost: FloatArray
    unit_cost: FloatArray
    holding_cost: FloatArray
    salvage: FloatArray
    enters: IntArray
    seller_of: IntArray
    whole: bool


def take_in(state: MarketState, orders: FloatArray, supplies: Supplies) -> FloatArray:
    """Place orders and take in what arrives: `state` gets new arrays of stock and pipeline, the old ones stay.

    Args:
        state: Of B markets.
        orders: Units asked for, at least 0, shape ``(B, J)``; placed as far as there is room.
        supplies: Of the catalog.

    Returns:
        The period's stock books, shape ``(5, B, J)``, with units placed in row ORDERED.
    """
    books = np.empty((STOCK_BOOKS, *orders.shape))
    on_hand, coming = np.empty_like(state.stock), np.empty_like(state.pipeline)
    receive(orders, state.stock, state.pipeline, state.period, supplies, books, on_hand, coming)
    state.stock, state.pipeline = on_hand, coming
    return books


@njit(cache=True)
def receive(
    orders: Any, stock: Any, pipeline: Any, period: Any, s: Supplies, books: Any, on_hand: Any, coming: Any
) -> None:
    """Place orders, as far as there is room for them, and take in what arrives; the state of before is only read.

    Args:
        orders: Units asked for, at least 0, shape ``(B, J)``.
        stock: On hand after the last period, shape ``(B, J)``.
        pipeline: On order: what arrives now, in one period, ..., shape ``(B, L, J)``.
        period: Periods played, shape ``(B,)``; products that have not entered are not ordered.
        s: Of the catalog.
        books: Filled in row ORDERED: units placed, shape ``(5, B, J)``.
        on_hand: Filled: what can be sold in this period, shape ``(B, J)``.
        coming: Filled: `pipeline` after this period, shape ``(B, L, J)``.
    """
    longest = pipeline.shape[1]
    for b in range(len(orders)):
        for j in range(orders.shape[1]):
            room = s.storage[j] - stock[b, j]
            for k in range(longest):
                room -= pipeline[b, k, j]
                coming[b, k, j] = pipeline[b, k + 1, j] if k + 1 < longest else 0.0
            placed = max(min(orders[b, j], s.largest[j], room), 0.0)
            if s.whole:
                placed = floor(placed + CLOSE)
            if period[b] < s.enters[j]:
                placed = 0.0
            arriving = pipeline[b, 0, j] if longest > 0 else 0.0
            if s.lead_time[j] == 0:
                arriving += placed
            else:
                coming[b, s.lead_time[j] - 1, j] += placed
            on_hand[b, j] = stock[b, j] + arriving
            books[ORDERED, b, j] = placed


@njit(cache=True)
def pay(
    last: Any, stock: Any, pipeline: Any, period: Any, s: Supplies, money: Any, books: Any, seller_profit: Any
) -> None:
    """Write what orders, stock and its salvage cost and bring, and the profits anew.

    Args:
        last: Markets whose episode ends with this period, shape ``(B,)``; nothing is left in them afterwards.
        stock: On hand after the period's sales, shape ``(B, J)``.
        pipeline: On order after the period, shape ``(B, L, J)``.
        period: Periods played, this one included, shape ``(B,)``.
        s: Of the catalog.
        money: The period's books, see `malles_env.market.settle`, shape ``(8, B, J)``.
        books: Stock books, shape ``(5, B, J)``; row ORDERED is given, the others are filled.
        seller_profit: Filled, shape ``(B, N)``.
    """
    seller_profit[:] = 0.0
    for b in range(len(stock)):
        for j in range(stock.shape[1]):
            placed, left = books[ORDERED, b, j], stock[b, j]
            ordering = s.unit_cost[j] * placed + (s.fixed_cost[j] if placed > 0.0 else 0.0)
            holding = s.holding_cost[j] * left if period[b] > s.enters[j] else 0.0
            salvage = s.salvage[j] * left if last[b] else 0.0
            books[ORDERING, b, j], books[HOLDING, b, j], books[SALVAGE, b, j] = ordering, holding, salvage
            books[LEFT, b, j] = left
            profit = money[REVENUE, b, j] - money[COST, b, j] - money[FEES, b, j] - ordering - holding + salvage
            money[PROFIT, b, j] = profit
            seller_profit[b, s.seller_of[j]] += profit
        if last[b]:
            stock[b] = 0.0
            pipeline[b] = 0.0
