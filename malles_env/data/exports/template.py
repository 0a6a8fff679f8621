"""An empty log with its columns explained."""

from __future__ import annotations

from pathlib import Path

from malles_env import files
from malles_env.data.exports.fit import settings_text
from malles_env.data.log.schema import TABLES, Column
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits
from malles_env.errors import InvalidInput

EXPLAINED = "columns.md"
_REQUIRED = ("transactions", "products")


def write_template(folder: Path) -> Path:
    """Write transactions.csv and products.csv with their headers, the columns explained, and settings.

    Args:
        folder: New or empty.

    Raises:
        InvalidInput: The folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"--out: got {str(folder)!r}, which holds something; allowed: a new or empty folder")
    with files.new_directory(folder) as fresh:
        for name in _REQUIRED:
            files.write_text(fresh / f"{name}.csv", ",".join(TABLES[name]) + "\n")
        files.write_text(fresh / EXPLAINED, explained())
        settings = BuildSettings(splits=Splits(held_out_categories=frozenset()))
        files.write_text(fresh / "settings.yaml", settings_text(settings, 52))
    return folder


def explained() -> str:
    """Return all columns of all tables with their rules, as Markdown."""
    parts = ["# The columns of a log\n\nOne file per table, .csv or .parquet. Optional columns may be missing.\n"]
    for name, columns in TABLES.items():
        parts.append(f"## {name} ({'required' if name in _REQUIRED else 'optional'})\n")
        parts.append("| column | type | required | what it holds |\n|---|---|---|---|")
        parts += [f"| {column} | {_kind(rule)} | {'yes' if rule.required else 'no'} | {rule.meaning} |"
                  for column, rule in columns.items()]  # fmt: skip
        parts.append("")
    return "\n".join(parts)


def _kind(rule: Column) -> str:
    kind = str(rule.dtype).split("(")[0]
    return {"String": "text", "Int32": "whole number", "Float64": "number", "Boolean": "true or false",
            "Datetime": "date and time"}.get(kind, kind)  # fmt: skip
