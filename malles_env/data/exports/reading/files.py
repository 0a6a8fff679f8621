"""Reads one exported file: text of any dialect, Excel, Parquet or R data, also in a .zip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from malles_env.data.exports.reading.kinds import EXCEL, PARQUET, R_DATA, TEXT, Kind, content_kind, unpacked
from malles_env.data.exports.reading.workbook import read_workbook
from malles_env.data.parsing.dialect import read_text_table
from malles_env.data.table_files import read_parquet
from malles_env.errors import CorruptFile, InvalidInput, MissingResource, brief, invalid


@dataclass(frozen=True)
class Export:
    """What one file holds.

    Attributes:
        name: Of the file, and of its sheet where it has several.
        frame: Its table, columns as the file names them.
        how: How it was read, in words.
    """

    name: str
    frame: pl.DataFrame
    how: str


def read_exports(
    path: str | Path,
    *,
    separator: str | None = None,
    encoding: str | None = None,
    table: str | None = None,
    known: Callable[[list[str]], int] = len,
) -> list[Export]:
    """Read a file by what it holds; its ending distinguishes text and R data.

    Args:
        path: .csv, .tsv, .txt, .xlsx and other sheets, .parquet, or .rda, .rdata, .rds; packed as .gz or .zip too.
        separator: Of a text file; default: found in it.
        encoding: Of a text file; default: found in it.
        table: Sheet of a workbook, or data frame of an R file; default: the one with the most known columns.
        known: Number of columns, by their names, that mean something to the importer.

    Returns:
        A table per sheet that holds rows of it, and per file of a .zip.

    Raises:
        MissingResource: No such file, or a package that reads it is not installed.
        CorruptFile: It cannot be read as what it looks like.
        InvalidInput: Another ending, no such sheet, a folder, or a table without rows.
    """
    path = Path(path)
    if path.is_dir():
        raise invalid("FILE", str(path), f"a file, e.g. {brief(', '.join(sorted(map(str, path.glob('*')))[:5]))}")
    if not path.is_file():
        raise MissingResource(f"{path}: no such file")
    kind = content_kind(path, _suffix(path))
    if kind != "zip":
        return _read(path, kind, separator, encoding, table, known)
    with unpacked(path, TEXT + EXCEL + PARQUET + R_DATA) as parts:
        kinds = [content_kind(part, _suffix(part)) for part in parts]
        if "zip" in kinds:
            raise InvalidInput(f"{path}: holds another archive, {parts[kinds.index('zip')].name}; needed: tables")
        return [
            export
            for part, own in zip(parts, kinds, strict=True)
            for export in _read(part, own, separator, encoding, table if own in ("workbook", "r") else None, known)
        ]


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _read(
    path: Path,
    kind: Kind,
    separator: str | None,
    encoding: str | None,
    table: str | None,
    known: Callable[[list[str]], int],
) -> list[Export]:
    if table is not None and kind not in ("workbook", "r"):
        raise invalid("--sheet", table, f"nothing for {path.name}: only workbooks and R files hold several tables")
    if kind == "parquet":
        found = [Export(path.name, *_parquet(path))]
    elif kind == "workbook":
        sheets, how = read_workbook(path, table, known)
        several = len(sheets) > 1
        found = [Export(f"{path.name} {sheet}" if several else path.name, frame, how) for sheet, frame in sheets]
    elif kind == "r":
        found = [Export(path.name, *_r_data(path, table, known))]
    else:
        frame, dialect = read_text_table(path, separator=separator, encoding=encoding)
        found = [Export(path.name, frame, str(dialect))]
    filled = [export for export in found if len(export.frame) and export.frame.width]
    if not filled:
        raise InvalidInput(f"{path}: no rows below the header; needed: at least one")
    return filled


def _parquet(path: Path) -> tuple[pl.DataFrame, str]:
    """Return a table of single values: texts stored as bytes are texts, columns of other things are left out."""
    frame = read_parquet(path)
    others = [name for name, kind in frame.schema.items() if kind.is_nested() or kind in (pl.Object, pl.Duration)]
    words = [name for name, kind in frame.schema.items() if kind in (pl.Categorical, pl.Enum, pl.Null)]
    coded = [name for name, kind in frame.schema.items() if kind == pl.Binary]
    frame = frame.with_columns(pl.col(words).cast(pl.String), *(_decoded(frame[name]) for name in coded)).drop(others)
    details = (
        f", without the columns {brief(', '.join(others))}, which hold lists, mappings or durations" if others else ""
    )
    return frame, f"Parquet{details}"


def _decoded(values: pl.Series) -> pl.Series:
    texts = [None if value is None else value.decode("utf-8", "replace") for value in values]
    return pl.Series(values.name, texts, dtype=pl.String)


def _best(names: list[str], columns: Callable[[str], list[str]], known: Callable[[list[str]], int]) -> str:
    """Return the table with the most known columns; of equals the first."""
    return max(names, key=lambda name: known(columns(name)))


def _r_data(path: Path, table: str | None, known: Callable[[list[str]], int]) -> tuple[pl.DataFrame, str]:
    try:
        import rdata
    except ImportError:
        raise MissingResource(f"{path}: R files need the package rdata; pip install 'malles-env[data]'") from None
    classes = {**rdata.conversion.DEFAULT_CLASS_MAP, "POSIXct": _r_times, "Date": _r_dates}
    reader = rdata.read_rds if path.suffix.lower() == ".rds" else rdata.read_rda
    try:
        content = reader(path, constructor_dict=classes)
    except Exception as error:  # the parser raises whatever its bytes lead it to
        raise CorruptFile(f"{path}: cannot be read as R data ({type(error).__name__}: {brief(error)})") from None
    found = content if isinstance(content, Mapping) else {path.stem: content}
    frames = {str(name): value for name, value in found.items() if hasattr(value, "columns")}
    if not frames or (table is not None and table not in frames):
        raise invalid(
            "--sheet", table or ", ".join(map(str, found)), f"a data frame: {', '.join(frames) or 'none here'}"
        )
    name = table or _best(list(frames), lambda key: [str(column) for column in frames[key].columns], known)
    columns = {str(column): _from_r(frames[name][column]) for column in frames[name].columns}
    return pl.DataFrame(columns), f"R data frame {name!r}"


def _r_times(values: Any, attributes: Mapping[str, Any]) -> Any:
    """Return R's seconds since 1970 as times of their zone's clock."""
    seconds = np.asarray(values, dtype=np.float64)
    known = np.isfinite(seconds)
    micros = np.where(known, np.round(np.where(known, seconds, 0.0) * 1e6), 0).astype("datetime64[us]")
    zone = next(iter(attributes.get("tzone") or [""]), "") or "UTC"
    times = pl.Series(np.where(known, micros, np.datetime64("NaT")).astype("datetime64[us]"))
    local = times.dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone)).dt.replace_time_zone(None)
    return local.to_numpy()


def _r_dates(values: Any, attributes: Mapping[str, Any]) -> Any:
    days = np.asarray(values, dtype=np.float64)
    known = np.isfinite(days)
    whole = np.where(known, np.floor(np.where(known, days, 0.0)), 0).astype("datetime64[D]")
    return np.where(known, whole, np.datetime64("NaT")).astype("datetime64[us]")


def _from_r(values: Any) -> pl.Series:
    """Return a column of pandas as polars, texts and factors as text."""
    kind = str(values.dtype)
    if kind == "category":
        words = pl.Series([None if word is None else str(word) for word in values.cat.categories], dtype=pl.String)
        codes = pl.Series(np.asarray(values.cat.codes, dtype=np.int64))
        return words.gather(codes.set(codes < 0, None))
    if kind.startswith("datetime"):
        return pl.Series(values.to_numpy().astype("datetime64[us]"))
    if kind.startswith(("Int", "int", "boolean")):
        return pl.Series(
            [
                None if value != value or value is None else int(value)
                for value in values.to_numpy(dtype=object, na_value=None)
            ]
        )
    if kind.startswith("float"):
        return pl.Series(np.asarray(values, dtype=np.float64)).fill_nan(None)
    words = values.to_numpy(dtype=object, na_value=None)
    return pl.Series([None if word is None else str(word) for word in words], dtype=pl.String)
