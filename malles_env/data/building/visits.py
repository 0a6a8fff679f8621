"""Visits to a market: the purchases of one line, and a sample of a buyer's weeks without one."""

from __future__ import annotations

import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.hashing import mix, text_keys, uniform
from malles_env.data.settings import BuildSettings

COLUMNS = ("household", "store", "period", "time", "market", "line", "quantity")
"""Columns of a table of visits; line -1 and quantity 0 stand for no purchase."""


def purchase_visits(coded: Coded, settings: BuildSettings) -> pl.DataFrame:
    """Return baskets that hold exactly one line of a market, kept lines only, after the burn-in.

    Args:
        coded: The log.
        settings: Splits.

    Returns:
        `COLUMNS`, one row per basket and market.
    """
    kept = coded.lines.filter("kept").select("line")
    return (
        coded.purchases.filter(pl.col("period") > settings.splits.burn_in_end)
        .filter(pl.len().over("basket", "market") == 1)
        .join(kept, on="line", how="semi")
        .select(COLUMNS)
    )


def buyers(coded: Coded, settings: BuildSettings) -> pl.DataFrame:
    """Return household and market of each buyer: at least one purchase up to `splits.validation_end`.

    A no-purchase visit therefore knows that its household buys in this market at some time up to then, later
    than the visit perhaps. That is the population a market model is about; it says nothing about *which* line
    or *when*, and nothing of the test periods.
    """
    known = coded.purchases.filter(pl.col("period") <= settings.splits.validation_end)
    return known.select("household", "market").unique().sort("household", "market")


def shopping_weeks(coded: Coded) -> pl.DataFrame:
    """Return household, period, store (of most lines), time (first trip), seen (earlier weeks)."""
    stores = coded.trips.group_by("household", "period", "store").agg(pl.col("rows").sum(), pl.col("time").min())
    return (
        stores.sort("household", "period", "rows", "store", descending=[False, False, True, False])
        .group_by("household", "period", maintain_order=True)
        .agg(pl.col("store").first(), pl.col("time").min())
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int32).over("household").alias("seen"))
    )


def idle_visits(coded: Coded, weeks: pl.DataFrame, settings: BuildSettings) -> pl.DataFrame:
    """Return every shopping week of a buyer without any purchase in the market, after the burn-in.

    Args:
        coded: The log.
        weeks: From `shopping_weeks`.
        settings: Splits.

    Returns:
        `COLUMNS`; unsampled.
    """
    bought = coded.purchases.select("household", "market", "period").unique()
    return (
        buyers(coded, settings)
        .join(weeks.filter(pl.col("period") > settings.splits.burn_in_end), on="household")
        .join(bought, on=["household", "market", "period"], how="anti")
        .with_columns(line=pl.lit(-1, pl.Int64), quantity=pl.lit(0, pl.Int32))
        .select(COLUMNS)
    )


def sample_idle(idle: pl.DataFrame, purchases: pl.DataFrame, coded: Coded, settings: BuildSettings) -> pl.DataFrame:
    """Keep no-purchase visits at one rate per market, about `outside_ratio` per purchase.

    The rate is decided on periods up to `splits.validation_end` and each visit's draw depends on its
    household, market and period alone, so later data never changes what training sees.

    Args:
        idle: From `idle_visits`.
        purchases: From `purchase_visits`.
        coded: The log.
        settings: Ratio, splits and seed.

    Returns:
        The visits kept.
    """
    known = pl.col("period") <= settings.splits.validation_end
    count = idle.filter(known).group_by("market").agg(pl.len().alias("idle"))
    bought = purchases.filter(known).group_by("market").agg(pl.len().alias("bought"))
    rates = count.join(bought, on="market", how="left").select(
        "market", rate=(settings.outside_ratio * pl.col("bought").fill_null(0) / pl.col("idle")).clip(0, 1)
    )
    household = text_keys(coded.households)[idle["household"].to_numpy()]
    market = text_keys(coded.markets)[idle["market"].to_numpy()]
    draws = uniform(mix(settings.seed, household, market, idle["period"].to_numpy()))
    rated = idle.join(rates, on="market", how="left", maintain_order="left")
    return idle.filter(pl.Series(draws) < rated["rate"].fill_null(0.0))
