"""Shelves: which lines a visit could have bought, at which price, and how popular they were."""

from __future__ import annotations

import numpy as np
import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.lookup import Floats, Ints, Lookup
from malles_env.data.prices import OthersPrices
from malles_env.data.settings import BuildSettings


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
        promoted = coded.promoted if coded.offers is None else coded.offers.filter("promotion")
        keys = self._keys(promoted)
        self._promoted = Lookup(np.sort(keys), np.ones(len(keys)))
        self._offered = self._offer_lookup(coded.offers)

    def fill(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Return the alternatives of visits.

        Args:
            visits: visit (0..n-1, in order), household, store, period, market.

        Returns:
            visit, line, price, promotion, share; by visit, best sellers first; no shelf is larger than
            `max_alternatives`, and a shelf below `min_alternatives` is left out.
        """
        rows = visits.select("visit", "household", "store", "period", "market").join(
            self._candidates, on=["market", "period"], how="inner", maintain_order="left_right"
        )
        keys = self._keys(rows)
        promoted = self._promoted.has(keys)
        offered = self._available(rows, keys, promoted)
        rows = rows.with_columns(promotion=promoted).filter(offered)
        place = pl.int_range(pl.len()).over("visit")
        rows = rows.filter(place < self._settings.max_alternatives)
        prices = self._price(rows)
        rows = rows.with_columns(price=prices).filter(pl.Series(np.isfinite(prices)))
        enough = pl.len().over("visit") >= self._settings.min_alternatives
        return rows.filter(enough).select("visit", "line", "price", "promotion", "share")

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
        )
        cells = lines.join(periods, how="cross").join(sold, on=["line", "period"], how="left").sort("line", "period")
        cells = cells.with_columns(pl.col("sold", "buyers").fill_null(0), pl.col("sole").fill_null(-1))

        def before(window: int) -> pl.Expr:
            # Sum over the `window` periods strictly before this one.
            total = pl.col("sold").cum_sum().over("line")
            until = total.shift(1, fill_value=0).over("line")
            return until - total.shift(window + 1, fill_value=0).over("line")

        return cells.with_columns(
            (before(settings.availability_periods) > 0).alias("recent"),
            before(settings.ranking_periods).alias("rank_sales"),
            before(settings.share_periods).alias("window"),
        )

    def _rank(self, cells: pl.DataFrame) -> pl.DataFrame:
        total = pl.col("window").sum().over("market", "period")
        share = pl.when(total > 0).then(pl.col("window") / total).otherwise(0.0)
        shown = pl.col("recent") | (pl.col("buyers") > 0)
        promoted = self._coded.promoted if self._coded.offers is None else self._coded.offers
        somewhere = promoted.select("line", "period").unique().with_columns(somewhere=True)
        return (
            cells.with_columns(share.alias("share"))
            .join(somewhere, on=["line", "period"], how="left")
            .filter(shown | pl.col("somewhere").fill_null(False))
            .sort("market", "period", -pl.col("rank_sales"), "line")
            .select("market", "period", "line", "recent", "buyers", "sole", "share")
        )
