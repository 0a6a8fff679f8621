"""Several files of one export as one table: parts put below each other, tables joined by their keys."""

from __future__ import annotations

import polars as pl

from malles_env.data.exports.reading.files import Export
from malles_env.data.exports.reading.names import plain_name
from malles_env.errors import InvalidInput

FILE, ROW = "_file", "_row"
"""Columns that say where a row came from: number of the file from 0, row below its header from 1."""


def combined(exports: list[Export]) -> tuple[pl.DataFrame, list[str]]:
    """Return one table with FILE and ROW, and what was put together, in words.

    Files with the same columns are parts of one table. Of the tables, the one with the most rows has the lines of the
    receipts; to it the others are joined by a column they share and in which they have each value once. No row is lost
    or doubled.

    Args:
        exports: The files.

    Raises:
        InvalidInput: A table shares no key with the others.
    """
    parts: dict[frozenset[str], list[pl.DataFrame]] = {}
    names: dict[frozenset[str], list[str]] = {}
    for number, export in enumerate(exports):
        frame = _same_names(export.frame, parts)
        key = frozenset(frame.columns)
        numbered = frame.with_columns(pl.lit(number, pl.Int32).alias(FILE), pl.int_range(1, pl.len() + 1).alias(ROW))
        parts.setdefault(key, []).append(numbered)
        names.setdefault(key, []).append(export.name)
    tables = {", ".join(names[key]): _stacked(frames) for key, frames in parts.items()}
    words = [f"{name}: parts of one table" for key, name in zip(parts, tables, strict=True) if len(names[key]) > 1]
    lines = max(tables, key=lambda name: len(tables[name]))
    table, rest = tables.pop(lines), tables
    while rest:
        found = next(((name, on) for name, other in rest.items() if (on := _key(table, other)) is not None), None)
        if found is None:
            name, other = next(iter(rest.items()))
            shared = [column for column in other.columns if column in table.columns and column not in (FILE, ROW)]
            raise InvalidInput(
                f"{name}: cannot be joined to {lines}; needed: a column of both in which {name} has each value once "
                f"(shared: {', '.join(shared) or 'none'})"
            )
        name, on = found
        other = rest.pop(name).drop(FILE, ROW)
        other = other.drop([column for column in other.columns if column in table.columns and column != on])
        both = [frame.with_columns(pl.col(on).cast(pl.String)) for frame in (table, other)]
        missing = len(both[0].join(both[1], on=on, how="anti"))
        table = both[0].join(both[1], on=on, how="left", maintain_order="left")
        words.append(f"{name}: joined by {on}" + (f" ({missing:,} rows have no match)" if missing else ""))
    return table, words


def _same_names(frame: pl.DataFrame, parts: dict[frozenset[str], list[pl.DataFrame]]) -> pl.DataFrame:
    """Return the table with the names of an earlier one that differ in case and punctuation only."""
    own = {plain_name(name): name for name in frame.columns}
    for columns in parts:
        other = {plain_name(name): name for name in columns}
        if own.keys() == other.keys() and len(own) == frame.width:
            return frame.rename({own[name]: other[name] for name in own})
    return frame


def _stacked(frames: list[pl.DataFrame]) -> pl.DataFrame:
    first = frames[0]
    if len(frames) == 1:
        return first
    if any(frame.schema != first.schema for frame in frames):
        texts = {name: pl.String for name in first.columns if name not in (FILE, ROW)}
        frames = [frame.select(first.columns).cast(texts) for frame in frames]  # type: ignore[arg-type]
    return pl.concat(frames)


def _key(table: pl.DataFrame, other: pl.DataFrame) -> str | None:
    """Return a column of both tables in which the other one has each value once."""
    for name in other.columns:
        if name in (FILE, ROW) or name not in table.columns:
            continue
        values = other[name]
        if values.null_count() == 0 and values.n_unique() == len(values):
            return name
    return None
