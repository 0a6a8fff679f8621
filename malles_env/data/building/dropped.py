"""How many purchases of a log become choice occasions, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings

REASONS = {
    "small_market": "are of markets with fewer purchases than min_market_purchases, or not asked for",
    "burn_in": "fall into the burn-in and fill histories only",
    "several_lines": "are one of several lines of their market in one basket: no choice of one",
    "rare_line": "are of lines with fewer purchases or households than min_line_purchases and min_line_households",
    "shelf": "are of a line that was not on the shelf the rules build, or the shelf was smaller than min_alternatives",
}
"""Why a purchase is no occasion, in the order in which the rules take them."""


def count_purchases(tables: Tables, coded: Coded, settings: BuildSettings) -> dict[str, int]:
    """Return how many purchases (lines of baskets) there are, and how many each rule before the shelf leaves out.

    Args:
        tables: The log.
        coded: The same in integers, with the markets that are built.
        settings: Splits and thresholds.
    """
    products = tables.products
    own = pl.col("product_id")
    name = pl.coalesce("line", own) if "line" in products.columns else own
    other = products.select("product_id", "market", name.alias("name"))
    other = other.filter(~pl.col("market").is_in(coded.markets.implode()))
    small = tables.transactions.join(other, on="product_id").select("basket_id", "market", "name").n_unique()
    rows = coded.purchases.select(
        early=pl.col("period") <= settings.splits.burn_in_end,
        several=pl.len().over("basket", "market") > 1,
        rare=~pl.col("line").is_in(coded.lines.filter("kept")["line"].implode()),
    )
    early, several, rare = pl.col("early"), pl.col("several"), pl.col("rare")
    counts = rows.select(
        early.sum().alias("burn_in"),
        (~early & several).sum().alias("several_lines"),
        (~early & ~several & rare).sum().alias("rare_line"),
    ).row(0, named=True)
    return {"all": small + len(rows), "small_market": small, **{key: int(count) for key, count in counts.items()}}


def with_shelves(counts: Mapping[str, int], built: int) -> dict[str, int]:
    """Return the counts with ``built`` and with what found no shelf.

    Args:
        counts: From `count_purchases`.
        built: Purchases that became occasions.
    """
    rest = counts["all"] - sum(counts[name] for name in REASONS if name in counts) - built
    return {**counts, "shelf": rest, "built": built}


def dropped_words(counts: Mapping[str, int]) -> str:
    """Return the counts in words, one line per reason.

    Args:
        counts: From `with_shelves`.
    """
    whole = max(counts["all"], 1)
    lines = [f"{counts['built']:,} of {counts['all']:,} purchases ({counts['built'] / whole:.1%}) became occasions; "
             "of the others"]  # fmt: skip
    lines += [f"  {counts[name]:>10,}  {words}" for name, words in REASONS.items() if counts[name]]
    return "\n".join(lines)
