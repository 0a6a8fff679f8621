"""Common random numbers: sellers that draw at random meet every candidate with the same draws."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class SharedDraws:
    """Stands in for a seller's random stream, so that all markets of a batch meet the same draws.

    Args:
        rng: The seller's stream; it is copied and stays where it is.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = copy.deepcopy(rng)

    def random(self, size: Any) -> np.ndarray:
        """As `numpy.random.Generator.random`, one draw for all rows."""
        return self._spread(size, self._rng.random)

    def standard_normal(self, size: Any) -> np.ndarray:
        """As `numpy.random.Generator.standard_normal`, one draw for all rows."""
        return self._spread(size, self._rng.standard_normal)

    def uniform(self, low: Any, high: Any, size: Any) -> np.ndarray:
        """As `numpy.random.Generator.uniform`, one draw for all rows; `low` and `high` must not differ by row."""
        return self._spread(size, lambda one: self._rng.uniform(low, high, one))

    def integers(self, high: int, size: Any) -> np.ndarray:
        """As `numpy.random.Generator.integers` from 0, one draw for all rows."""
        return self._spread(size, lambda one: self._rng.integers(high, size=one))

    @staticmethod
    def _spread(size: Any, draw: Any) -> np.ndarray:
        shape = (size,) if isinstance(size, (int, np.integer)) else tuple(size)
        return np.broadcast_to(draw((1, *shape[1:])), shape).copy()


@contextmanager
def same_draws(sellers: Iterable[Any], *, shared: bool = False) -> Iterator[None]:
    """Give sellers that draw at random (those with an `rng`) their streams back at the end of the block.

    Blocks that begin alike therefore meet the same draws: what is compared differs by its own doing alone.

    Args:
        sellers: Any sellers; those without a stream are left alone.
        shared: Whether all markets of a batch meet the same draws, too: for markets that hold one candidate each.
    """
    random = {id(seller): seller for seller in sellers if isinstance(getattr(seller, "rng", None), np.random.Generator)}
    kept = [(seller, seller.rng) for seller in random.values()]
    try:
        for seller, rng in kept:
            seller.rng = SharedDraws(rng) if shared else copy.deepcopy(rng)
        yield
    finally:
        for seller, rng in kept:
            seller.rng = rng
