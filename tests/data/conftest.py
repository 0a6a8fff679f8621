"""A small synthetic log, its occasions, and the same log in the files of the Complete Journey package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.sources.synthetic_truth import SyntheticTruth
from malles_env.data.splits import Splits

SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset({"SNACKS"})),
    min_market_purchases=100,
    min_line_purchases=5,
    min_line_households=2,
)


def same_sequences(first: Occasions, second: Occasions, length: int = 5) -> bool:
    """Return whether two sets of visits have the same past, whatever the rows their histories point to."""
    ours, theirs = first.sequences(length), second.sequences(length)
    names = [first.products["product_id"].to_numpy(), second.products["product_id"].to_numpy()]
    for part, known in zip((ours, theirs), names, strict=True):
        part["product"] = np.where(part["product"] >= 0, known[part["product"]], "")
    return ours["known"].any() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="session")
def settings() -> BuildSettings:
    return SETTINGS


@pytest.fixture(scope="session")
def log() -> tuple[Tables, SyntheticTruth]:
    return synthetic_transactions(seed=3, num_households=120)


@pytest.fixture(scope="session")
def tables(log: tuple[Tables, SyntheticTruth]) -> Tables:
    return log[0]


@pytest.fixture(scope="session")
def occasions(tables: Tables) -> Occasions:
    return build_occasions(tables, SETTINGS)


@pytest.fixture(scope="session")
def journey_folder(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the synthetic log in the Complete Journey's own files."""
    folder = tmp_path_factory.mktemp("journey")
    ids = {name: number for number, name in enumerate(tables.products["product_id"], start=1)}
    number = pl.col("product_id").replace_strict(ids, return_dtype=pl.Int64)
    tables.products.select(
        number,
        manufacturer_id=pl.int_range(pl.len()),
        department=pl.lit("GROCERY"),
        brand=pl.when("private_label").then(pl.lit("Private")).otherwise(pl.lit("National")),
        product_category="category",
        product_type=pl.col("market").str.split(" | ").list.last(),
        package_size=pl.format("{} OZ", "size_value"),
    ).write_parquet(folder / "products.parquet")
    quantity, price = pl.col("quantity"), pl.col("unit_price")
    tables.transactions.select(
        pl.col("household_id").str.slice(1).cast(pl.Int64),
        pl.col("store_id").str.slice(1).cast(pl.Int64),
        pl.col("basket_id").str.replace_all("[^0-9]", "").cast(pl.Int64),
        number,
        quantity.cast(pl.Int64),
        sales_value=price * quantity,
        retail_disc=(pl.col("regular_price") - price) * quantity,
        coupon_disc=pl.lit(0.0),
        coupon_match_disc=pl.lit(0.0),
        week=pl.col("period").cast(pl.Int64),
        transaction_timestamp=pl.col("timestamp").dt.cast_time_unit("ns"),
    ).write_parquet(folder / "transactions.parquet")
    assert tables.promotions is not None
    tables.promotions.select(
        number,
        pl.col("store_id").str.slice(1).cast(pl.Int64),
        display_location=pl.lit("1"),
        mailer_location=pl.lit("0"),
        week=pl.col("period").cast(pl.Int64),
    ).write_parquet(folder / "promotions.parquet")
    pl.DataFrame(
        {
            "household_id": [1],
            "age": ["35-44"],
            "income": ["50-74K"],
            "household_size": ["2"],
            "kids_count": ["0"],
        }
    ).write_parquet(folder / "demographics.parquet")
    return folder
