"""Are the alternatives of a market really different, and do households' rows keep the order of time?"""

from __future__ import annotations

import numpy as np
import polars as pl

from malles_env.data.checks.agreement import FEW
from malles_env.data.checks.report import Check, graded, skipped
from malles_env.type_aliases import BoolArray

SIZE_NEAR = PRICE_NEAR = 0.10
TWINS_WARN, TWINS_ERROR = 0.10, 0.60
SORTED_WARN, SORTED_ERROR = 0.75, 0.95
RETURNS_WARN, RETURNS_ERROR = 0.25, 0.05
"""Returns to an earlier product, over those of the same purchases in a random order."""
_FAMILY = ["market", "brand", "private_label", "size_unit"]


def check_twins(transactions: pl.DataFrame, products: pl.DataFrame) -> Check:
    """Warn where a maker has two alternatives of nearly one size and price, which are one choice in truth.

    Args:
        transactions: Canonical transactions.
        products: Canonical products; with `line`, the lines are the alternatives.
    """
    name = "near_twins"
    missing = [column for column in ("brand", "size_value") if column not in products.columns]
    if missing:
        return skipped(name, f"products has no column {missing[0]}", "Add brand and size so that twins can be found.")
    listed = _alternatives(transactions, products)
    if len(listed) == 0:
        return skipped(name, "no product that was bought has a brand and a size")
    twin = _has_twin(listed)
    share = float(twin.mean())
    sold = listed["sold"].to_numpy()
    bought = float(sold[twin].sum() / sold.sum())
    first = ", ".join(listed.filter(pl.Series(twin))["name"].head(3).to_list())
    return Check(
        name,
        share,
        TWINS_WARN,
        graded(share, TWINS_WARN, TWINS_ERROR),
        f"{share:.1%} of {len(listed):,} alternatives ({bought:.1%} of purchases) have a twin: same maker, size and "
        f"regular price within {SIZE_NEAR:.0%}" + (f", e.g. {first}" if first else ""),
        "Give twins one `line`, by hand or with malles_env.data.sources.lines.assign_lines; else a model is judged on "
        "distinguishing what is one product.",
        {"share_of_purchases": bought},
    )


def _alternatives(transactions: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Return one row per alternative that was bought: family, name, size, price, sold; sorted by family and size."""
    own = pl.col("product_id")
    line = pl.coalesce("line", own) if "line" in products.columns else own
    family = [pl.col(n) if n in products.columns else pl.lit(None).alias(n) for n in _FAMILY]
    usual = pl.col("unit_price")
    if "regular_price" in transactions.columns:
        usual = pl.coalesce("regular_price", usual)
    # The best seller of a line speaks for it, as everywhere else.
    sales = transactions.group_by("product_id").agg(pl.len().alias("sold"), usual.median().alias("price"))
    return (
        products.select("product_id", "size_value", *family, name=line)
        .join(sales, on="product_id")
        .sort(["sold", "product_id"], descending=[True, False])
        .group_by("name", maintain_order=True)
        .agg(pl.col("size_value", "price", *_FAMILY).first(), pl.col("sold").sum())
        .drop_nulls(["brand", "size_value"])
        .sort([*_FAMILY, "size_value", "name"], nulls_last=True)
    )


def _has_twin(listed: pl.DataFrame) -> BoolArray:
    """Return whether another row of the family is near in size and price [n]."""
    family = listed.select(pl.struct(_FAMILY).rle_id()).to_series().to_numpy()
    size, price = listed["size_value"].to_numpy(), listed["price"].to_numpy()
    twin = np.zeros(len(listed), dtype=bool)
    # Sorted by size within a family: neighbours at distance k are compared until none is near in size.
    for k in range(1, len(listed)):
        near = (family[k:] == family[:-k]) & (size[k:] <= size[:-k] * (1 + SIZE_NEAR))
        if not near.any():
            break
        near &= np.abs(price[k:] / price[:-k] - 1) <= PRICE_NEAR
        twin[k:] |= near
        twin[:-k] |= near
    return twin


def check_order(transactions: pl.DataFrame, products: pl.DataFrame) -> Check:
    """Refuse a log whose rows are sorted by product inside each household: a history would give the choice away.

    Two signs, both among the times a household bought another product of the market than before: how often the
    product comes later in the product list (about half the time in a real order), and how often it is one that the
    household had bought already (never, where rows are grouped by product), compared with the same purchases in random
    order: in a market of many products few come back to one in any order.

    Args:
        transactions: Canonical transactions, in the order of the file.
        products: Canonical products.
    """
    name, bought = "order_of_rows", _bought(transactions, products)
    changes = _changes(bought)
    if len(changes) < FEW:
        return skipped(name, f"only {len(changes)} times did a household change the product within a market")
    down = _share(changes["later"])
    one_way = max(down, 1 - down)
    open_ones = changes.filter("could_return")
    by_chance = _changes(_shuffled(bought)).filter("could_return")
    back, verdicts, words = None, [graded(one_way, SORTED_WARN, SORTED_ERROR)], ""
    if len(open_ones) and len(by_chance):
        back, chance = _share(open_ones["returned"]), _share(by_chance["returned"])
        words = f"; {back:.1%} of the {len(open_ones):,} changes that could go back to an earlier product did"
        words += f" ({chance:.1%} in a random order)"
        if chance * len(open_ones) >= FEW:
            verdicts.append(graded(back / chance, RETURNS_WARN, RETURNS_ERROR))
    return Check(
        name,
        one_way,
        SORTED_WARN,
        max(verdicts, key=("ok", "warn", "error").index),
        f"{down:.1%} of {len(changes):,} changes of product within a household and market go down the product list"
        f"{words}",
        "The rows seem sorted by product inside each household, so any history would leak the choice: get the true "
        "order of purchases, or use the log as a cross-section without history.",
        {"down_the_list": down, "returns": back},
    )


def _share(flags: pl.Series) -> float:
    return float(flags.cast(pl.Float64).sum()) / len(flags)


_GROUP = ["household_id", "market"]


def _bought(transactions: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Return place (in the product list) of each purchase of one product of a market, by household, market and time."""
    places = products.select("product_id", "market").with_row_index("place")
    return (
        transactions.select("household_id", "basket_id", "timestamp", "product_id")
        .join(places, on="product_id", maintain_order="left")
        .unique(["basket_id", "product_id"], keep="first", maintain_order=True)
        .filter(pl.len().over("basket_id", "market") == 1)
        .sort([*_GROUP, "timestamp"], maintain_order=True)
    )


def _shuffled(bought: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return the purchases of each household and market in a random order."""
    key = pl.Series("key", np.random.default_rng(seed).random(len(bought)))
    return bought.with_columns(key).sort([*_GROUP, "key"])


def _changes(bought: pl.DataFrame) -> pl.DataFrame:
    """Return later, could_return, returned: one row per purchase of another product than the time before."""
    new = pl.struct(*_GROUP, "place").is_first_distinct()
    bought = bought.with_columns(new.alias("new"), pl.col("place").shift(1).over(_GROUP).alias("last"))
    known = pl.col("new").cast(pl.Int32).cum_sum().over(_GROUP) - pl.col("new").cast(pl.Int32)
    return (
        bought.with_columns(known.alias("known"))
        .filter(pl.col("place") != pl.col("last"))
        .select(
            later=pl.col("place") > pl.col("last"),
            could_return=pl.col("known") >= 2,
            returned=~pl.col("new"),
        )
    )
