"""Rows of a table as a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def as_csv(rows: Rows) -> str:
    """Return rows as CSV, with the names of the first row's columns on top; nothing where there are no rows.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    if not rows:
        return ""
    found = StringIO()
    writer = csv.DictWriter(found, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return found.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
