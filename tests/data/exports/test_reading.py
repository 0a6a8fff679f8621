"""Numbers, dates and text tables as people write them: what is read, and what is refused because it is in doubt."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import polars as pl
import pytest

from malles_env.data.exports.cleaning.typed import _ids
from malles_env.data.exports.reading.files import read_exports
from malles_env.data.parsing.dates import read_times
from malles_env.data.parsing.dialect import read_text_table
from malles_env.data.parsing.numbers import currency_of, decimal_mark, read_numbers
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from tests.data.exports import shop

DAY = dt.datetime(2024, 2, 1)


def numbers(*texts: str) -> list[float | None]:
    values = pl.Series("price", texts)
    return read_numbers(values, decimal_mark([values], field="price")).to_list()


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (("1,5", "2"), [1.5, 2.0]),
        (("1.234,50 €", "3,00 €"), [1234.5, 3.0]),
        (("$1,234.50", "$2.00"), [1234.5, 2.0]),
        (("1,234,567",), [1234567.0]),
        (("1.234.567", "0,5"), [1234567.0, 0.5]),
        (("0,125", "1,250"), [0.125, 1.25]),
        (("1'234.50", "1 234.50", "1\u202f234.50"), [1234.5] * 3),
        (("(12.50)", "3-", "\u22123", "-3"), [-12.5, -3.0, -3.0, -3.0]),
        (("EUR 12,50", "R$ 1,50", "12,5 kr"), [12.5, 1.5, 12.5]),
        (("1e-9", ".5", "6.0", " 1 "), [1e-9, 0.5, 6.0, 1.0]),
        (("12.5", "1,234"), [12.5, 1234.0]),
        (("1,5", "abc", "1.5.2", "1.23"), [1.5, None, None, None]),
        (("inf", "nan", "1,2,3", "12.5"), [None, None, None, 12.5]),
    ],
)
def test_numbers_are_read_in_the_mark_of_their_column(texts: tuple[str, ...], values: list[float | None]) -> None:
    if texts[0] == "1,5" and len(texts) == 4:
        # The mark is given here: the column contradicts itself.
        assert read_numbers(pl.Series(texts), ",").to_list() == values
    else:
        assert numbers(*texts) == values


@pytest.mark.parametrize("texts", [("1,234", "12"), ("1,5", "1.5"), ("1.234,5", "1,234.5")])
def test_a_mark_that_may_be_either_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"price: got .*--decimal"):
        numbers(*texts)


def test_dots_before_three_digits_are_in_doubt_only_beside_semicolons() -> None:
    values = pl.Series(["1.250", "3"])
    assert decimal_mark([values], field="price") == "."
    with pytest.raises(InvalidInput, match=r"1\.250"):
        decimal_mark([values], field="price", doubtful_dots=True)
    # Another column of the same file decides for all.
    assert decimal_mark([values, pl.Series(["2,5"])], field="price", doubtful_dots=True) == ","


@pytest.mark.parametrize(
    ("texts", "code"),
    [(["3,00 €", "1 €"], "EUR"), (["$1", "$2"], "USD"), (["R$ 1,5"], "BRL"), (["12.0 CHF"], "CHF"), (["1", "2"], None)],
)
def test_a_currency_is_known_by_its_sign(texts: list[str], code: str | None) -> None:
    assert currency_of(pl.Series(texts)) == code


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2024-02-01"], "year first"),
        (["20240201"], "year first"),
        (["2024/2/1 0:00"], "year first"),
        (["01.02.2024", "13.02.2024"], "day first"),
        (["2/1/2024", "2/13/2024"], "month first"),
        (["2/1/24 12:00 AM", "2/13/24 1:00 PM"], "month first"),
        (["1 Feb 2024", "March 3, 2024"], "month in words"),
        (["February 1, 2024"], "month in words"),
        (["Thu 1-Feb-24"], "month in words"),
        (["1706745600"], "seconds since 1970"),
        (["1706745600000"], "milliseconds since 1970"),
        (["45323", "45324.5"], "days of Excel"),
        (["2024-02-01T00:00:00+09:00"], "offsets (+09:00) left off"),
        (["2024-02-01 00:00:00-0500"], "offsets (-0500) left off"),
        (["2024-02-01T00:00:00.000Z"], "it is UTC"),
    ],
)
def test_dates_are_decided_over_the_column(texts: list[str], message: str) -> None:
    times, words = read_times(pl.Series(texts), field="when")
    assert times[0] == DAY
    assert message in words


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1706745600]),
        pl.Series([1706745600.0]),
        pl.Series([1706745600000000]),
        pl.Series([45323]),
        pl.Series([DAY.date()]),
        pl.Series([DAY]).dt.cast_time_unit("ns"),
        pl.Series([DAY]).dt.replace_time_zone("Asia/Tokyo"),
    ],
)
def test_columns_that_are_no_text_keep_local_time(values: pl.Series) -> None:
    assert read_times(values, field="when")[0].to_list() == [DAY]


def test_doubtful_dates_are_refused_unless_asked() -> None:
    values = pl.Series(["1/2/2024", "3/4/2024"])
    with pytest.raises(InvalidInput, match=r"when: got '1/2/2024', and no value .* --date-format dmy, mdy"):
        read_times(values, field="when")
    assert read_times(values, field="when", date_format="dmy")[0][0] == dt.datetime(2024, 2, 1)
    assert read_times(values, field="when", date_format="mdy")[0][0] == dt.datetime(2024, 1, 2)
    assert read_times(values, field="when", date_format="%d/%m/%Y")[0][0] == dt.datetime(2024, 2, 1)
    with pytest.raises(InvalidInput, match=r"day first.*month first"):
        read_times(pl.Series(["13/1/2024", "1/13/2024"]), field="when")
    with pytest.raises(InvalidInput, match="--date-format: got 'dmx'"):
        read_times(values, field="when", date_format="dmx")
    # The same day in either order.
    assert read_times(pl.Series(["2/2/2024"]), field="when")[0][0] == dt.datetime(2024, 2, 2)


@pytest.mark.parametrize(
    "text", ["2024-02-30", "31/12/2024", "31 Dec 2024", "31/31/2024", "2024-02-01 25:00", "soon", "12:30", "0"]
)
def test_what_is_no_date_is_null(text: str) -> None:
    assert read_times(pl.Series(["2024-02-01", text]), field="when")[0].to_list() == [DAY, None]


TABLE = "a,b,c\n1,x,2.5\n2,Zürich,3.5\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TABLE.encode(), "utf-8, separated by comma"),
        (b"\xef\xbb\xbf" + TABLE.encode(), "utf-8 with byte-order mark"),
        (TABLE.encode("utf-16"), "utf-16-le with byte-order mark"),
        (TABLE.encode("utf-16-be"), "utf-16-be"),
        (TABLE.encode("cp1252"), "cp1252"),
        (TABLE.replace(",", ";").encode(), "separated by semicolon"),
        (TABLE.replace(",", "\t").encode(), "separated by tab"),
        (TABLE.replace(",", "|").encode(), "separated by bar"),
        (TABLE.replace(",", ";").replace(".", ",").replace("2,5", "2.5").encode(), "semicolon"),
        (TABLE.replace("\n", "\r\n").encode(), "comma"),
        (TABLE.replace("\n", "\r").encode(), "comma"),
        (("sep=,\n" + TABLE).encode(), "comma"),
        ((TABLE + "\n\n").encode(), "comma"),
        (("Sales report\nmade on Monday\n\n" + TABLE).encode(), "3 lines above the header skipped"),
        (TABLE.replace("x", '"x"').encode(), "comma"),
    ],
)
def test_a_dialect_is_found_and_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    frame, dialect = read_text_table(path)
    assert message in str(dialect)
    assert frame.columns == ["a", "b", "c"]
    assert frame["b"].to_list() == ["x", "Zürich"]
    assert frame["a"].to_list() == ["1", "2"]


def test_a_zipped_table_and_given_options(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    assert len(read_text_table(path)[0]) == 2
    other = tmp_path / "japanese.csv"
    other.write_bytes("店;金額\n東京;5\n".encode("shift_jis"))
    frame, _ = read_text_table(other, encoding="shift_jis", separator=";")
    assert frame.rows() == [("東京", "5")]


def test_tables_that_cannot_be_read_say_where(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE + "3,too,many,fields\n")
    with pytest.raises(InvalidInput, match="line 4 has 4 fields, the header 3"):
        read_text_table(path)
    path.write_text("")
    with pytest.raises(InvalidInput, match="holds nothing"):
        read_text_table(path)
    path.write_bytes(TABLE.encode("cp1252"))
    with pytest.raises(CorruptFile, match="line 3 is no utf-8"):
        read_text_table(path, encoding="utf-8")
    with pytest.raises(InvalidInput, match="--encoding: got 'klingon'"):
        read_text_table(path, encoding="klingon")
    with pytest.raises(MissingResource, match="no such file"):
        read_text_table(tmp_path / "none.csv")
    # A header with a name too few must not make the first purchase the header.
    path.write_text("a,b\n1,x,2\n2,y,3\n3,z,4\n")
    with pytest.raises(InvalidInput, match="record 1 has 2 fields and most others have 3"):
        read_text_table(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE + '3,"no end,1\n', "cannot be read as a table"),
        (TABLE + f"3,{'x' * 140_000},1\n" + "4,y,1,2\n", "cannot be read as a table|has 4 fields"),
        ("a\n", "no rows|holds nothing|cannot be read"),
    ],
)
def test_tables_that_no_reader_can_split_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises((CorruptFile, InvalidInput), match=message) as error:
        read_exports(path)
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 1000


def test_a_carriage_return_inside_a_line_is_a_blank(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n1,one\rtwo\n2,three\n")
    assert read_text_table(path)[0]["b"].to_list() == ["one two", "three"]


def test_columns_of_parquet_that_hold_no_single_values_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    columns = {"code": [1.0, float("nan")], "title": [b"tea", b"\xff"], "tags": [["x"], []], "took": [DAY - DAY] * 2}
    pl.DataFrame(columns).write_parquet(path)
    (export,) = read_exports(path)
    assert export.frame.columns == ["code", "title"]
    assert export.frame["title"].to_list() == ["tea", "\ufffd"]
    assert "without the columns tags, took" in export.how
    assert _ids(export.frame["code"]).to_list() == ["1", None]
    assert _ids(pl.Series("code", [1e300, 2.5])).null_count() == 0
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFile, match="cannot be read as Parquet"):
        read_exports(path)


def test_a_workbook_without_sheets_is_refused(tmp_path: Path) -> None:
    import zipfile

    whole, path = shop.workbook(shop.receipts(weeks=2, customers=4), tmp_path / "whole.xlsx"), tmp_path / "none.xlsx"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, re.sub(rb"<sheets>.*</sheets>", b"<sheets></sheets>", old.read(name)))
    with pytest.raises((InvalidInput, CorruptFile), match=r"none\.xlsx: .*without sheets"):
        read_exports(path)
