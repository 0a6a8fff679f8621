"""Shelves: which lines a visit could have bought, at which price, and how popular they were."""

from __future__ import annotations

import numpy as np
import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.lookup import Floats, Ints, Lookup
from malles_env.data.prices import OthersPrices
from malles_env.data.settings import BuildSettings

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
"""What a shelf tells of each alternative."""


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
        self._sold = np.sort(self._store_keys(self._sales))
        self._offered = self._offer_lookup(coded.offers)

    def fill(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Return the alternatives of visits.

        Args:
            visits: visit (0..n-1, in order), household, store, period, market.

        Returns:
            visit, line and the columns of `SHELF_COLUMNS`; by visit, best sellers first; no shelf is larger than
            `max_alternatives`, and a shelf below `min_alternatives` is left out.
        """
        rows = visits.select("visit", "household", "store", "period", "market").join(
            self._candidates, on=["market", "period"], how="inner", maintain_order="left_right"
        )
        keys = self._keys(rows)
        flags = np.nan_to_num(self._promoted.get(keys)).astype(np.int8)
        offered = self._available(rows, keys, flags > 0)
        rows = rows.with_columns(promotion=flags > 0, display=flags % 2 > 0, feature_ad=flags > 1).filter(offered)
        place = pl.int_range(pl.len()).over("visit")
        rows = rows.filter(place < self._settings.max_alternatives)
        prices = self._price(rows)
        rows = rows.with_columns(price=prices).filter(pl.Series(np.isfinite(prices)))
        enough = pl.len().over("visit") >= self._settings.min_alternatives
        rows = rows.filter(enough)
        return rows.with_columns(store_sales=self._store_sales(rows)).select("visit", "line", *SHELF_COLUMNS)

    def _store_sales(self, rows: pl.DataFrame) -> Ints:
        """Return purchases of the line in the visit's store over the trailing `store_periods` [n]."""
        keys = self._store_keys(rows)
        window = np.minimum(self._settings.store_periods, rows["period"].to_numpy().astype(np.int64))
        sold = np.searchsorted(self._sold, keys) - np.searchsorted(self._sold, keys - window)
        return sold.astype(np.int32)

    def _store_keys(self, rows: pl.DataFrame) -> Ints:
        line, store = rows["line"].to_numpy(), rows["store"].to_numpy()
        return (line * self._stores + store) * self._periods + rows["period"].to_numpy().astype(np.int64)

    def _keys(self, rows: pl.DataFrame) -> Ints:
        line, store = rows["line"].to_numpy(), rows["store"].to_numpy()
        return (line * self._periods + rows["period"].to_numpy().astype(np.int64)) * self._stores + store

    def _offer_lookup(self, offers: pl.DataFrame | None) -> Lookup | None:
        if offers is None:
            return None
        keys = self._keys(offers)
        order = np.argsort(keys)
        return Lookup(keys[order], offers["price"].to_numpy()[order])

    def _available(self, rows: pl.DataFrame, keys: Ints, promoted: np.ndarray) -> pl.Series:
        if self._offered is not None:
            return pl.Series(self._offered.has(keys))
        by_other = (pl.col("buyers") > 1) | ((pl.col("buyers") == 1) & (pl.col("sole") != pl.col("household")))
        return rows.select(pl.col("recent") | by_other).to_series() | pl.Series(promoted)

    def _price(self, rows: pl.DataFrame) -> Floats:
        if self._offered is not None:
            return self._offered.get(self._keys(rows))
        assert self._prices is not None
        line, store, period, household = (
            rows[name].to_numpy().astype(np.int64) for name in ("line", "store", "period", "household")
        )
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
        return (
            cells.with_columns(share=share("window"), long_share=share("ever"), mean_quantity=quantity)
            .join(somewhere, on=["line", "period"], how="left")
            .filter(shown | pl.col("somewhere").fill_null(False))
            .sort("market", "period", -pl.col("rank_sales"), "line")
            .select("market", "period", "line", "recent", "buyers", "sole", "share", "long_share", "mean_quantity")
        )
