"""Workbooks as people keep them: titles above, several sheets, dates and clock times of their own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from malles_env.data.exports.importing import Imported
from malles_env.errors import InvalidInput
from tests.data.exports.test_odd_exports import BODY, HEAD, bought, imported, moment, usual

__all__ = ["usual"]


def sheet(
    book: Any, name: str, rows: list[list[str]] = BODY, top: int = 0, left: int = 0, head: list[str] = HEAD
) -> Any:
    """Write the export with real dates and numbers."""
    page, day = book.add_worksheet(name), book.add_format({"num_format": "dd/mm/yyyy hh:mm"})
    page.write_row(top, left, head)
    for at, row in enumerate(rows, top + 1):
        page.write_row(at, left, row[:2])
        page.write_datetime(at, left + 2, moment(row[2]), day)
        page.write_row(at, left + 3, [*row[3:7], int(row[7]), float(row[8])])
    return page


def titled(book: Any) -> None:
    page = sheet(book, "Sales", top=3)
    page.merge_range(0, 0, 0, 8, "Sales report 2024")
    page.write(1, 0, "Branch: Berlin")


def two_levels(book: Any) -> None:
    page = sheet(book, "Sales", top=1, left=1)
    page.merge_range(0, 1, 0, 3, "Receipt")
    page.merge_range(0, 4, 0, 7, "Product")


def years(book: Any) -> None:
    sheet(book, "2023", BODY[:40])
    book.add_worksheet("notes").write(0, 0, "made by hand")
    sheet(book, "2024", BODY[40:])


def pivot_first(book: Any) -> None:
    pivot = book.add_worksheet("Pivot")
    pivot.write_row(0, 0, ["Product", "Quantity", "Sales", "Price", "Customer", "Date", "Category"])
    pivot.write_row(1, 0, ["Total", 3, 4, 5, 6, 7, 8])
    sheet(book, "Data")


def hidden_copy(book: Any) -> None:
    old = sheet(book, "old", BODY[:20])
    sheet(book, "new").activate()
    old.hide()


def clock_of_its_own(book: Any) -> None:
    page = book.add_worksheet("Sales")
    day, clock = book.add_format({"num_format": "dd/mm/yyyy"}), book.add_format({"num_format": "hh:mm"})
    page.write_row(0, 0, ["Receipt", "Customer", "Date", "Time", "SKU", "Description", "Category", "Quantity", "Price"])
    for at, row in enumerate(BODY, 1):
        when = moment(row[2])
        page.write_row(at, 0, row[:2])
        page.write_datetime(at, 2, dt.datetime(when.year, when.month, when.day), day)
        page.write_datetime(at, 3, when.time(), clock)
        page.write_row(at, 4, [*row[3:6], int(row[7]), float(row[8])])


def written(folder: Path, fill: Callable[[Any], object]) -> bytes:
    import xlsxwriter

    with xlsxwriter.Workbook(str(folder / "book.xlsx")) as book:
        fill(book)
    return (folder / "book.xlsx").read_bytes()


@pytest.mark.parametrize("fill", [titled, two_levels, years, pivot_first, hidden_copy, clock_of_its_own])
def test_a_workbook_gives_the_same_log(tmp_path: Path, usual: Imported, fill: Callable[[Any], None]) -> None:
    found = imported(tmp_path, written(tmp_path, fill), "sales.xlsx")
    assert bought(found).equals(bought(usual))


def test_sheets_that_are_read_and_those_that_are_not_are_named(tmp_path: Path) -> None:
    found = imported(tmp_path, written(tmp_path, years), "sales.csv")
    assert found.plan.sources == ["sales.csv 2023", "sales.csv 2024"]
    assert "sheets '2023', '2024' of 3 (not read: notes)" in str(found.plan)
    one = imported(tmp_path, written(tmp_path, years), "sales.xlsx", sheet="2024")
    assert len(one.tables.transactions) == len(BODY) - 40
    with pytest.raises(InvalidInput, match=r"--sheet: got '2025'; allowed: a sheet of sales.xlsx: 2023, notes, 2024"):
        imported(tmp_path, written(tmp_path, years), "sales.xlsx", sheet="2025")


@pytest.mark.parametrize(
    ("fill", "words"),
    [(lambda book: sheet(book, "S", head=[*HEAD[:7], "UnitPrice", "UnitPrice"]), "'S': column UnitPrice: the header"),
     (lambda book: book.add_worksheet("S"), "no rows below the header"),
     (lambda book: book.add_worksheet("S").write_row(0, 0, HEAD), "no rows below the header"),
     (lambda book: sheet(book, "S").write_formula(4, 8, "=1/0", None, "#DIV/0!"), "column UnitPrice, row 4: got None")],
    ids=["named-twice", "empty", "header-only", "error-in-a-cell"],
)  # fmt: skip
def test_a_workbook_that_cannot_be_meant_is_refused(tmp_path: Path, fill: Callable[[Any], None], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        imported(tmp_path, written(tmp_path, fill), "sales.xlsx")
