"""Names under which trained heads are kept: hashes of code, data and settings."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.heads.inputs import Readings


@cache
def code_digest() -> str:
    """Return a hash of the code that trains, so that runs of older code are not taken for new ones."""
    import malles_env.preference

    files = sorted(Path(malles_env.preference.__path__[0]).rglob("*.py"))
    return digest(*(path.read_bytes() for path in files))


def digest(*parts: Any) -> str:
    """Return a hash of bytes, arrays, dataclasses and plain values."""
    state = hashlib.blake2b(digest_size=12)

    def add(part: Any) -> None:
        if isinstance(part, bytes):
            state.update(part)
        elif isinstance(part, np.ndarray):
            state.update(np.ascontiguousarray(part).data.cast("B") if part.size else b"")
        elif isinstance(part, Readings):
            add(part.product.numpy())
        elif isinstance(part, (TasteData, ProductTable)):
            for f in fields(part):
                add(getattr(part, f.name))
        else:
            state.update(repr(part).encode())

    for part in parts:
        add(part)
    return state.hexdigest()
