"""Prices far from their product's median in the check of a log, and headers that name a column twice."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from malles_env.data.checks.mistyped import check_mistyped
from malles_env.data.log.readers import read_table
from malles_env.data.parsing.dialect import read_text_table
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.errors import CorruptFile, InvalidInput


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return synthetic_transactions(seed=1, num_households=30)[0].validated().transactions


def test_prices_far_from_the_median_are_counted_and_shown(rows: pl.DataFrame) -> None:
    assert check_mistyped(rows).verdict == "ok"
    at = pl.int_range(pl.len())
    slipped = rows.with_columns(
        pl.when(at == 3).then(pl.col("unit_price") * 100).otherwise("unit_price").alias("unit_price")
    )
    one = check_mistyped(slipped)
    assert (one.verdict, one.details) == ("warn", {"rows": 1})
    assert f"product {rows['product_id'][3]} at " in one.finding
    cents = rows.with_columns(
        pl.when(at % 20 == 0).then(pl.col("unit_price") / 100).otherwise("unit_price").alias("unit_price")
    )
    many = check_mistyped(cents)
    assert many.verdict == "error" and many.details["rows"] == -(-len(rows) // 20)


def test_the_rule_holds_for_prices_of_any_unit(rows: pl.DataFrame) -> None:
    for unit in (1e-3, 1e6):
        scaled = rows.with_columns(pl.col("unit_price") * unit)
        assert check_mistyped(scaled).verdict == "ok"


def test_a_column_named_twice_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "transactions.csv"
    path.write_text("household_id,unit_price,quantity, unit_price\na,1.0,1,2.0\n")
    words = "column unit_price: the header names it 2 times \\(columns 2, 4\\); allowed: each name once"
    with pytest.raises(InvalidInput, match=words):
        read_text_table(path)
    with pytest.raises(CorruptFile, match=words):
        read_table(path, "transactions")
    path.write_text("household_id,Unit_Price,unit_price\na,1.0,2.0\n")
    with pytest.raises(InvalidInput, match="columns Unit_Price and unit_price have one name"):
        read_table(path, "transactions")
    path.write_text("household_id,,unit_price,\na,,2.0,\n")
    assert read_text_table(path)[0]["unit_price"].to_list() == ["2.0"], "columns without a name may be many"
