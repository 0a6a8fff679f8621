"""Writes an imported log: tables, settings, the rows left out and the report, all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from malles_env.data.exports.fit import settings_text
from malles_env.data.exports.importing import Imported
from malles_env.data.exports.page import html_page
from malles_env.data.log.readers import write_tables
from malles_env.data.table_files import writing
from malles_env.errors import InvalidInput, invalid
from malles_env.files import check_replaceable, new_directory, write_json, write_text

MARK = "import.json"
"""File by which a folder is known as an imported log."""
SETTINGS, DROPPED, PAGE = "settings.yaml", "dropped.parquet", "report.html"


def write_import(found: Imported, out: Path, *, overwrite: bool = False, files_read: Sequence[Path] = ()) -> Path:
    """Write tables, settings, the rows left out, and the report as JSON and as a page; all of it or nothing.

    Args:
        found: The import.
        out: Folder; new, empty, or an imported log that `overwrite` allows to replace.
        overwrite: Whether an imported log in `out` is replaced.
        files_read: Files that must not lie in `out`.

    Raises:
        InvalidInput: Something else stands there.
    """
    check_target(out, overwrite=overwrite, files_read=files_read)
    periods = int(found.report.facts["periods"])
    with new_directory(out, MARK) as folder:
        write_tables(found.tables, folder)
        with writing(folder / DROPPED):
            found.dropped.write_parquet(folder / DROPPED)
        write_text(folder / SETTINGS, settings_text(found.settings, periods))
        write_text(folder / PAGE, html_page(found, out))
        write_json(folder / MARK, found.as_json(), allow_nan=False)
    return out


def check_target(out: Path, *, overwrite: bool, files_read: Sequence[Path]) -> None:
    """Refuse a folder that cannot be written or replaced.

    Raises:
        InvalidInput: Something else stands there, or a file that is read.
    """
    check_replaceable(out, MARK)
    if (out / MARK).is_file():
        if not overwrite:
            raise InvalidInput(f"{out}: holds an imported log already; give --overwrite to replace it")
        for path in files_read:
            if path.resolve().is_relative_to(out.resolve()):
                raise invalid("--out", str(out), f"a folder without {path.name}, which is read")
