"""Compiled stock keeping: orders that are placed, on their way and arriving, and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from malles_env.compiling import njit
from malles_env.market.catalog import Catalog
from malles_env.market.kernels.period_kernel import COST, FEES, PROFIT, REVENUE
from malles_env.market.seller_rules.replenishment import CLOSE
from malles_env.market.state import MarketState
from malles_env.type_aliases import FloatArray

STOCK_LEDGER = 5
ORDERED, ORDERING, HOLDING, SALVAGE, LEFT = range(STOCK_LEDGER)  # rows of the stock books, as in `Outcome`
STORAGE, LARGEST, LEAD_TIME, FIXED_COST, UNIT_COST, HOLDING_COST, SALVAGE_VALUE, ENTERS = range(8)


class StockRoom:
    """Keeps the stock of markets whose products are ordered.

    Args:
        catalog: With a `Replenishment`.

    Attributes:
        table: Rows STORAGE to ENTERS, units, money or periods, shape ``(8, J)``: passed to the kernels as one array, as
            each array costs time.
    """

    def __init__(self, catalog: Catalog) -> None:
        given = catalog.replenishment
        assert given is not None
        rows = [given.of(name) for name in ("storage", "largest", "lead_time", "fixed_cost")]
        before_tax, enters = catalog.unit_cost - catalog.unit_tax, catalog.enters.astype(np.float64)
        rows += [before_tax, given.of("holding_cost"), given.of("salvage"), enters]
        self.table = np.ascontiguousarray(rows, dtype=np.float64)
        self.whole, self.seller_of = given.whole_units, catalog.seller_of.copy()

    def take_in(self, state: MarketState, orders: FloatArray | None) -> FloatArray:
        """Place orders and take in what arrives: `state` gets new arrays of stock and pipeline, the old ones stay.

        Args:
            state: Of B markets.
            orders: Units asked for, at least 0, shape ``(B, J)``; placed as far as there is room. None: none.

        Returns:
            The period's stock books, shape ``(5, B, J)``, with units placed in row ORDERED.
        """
        stock, pipeline = state.stock, state.pipeline
        asked = np.zeros(stock.shape) if orders is None else orders
        books, on_hand, coming = np.empty((STOCK_LEDGER, *stock.shape)), np.empty(stock.shape), np.empty(pipeline.shape)
        receive(asked, stock, pipeline, state.period, self.table, self.whole, books, on_hand, coming)
        state.stock, state.pipeline = on_hand, coming
        return books

    def pay(
        self, state: MarketState, cycles: float, money: FloatArray, books: FloatArray, seller_profit: FloatArray
    ) -> None:
        """Write what a period's orders and stock cost, see the function `pay`."""
        pay(
            state.stock, state.pipeline, state.period, float(cycles), self.table, self.seller_of, money, books,
            seller_profit,
        )  # fmt: skip


@njit(cache=True)
def receive(
    orders: Any, stock: Any, pipeline: Any, period: Any, table: Any, whole: bool, books: Any, on_hand: Any, coming: Any
) -> None:
    """Place orders, as far as there is room for them, and take in what arrives; the state of before is only read.

    Args:
        orders: Units asked for, at least 0, shape ``(B, J)``.
        stock: On hand after the last period, shape ``(B, J)``.
        pipeline: On order: what arrives now, in one period, ..., shape ``(B, L, J)``.
        period: Periods played, shape ``(B,)``; products that have not entered are not ordered.
        table: See `StockRoom`.
        whole: Whether orders are whole numbers.
        books: Filled in row ORDERED: units placed, shape ``(5, B, J)``.
        on_hand: Filled: what can be sold in this period, shape ``(B, J)``.
        coming: Filled: `pipeline` after this period, shape ``(B, L, J)``.
    """
    longest, products = pipeline.shape[1], orders.shape[1]
    placed = books[ORDERED]
    for b in range(len(orders)):  # short loops over products, which become vector instructions
        now = float(period[b])
        for j in range(products):
            placed[b, j] = table[STORAGE, j] - stock[b, j]
            on_hand[b, j] = stock[b, j]
        for k in range(longest):
            for j in range(products):
                placed[b, j] -= pipeline[b, k, j]
        for j in range(products):
            units = max(min(orders[b, j], table[LARGEST, j], placed[b, j]), 0.0)
            units = np.floor(units + CLOSE) if whole else units
            placed[b, j] = units if now >= table[ENTERS, j] else 0.0
            on_hand[b, j] += placed[b, j] if table[LEAD_TIME, j] == 0.0 else 0.0
        for k in range(longest):
            for j in range(products):
                on_hand[b, j] += pipeline[b, k, j] if k == 0 else 0.0
                coming[b, k, j] = pipeline[b, k + 1, j] if k + 1 < longest else 0.0
                coming[b, k, j] += placed[b, j] if table[LEAD_TIME, j] == k + 1.0 else 0.0


@njit(cache=True)
def pay(
    stock: Any, pipeline: Any, period: Any, cycles: float, table: Any, seller_of: Any, money: Any, books: Any,
    seller_profit: Any,
) -> None:  # fmt: skip
    """Write what orders, stock and its salvage cost and bring, and the profits anew.

    Args:
        stock: On hand after the period's sales, shape ``(B, J)``.
        pipeline: On order after the period, shape ``(B, L, J)``.
        period: Periods played, this one included, shape ``(B,)``.
        cycles: Periods of an episode: when it is over, nothing is left.
        table: See `StockRoom`.
        seller_of: Seller of each product, shape ``(J,)``.
        money: The period's books, see `malles_env.market.kernels.period_kernel`, shape ``(8, B, J)``.
        books: Stock books, shape ``(5, B, J)``; row ORDERED is given, the others are filled.
        seller_profit: Filled, shape ``(B, N)``.
    """
    seller_profit[:] = 0.0
    for b in range(len(stock)):
        over = period[b] >= cycles
        for j in range(stock.shape[1]):  # conditions as factors: branches on who ordered would be guessed wrongly
            placed, left = books[ORDERED, b, j], stock[b, j]
            ordering = table[UNIT_COST, j] * placed + table[FIXED_COST, j] * (placed > 0.0)
            holding = table[HOLDING_COST, j] * left * (period[b] > table[ENTERS, j])
            salvage = table[SALVAGE_VALUE, j] * left * over
            books[ORDERING, b, j], books[HOLDING, b, j], books[SALVAGE, b, j] = ordering, holding, salvage
            books[LEFT, b, j] = left
            profit = money[REVENUE, b, j] - money[COST, b, j] - money[FEES, b, j] - ordering - holding + salvage
            money[PROFIT, b, j] = profit
            seller_profit[b, seller_of[j]] += profit
        if over:
            stock[b] = 0.0
            pipeline[b] = 0.0
