"""Fitted rows on disk: made once per data set, protocol and settings; a damaged file is noticed and made anew."""

from __future__ import annotations

import hashlib
import logging
import pickle
from pathlib import Path
from typing import Any

from malles_env.errors import CorruptFile
from malles_env.evaluation.baselines.base import Row
from malles_env.files import cache_dir, json_hash, keeping, replacing

_LOG = logging.getLogger(__name__)
CODE = 1
"""Raised whenever a row's code gives other numbers from the same data, so that old files are not used."""
_MAGIC = b"malles row 1\n"


def row_path(name: str, key: dict[str, Any]) -> Path:
    """Return where a fitted row is kept.

    Args:
        name: The row's name.
        key: What its numbers depend on, JSON values only.
    """
    digest = json_hash([CODE, name, key], sort_keys=True, default=str)
    return cache_dir() / "rows" / f"{name}-{digest[:20]}.row"


def save_row(row: Row, path: Path) -> None:
    """Write a fitted row, whole or not at all; where the disk does not let us, say so and go on."""
    body = pickle.dumps(row, protocol=5)
    with keeping(path), replacing(path) as temporary:
        temporary.write_bytes(_MAGIC + hashlib.sha256(body).digest() + body)


def load_row(path: Path) -> Row:
    """Read a fitted row that `save_row` wrote in the user's own cache.

    Raises:
        CorruptFile: The file is cut short, changed, or of another version.
    """
    content = path.read_bytes()
    digest, body = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise CorruptFile(f"{path}: not a whole fitted row; delete it and run again")
    row = pickle.loads(body)
    if not isinstance(row, Row):
        raise CorruptFile(f"{path}: holds something else than a fitted row; delete it and run again")
    return row


def kept_row(path: Path) -> Row | None:
    """Return a fitted row, None where there is none or it is damaged (which is logged)."""
    if not path.is_file():
        return None
    try:
        return load_row(path)
    except CorruptFile as error:
        _LOG.warning("fitting again: %s", error)
        return None
