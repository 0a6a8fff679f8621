"""Prices far from their product's median: the one rule of the importer and of the check of a log."""

from __future__ import annotations

import polars as pl

SOLD = 5
"""Sales of a product from which its median price means something."""
FACTOR = 5.0
"""A price this many times above or below its product's median is far from it."""


def far_prices(rows: pl.DataFrame, factor: float = FACTOR, left: pl.Series | None = None) -> pl.Series:
    """Return whether each row's price is far from its product's median [n].

    Args:
        rows: With product_id and unit_price.
        factor: How many times above or below is far, above 1.
        left: Rows that count, for the median and as an answer [n]; None means all.
    """
    price = pl.col("unit_price")
    kept = rows.select("product_id", "unit_price")
    kept = kept.with_columns(left=pl.lit(True) if left is None else left)
    ratio = price / pl.when("left").then(price).median().over("product_id")
    enough = pl.col("left").sum().over("product_id") >= SOLD
    far = (ratio > factor) | (ratio < 1 / factor)
    return kept.select((pl.col("left") & enough & far).fill_null(False).alias("bad"))["bad"]


def rule_words(factor: float = FACTOR) -> str:
    """Return the rule in words."""
    return f"price more than {factor:g} times above or below its product's median ({SOLD} sales or more)"
