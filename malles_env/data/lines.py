"""Lines: products of one maker, label and size pooled over flavours, with near-twin sizes merged."""

from __future__ import annotations

import polars as pl

_KEY = ["market", "brand", "private_label", "size_unit", "size_value"]


def assign_lines(
    products: pl.DataFrame,
    transactions: pl.DataFrame,
    *,
    reference_end: int,
    size_tolerance: float = 0.10,
    price_tolerance: float = 0.10,
) -> pl.DataFrame:
    """Give each product the line it belongs to.

    A line is maker x national or private label x package size within a market. Sizes within `size_tolerance` of
    each other whose median prices are within `price_tolerance` are one line ("0.22 oz" and "0.23 oz" pouches):
    product lists are not that exact. A line is called after its best-selling product.

    Args:
        products: Canonical products.
        transactions: Canonical transactions with `period`.
        reference_end: Only sales up to this period decide, so that later data never moves a line.
        size_tolerance: Largest relative difference of two sizes, 0 to merge nothing.
        price_tolerance: Largest relative difference of their median prices.

    Returns:
        `products` with column `line`.
    """
    sales = (
        transactions.filter(pl.col("period") <= reference_end)
        .group_by("product_id")
        .agg(pl.len().alias("sold"), pl.col("unit_price").median().alias("price"))
    )
    listed = products.drop("line", strict=False).join(sales, on="product_id", how="left")
    listed = listed.with_columns(pl.col("sold").fill_null(0))
    groups = (
        listed.group_by(_KEY)
        .agg(
            pl.col("sold").sum(),
            pl.col("price").filter(pl.col("price").is_not_null()).median(),
            pl.col("product_id").sort_by([-pl.col("sold").cast(pl.Int64), "product_id"]).first().alias("line"),
        )
        .sort([*_KEY[:4], "sold", "line"], descending=[False] * 4 + [True, False], nulls_last=True)
    )
    merged = groups.with_columns(pl.Series("line", _merge_twins(groups, size_tolerance, price_tolerance)))
    return listed.join(merged.select(*_KEY, "line"), on=_KEY, how="left", nulls_equal=True).select(
        *[name for name in products.columns if name != "line"], "line"
    )


def _merge_twins(groups: pl.DataFrame, size_tolerance: float, price_tolerance: float) -> list[str]:
    """Return each group's line; groups come best-selling first, so the largest takes in its twins."""
    names: list[str] = []
    family: tuple[object, ...] = ()
    leaders: list[tuple[float, float, str]] = []
    columns = ("market", "brand", "private_label", "size_unit", "size_value", "price", "line")
    for market, brand, private, unit, size, price, line in groups.select(columns).iter_rows():
        if (market, brand, private, unit) != family:
            family, leaders = (market, brand, private, unit), []
        if size is None or price is None:
            names.append(line)
            continue
        twin = next(
            (
                name
                for other_size, other_price, name in leaders
                if abs(size / other_size - 1) <= size_tolerance and abs(price / other_price - 1) <= price_tolerance
            ),
            line,
        )
        if twin == line:
            leaders.append((size, price, line))
        names.append(twin)
    return names
