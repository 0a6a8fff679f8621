"""Canonical tables from and to a folder of Parquet or CSV files, one file per table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import polars as pl

from malles_env.data.log.schema import TABLES
from malles_env.data.log.tables import Tables
from malles_env.data.parsing.dialect import read_text_table
from malles_env.data.table_files import read_parquet, writing
from malles_env.errors import CorruptFile, InvalidInput, MissingResource, invalid

_LOG = logging.getLogger(__name__)

SUFFIXES: tuple[str, ...] = (".parquet", ".csv")
"""File types, tried in this order."""


def read_tables(folder: str | Path) -> Tables:
    """Read a log of purchases from a folder.

    Args:
        folder: Holds ``transactions`` and ``products`` and may hold ``offers``, ``promotions`` and
            ``households``, each as .parquet or .csv in the schema of `malles_env.data.log.schema.TABLES`.

    Returns:
        The tables, checked.

    Raises:
        MissingResource: The folder or a required file is not there.
        CorruptFile: A file cannot be read as what its name says.
        InvalidInput: A value breaks the schema; the message names file, column and row.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingResource(f"{folder}: no such folder; it should hold transactions and products")
    files = {name: path for name in TABLES if (path := _find(folder, name)) is not None}
    for name in ("transactions", "products"):
        if name not in files:
            needed = ", ".join(column for column, rule in TABLES[name].items() if rule.required)
            raise MissingResource(
                f"{folder}: neither {name}.parquet nor {name}.csv is there; it needs the columns {needed} "
                "(`malles data import FILE --out FOLDER` makes it from an export, `malles data template` explains it)"
            )
    frames = {name: read_table(path, name) for name, path in files.items()}
    return Tables(**frames, sources={name: str(path) for name, path in files.items()}).validated()


def read_table(path: str | Path, table: str) -> pl.DataFrame:
    """Read one file without checking its values.

    Args:
        path: A .parquet or .csv file.
        table: Key of `TABLES`; its text columns are read as text even where they look like numbers.

    Returns:
        What the file holds.

    Raises:
        MissingResource: No such file.
        CorruptFile: The file cannot be read.
        InvalidInput: Another file type.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingResource(f"{path}: no such file")
    if path.suffix not in SUFFIXES:
        raise invalid("path", str(path), "a file ending in " + " or ".join(SUFFIXES))
    if path.suffix == ".parquet":
        return _known_case(read_parquet(path), table, str(path))
    # All columns as text: the check can then show the reader's own characters in its errors.
    try:
        frame, dialect = read_text_table(path)
    except (CorruptFile, InvalidInput) as error:
        why = str(error).removeprefix(f"{path}: ")
        raise CorruptFile(f"{path}: cannot be read as csv ({table}): {why}") from None
    if (dialect.encoding, dialect.separator) != ("utf-8", ","):
        _LOG.warning("%s: read as %s", path, dialect)
    return _known_case(frame, table, str(path))


def _known_case(frame: pl.DataFrame, table: str, source: str) -> pl.DataFrame:
    """Return the table with canonical names where a column's differs in case and blanks only."""
    known: dict[str, str] = {}
    for name in frame.columns:
        first = known.setdefault(name.strip().lower(), name)
        if first != name and name.strip().lower() in TABLES.get(table, {}):
            raise InvalidInput(f"{source}: columns {first} and {name} have one name; allowed: each name once")
    wanted = TABLES.get(table, {})
    return frame.rename({known[name]: name for name in wanted if name not in frame.columns and name in known})


def write_tables(tables: Tables, folder: str | Path, file_type: Literal["parquet", "csv"] = "parquet") -> Path:
    """Write tables so that `read_tables` reads them back.

    Args:
        tables: Canonical tables.
        folder: Target; made when missing.
        file_type: "parquet" or "csv".

    Returns:
        The folder.

    Raises:
        InvalidInput: Another file type.
        OSError: A file cannot be written.
    """
    if f".{file_type}" not in SUFFIXES:
        raise invalid("file_type", file_type, "parquet or csv")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        frame = getattr(tables, name)
        if frame is None:
            continue
        path = folder / f"{name}.{file_type}"
        with writing(path):
            frame.write_parquet(path) if file_type == "parquet" else frame.write_csv(path)
    return folder


def _find(folder: Path, name: str) -> Path | None:
    return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)
