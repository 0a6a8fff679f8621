"""Workbooks: the sheets that hold the table, below whatever stands above its header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl

from malles_env.data.exports.reading.names import plain_name
from malles_env.data.parsing.dialect import refuse_twice
from malles_env.errors import CorruptFile, InvalidInput, MissingResource, brief, invalid

HEADER_WITHIN = 30
"""Rows of a sheet among which its header is looked for."""


def read_workbook(
    path: Path, sheet: str | None, known: Callable[[list[str]], int]
) -> tuple[list[tuple[str, pl.DataFrame]], str]:
    """Return the tables of a workbook: the sheet with the most known columns, and those that go on with it.

    Sheets with the same columns are parts of one table, as years or months are kept; hidden ones are left out.

    Args:
        path: The workbook.
        sheet: Read this one only, hidden or not.
        known: Number of columns, by their names, that mean something to the importer.

    Returns:
        Per sheet its name and its table, all cells as text; and what was read, in words.

    Raises:
        MissingResource: The package that reads workbooks is not installed.
        CorruptFile: It is no workbook.
        InvalidInput: There is no such sheet, or none at all, or a header names a column twice.
    """
    try:
        import fastexcel
    except ImportError:
        raise MissingResource(
            f"{path}: Excel files need the package fastexcel; pip install 'malles-env[data]'"
        ) from None
    try:
        book = fastexcel.read_excel(path.read_bytes())
        names = list(book.sheet_names)
        if not names:
            raise InvalidInput(f"{path}: is a workbook without sheets; needed: one at least")
        if sheet is not None and sheet not in names:
            raise invalid("--sheet", sheet, f"a sheet of {path.name}: {', '.join(names)}")
        # All cells as text: a column of invoice numbers may hold numbers and C12345.
        pages = {name: book.load_sheet(name, header_row=None, dtypes="string")
                 for name in ([sheet] if sheet is not None else names)}  # fmt: skip
        shown = [name for name, page in pages.items() if page.visible == "visible"] or list(pages)
        cells = {name: _cells(pages[name].to_polars()) for name in shown}
    except fastexcel.FastExcelError as error:
        raise CorruptFile(f"{path}: cannot be read as a workbook: {brief(error)}") from None
    headers = {name: _header(frame, known) for name, frame in cells.items()}
    best = max(shown, key=lambda name: known(headers[name][1]))
    columns = _named(headers[best][1])
    used = [name for name in shown if columns and _named(headers[name][1]) == columns] or [best]
    tables = [(name, _table(cells[name], *headers[name], f"{path}, sheet {name!r}")) for name in used]
    others = [name for name in names if name not in used]
    words = f"Excel, {'sheet' if len(used) == 1 else 'sheets'} {', '.join(map(repr, used))}"
    words += f" of {len(names)} (not read: {', '.join(others)})" if others else ""
    above = headers[best][0]
    return tables, words + (f", {above} lines above the header skipped" if above else "")


def _cells(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.select(pl.all().cast(pl.String).str.strip_chars())
    frame = frame.with_columns(pl.when(pl.all().str.len_bytes() > 0).then(pl.all()))
    return frame.filter(pl.any_horizontal(pl.all().is_not_null())) if frame.width else frame


def _header(frame: pl.DataFrame, known: Callable[[list[str]], int]) -> tuple[int, list[str]]:
    """Return the row of the header and its cells: of the first rows the one with the most known names."""
    rows = [[cell or "" for cell in row] for row in frame.head(HEADER_WITHIN).iter_rows()]
    if not rows:
        return 0, []
    scores = [known(row) for row in rows]
    best = max(range(len(rows)), key=lambda row: (scores[row], -row))
    if scores[best] < 2:  # names that nobody knows: the first row that is as wide as most
        usual = Counter(sum(map(bool, row)) for row in rows).most_common(1)[0][0]
        best = next(at for at, row in enumerate(rows) if sum(map(bool, row)) >= usual)
    return best, rows[best]


def _named(header: list[str]) -> frozenset[str]:
    return frozenset(plain_name(name) for name in header if name)


def _table(frame: pl.DataFrame, at: int, header: list[str], source: str) -> pl.DataFrame:
    """Return what stands below a header; columns without a name are kept where they hold something."""
    refuse_twice(header, source)
    below = frame.slice(at + 1)
    names = [" ".join(name.split()) or f"unnamed {number}" for number, name in enumerate(header)]
    empty = [name for name, column in zip(names, below.columns, strict=True)
             if name.startswith("unnamed ") and below[column].null_count() == len(below)]  # fmt: skip
    return below.rename(dict(zip(below.columns, names, strict=True))).drop(empty)
