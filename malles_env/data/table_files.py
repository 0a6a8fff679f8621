"""Reads and writes single tables; what goes wrong is an error of ours or of the system, not of polars."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from malles_env.errors import CorruptFile, brief


def read_parquet(path: Path) -> pl.DataFrame:
    """Return the table in a Parquet file.

    Args:
        path: The file.

    Raises:
        CorruptFile: It cannot be read as Parquet.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException, MemoryError) as error:
        raise CorruptFile(f"{path}: cannot be read as Parquet ({brief(error)})") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let tables be written; polars words an error of the system, such as a full disk, instead of raising it.

    Args:
        path: File or folder, for the error.

    Raises:
        OSError: It cannot be written.
    """
    try:
        yield
    except pl.exceptions.PolarsError as error:
        number = errno.ENOSPC if "os error 28" in str(error) else errno.EIO
        raise OSError(number, brief(error), str(path)) from None
