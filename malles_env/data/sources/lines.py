"""Lines: products of one maker, label, size and price tier pooled over flavours, near-twin sizes merged."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

_FAMILY = ["market", "brand", "private_label", "size_unit"]


@dataclass(frozen=True)
class _Line:
    """A line while it is being formed: the size and regular price of its best-selling product."""

    name: str
    size: float | None
    price: float

    def takes(self, size: float | None, price: float | None, sizes: float, prices: float) -> bool:
        """Return whether a product of this size and regular price is one of the line's flavours."""
        if size is None or self.size is None:
            near = size is None and self.size is None
        else:
            near = abs(size / self.size - 1) <= sizes
        return near and (price is None or abs(price / self.price - 1) <= prices)


def assign_lines(
    products: pl.DataFrame,
    transactions: pl.DataFrame,
    *,
    reference_end: int,
    size_tolerance: float = 0.10,
    price_tolerance: float = 0.10,
) -> pl.DataFrame:
    """Give each product the line it belongs to.

    A line is maker x national or private label x package size within a market, flavours pooled. Product lists
    are not exact: the same pouch is "0.22 oz" and "0.23 oz", and cans and cases of twelve may both be "12
    oz". So a product joins a line of its maker when its size and its regular price are near those of the
    line's best seller, and else starts a line. Best sellers go first and ties are broken by id, so the result
    depends on the data only. A line is called after its best seller.

    Args:
        products: Canonical products.
        transactions: Canonical transactions with `period` and `regular_price`.
        reference_end: Only sales up to this period decide, so that later data never moves a line.
        size_tolerance: Largest relative difference of two sizes, 0 or more.
        price_tolerance: Largest relative difference of two regular prices, 0 or more.

    Returns:
        `products` with column `line`.
    """
    sales = (
        transactions.filter(pl.col("period") <= reference_end)
        .group_by("product_id")
        .agg(pl.len().alias("sold"), pl.col("regular_price").median().alias("price"))
    )
    listed = (
        products.select("product_id", *_FAMILY, "size_value")
        .join(sales, on="product_id", how="left")
        .with_columns(pl.col("sold").fill_null(0))
        .sort([*_FAMILY, "sold", "product_id"], descending=[False] * 4 + [True, False], nulls_last=True)
    )
    names = pl.Series("line", _group(listed, size_tolerance, price_tolerance), dtype=pl.String)
    lines = listed.select("product_id").with_columns(names)
    return products.drop("line", strict=False).join(lines, on="product_id", how="left", maintain_order="left")


def _group(listed: pl.DataFrame, size_tolerance: float, price_tolerance: float) -> list[str]:
    """Return each product's line; within a family the best sellers come first."""
    names: list[str] = []
    family: tuple[object, ...] = ()
    leaders: list[_Line] = []
    for *kin, product, size, price in listed.select(*_FAMILY, "product_id", "size_value", "price").iter_rows():
        if tuple(kin) != family:
            family, leaders = tuple(kin), []
        own = next((x for x in leaders if x.takes(size, price, size_tolerance, price_tolerance)), None)
        if own is None and price is not None:
            own = _Line(product, size, price)
            leaders.append(own)
        names.append(product if own is None else own.name)
    return names
