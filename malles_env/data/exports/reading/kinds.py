"""What a file holds, by its first bytes rather than by its name; and the files of a .zip."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from malles_env.data.parsing.dialect import most_unpacked
from malles_env.errors import CorruptFile, InvalidInput, brief, invalid

TEXT = (".csv", ".tsv", ".txt", ".tab", ".dat")
EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
PARQUET = (".parquet", ".pq")
R_DATA = (".rda", ".rdata", ".rds")
Kind: TypeAlias = Literal["text", "workbook", "parquet", "r", "zip"]
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"


def content_kind(path: Path, suffix: str) -> Kind:
    """Return what a file holds.

    Args:
        path: The file.
        suffix: Its ending in lower case, without that of a packer.

    Raises:
        InvalidInput: Another ending than those above.
        CorruptFile: It does not hold what its ending says, nor another kind of table.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise CorruptFile(f"{path}: cannot be read ({brief(error)})") from None
    if suffix in R_DATA:
        return "r"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(_OLD_EXCEL):
        return "workbook"
    if head.startswith(b"PK\x03\x04"):
        return "workbook" if _is_workbook(path) else "zip"
    if suffix in EXCEL + PARQUET:
        what = "workbook" if suffix in EXCEL else "Parquet file"
        raise CorruptFile(f"{path}: is no {what} (it begins with {head!r}); a table of text ends in .csv")
    if suffix in TEXT:
        return "text"
    raise invalid("FILE", str(path), f"a file that ends in {', '.join((*TEXT, *EXCEL, *PARQUET, *R_DATA, '.zip'))}")


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("xl/") or name == "mimetype" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return True  # the reader of workbooks says what is wrong with it


@contextmanager
def unpacked(path: Path, endings: tuple[str, ...]) -> Iterator[list[Path]]:
    """Give the tables of a .zip as files; notes in .txt count only where there is nothing else.

    Args:
        path: The archive.
        endings: Of the files that are tables.

    Raises:
        CorruptFile: It cannot be unpacked.
        InvalidInput: It holds no table, or too much.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                files = [one for one in archive.infolist() if not one.is_dir() and not _is_hidden(one.filename)]
                tables = [one for one in files if _ends(one.filename, endings)]
                tables = [one for one in tables if not _ends(one.filename, (".txt",))] or tables
                if not tables:
                    held = ", ".join(one.filename for one in files) or "nothing"
                    raise InvalidInput(f"{path}: holds {brief(held)}; needed: a file that ends in {', '.join(endings)}")
                most = most_unpacked(path)
                if sum(one.file_size for one in tables) > most:
                    raise InvalidInput(f"{path}: holds more than {most:,} bytes unpacked; allowed: less")
                parts = [_unpack(archive, one, Path(folder), number) for number, one in enumerate(tables)]
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise CorruptFile(f"{path}: cannot be unpacked ({brief(error)})") from None
        yield parts


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or Path(name).name.startswith(".")


def _ends(name: str, endings: tuple[str, ...]) -> bool:
    return name.lower().removesuffix(".gz").endswith(endings)


def _unpack(archive: zipfile.ZipFile, one: zipfile.ZipInfo, folder: Path, number: int) -> Path:
    place = folder / str(number) / Path(one.filename.replace("\\", "/")).name  # never a path of the archive's choosing
    place.parent.mkdir()
    with archive.open(one) as source, place.open("wb") as target:
        shutil.copyfileobj(source, target)
    return place
