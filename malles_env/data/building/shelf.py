"""Shelves: which lines a visit could have bought, at which price, and how popular they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.data.building.prices import OthersPrices
from malles_env.data.coding import Coded
from malles_env.data.lookup import Below, Lookup
from malles_env.data.settings import BuildSettings
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

SHELF_COLUMNS = (
    "price",
    "promotion",
    "display",
    "feature_ad",
    "share",
    "long_share",
    "store_sales",
    "mean_quantity",
)
"""What a shelf says of each alternative."""


@dataclass(frozen=True)
class _Rows:
    """Lines of visits, by visit: row of the visits, row of the candidates, promotion flags (1 display, 2 leaflet)."""

    visit: IntArray
    place: IntArray
    flags: npt.NDArray[np.int8]

    def where(self, wanted: BoolArray) -> _Rows:
        return _Rows(self.visit[wanted], self.place[wanted], self.flags[wanted])


class Shelves:
    """Availability, price, promotion and trailing share of the kept lines of some markets."""

    def __init__(self, coded: Coded, settings: BuildSettings) -> None:
        """Build the tables.

        Args:
            coded: The log.
            settings: Windows and limits.
        """
        self._coded, self._settings = coded, settings
        self._stores, self._periods = len(coded.stores), coded.num_periods + 1
        kept = coded.lines.filter("kept").select("line")
        self._sales = coded.purchases.join(kept, on="line", how="semi")
        self._candidates = self._rank(self._cells())
        self._prices = OthersPrices(coded, settings.price_memory) if coded.offers is None else None
        promoted = coded.promoted if coded.offers is None else coded.offers
        promoted = promoted.filter(pl.col("display") | pl.col("feature_ad"))
        keys = self._keys(promoted)
        flags = promoted["display"].to_numpy() + 2.0 * promoted["feature_ad"].to_numpy()
        order = np.argsort(keys)
        self._promoted = Lookup(keys[order], flags[order])
        self._sold = Below(np.sort(self._store_keys(*self._where(self._sales))))
        self._offered = self._offer_lookup(coded.offers)

    def others_price(self, line: IntArray, store: IntArray, period: IntArray, household: IntArray) -> FloatArray:
        """Return the price that other households paid [n]; the log must have no table of offers."""
        assert self._prices is not None
        return self._prices.get(line, store, period, household)

    def fill(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Return the alternatives of visits.

        Args:
            visits: visit (0..n-1, in order), household, store, period, market.

        Returns:
            visit, line and the columns of `SHELF_COLUMNS`; by visit, best sellers first; no shelf is larger than
            `max_alternatives`, and a shelf below `min_alternatives` is left out.
        """
        at = {name: visits[name].to_numpy().astype(np.int64) for name in ("household", "store", "period", "market")}
        rows = self._available(*self._expand(at["market"], at["period"]), at)
        size = np.bincount(rows.visit, minlength=len(visits))
        rank = np.arange(len(rows.visit)) - (np.cumsum(size) - size)[rows.visit]
        rows = rows.where(rank < self._settings.max_alternatives)
        prices = self._price(rows, at)
        known = np.isfinite(prices)
        size = np.bincount(rows.visit[known], minlength=len(visits))
        kept = known & (size >= self._settings.min_alternatives)[rows.visit]
        return self._frame(rows.where(kept), prices[kept], at)

    def _expand(self, market: IntArray, period: IntArray) -> tuple[IntArray, IntArray]:
        """Return the row of the visit and the row of the candidate of every candidate of every visit."""
        cells = self._candidates["market"].to_numpy() * self._periods + self._candidates["period"].to_numpy()
        number = np.bincount(cells, minlength=len(self._coded.markets) * self._periods)
        first, asked = np.cumsum(number) - number, market * self._periods + period
        size = number[asked]
        visit = np.repeat(np.arange(len(market)), size)
        return visit, np.arange(len(visit)) + np.repeat(first[asked] - (np.cumsum(size) - size), size)

    def _frame(self, rows: _Rows, prices: FloatArray, at: dict[str, IntArray]) -> pl.DataFrame:
        """Return the rows as `fill` promises them."""
        names = ("line", "share", "long_share", "mean_quantity")
        columns = {name: self._candidates[name].to_numpy().take(rows.place) for name in names}
        columns |= {"visit": rows.visit, "price": prices, "promotion": rows.flags > 0}
        columns |= {"display": rows.flags % 2 > 0, "feature_ad": rows.flags > 1}
        columns["store_sales"] = self._store_sales(columns["line"], at["store"][rows.visit], at["period"][rows.visit])
        return pl.DataFrame(columns).select("visit", "line", *SHELF_COLUMNS)

    def _store_sales(self, line: IntArray, store: IntArray, period: IntArray) -> npt.NDArray[np.int32]:
        """Return purchases of the line in the visit's store over the trailing `store_periods` [n]."""
        keys = self._store_keys(line, store, period)
        window = np.minimum(self._settings.store_periods, period)
        return (self._sold.count(keys) - self._sold.count(keys - window)).astype(np.int32)

    def _store_keys(self, line: IntArray, store: IntArray, period: IntArray) -> IntArray:
        return (line * self._stores + store) * self._periods + period

    @staticmethod
    def _where(rows: pl.DataFrame) -> tuple[IntArray, IntArray, IntArray]:
        line, store, period = (rows[name].to_numpy().astype(np.int64) for name in ("line", "store", "period"))
        return line, store, period

    def _keys(self, rows: pl.DataFrame) -> IntArray:
        line, store, period = self._where(rows)
        return (line * self._periods + period) * self._stores + store

    def _row_keys(self, visit: IntArray, place: IntArray, at: dict[str, IntArray]) -> IntArray:
        line, period = (self._candidates[name].to_numpy().astype(np.int64) for name in ("line", "period"))
        return ((line * self._periods + period) * self._stores).take(place) + at["store"].take(visit)

    def _offer_lookup(self, offers: pl.DataFrame | None) -> Lookup | None:
        if offers is None:
            return None
        keys = self._keys(offers)
        order = np.argsort(keys)
        return Lookup(keys[order], offers["price"].to_numpy()[order])

    def _available(self, visit: IntArray, place: IntArray, at: dict[str, IntArray]) -> _Rows:
        """Return the candidates that the visit could have bought."""
        keys = self._row_keys(visit, place, at)
        rows = _Rows(visit, place, np.nan_to_num(self._promoted.get(keys)).astype(np.int8))
        if self._offered is not None:
            return rows.where(self._offered.has(keys))
        # The one buyer of this period, where only one household bought; -1 for several, -2 for none.
        sole = self._candidates.select(
            pl.when("sure").then(-1).when(pl.col("buyers") == 0).then(-2).otherwise("sole")
        ).to_series()
        buyer = sole.cast(pl.Int64).to_numpy().take(place)
        by_other = (buyer != -2) & (buyer != at["household"].take(visit))
        return rows.where(by_other | (rows.flags > 0))

    def _price(self, rows: _Rows, at: dict[str, IntArray]) -> FloatArray:
        if self._offered is not None:
            return self._offered.get(self._row_keys(rows.visit, rows.place, at))
        assert self._prices is not None
        line = self._candidates["line"].to_numpy().take(rows.place)
        store, period, household = (at[name].take(rows.visit) for name in ("store", "period", "household"))
        return self._prices.get(line, store, period, household)

    def _cells(self) -> pl.DataFrame:
        """Return line-periods with trailing sums; every line that may be on a shelf has a row."""
        settings, lines = self._settings, self._coded.lines.filter("kept").select("line", "market")
        periods = pl.DataFrame({"period": np.arange(1, self._periods, dtype=np.int32)})
        sold = self._sales.group_by("line", "period").agg(
            pl.len().cast(pl.Int64).alias("sold"),
            pl.col("household").n_unique().alias("buyers"),
            pl.col("household").first().alias("sole"),
            pl.col("quantity").sum().cast(pl.Int64).alias("packages"),
        )
        cells = lines.join(periods, how="cross").join(sold, on=["line", "period"], how="left").sort("line", "period")
        cells = cells.with_columns(pl.col("sold", "buyers", "packages").fill_null(0), pl.col("sole").fill_null(-1))

        def until(column: str) -> pl.Expr:
            # Sum over all periods strictly before this one.
            return pl.col(column).cum_sum().shift(1, fill_value=0).over("line")

        def before(window: int) -> pl.Expr:
            # Sum over the `window` periods strictly before this one.
            return until("sold") - pl.col("sold").cum_sum().shift(window + 1, fill_value=0).over("line")

        return cells.with_columns(
            (before(settings.availability_periods) > 0).alias("recent"),
            before(settings.ranking_periods).alias("rank_sales"),
            before(settings.share_periods).alias("window"),
            until("sold").alias("ever"),
            until("packages").alias("packages"),
        )

    def _rank(self, cells: pl.DataFrame) -> pl.DataFrame:
        def share(column: str) -> pl.Expr:
            total = pl.col(column).sum().over("market", "period")
            return pl.when(total > 0).then(pl.col(column) / total).otherwise(0.0)

        quantity = pl.when(pl.col("ever") > 0).then(pl.col("packages") / pl.col("ever")).otherwise(0.0)
        shown = pl.col("recent") | (pl.col("buyers") > 0)
        promoted = self._coded.promoted if self._coded.offers is None else self._coded.offers
        somewhere = promoted.select("line", "period").unique().with_columns(somewhere=True)
        # What is recent, or bought by two households, is on every shelf; what follows enough of it is on none.
        sure = pl.col("recent") | (pl.col("buyers") > 1)
        ahead = (pl.col("sure").cast(pl.Int64).cum_sum() - pl.col("sure")).over("market", "period")
        needed = pl.lit(True) if self._coded.offers is not None else ahead < self._settings.max_alternatives
        return (
            cells.with_columns(share=share("window"), long_share=share("ever"), mean_quantity=quantity)
            .join(somewhere, on=["line", "period"], how="left")
            .filter(shown | pl.col("somewhere").fill_null(False))
            .sort("market", "period", -pl.col("rank_sales"), "line")
            .with_columns(sure=sure)
            .filter(needed)
            .select("market", "period", "line", "sure", "buyers", "sole", "share", "long_share", "mean_quantity")
        )
