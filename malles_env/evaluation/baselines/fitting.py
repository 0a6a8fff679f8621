"""How the rows of numbers are fitted: columns put on one scale, and L-BFGS in double precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize as scipy_minimize

from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class Scale:
    """Centres and spreads of columns; a constant column is added at the end.

    Attributes:
        centre: [F].
        spread: Above 0 [F].
    """

    centre: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Scale:
        """Measure columns [N, F]; a constant column keeps its spread of 1."""
        spread = values.std(0, dtype=np.float64)
        return cls(values.mean(0, dtype=np.float64), np.where(spread > 1e-6, spread, 1.0))

    def __call__(self, values: NDArray[np.floating]) -> FloatArray:
        """Return the scaled columns and a column of ones [N, F + 1]."""
        scaled = (values - self.centre) / self.spread
        return np.column_stack([scaled, np.ones(len(scaled))])


def minimize(
    loss: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray, *, steps: int = 300
) -> FloatArray:
    """Return the minimum of a smooth loss.

    Args:
        loss: Gives value and gradient.
        start: Where to begin.
        steps: Most iterations.
    """
    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-10, "gtol": 1e-7}
    found = scipy_minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, dtype=np.float64)
