"""What the remaining rows cannot show: prices that never change, customers who come once, too few weeks."""

from __future__ import annotations

import polars as pl

from malles_env.data.exports.findings import Finding

FIXED_SHARE = 0.9
"""Share of products with one price from which a log is said to show nothing of price response."""
ONCE_SHARE = 0.9
"""Share of households with one trip from which a log is said to have no histories."""
FEW_SALES = 10
MODELLED = 24
"""Packages of one purchase above which quantities are not modelled."""


def whole_findings(rows: pl.DataFrame) -> list[Finding]:
    """Return findings on the log as a whole.

    Args:
        rows: Kept rows in canonical columns.
    """
    return [finding for finding in (_constant(rows), _once(rows), _large(rows)) if finding is not None]


def _constant(rows: pl.DataFrame) -> Finding | None:
    price = pl.col("unit_price")
    prices = rows.group_by("product_id").agg(
        pl.len().alias("sold"), (price.max() <= price.min() * 1.001).alias("fixed")
    )
    often = prices.filter(pl.col("sold") >= FEW_SALES)
    fixed = often.filter("fixed")
    if len(fixed) == 0:
        return None
    share = len(fixed) / len(often)
    return Finding(
        "constant_prices", len(fixed), "kept", 0,
        f"{share:.0%} of the {len(often):,} products with {FEW_SALES} sales or more always had one price",
        unit="products",
        example=str(fixed.sort(["sold", "product_id"], descending=[True, False])["product_id"][0]),
        advice="such a log does not show how buyers answer to prices; elasticities come from the shipped models"
        if share >= FIXED_SHARE else "", warn=share >= FIXED_SHARE,
    )  # fmt: skip


def _once(rows: pl.DataFrame) -> Finding | None:
    trips = rows.group_by("household_id").agg(pl.col("basket_id").n_unique().alias("trips"))
    once = trips.filter(pl.col("trips") == 1)
    if len(once) == 0:
        return None
    share = len(once) / len(trips)
    return Finding(
        "one_trip", len(once), "kept", 0, f"{share:.0%} of {len(trips):,} households made one trip", unit="households",
        advice="without later trips there are no histories and no visits without a purchase: give scenario build a "
        "--purchase-rate" if share >= ONCE_SHARE else "", warn=share >= ONCE_SHARE,
    )  # fmt: skip


def _large(rows: pl.DataFrame) -> Finding | None:
    large = rows.filter(pl.col("quantity") > MODELLED)
    if len(large) == 0:
        return None
    top = large.sort("quantity", descending=True).row(0, named=True)
    return Finding(
        "large_quantities", len(large), "kept", 0,
        f"{len(large) / len(rows):.1%} of rows hold more than {MODELLED} packages, up to which quantities are modelled",
        example=f"{top['product_id']}: {top['quantity']:,.0f} packages",
    )  # fmt: skip
