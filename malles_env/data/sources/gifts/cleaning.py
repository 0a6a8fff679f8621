"""Which invoice lines are purchases of a product by a known customer: stated rules, each with its count."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from malles_env.errors import InvalidInput

NAME_LIMIT = 200
"""Characters of a name, at most: longer ones are no product's."""
_PRODUCT_CODE = r"^\d{5}"
_NO_NAME = r"[a-z]{3}|\?|^\P{L}*$"
"""Marks of a note instead of a name: published names are in capitals, and hold letters."""
_RULES: dict[str, pl.Expr] = {
    "without customer": pl.col("CustomerID").is_null(),
    "cancelled invoices and returns": pl.col("InvoiceNo").str.starts_with("C") | (pl.col("Quantity") <= 0),
    "price zero or below": ~(pl.col("UnitPrice") > 0) | ~pl.col("UnitPrice").is_finite(),
    "codes that are no product (postage, fees, samples)": ~pl.col("StockCode").str.contains(_PRODUCT_CODE),
    "notes or nothing instead of a name": pl.col("Description").fill_null("").str.contains(_NO_NAME),
    f"names of more than {NAME_LIMIT} characters": pl.col("Description").str.len_chars() > NAME_LIMIT,
}
"""Why a line is dropped, in this order: a line is counted under the first rule that it breaks."""


@dataclass(frozen=True)
class Cleaned:
    """Purchases, and what was left out on the way.

    Attributes:
        lines: One row per customer, day and product, in that order: household_id, day (date), period (weeks from
            Monday, from 1), product_id, quantity (pieces), unit_price (money per piece), orders (count).
        products: One row per product: product_id, title (its name most lines have), names (how many it has).
        invoice_lines: The lines that were kept, with period, household_id, product_id, quantity and unit_price, for the
            list prices.
        report: Rule -> lines dropped, then what was merged, in counts.
    """

    lines: pl.DataFrame
    products: pl.DataFrame
    invoice_lines: pl.DataFrame
    report: dict[str, int]

    def __str__(self) -> str:
        """Return the report, one line per rule."""
        return "\n".join(f"{count:>9,}  {words}" for words, count in self.report.items())


def clean(log: pl.DataFrame) -> Cleaned:
    """Return the purchases of a log.

    Codes are compared in capitals, since 47566B and 47566b are one product. A code with several names keeps the one
    most of its lines have. Several lines of one customer, day and product are one purchase.

    Args:
        log: Columns of `malles_env.data.sources.gifts.reading.COLUMNS`.

    Raises:
        InvalidInput: No line is a purchase.
    """
    report = {"lines read": len(log)}
    kept = log.with_columns(
        pl.col("StockCode").str.strip_chars().str.to_uppercase(), pl.col("Description").str.strip_chars()
    )
    for words, breaks in _RULES.items():
        left = kept.filter(~breaks.fill_null(True))
        report[f"dropped: {words}"] = len(kept) - len(left)
        kept = left
    if not len(kept):
        raise InvalidInput(f"the log: none of its {len(log):,} lines is a customer's purchase of a product")
    kept = kept.select(
        household_id=pl.col("CustomerID").cast(pl.String),
        day=pl.col("InvoiceDate").dt.date(),
        product_id="StockCode",
        title="Description",
        quantity="Quantity",
        unit_price="UnitPrice",
    )
    week = pl.col("day").dt.truncate("1w")
    kept = kept.with_columns(period=((week - week.min()).dt.total_days() // 7 + 1).cast(pl.Int32))
    products = _products(kept)
    lines = _purchases(kept)
    several = products.filter(pl.col("names") > 1)
    report |= {
        "kept": len(kept),
        "merged: more lines of one customer, day and product": len(kept) - len(lines),
        "codes with several names (the most frequent one stays)": len(several),
        "lines under another name of their code": len(kept) - len(kept.join(products, on=["product_id", "title"])),
        "purchases": len(lines),
        "customers": lines["household_id"].n_unique(),
        "products": len(products),
        "weeks": int(kept["period"].n_unique()),
    }
    return Cleaned(lines, products, kept.drop("title"), report)


def _products(kept: pl.DataFrame) -> pl.DataFrame:
    names = kept.group_by("product_id", "title").agg(pl.len().alias("count"))
    names = names.sort("product_id", "count", "title", descending=[False, True, False])
    return names.group_by("product_id", maintain_order=True).agg(
        pl.col("title").first(), pl.len().cast(pl.Int32).alias("names")
    )


def _purchases(kept: pl.DataFrame) -> pl.DataFrame:
    paid = (pl.col("unit_price") * pl.col("quantity")).sum() / pl.col("quantity").sum()
    merged = kept.group_by("household_id", "day", "product_id").agg(
        pl.col("period").first(), unit_price=paid, quantity=pl.col("quantity").sum(), orders=pl.len().cast(pl.Int32)
    )
    return merged.sort("household_id", "day", "product_id")
