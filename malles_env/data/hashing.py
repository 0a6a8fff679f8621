"""Random numbers that depend on what a row *is*, so that a sample never moves when other rows come or go."""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.type_aliases import FloatArray

Keys: TypeAlias = npt.NDArray[np.uint64]


def text_keys(texts: pl.Series) -> Keys:
    """Return one key per text [n]; equal texts give equal keys on every machine."""
    return np.array([zlib.crc32(text.encode()) for text in texts.to_list()], dtype=np.uint64)


def mix(seed: int, *parts: npt.NDArray[np.integer]) -> Keys:
    """Mix integer columns into well-spread 64-bit keys.

    Args:
        seed: Any whole number.
        *parts: Columns [n] that together identify a row.

    Returns:
        Keys [n], uniform over 64 bits.
    """
    state = np.full(len(parts[0]), seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    for part in parts:
        state = _scramble(state ^ part.astype(np.uint64))
    return state


def uniform(keys: Keys) -> FloatArray:
    """Return numbers in [0, 1) [n] from mixed keys."""
    return (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _scramble(state: Keys) -> Keys:
    # The finaliser of splitmix64; unsigned overflow wraps, as it should.
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
