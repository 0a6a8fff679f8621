"""Do the prices of one product in one store and period agree?"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from malles_env.data.checks.report import Check, graded, skipped

TOLERANCE = 0.01
"""Two prices agree when they differ by no more than this share (rounding of multi-packs)."""
WARN, ERROR = 0.80, 0.30
FEW = 30
"""Fewer comparisons than this say nothing."""


@dataclass(frozen=True)
class Agreement:
    """Share of cells in which all prices agree, and how many cells with two or more baskets there are."""

    share: float
    cells: int


def agreement(transactions: pl.DataFrame, period: str | pl.Expr = "period") -> Agreement:
    """Measure how often all prices of a product in a store and period agree.

    Args:
        transactions: Canonical transactions.
        period: Column, or expression on `timestamp`, that says which rows belong to one period.

    Returns:
        The share, 0..1, over the cells with at least two baskets; NaN where there are none.
    """
    cells = agreeing_cells(transactions, period)
    return Agreement(
        float(cells["agree"].cast(pl.Float64).sum()) / len(cells) if len(cells) else float("nan"), len(cells)
    )


def agreeing_cells(transactions: pl.DataFrame, period: str | pl.Expr = "period") -> pl.DataFrame:
    """Return product_id and agree, one row per product, store and period with at least two baskets."""
    key = pl.col(period) if isinstance(period, str) else period
    low, high = pl.col("unit_price").min(), pl.col("unit_price").max()
    return (
        transactions.group_by("product_id", "store_id", key.alias("cell"))
        .agg(pl.col("basket_id").n_unique().alias("baskets"), (high <= low * (1 + TOLERANCE)).alias("agree"))
        .filter(pl.col("baskets") >= 2)
        .select("product_id", "agree")
    )


def check_agreement(transactions: pl.DataFrame, products: pl.DataFrame) -> Check:
    """Warn where products do not have one price per store and period.

    Args:
        transactions: Canonical transactions with `period`.
        products: Canonical products.
    """
    name, cells = "agreeing_prices", agreeing_cells(transactions)
    if len(cells) < FEW:
        return skipped(name, f"only {len(cells)} times did two baskets hold one product of one store and period")
    share = float(cells["agree"].cast(pl.Float64).sum()) / len(cells)
    worst = _worst(cells, products)
    verdict = graded(share, WARN, ERROR)
    bad = ", ".join(f"{category} {value:.0%}" for category, value in worst.items())
    return Check(
        name,
        share,
        WARN,
        verdict,
        f"{share:.1%} of {len(cells):,} product-store-periods with two or more baskets have one price (within "
        f"{TOLERANCE:.0%})" + (f"; lowest: {bad}" if bad else ""),
        "Leave weighed goods out or convert them to standard packs, and see detected_period: a period that starts on "
        "the wrong day mixes two prices.",
        {"cells": len(cells), "lowest_categories": worst},
    )


def _worst(cells: pl.DataFrame, products: pl.DataFrame) -> dict[str, float]:
    """Return up to three categories below the threshold, the lowest first."""
    categories = cells.join(products.select("product_id", "category"), on="product_id")
    shares = categories.group_by("category").agg(pl.col("agree").mean().alias("share"), pl.len().alias("cells"))
    low = shares.filter((pl.col("share") < WARN) & (pl.col("cells") >= FEW)).sort("share", "category").head(3)
    return dict(zip(low["category"].to_list(), low["share"].to_list(), strict=True))
