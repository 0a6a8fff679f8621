"""Build settings that fit a log: splits in proportion to its weeks, thresholds to its size."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from malles_env.data.coding import number_periods
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits

BURN_IN, TRAIN, VALIDATION = 0.08, 0.70, 0.78
"""Shares of the periods by whose end each split ends; the rest is the test. About those of the Complete Journey."""

LARGEST_SHELF = 100
"""Alternatives of a shelf, at most; products beyond are bought too rarely to be distinguished."""


def fitted_settings(tables: Tables) -> BuildSettings:
    """Return settings for a log.

    Splits end after fixed shares of its periods. A line needs 20 purchases by 5 households in logs of 100,000 rows or
    more, down to 3 by 2 in the smallest; a market 1,000, down to 20. A shelf needs 5 alternatives, or as few as 2 where
    the market that sells most has fewer lines than 8; it has at most 20, or up to LARGEST_SHELF in larger
    markets.

    Args:
        tables: Canonical tables.
    """
    rows = number_periods(tables.transactions)
    last = int(rows.select(pl.col("period").max()).item() or 1)
    size = len(rows)
    usual = BuildSettings(splits=_splits(last))
    small = min(1.0, size / 100_000)
    purchases = max(3, round(20 * small))
    households = max(2, round(5 * small))
    lines, most = _market_sizes(tables, rows, purchases)
    return replace(
        usual,
        min_line_purchases=purchases,
        min_line_households=households,
        min_market_purchases=max(20, round(1000 * small)),
        min_alternatives=5 if lines >= 8 else max(2, lines // 2),
        max_alternatives=min(max(usual.max_alternatives, most), LARGEST_SHELF),
    )


def _splits(last: int) -> Splits:
    burn_in = min(round(BURN_IN * last), max(last - 3, 0))
    train = min(max(burn_in + 1, round(TRAIN * last)), max(last - 2, 1))
    validation = min(max(train + 1, round(VALIDATION * last)), max(last - 1, train))
    return Splits(burn_in, train, validation, frozenset())


def _market_sizes(tables: Tables, rows: pl.DataFrame, purchases: int) -> tuple[int, int]:
    """Return how many products sell enough: in the market that sells most, and in the one with most of them."""
    sold = rows.group_by("product_id").len().join(tables.products.select("product_id", "market"), on="product_id")
    enough = (pl.col("len") >= purchases).sum().alias("lines")
    markets = sold.group_by("market").agg(pl.col("len").sum().alias("rows"), enough)
    largest = markets.sort(["rows", "market"], descending=[True, False])
    return int(largest["lines"][0]), int(largest["lines"].to_numpy().max())


def settings_text(settings: BuildSettings, periods: int) -> str:
    """Return the settings as YAML with a word on each."""
    splits = settings.splits
    return f"""\
# Settings of this log, fitted to its size; change them as you like. All fields: BuildSettings in the reference.
min_market_purchases: {settings.min_market_purchases}   # a smaller market is not built
min_line_purchases: {settings.min_line_purchases}       # rarer products are no alternatives
min_line_households: {settings.min_line_households}      # households that must have bought one
min_alternatives: {settings.min_alternatives}         # a smaller shelf is left out
max_alternatives: {settings.max_alternatives}        # of a larger shelf the best sellers stay
splits:                    # last of the {periods} periods of each part; later ones are the test
  burn_in_end: {splits.burn_in_end}
  train_end: {splits.train_end}
  validation_end: {splits.validation_end}
  held_out_categories: []  # categories never trained on, for `malles consumers evaluate`
"""
