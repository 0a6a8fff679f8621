"""Means with their standard errors, and how they are written."""

from __future__ import annotations

from math import isnan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class MeanSe(NamedTuple):
    """A mean and its standard error.

    Attributes:
        mean: Of the sample.
        se: Standard deviation (n - 1) over the root of n; NaN with a single number, which JSON gets as null.
    """

    mean: float
    se: float


def mean_se(sample: ArrayLike) -> MeanSe:
    """Return mean and standard error of independent numbers."""
    values = np.asarray(sample, dtype=np.float64).reshape(-1)
    error = float(values.std(ddof=1)) / sqrt(len(values)) if len(values) > 1 else float("nan")
    return MeanSe(float(values.mean()), error)


def plus_minus(mean: float, se: float, form: str = ",.0f", se_form: str | None = None) -> str:
    """Return ``mean ± se`` in a format; the mean alone where the error is not known.

    Args:
        mean: The mean.
        se: Its standard error, or NaN.
        form: Format of both.
        se_form: Format of the error where it is another one.
    """
    return f"{mean:{form}}" + ("" if isnan(se) else f" ± {se:{se_form or form}}")
