"""A log that breaks the schema is answered with file, column and row; a good one survives the round trip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from malles_env.data.log.readers import read_tables, write_tables
from malles_env.data.log.tables import Tables
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.errors import CorruptFile, InvalidInput, MissingResource


@pytest.fixture(scope="module")
def small() -> Tables:
    return synthetic_transactions(seed=1, num_households=10, num_weeks=6, with_offers=True)[0]


@pytest.mark.parametrize("file_type", ["parquet", "csv"])
def test_round_trip(small: Tables, tmp_path: Path, file_type: str) -> None:
    write_tables(small, tmp_path, file_type)  # type: ignore[arg-type]
    back = read_tables(tmp_path)
    for name in ("transactions", "products", "offers", "households"):
        assert getattr(back, name).equals(getattr(small.validated(), name)), name


def _set(table: str, column: str, row: int, value: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        frame = pl.read_csv(folder / f"{table}.csv", infer_schema=False)
        frame = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == row - 1).then(pl.lit(value)).otherwise(column).alias(column)
        )
        frame.write_csv(folder / f"{table}.csv")

    return change


def _drop(table: str, column: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        pl.read_csv(folder / f"{table}.csv", infer_schema=False).drop(column).write_csv(folder / f"{table}.csv")

    return change


CASES = [
    (_set("transactions", "unit_price", 3, "-1"), r"transactions\.csv: column unit_price, row 3: got '-1'"),
    (
        _set("transactions", "unit_price", 7, "nan"),
        r"column unit_price, row 7: got 'nan'; allowed: money per",
    ),
    (_set("transactions", "unit_price", 2, "cheap"), r"column unit_price, row 2: got 'cheap'"),
    (_set("transactions", "quantity", 4, "0"), r"column quantity, row 4: got '0'; allowed: whole packages"),
    (_set("transactions", "quantity", 5, "1.5"), r"column quantity, row 5: got '1.5'"),
    (_set("transactions", "timestamp", 2, "yesterday"), r"column timestamp, row 2: got 'yesterday'"),
    (_set("transactions", "household_id", 6, ""), r"column household_id, row 6: got"),
    (
        _set("transactions", "product_id", 9, "ghost"),
        r"column product_id, row 9: got 'ghost'; allowed: a product_id",
    ),
    (_set("transactions", "period", 1, "0"), r"column period, row 1: got '0'"),
    (
        _set("products", "product_id", 2, "p0-0"),
        r"products\.csv: column product_id, row 2: got 'p0-0'; allowed: each",
    ),
    (_set("products", "private_label", 1, "maybe"), r"column private_label, row 1: got 'maybe'"),
    (_set("products", "size_value", 3, "0"), r"column size_value, row 3: got '0'"),
    (_set("offers", "period_end", 12, "-3"), r"offers\.csv: column period_end, row 12"),
    (
        _drop("transactions", "store_id"),
        r"transactions\.csv: column store_id is missing; found: household_id",
    ),
    (_drop("products", "market"), r"products\.csv: column market is missing"),
]


@pytest.mark.parametrize(("change", "message"), CASES)
def test_errors_name_file_column_and_row(
    small: Tables, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    write_tables(small, tmp_path, "csv")
    change(tmp_path)
    with pytest.raises(InvalidInput, match=message):
        read_tables(tmp_path)


def test_the_first_bad_row_is_named_in_parquet_too(small: Tables, tmp_path: Path) -> None:
    bad = small.transactions.with_columns(
        pl.when(pl.int_range(pl.len()) >= 4).then(pl.lit(float("inf"))).otherwise("unit_price").alias("unit_price")
    )
    write_tables(dataclasses.replace(small, transactions=bad), tmp_path)
    with pytest.raises(InvalidInput, match=r"transactions\.parquet: column unit_price, row 5: got inf"):
        read_tables(tmp_path)


def test_a_line_lives_in_one_market(small: Tables) -> None:
    lines = small.products.with_columns(line=pl.lit("all the same"))
    with pytest.raises(InvalidInput, match=r"column line, row 1: .* one market"):
        dataclasses.replace(small, products=lines).validated()


def test_missing_and_broken_files(small: Tables, tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="no such folder"):
        read_tables(tmp_path / "nowhere")
    with pytest.raises(MissingResource, match=r"neither transactions\.parquet nor transactions\.csv"):
        read_tables(tmp_path)
    write_tables(small, tmp_path)
    (tmp_path / "products.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(CorruptFile, match=r"products\.parquet: cannot be read as Parquet"):
        read_tables(tmp_path)


def test_unknown_columns_are_left_out(small: Tables) -> None:
    more = dataclasses.replace(small, products=small.products.with_columns(shelf_life=pl.lit(3)))
    assert "shelf_life" not in more.validated().products.columns


def test_zones_are_dropped_and_local_time_kept(small: Tables) -> None:
    zoned = small.transactions.with_columns(pl.col("timestamp").dt.replace_time_zone("Europe/Berlin"))
    back = dataclasses.replace(small, transactions=zoned).validated()
    assert back.transactions["timestamp"].equals(small.transactions["timestamp"])


def test_a_basket_of_two_households_or_stores_is_refused(tmp_path: Path) -> None:
    tables = synthetic_transactions(seed=1, num_households=20)[0]
    for column in ("household_id", "store_id"):
        first = pl.int_range(pl.len()) == 0
        other = pl.when(first).then(pl.lit("another")).otherwise(column).alias(column)
        twice = pl.concat([tables.transactions.head(1), tables.transactions.head(5)]).with_columns(other)
        with pytest.raises(InvalidInput, match=rf"column basket_id, row 2: got '.*' with {column}"):
            dataclasses.replace(tables, transactions=twice).validated()
