"""Transactions with ids replaced by small integers: the form in which the rest of the build computes."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import polars as pl

from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput, invalid

_FLAGS = ("display", "feature_ad")


@dataclass(frozen=True)
class Coded:
    """A log in integers. Codes are positions in the sorted id lists.

    Attributes:
        households: Sorted household ids [H].
        stores: Sorted store ids [S].
        markets: Sorted names of the markets to build [M].
        lines: One row per line of these markets, sorted by market and line: line (code), market (code), name,
            brand and category (codes), variants (products pooled), kept, and for kept lines regular_price and
            reference_share.
        trips: One row per basket: basket, household, store, period, time, rows.
        purchases: One row per basket and line: basket, household, store, period, time, market, line,
            quantity, price, regular.
        past: All purchases of the log, one row per basket, brand and category: household, time, period, brand and
            category (codes), private, deal (paid below the regular price).
        promoted: Unique store, line, period of promotions with display and feature_ad.
        offers: store, line, period, price, display, feature_ad; None where the log has no offers.
        num_periods: Last period of the log.
    """

    households: pl.Series
    stores: pl.Series
    markets: pl.Series
    lines: pl.DataFrame
    trips: pl.DataFrame
    purchases: pl.DataFrame
    past: pl.DataFrame
    promoted: pl.DataFrame
    offers: pl.DataFrame | None
    num_periods: int


def number_periods(transactions: pl.DataFrame) -> pl.DataFrame:
    """Return the transactions with `period`; where it is missing, weeks from Monday are counted from 1."""
    if "period" in transactions.columns:
        return transactions
    week = pl.col("timestamp").dt.truncate("1w")
    days = (week - week.min()).dt.total_days()
    return transactions.with_columns((days // 7 + 1).cast(pl.Int32).alias("period"))


def code_tables(tables: Tables, settings: BuildSettings, markets: list[str] | None = None) -> Coded:
    """Replace ids by codes, pool products into lines, and decide which lines and markets are kept.

    Args:
        tables: Canonical tables, validated.
        settings: Thresholds; only periods up to `splits.validation_end` count for them.
        markets: Markets to build, by name; None builds every market with enough purchases.

    Returns:
        The coded log.

    Raises:
        InvalidInput: A name in `markets` that `products` does not have, or no market with enough purchases.
    """
    transactions = number_periods(tables.transactions)
    products = _with_names(tables.products)
    _check_markets(products, markets)
    households = transactions["household_id"].unique().sort()
    stores = _all_stores(tables, transactions)
    coded = _with_codes(transactions, households, stores)
    trips = coded.group_by("basket").agg(pl.col("household", "store", "period", "time").first(), pl.len().alias("rows"))
    names = sorted(set(markets)) if markets is not None else _large_markets(transactions, products, settings)
    if not names:
        limit = settings.min_market_purchases
        raise InvalidInput(
            f"min_market_purchases: no market has {limit} purchases up to period {settings.splits.validation_end}; "
            "allowed: a number that one market reaches, or a longer log"
        )
    products = products.filter(pl.col("market").is_in(names))
    lines = _line_table(products, names)
    past, lines = _past(coded, tables.products, lines)
    line_of = products.select("product_id", "name").join(lines, on="name").select("product_id", "line", "market")
    purchases = _purchases(coded, line_of)
    return Coded(
        households,
        stores,
        pl.Series("market", names),
        _line_statistics(lines, purchases, settings),
        trips.sort("time", "basket"),
        purchases,
        past,
        _promoted(tables, line_of, stores),
        _offers(tables, line_of, stores),
        _last_period(transactions),
    )


def _last_period(transactions: pl.DataFrame) -> int:
    return int(transactions.select(pl.col("period").max()).item() or 0)


def _codes(column: str, ids: pl.Series) -> pl.Expr:
    codes = pl.Series(range(len(ids)), dtype=pl.Int64)
    return pl.col(column).replace_strict(ids, codes, default=None, return_dtype=pl.Int64)


def _with_names(products: pl.DataFrame) -> pl.DataFrame:
    own = pl.col("product_id")
    name = pl.coalesce("line", own) if "line" in products.columns else own
    # Two markets may use the same name for a line; a line lives in one market.
    return products.with_columns(name.alias("name"))


def _check_markets(products: pl.DataFrame, markets: list[str] | None) -> None:
    known = set(products["market"].unique().to_list())
    unknown = sorted(set(markets or ()) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], sorted(known), n=3, cutoff=0.3)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise invalid("markets", unknown[0], f"a market of the product table{hint}")


def _large_markets(transactions: pl.DataFrame, products: pl.DataFrame, settings: BuildSettings) -> list[str]:
    known = transactions.filter(pl.col("period") <= settings.splits.validation_end)
    sold = known.join(products.select("product_id", "market"), on="product_id")
    baskets = sold.group_by("market").agg(pl.col("basket_id").n_unique().alias("baskets"))
    large = baskets.filter(pl.col("baskets") >= settings.min_market_purchases)
    return large["market"].sort().to_list()


def _all_stores(tables: Tables, transactions: pl.DataFrame) -> pl.Series:
    frames = [transactions, tables.offers, tables.promotions]
    return pl.concat([f["store_id"].unique() for f in frames if f is not None]).unique().sort()


def _with_codes(transactions: pl.DataFrame, households: pl.Series, stores: pl.Series) -> pl.DataFrame:
    regular = pl.col("regular_price") if "regular_price" in transactions.columns else pl.lit(None, pl.Float64)
    return transactions.select(
        "product_id",
        "period",
        "quantity",
        basket=pl.col("basket_id").rank("dense").cast(pl.Int64) - 1,
        household=_codes("household_id", households),
        store=_codes("store_id", stores),
        time=pl.col("timestamp").rank("dense").cast(pl.Int64) - 1,
        price="unit_price",
        regular=pl.max_horizontal(regular.fill_null(0.0), pl.col("unit_price")),
    )


def _past(coded: pl.DataFrame, products: pl.DataFrame, lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return all purchases by brand and category, and the lines with their brand's and category's codes."""
    nothing = [pl.lit(None, pl.String).alias("brand"), pl.lit(None, pl.Boolean).alias("private_label")]
    given = _with_names(products.with_columns(*[e for e in nothing if e.meta.output_name() not in products.columns]))
    brands = given["brand"].drop_nulls().unique().sort()
    categories = given["category"].unique().sort()
    kinds = given.select(
        "product_id",
        "name",
        brand=_codes("brand", brands).fill_null(len(brands)),
        category=_codes("category", categories),
        private=pl.col("private_label").fill_null(False),
    )
    below = pl.col("price") < 0.98 * pl.col("regular")
    past = (
        coded.join(kinds, on="product_id")
        .group_by("basket", "brand", "category")
        .agg(pl.col("household", "time", "period", "private").first(), below.any().alias("deal"))
        .drop("basket")
        .sort("time", "household", "brand", "category")
    )
    described = kinds.sort("product_id").unique(subset="name", keep="first").select("name", "brand", "category")
    return past, lines.join(described, on="name", how="left", maintain_order="left")


def _line_table(products: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    named = products.group_by("market", "name").agg(pl.len().cast(pl.Int32).alias("variants"))
    lines = named.unique(subset="name").sort("market", "name")
    return lines.with_columns(_codes("market", pl.Series(names))).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("line")
    )


def _purchases(coded: pl.DataFrame, line_of: pl.DataFrame) -> pl.DataFrame:
    packages = pl.col("quantity")
    return (
        coded.join(line_of, on="product_id")
        .group_by("basket", "line")
        .agg(
            pl.col("household", "store", "period", "time", "market").first(),
            packages.sum(),
            ((pl.col("price") * packages).sum() / packages.sum()).alias("price"),
            ((pl.col("regular") * packages).sum() / packages.sum()).alias("regular"),
        )
        .sort("time", "basket", "line")
    )


def _line_statistics(lines: pl.DataFrame, purchases: pl.DataFrame, settings: BuildSettings) -> pl.DataFrame:
    known = purchases.filter(pl.col("period") <= settings.splits.validation_end)
    statistics = known.group_by("line").agg(
        pl.len().alias("bought"),
        pl.col("household").n_unique().alias("buyers"),
        pl.col("regular").median().alias("regular_price"),
    )
    kept = (pl.col("bought") >= settings.min_line_purchases) & (pl.col("buyers") >= settings.min_line_households)
    return (
        lines.join(statistics, on="line", how="left", maintain_order="left")
        .with_columns(kept.fill_null(False).alias("kept"))
        .with_columns(
            (pl.col("bought") / (pl.col("bought") * pl.col("kept")).sum().over("market")).alias("reference_share")
        )
    )


def _promoted(tables: Tables, line_of: pl.DataFrame, stores: pl.Series) -> pl.DataFrame:
    if tables.promotions is None or tables.offers is not None:
        empty = {"store": pl.Int64, "line": pl.Int64, "period": pl.Int32, **dict.fromkeys(_FLAGS, pl.Boolean)}
        return pl.DataFrame(schema=empty)
    promotions = tables.promotions
    advertised = pl.col("feature_ad").fill_null(False) if "feature_ad" in promotions.columns else pl.lit(False)
    shown = pl.col("display") if "display" in promotions.columns else pl.lit(None, pl.Boolean)
    places = pl.DataFrame({"store_id": stores, "store": np.arange(len(stores))})
    coded = (
        promotions.join(line_of.select("product_id", "line"), on="product_id")
        .join(places, on="store_id")
        .select("store", "line", "period", shown.fill_null(~advertised).alias("display"), feature_ad=advertised)
    )
    return _any_flag(coded)


def _any_flag(rows: pl.DataFrame) -> pl.DataFrame:
    """Return unique store, line and period with the flags that any of their rows has."""
    stores, periods = (int(rows[name].max() or 0) + 1 for name in ("store", "period"))  # type: ignore[arg-type]
    key = (pl.col("line") * periods + pl.col("period")) * stores + pl.col("store")
    packed = rows.select(key * 4 + pl.col("display").cast(pl.Int64) + 2 * pl.col("feature_ad").cast(pl.Int64))
    # Sorting one number per row is many times faster than grouping by three columns.
    cells = np.sort(packed.to_series().to_numpy())
    first = np.flatnonzero(np.diff(cells >> 2, prepend=-1))
    flags = np.bitwise_or.reduceat(cells, first) & 3 if len(cells) else cells
    line, rest = np.divmod(cells[first] >> 2, periods * stores)
    period, store = np.divmod(rest, stores)
    return pl.DataFrame(
        {"store": store, "line": line, "period": period.astype(np.int32), "display": flags & 1 > 0,
         "feature_ad": flags & 2 > 0}
    )  # fmt: skip


def _offers(tables: Tables, line_of: pl.DataFrame, stores: pl.Series) -> pl.DataFrame | None:
    if tables.offers is None:
        return None
    given = tables.offers
    for name, default in (("in_stock", True), ("display", False), ("feature_ad", False)):
        value = pl.col(name).fill_null(default) if name in given.columns else pl.lit(default)
        given = given.with_columns(value.alias(name))
    return (
        given.filter("in_stock")
        .join(line_of, on="product_id")
        .with_columns(period=pl.int_ranges("period_start", pl.col("period_end") + 1, dtype=pl.Int32))
        .explode("period")
        .with_columns(_codes("store_id", stores).alias("store"))
        .group_by("store", "line", "period")
        .agg(pl.col("unit_price").median().alias("price"), pl.col(*_FLAGS).any())
    )
