"""What a household, and everybody, bought in other categories before a visit: makers, store brands, deals."""

from __future__ import annotations

import numpy as np
import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.lookup import Events
from malles_env.type_aliases import FloatArray, IntArray


class Elsewhere:
    """Purchases of the whole log, answering "strictly before, outside this category"."""

    def __init__(self, coded: Coded) -> None:
        """Index the purchases.

        Args:
            coded: The log; its `past` holds all categories, not only the markets that are built.
        """
        past = coded.past
        household, time, period, brand, category = (
            past[name].to_numpy().astype(np.int64) for name in ("household", "time", "period", "brand", "category")
        )
        self._times = int(time.max(initial=0)) + 1
        self._periods = coded.num_periods + 1
        self._brands, self._categories = int(brand.max(initial=0)) + 1, int(category.max(initial=-1)) + 2
        self._own_brand = _Count(household * self._brands + brand, category, self._categories, time, self._times)
        self._everybody = _Count(brand, category, self._categories, period, self._periods)
        self._all = _Count(np.zeros_like(brand), category, self._categories, period, self._periods)
        kinds = {"elsewhere": np.ones(len(past), dtype=bool), "elsewhere_private": past["private"].to_numpy()}
        kinds["elsewhere_deal"] = past["deal"].to_numpy()
        self._kinds = {
            name: _Count(household[rows], category[rows], self._categories, time[rows], self._times)
            for name, rows in kinds.items()
        }

    def own(self, household: IntArray, category: IntArray, time: IntArray) -> dict[str, IntArray]:
        """Return own purchases outside `category` before `time` [n]: all, store brands, deals."""
        return {name: count.outside(household, category, time) for name, count in self._kinds.items()}

    def own_brand(self, household: IntArray, brand: IntArray, category: IntArray, time: IntArray) -> IntArray:
        """Return own purchases of a brand outside `category` before `time` [n]."""
        return self._own_brand.outside(household * self._brands + brand, category, time)

    def brand_share(self, brand: IntArray, category: IntArray, period: IntArray) -> FloatArray:
        """Return the brand's share of everybody's purchases outside `category` before `period` [n], 0..1."""
        everybody = self._everybody.outside(brand, category, period)
        whole = self._all.outside(np.zeros_like(brand), category, period)
        return everybody / np.maximum(whole, 1)


class _Count:
    """Events by owner and category over time."""

    def __init__(self, owner: IntArray, category: IntArray, categories: int, time: IntArray, times: int) -> None:
        self._categories = categories
        self._by_owner = Events(owner, time, times)
        self._by_both = Events(owner * categories + category, time, times)

    def outside(self, owner: IntArray, category: IntArray, time: IntArray) -> IntArray:
        """Return the owner's events before `time` that are not of `category` [n]."""
        counts = self._by_owner.before(owner, time)
        some = np.flatnonzero(counts)
        owner, category, time = owner[some], category[some], time[some]
        counts[some] -= self._by_both.before(owner * self._categories + category, time)
        return counts


def with_elsewhere(
    visits: pl.DataFrame, shelf: pl.DataFrame, coded: Coded, elsewhere: Elsewhere
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add purchases in other categories to visits and to their shelves.

    Args:
        visits: visit, household, market, period, time.
        shelf: visit, line.
        coded: The log; gives the brand of lines and the category of markets.
        elsewhere: The index.

    Returns:
        `visits` with elsewhere, elsewhere_private and elsewhere_deal, and `shelf` with brand_elsewhere and
        brand_share.
    """
    lines = coded.lines["line"].to_numpy()
    first = int(lines.min())
    brand_at = np.zeros(int(lines.max()) - first + 1, dtype=np.int64)
    brand_at[lines - first] = coded.lines["brand"].to_numpy()
    category_of = np.zeros(len(coded.markets), dtype=np.int64)
    category_of[coded.lines["market"].to_numpy()] = coded.lines["category"].to_numpy()
    household, market, period, time = (
        visits[name].to_numpy().astype(np.int64) for name in ("household", "market", "period", "time")
    )
    category = category_of[market]
    row, line = shelf["visit"].to_numpy(), shelf["line"].to_numpy() - first
    own = elsewhere.own_brand(household[row], brand_at[line], category[row], time[row])
    shares = _share_table(brand_at, _category_at(coded, first), coded.num_periods + 1, elsewhere)
    counts = {name: value.astype(np.int32) for name, value in elsewhere.own(household, category, time).items()}
    return (
        visits.with_columns(**{name: pl.Series(value) for name, value in counts.items()}),
        shelf.with_columns(brand_elsewhere=own.astype(np.int32), brand_share=shares[line, period[row]]),
    )


def _category_at(coded: Coded, first: int) -> IntArray:
    """Return the category of each line from line `first` on."""
    lines = coded.lines["line"].to_numpy()
    category = np.zeros(int(lines.max()) - first + 1, dtype=np.int64)
    category[lines - first] = coded.lines["category"].to_numpy()
    return category


def _share_table(brand: IntArray, category: IntArray, periods: int, elsewhere: Elsewhere) -> FloatArray:
    """Return the brand's share outside the category [n, periods] of lines [n]: asked once per line and period."""
    line, period = np.divmod(np.arange(len(brand) * periods), periods)
    return elsewhere.brand_share(brand[line], category[line], period).reshape(len(brand), periods)
