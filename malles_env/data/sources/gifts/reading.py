"""The wholesaler's invoice lines as published, from the file a user has."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from malles_env.data.table_files import read_parquet
from malles_env.errors import CorruptFile, MissingResource, brief, invalid
from malles_env.files import cache_dir

VARIABLE = "MALLES_ONLINE_RETAIL"
"""Environment variable that names the file."""
COLUMNS = {
    "InvoiceNo": pl.String(),
    "StockCode": pl.String(),
    "Description": pl.String(),
    "Quantity": pl.Int64(),
    "InvoiceDate": pl.Datetime("us"),
    "UnitPrice": pl.Float64(),
    "CustomerID": pl.Int64(),
}
"""What the file must hold; other columns are not read."""


def log_file() -> Path:
    """Return the log's file: ``$MALLES_ONLINE_RETAIL``, else ``sources/online_retail.parquet`` in the cache.

    Raises:
        MissingResource: It is not there; the message says how to get it.
    """
    given = os.environ.get(VARIABLE)
    path = Path(given).expanduser() if given else cache_dir() / "sources" / "online_retail.parquet"
    if not path.is_file():
        raise MissingResource(
            f"{path}: no such file; get Online Retail (archive.ics.uci.edu, id 352, or data/onlineretail.rda of CRAN's "
            f"onlineretail), save its table as Parquet or CSV with its own columns, and name that file in {VARIABLE}"
        )
    return path


def read_log(path: str | Path) -> pl.DataFrame:
    """Return the invoice lines with the columns and types of `COLUMNS`, returns and blanks and all.

    Args:
        path: A .parquet or .csv file.

    Raises:
        MissingResource: No such file.
        CorruptFile: The file cannot be read as what its name says.
        InvalidInput: Another file type, or a column that is missing or holds something else; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingResource(f"{path}: no such file")
    if path.suffix not in (".parquet", ".csv"):
        raise invalid("path", str(path), "a file ending in .parquet or .csv")
    try:
        frame = read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CorruptFile(f"{path}: cannot be read as {path.suffix[1:]} ({brief(error)})") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise invalid(f"{path}: columns", ", ".join(frame.columns), f"{', '.join(COLUMNS)} ({missing[0]} is missing)")
    return frame.select(_typed(frame, name, kind, path) for name, kind in COLUMNS.items())


def _typed(frame: pl.DataFrame, name: str, kind: pl.DataType, path: Path) -> pl.Series:
    """Return a column in its type; text is read, and what cannot be read is an error that names the row."""
    given = frame[name]
    try:
        if given.dtype == pl.String and isinstance(kind, pl.Datetime):
            return given.str.to_datetime(time_unit="us", strict=True)
        if given.dtype == pl.String and isinstance(kind, pl.Int64):
            return given.replace("", None).cast(pl.Float64).cast(kind)  # numbers of rows with blanks come as 17850.0
        return given.cast(kind)
    except pl.exceptions.PolarsError as error:
        words = brief(error)
        raise invalid(f"{path}: column {name}", words, f"values that can be read as {kind}") from error
