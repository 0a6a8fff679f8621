"""Prices of the alternatives on a shelf, taken only from what other households paid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.lookup import Lookup
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True)
class OthersMedian:
    """Median price of a cell (line, period and perhaps store) without one household.

    Each household has one vote per cell, so leaving it out removes one number.

    Attributes:
        median: Cell -> median over all households.
        without: (cell, household) -> median over the others, NaN where there are none.
        num_households: Codes run below this.
    """

    median: Lookup
    without: Lookup
    num_households: int

    def get(self, cells: IntArray, households: IntArray) -> FloatArray:
        """Return the others' median price [n] for cells [n] and households [n]; NaN where none is known."""
        return self.without.replace(cells * self.num_households + households, self.median.get(cells))


def others_median(cells: IntArray, households: IntArray, prices: FloatArray, num_households: int) -> OthersMedian:
    """Build the leave-one-household-out medians.

    Args:
        cells: Cell of each purchase [n].
        households: Household of each purchase [n].
        prices: Price per package of each purchase [n], money.
        num_households: Number of households.

    Returns:
        The medians.
    """
    frame = pl.DataFrame({"cell": cells, "household": households, "price": prices})
    votes = (
        frame.group_by("cell", "household")
        .agg(pl.col("price").median())
        .sort("cell", "price", "household")
        .with_columns(
            pl.int_range(pl.len()).over("cell").alias("rank"),
            pl.len().over("cell").cast(pl.Int64).alias("size"),
        )
    )
    price = votes["price"].to_numpy()
    rank, size = votes["rank"].to_numpy().astype(np.int64), votes["size"].to_numpy()
    start = np.arange(len(price)) - rank
    first = rank == 0
    low, high = start[first] + (size[first] - 1) // 2, start[first] + size[first] // 2
    median = Lookup(votes["cell"].to_numpy()[first], (price[low] + price[high]) / 2)
    left = size - 1
    low, high = (left - 1) // 2, left // 2
    # Positions at or behind the removed vote move up by one.
    low, high = np.maximum(low, 0) + (low >= rank), high + (high >= rank)
    last = np.maximum(len(price) - 1, 0)
    others = (price[np.minimum(start + low, last)] + price[np.minimum(start + high, last)]) / 2
    pairs = votes["cell"].to_numpy() * num_households + votes["household"].to_numpy()
    order = np.argsort(pairs)
    return OthersMedian(median, Lookup(pairs[order], np.where(left > 0, others, np.nan)[order]), num_households)


class OthersPrices:
    """One rule for the price of every alternative, bought or not, without the household's own purchases.

    First that is known: median the others paid in that store and period; in the chain in that period; the
    last regular price in the chain, up to `memory` periods back (a last *paid* price would carry an old
    discount).
    """

    def __init__(self, coded: Coded, memory: int) -> None:
        """Build the tables.

        Args:
            coded: The log.
            memory: Periods to look back for a regular price.
        """
        bought = coded.purchases
        self._periods, self._stores, self._memory = coded.num_periods + 1, len(coded.stores), memory
        line, period = bought["line"].to_numpy(), bought["period"].to_numpy().astype(np.int64)
        household, store = bought["household"].to_numpy(), bought["store"].to_numpy()
        price, count = bought["price"].to_numpy(), len(coded.households)
        chain = line * self._periods + period
        self._chain = others_median(chain, household, price, count)
        # With one store the two are the same.
        cells = chain * self._stores + store
        self._store = self._chain if self._stores == 1 else others_median(cells, household, price, count)
        self._regular = others_median(chain, household, bought["regular"].to_numpy(), count)

    def get(self, line: IntArray, store: IntArray, period: IntArray, household: IntArray) -> FloatArray:
        """Return prices [n], money per package; NaN where no other household paid one."""
        chain = line * self._periods + period
        prices = self._store.get(chain * self._stores + store, household)
        rows = np.flatnonzero(np.isnan(prices))
        for lag in range(self._memory + 1):
            rows = rows[np.isnan(prices[rows]) & (period[rows] > lag)]
            if len(rows) == 0:
                break
            table = self._chain if lag == 0 else self._regular
            prices[rows] = table.get(chain[rows] - lag, household[rows])
        return prices
