"""What a market's shelf asked week by week: medians over households, never a purchase by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from malles_env.data.coding import code_tables
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

FEWEST = 5
"""Households behind every price: a median over fewer would be about single people."""
DEAL = 0.9
"""A week is a deal where the price is at most this share of the usual one."""


@dataclass(frozen=True)
class WeeklyPrices:
    """T weeks of J lines, training and validation only.

    Attributes:
        weeks: Numbers of the weeks [T].
        prices: Median price per package, money [T, J].
        listed: Whether the line was sold in that week or the `availability_periods` - 1 before it [T, J].
        deal: Whether the price is 10% or more below the line's usual one, the 90th percentile of its weeks [T, J].
    """

    weeks: IntArray
    prices: FloatArray
    listed: BoolArray
    deal: BoolArray


def weekly_prices(
    tables: Tables,
    market: str,
    lines: Sequence[str],
    owners: Sequence[str],
    regular_price: FloatArray,
    settings: BuildSettings | None = None,
) -> WeeklyPrices:
    """Return the weekly shelf prices of some lines from the end of the burn-in to the end of validation.

    A household has one vote per week and line, the median of what it paid. Where fewer than FEWEST households bought
    the line in a week, its price is its regular price times the median of price / regular price over all votes for its
    maker's lines; where the maker has too few votes as well, its regular price: nothing is known of a deal.

    Args:
        tables: The log; weeks after the end of validation are not looked at.
        market: Name of the market.
        lines: The log's lines [J].
        owners: Who sells each [J].
        regular_price: Money [J].
        settings: Splits and thresholds.

    Raises:
        InvalidInput: A line that was never bought by FEWEST households in a week.
    """
    settings = settings or BuildSettings()
    first, last = settings.splits.burn_in_end + 1, settings.splits.validation_end
    votes = _votes(tables, settings, market, lines, last)
    line, period = votes["column"].to_numpy(), votes["period"].to_numpy()
    relative = votes["price"].to_numpy() / regular_price[line]
    maker = np.unique(np.asarray(owners), return_inverse=True)[1]
    weeks = np.arange(first, last + 1)
    shape = (len(weeks), len(lines))
    found, sold = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    pooled = np.full(shape, np.nan)
    for t, week in enumerate(weeks):
        now = period == week
        for j in range(len(lines)):
            own, group = relative[now & (line == j)], relative[now & (maker[line] == maker[j])]
            found[t, j] = np.median(own) if len(own) >= FEWEST else np.nan
            pooled[t, j] = np.median(group) if len(group) >= FEWEST else np.nan
            recent = (period > week - settings.availability_periods) & (period <= week)
            sold[t, j] = bool((recent & (line == j)).any())
    known = np.where(np.isnan(found), pooled, found)
    if np.isnan(known).all(axis=0).any():
        missing = lines[int(np.isnan(known).all(axis=0).argmax())]
        raise InvalidInput(f"line {missing}: no week in which {FEWEST} households bought it or its maker's lines")
    known = np.where(np.isnan(known), 1.0, known)
    usual = np.quantile(known, 0.9, axis=0)
    return WeeklyPrices(weeks, np.round(known * regular_price, 2), sold, known <= DEAL * usual)


def _votes(tables: Tables, settings: BuildSettings, market: str, lines: Sequence[str], last: int) -> pl.DataFrame:
    """Return one row per week, line and household up to week `last`: period, column (place in `lines`), price."""
    coded = code_tables(tables.validated(), settings, [market])
    names = pl.DataFrame({"name": list(lines), "column": np.arange(len(lines))})
    return (
        coded.purchases.filter(pl.col("period") <= last)
        .join(coded.lines.select("line", "name").join(names, on="name"), on="line")
        .group_by("period", "column", "household")
        .agg(pl.col("price").median())
        .sort("period", "column", "household")
    )
