"""List prices, quantity tiers and case sizes, recovered from what customers paid and how much they took."""

from __future__ import annotations

import numpy as np
import polars as pl

from malles_env.type_aliases import FloatArray, IntArray

WINDOWS = (0, 2, 8)
"""Weeks either side in which a product's list price is looked for, the narrowest first."""
FEWEST = 3
"""Customers behind a weekly list price: one customer's bargain never becomes what everybody is shown."""
TIER_LINES, TIER_DEPTH = 5, 0.03
"""A tier needs this many lines and a price this much below the next higher one."""
CASE_SHARE = 0.6
"""A case size divides at least this share of a product's order quantities."""


def small_orders(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the invoice lines of no more than the median quantity of their product: those that pay the list price."""
    return lines.filter(pl.col("quantity") <= pl.col("quantity").median().over("product_id"))


def usual_price(lines: pl.DataFrame) -> pl.DataFrame:
    """Return each product's most frequent price over small orders; of equally frequent ones the higher.

    Args:
        lines: product_id, quantity, unit_price.

    Returns:
        product_id, regular_price; one row per product.
    """
    return _mode(small_orders(lines), ["product_id"]).rename({"price": "regular_price"})


def weekly_prices(lines: pl.DataFrame, products: pl.Series, weeks: int) -> FloatArray:
    """Return the list price of every product and week [P, weeks + 1]; column 0 is not used.

    It is the most frequent price among small orders of the week, or of 2 or 8 weeks either side where fewer than
    `FEWEST` customers stand behind it, else of the whole log.

    Args:
        lines: Invoice lines: household_id, product_id, period, quantity, unit_price.
        products: Ids [P].
        weeks: Last week.
    """
    row = {name: at for at, name in enumerate(products)}
    small = small_orders(lines).select(
        "period",
        "unit_price",
        product_id=pl.col("product_id").replace_strict(row, return_dtype=pl.Int32),
        customer=pl.col("household_id").rank("dense").cast(pl.Int32),
    )
    prices = np.full((len(products), weeks + 1), np.nan)
    for reach in WINDOWS:
        lacking = np.argwhere(np.isnan(prices[:, 1:])).astype(np.int32) + np.array([0, 1], dtype=np.int32)
        wanted = pl.DataFrame(lacking, schema={"product_id": pl.Int32, "period": pl.Int32})
        shifts = pl.DataFrame({"shift": np.arange(-reach, reach + 1, dtype=np.int32)})
        near = small.join(shifts, how="cross").with_columns(pl.col("period") + pl.col("shift"))
        near = near.join(wanted, on=["product_id", "period"], how="semi")
        found = _mode(near, ["product_id", "period"], pl.col("customer").n_unique() >= FEWEST)
        prices[found["product_id"].to_numpy(), found["period"].to_numpy()] = found["price"].to_numpy()
    whole = dict(usual_price(lines).iter_rows())
    return np.where(np.isnan(prices), np.array([whole[name] for name in products])[:, None], prices)


def case_sizes(lines: pl.DataFrame) -> pl.DataFrame:
    """Return each product's case: the largest number of pieces that divides most of its order quantities.

    Args:
        lines: product_id, quantity.

    Returns:
        product_id, case (pieces, at least 1).
    """
    counts = lines.group_by("product_id", "quantity").agg(pl.len().alias("orders"))
    sizes = counts.select("product_id", case="quantity").filter(pl.col("case") <= 144)
    pairs = sizes.join(counts, on="product_id").with_columns(fits=pl.col("quantity") % pl.col("case") == 0)
    share = (pl.col("orders") * pl.col("fits")).sum() / pl.col("orders").sum()
    wide = pairs.group_by("product_id", "case").agg(share=share).filter(pl.col("share") >= CASE_SHARE)
    found = wide.group_by("product_id").agg(pl.col("case").max())
    listed = lines.select("product_id").unique().join(found, on="product_id", how="left")
    return listed.with_columns(pl.col("case").fill_null(1).cast(pl.Int32)).sort("product_id")


def quantity_tiers(lines: pl.DataFrame) -> pl.DataFrame:
    """Return each product's schedule: what a piece costs from which quantity on.

    The first tier is the list price from 1 piece. Every lower price that `TIER_LINES` or more lines paid is a tier; it
    begins at the quantity that best separates its lines from those at higher prices, and dearer tiers begin earlier.

    Args:
        lines: product_id, quantity, unit_price and list_price (that of the line's week): who paid it paid no tier, so
            that a change of the list is none.

    Returns:
        product_id, from_quantity (pieces), unit_price, lines; by product and quantity.
    """
    listed = usual_price(lines)
    lines = lines.join(listed, on="product_id").with_columns(
        pl.when(pl.col("unit_price") < pl.col("list_price"))
        .then("unit_price")
        .otherwise("regular_price")
        .alias("unit_price")
    )
    levels = (
        lines.drop("regular_price")
        .group_by("product_id", "unit_price")
        .agg(pl.col("quantity"), pl.len().cast(pl.Int32).alias("lines"))
    )
    levels = levels.join(listed, on="product_id").filter(pl.col("unit_price") <= pl.col("regular_price"))
    enough = (pl.col("lines") >= TIER_LINES) | (pl.col("unit_price") == pl.col("regular_price"))
    levels = levels.filter(enough).sort("product_id", "unit_price", descending=[False, True])
    rows: list[tuple[str, int, float, int]] = []
    for (name,), group in levels.group_by("product_id", maintain_order=True):
        rows.extend((str(name), *tier) for tier in _schedule(group))
    kinds = {"product_id": pl.String, "from_quantity": pl.Int32, "unit_price": pl.Float64, "lines": pl.Int32}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _schedule(levels: pl.DataFrame) -> list[tuple[int, float, int]]:
    """Return the tiers of one product; its levels come dearest first."""
    tiers: list[tuple[int, float, int]] = []
    dearer = np.zeros(0, dtype=np.int64)
    for quantities, price, count in levels.select("quantity", "unit_price", "lines").iter_rows():
        own = np.sort(np.asarray(quantities, dtype=np.int64))
        if not tiers:
            tiers.append((1, price, count))
        elif price <= (1 - TIER_DEPTH) * tiers[-1][1]:
            start = _threshold(dearer, own)
            if start > tiers[-1][0]:
                tiers.append((start, price, count))
        dearer = np.concatenate([dearer, own])
    return tiers


def _threshold(below: IntArray, above: IntArray) -> int:
    """Return the quantity with the fewest lines on the wrong side, each group counting alike."""
    cuts = np.unique(above)
    wrong = np.array([(below >= cut).mean() + (above < cut).mean() for cut in cuts])
    return int(cuts[wrong.argmin()])


def _mode(lines: pl.DataFrame, by: list[str], enough: pl.Expr | None = None) -> pl.DataFrame:
    """Return the most frequent price of each group, the higher of equals; groups that are not `enough` are left out."""
    if enough is not None:
        kept = lines.group_by(by).agg(enough=enough).filter("enough").drop("enough")
        lines = lines.join(kept, on=by, how="semi")
    counts = lines.group_by(*by, "unit_price").agg(pl.len().alias("count"))
    counts = counts.sort("count", "unit_price", descending=True)
    return counts.group_by(by, maintain_order=True).agg(price=pl.col("unit_price").first())
