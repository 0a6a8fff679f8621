"""Who buys: segments of consumers with their sizes, persona texts and initial loyalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import MOST, as_floats
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class Population:
    """S segments of a population of consumers.

    Attributes:
        size: Number of consumers who visit the market in a period, more than 0.
        weights: Share of the population in each segment, shape ``(S,)``; given in any unit, kept with sum 1.
        initial_loyalty: Share of each segment whose last purchase was product j, shape ``(S, J + 1)``; index 0
            is the share that has bought nothing yet. Rows sum to 1.
        names: Segment names.
        personas: Text that a language model reads for each segment.

    Raises:
        InvalidInput: A size or weight out of range, or loyalty rows that are no distribution.
    """

    size: float
    weights: FloatArray
    initial_loyalty: FloatArray
    names: tuple[str, ...] = ()
    personas: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the arrays and normalise the weights."""
        weights = np.atleast_1d(np.asarray(self.weights, dtype=np.float64))
        weights = as_floats("population.weights", weights, weights.shape, low=0.0)
        if weights.ndim != 1 or weights.sum() <= 0:
            raise invalid("population.weights", weights.tolist(), "one number per segment, not all zero")
        num_segments = len(weights)
        loyalty = np.asarray(self.initial_loyalty, dtype=np.float64)
        if loyalty.ndim != 2 or len(loyalty) != num_segments or loyalty.shape[1] < 2:
            raise invalid("population.initial_loyalty", loyalty.shape, f"shape ({num_segments}, J + 1)")
        loyalty = as_floats("population.initial_loyalty", loyalty, loyalty.shape, low=0.0, high=1.0)
        for s, total in enumerate(loyalty.sum(axis=1)):
            if abs(total - 1.0) > 1e-6:
                raise invalid(f"population.initial_loyalty[{s}]", float(total), "shares that sum to 1")
        size = float(as_floats("population.size", self.size, (), low=1.0, high=MOST))
        set_ = object.__setattr__
        set_(self, "size", size)
        set_(self, "weights", _read_only(weights / weights.sum()))
        set_(self, "initial_loyalty", _read_only(loyalty / loyalty.sum(axis=1, keepdims=True)))
        set_(self, "names", self._texts("names", self.names, [f"segment_{s}" for s in range(num_segments)]))
        set_(self, "personas", self._texts("personas", self.personas, [""] * num_segments))

    @staticmethod
    def _texts(field: str, given: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
        if given and len(given) != len(default):
            raise invalid(f"population.{field}", list(given), f"{len(default)} texts, one per segment")
        return tuple(given or default)

    @classmethod
    def uniform(cls, num_products: int, *, size: float = 1.0, weights: ArrayLike = 1.0) -> Population:
        """Return a population without past purchases.

        Args:
            num_products: J.
            size: Number of consumers.
            weights: Segment weights; a single number makes one segment.
        """
        weights = np.atleast_1d(np.asarray(weights, dtype=np.float64))
        loyalty = np.zeros((len(weights), num_products + 1))
        loyalty[:, 0] = 1.0
        return cls(size=size, weights=weights, initial_loyalty=loyalty)

    @property
    def num_segments(self) -> int:
        """S, the number of segments."""
        return len(self.weights)


def _read_only(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array
