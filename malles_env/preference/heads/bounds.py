"""Bounds of estimated coefficients, and which estimates ended at one: such a number is the bound's, not the data's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

RHO_BOUND = 1.9
"""abs(rho) stays below 2, where a single segment has one mean-field equilibrium."""
LOG_BETA_BOUND = 1.5
"""Largest absolute log of a market's multiplier of beta: three of its prior standard deviations, a factor of 4.5."""
MARGIN = 1e-3
"""An estimate this close to its bound counts as at it."""
BOUNDS = {"rho": RHO_BOUND, "log beta multiplier": LOG_BETA_BOUND}
"""Largest absolute value by coefficient."""


@dataclass(frozen=True)
class AtBound:
    """An estimate that ended at its bound.

    Attributes:
        owner: The market or segment it belongs to.
        coefficient: One of `BOUNDS`.
        value: Where it ended.
    """

    owner: str
    coefficient: str
    value: float

    def __str__(self) -> str:
        """Return e.g. ``COFFEE | GROUND COFFEE: rho 1.9``."""
        return f"{self.owner}: {self.coefficient} {self.value:.4g}"


def at_bounds(values: Mapping[str, ArrayLike], owners: Sequence[str]) -> list[AtBound]:
    """Return the estimates that ended at their bound, within `MARGIN`, coefficient by coefficient.

    Args:
        values: Estimates by coefficient, one per owner; coefficients without a bound are passed over.
        owners: Names of the N markets or segments.
    """
    found: list[AtBound] = []
    for name, bound in BOUNDS.items():
        numbers = np.asarray(values.get(name, ()), dtype=np.float64)
        places = np.flatnonzero(np.abs(numbers) >= bound - MARGIN).tolist()
        found.extend(AtBound(owners[place], name, float(numbers[place])) for place in places)
    return found
