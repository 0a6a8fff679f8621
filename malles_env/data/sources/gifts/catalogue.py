"""The wholesaler's log in integers: products with categories, prices and cases, customers, purchases by day."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from malles_env.data.sources.gifts.categories import OTHER, Categories, shipped_categories
from malles_env.data.sources.gifts.cleaning import Cleaned
from malles_env.data.sources.gifts.prices import case_sizes, quantity_tiers, usual_price, weekly_prices
from malles_env.data.splits import Splits
from malles_env.errors import invalid
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True)
class GiftSettings:
    """How occasions are made of purchases.

    Attributes:
        splits: Periods, and the categories held out.
        options: Products on a shelf, at most: the chosen one and others that were not bought.
        fewest_options: Smaller shelves are dropped.
        reach: A product somebody else bought within this many weeks counts as available.
        fewest_earlier: Different products the customer must have bought before, in other categories.
        together: Products bought together in a category that become occasions, at most; drawn by hash, so that one
            large order does not drown the others.
        elsewhere: Products bought before in other categories that are kept per occasion, at most, newest first.
        share_periods: Window of the trailing shares.
        seed: Seed of all draws.
    """

    splits: Splits
    options: int = 24
    fewest_options: int = 5
    reach: int = 2
    fewest_earlier: int = 5
    together: int = 3
    elsewhere: int = 50
    share_periods: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse counts below their minimum."""
        for name in ("options", "fewest_options", "together", "elsewhere", "share_periods"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "a whole number, at least 1")
        if not 2 <= self.fewest_options <= self.options:
            raise invalid("fewest_options", self.fewest_options, f"from 2 to options ({self.options})")


@dataclass(frozen=True)
class Catalogue:
    """The log in integers: products and customers by code, purchases by customer and day.

    Attributes:
        products: One row per product code: product_id, title, category, case, regular_price.
        markets: Sorted categories that have products [M], `OTHER` last.
        market: Code of each product's category [P].
        prices: List price by product and week [P, weeks + 1].
        customers: Sorted ids [H].
        bought: One row per purchase by customer and day: household, day, period, product, market (codes), cases,
            unit_price.
        weeks: Last week.
        tiers: What a piece costs from which quantity on, see `malles_env.data.sources.gifts.prices.quantity_tiers`.
        report: Counts of the cleaning and of what was found.
    """

    products: pl.DataFrame
    markets: tuple[str, ...]
    market: IntArray
    prices: FloatArray
    customers: pl.Series
    bought: pl.DataFrame
    weeks: int
    tiers: pl.DataFrame
    report: dict[str, int] = field(default_factory=dict)


def catalogue(cleaned: Cleaned, categories: Categories | None = None) -> Catalogue:
    """Return purchases with categories, list prices, tiers and cases.

    Args:
        cleaned: The purchases.
        categories: What sorts products by their names; by default the file that ships.
    """
    known = categories or shipped_categories()
    lines = cleaned.invoice_lines
    products = cleaned.products.with_columns(known.of(cleaned.products["title"]))
    products = products.join(case_sizes(lines), on="product_id", maintain_order="left")
    products = products.join(usual_price(lines), on="product_id", maintain_order="left")
    markets = (*sorted(set(products["category"]) - {OTHER}), OTHER)
    market = products["category"].replace_strict(markets, range(len(markets)), return_dtype=pl.Int64)
    weeks = int(cleaned.lines["period"].max())  # type: ignore[arg-type]
    prices = weekly_prices(lines, products["product_id"], weeks)
    customers = cleaned.lines["household_id"].unique().sort()
    codes = products.select("product_id", "case", market=market).with_row_index("product")
    first = cleaned.lines["day"].min()
    bought = cleaned.lines.join(codes, on="product_id", how="left", maintain_order="left").select(
        household=pl.Series(customers.search_sorted(cleaned.lines["household_id"]), dtype=pl.Int64),
        day=(pl.col("day") - first).dt.total_days().cast(pl.Int64),
        period=pl.col("period").cast(pl.Int64),
        product=pl.col("product").cast(pl.Int64),
        market="market",
        cases=(pl.col("quantity") / pl.col("case")).ceil().cast(pl.Int64).clip(1),
        unit_price="unit_price",
    )
    row = lines.join(codes.select("product_id", "product"), on="product_id", how="left", maintain_order="left")
    asked = prices[row["product"].to_numpy(), row["period"].to_numpy()]
    tiers = quantity_tiers(lines.with_columns(list_price=pl.Series(asked)))
    sorted_out = int((products["category"] != OTHER).sum())
    report = cleaned.report | {
        "categories": len(markets) - 1,
        "categories that take no name": len(known.categories) - (len(markets) - 1),
        "products in a category": sorted_out,
        "purchases in a category": int((bought["market"] < len(markets) - 1).sum()),
        "products with quantity tiers": int((tiers.group_by("product_id").len()["len"] > 1).sum()),
    }
    return Catalogue(products, markets, market.to_numpy(), prices, customers, bought, weeks, tiers, report)
