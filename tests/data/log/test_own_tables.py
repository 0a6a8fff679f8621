"""Tables as their owners write them: read with the same rows whatever the dialect, or refused with what is wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from malles_env.data.log.readers import read_tables
from malles_env.errors import InvalidInput

HEADER = "household_id,basket_id,timestamp,store_id,product_id,quantity,unit_price"
WHEN = [dt.datetime(2024, 1, 13, 9, 30), dt.datetime(2024, 1, 14, 18), dt.datetime(2024, 2, 3, 12, 15)]
PLAIN = "\n".join(
    [HEADER, *(f"h{n},b{n},{when:%Y-%m-%d %H:%M:%S},s1,p1,{n},{n}.5" for n, when in enumerate(WHEN, 1)), ""]
)
EXPECTED = [(f"h{n}", f"b{n}", when, n, n + 0.5) for n, when in enumerate(WHEN, 1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("product_id,category,market,title\np1,tea,tea,Assam\n")
    return tmp_path


def other(change: Callable[[str], str], encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda folder: (folder / "transactions.csv").write_bytes(change(PLAIN).encode(encoding))


def parquet(*timestamp: pl.Expr) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        names = HEADER.split(",")
        rows = [(home, basket, when, "s1", "p1", n, price) for home, basket, when, n, price in EXPECTED]
        table = pl.DataFrame(rows, schema=names, orient="row").with_columns(*timestamp)
        table.write_parquet(folder / "transactions.parquet")

    return write


WHEN_COLUMN = pl.col("timestamp")
SAME = {
    "plain": other(lambda text: text),
    "semicolons and decimal commas": other(lambda text: text.replace(",", ";").replace(".", ",")),
    "semicolons and decimal points": other(lambda text: text.replace(",", ";")),
    "tabs": other(lambda text: text.replace(",", "\t")),
    "a byte-order mark": other(lambda text: text, "utf-8-sig"),
    "cp1252": other(lambda text: text.replace(",s1,", ",Zürich,"), "cp1252"),
    "utf-16": other(lambda text: text, "utf-16"),
    "whole numbers with a point": other(lambda text: text.replace(",1,", ",1.0,")),
    "spaces around numbers": other(lambda text: text.replace(",1,", ", 1 ,")),
    "a blank last line": other(lambda text: text + "\n"),
    "Windows line ends": other(lambda text: text.replace("\n", "\r\n")),
    "header in capitals": other(lambda text: text.replace(HEADER, HEADER.upper())),
    "day first": other(lambda text: text.replace("2024-01-13", "13/01/2024").replace("2024-01-14", "14/01/2024")
                       .replace("2024-02-03", "03/02/2024")),
    "month first": other(lambda text: text.replace("2024-01-13", "1/13/2024").replace("2024-01-14", "1/14/2024")
                         .replace("2024-02-03", "2/3/2024")),
    "an offset, which is left off": other(lambda text: text.replace(":00,s1", ":00+09:00,s1")),
    "offsets of summer and winter": other(
        lambda text: text.replace("30:00,s1", "30:00+01:00,s1").replace("8:00:00,s1", "8:00:00+02:00,s1")
    ),
    "Parquet": parquet(),
    "Parquet with a time zone": parquet(WHEN_COLUMN.dt.replace_time_zone("Asia/Tokyo")),
    "Parquet with seconds since 1970": parquet(WHEN_COLUMN.dt.epoch("s")),
    "Parquet with milliseconds since 1970": parquet(WHEN_COLUMN.dt.epoch("ms")),
    "Parquet with real quantities": parquet(pl.col("quantity").cast(pl.Float64)),
}  # fmt: skip


@pytest.mark.parametrize("write", SAME.values(), ids=SAME)
def test_every_dialect_has_the_same_rows(folder: Path, write: Callable[[Path], object]) -> None:
    write(folder)
    rows = read_tables(folder).transactions
    kept = rows.select("household_id", "basket_id", "timestamp", "quantity", "unit_price")
    assert kept.rows() == EXPECTED
    assert rows.schema["timestamp"] == pl.Datetime("us")


def per_store(text: str) -> str:
    return text.replace("h2,b2", "h2,b1").replace("18:00:00,s1", "18:00:00,s2")


REFUSED = {
    "receipt numbers of each store": (
        per_store,
        r"transactions\.csv: column basket_id, row 2: got 'b1' with household_id 'h2'.* allowed: ids that are unique "
        r"over stores and households \(`malles data import`",
    ),
    "receipt numbers of one household in two stores": (
        lambda text: per_store(text).replace("h2,b1", "h1,b1"), "row 2: got 'b1' with store_id 's2'",
    ),
    "day and month that could be swapped": (
        lambda text: text.replace("2024-01-13", "1/1/2024").replace("2024-01-14", "1/2/2024")
        .replace("2024-02-03", "2/3/2024"),
        r"column timestamp: got '1/2/2024', and no value of the column distinguishes day from month.*--date-format",
    ),
    "two orders of day and month": (
        lambda text: text.replace("2024-01-13", "13/1/2024").replace("2024-01-14", "1/14/2024"), "13/1/2024",
    ),
    "a column named twice": (lambda text: text.replace("store_id", "quantity"), "names it 2 times"),
    "half a package": (lambda text: text.replace(",1,", ",0.5,"), "column quantity, row 1: got '0.5'"),
    "a negative price": (lambda text: text.replace("1.5", "-1.5"), "column unit_price, row 1: got '-1.5'"),
    "a price that is no number": (lambda text: text.replace("1.5", "nan"), "column unit_price, row 1"),
    "an infinite price": (lambda text: text.replace("1.5", "inf"), "column unit_price, row 1"),
    "a product nobody lists": (lambda text: text.replace(",p1,", ",p9,"), "column product_id, row 1: got 'p9'"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_with_its_place(
    folder: Path, change: Callable[[str], str], message: str
) -> None:
    other(change)(folder)
    with pytest.raises((InvalidInput, ValueError), match=message) as error:
        read_tables(folder)
    assert len(str(error.value).splitlines()) == 1
