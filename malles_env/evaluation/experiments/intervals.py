"""Standard errors and intervals of mean differences: by units (Welch) and by weeks (equal-weighted cosines)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from malles_env.type_aliases import BoolArray, FloatArray

LEVEL = 0.95
"""Of all intervals."""


class Estimates(NamedTuple):
    """Estimates with what their intervals need, arrays of one shape, e.g. ``(R, K)`` for R replications.

    Attributes:
        value: Point estimates.
        se: Standard errors.
        df: Degrees of freedom of Student's t.
    """

    value: FloatArray
    se: FloatArray
    df: FloatArray

    @property
    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends of the 95% intervals."""
        half = student.ppf(0.5 + LEVEL / 2, self.df) * self.se
        return self.value - half, self.value + half


def welch(values: FloatArray, treated: BoolArray) -> Estimates:
    """Return the difference of means between treated and other units with unequal variances (Welch 1947).

    The variance s1^2 / n1 + s0^2 / n0 is Neyman's (1923) conservative one for a completely randomised experiment.

    Args:
        values: One number per unit, shape ``(R, units, K)``.
        treated: Which units are, at least two of each kind, shape ``(R, units)``.
    """
    means, parts, freedom = [], [], []
    for chosen in (treated, ~treated):
        inside = chosen[:, :, None]
        count = chosen.sum(axis=1)[:, None].astype(np.float64)
        mean = np.where(inside, values, 0.0).sum(axis=1) / count
        squares = np.where(inside, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
        means.append(mean)
        parts.append(squares / (count - 1.0) / count)
        freedom.append(np.broadcast_to(count - 1.0, mean.shape))
    variance = parts[0] + parts[1]
    below = parts[0] ** 2 / freedom[0] + parts[1] ** 2 / freedom[1]
    # units without any difference have an interval without width; its degrees of freedom do not matter
    df = np.where(below > 0.0, variance**2 / np.where(below > 0.0, below, 1.0), freedom[0] + freedom[1])
    return Estimates(means[0] - means[1], np.sqrt(variance), df)


def cosine_terms(weeks: int) -> int:
    """Return the number of cosines for a series of so many weeks: 0.4 T^(2/3), at least 1 (Lazarus et al. 2018)."""
    return max(1, int(0.4 * weeks ** (2.0 / 3.0)))


def equal_weighted_cosines(series: FloatArray) -> Estimates:
    """Return the mean of a series with an error that allows for autocorrelation (Lazarus, Lewis, Stock, Watson 2018).

    The long-run variance is the mean square of the projections sqrt(2 / T) sum_t y_t cos(pi b (t - 1/2) / T), b = 1 to
    v, and the interval uses Student's t with v degrees of freedom. For independent normal weeks that is exact; it is
    what the authors recommend in place of Newey and West's (1987) estimate with normal quantiles.

    Args:
        series: Shape ``(R, T, K)``.
    """
    weeks = series.shape[1]
    terms = cosine_terms(weeks)
    time = (np.arange(weeks) + 0.5) / weeks
    waves = np.sqrt(2.0 / weeks) * np.cos(np.pi * np.arange(1, terms + 1)[:, None] * time)
    variance = (np.einsum("bt,rtk->rbk", waves, series) ** 2).mean(axis=1)
    value = series.mean(axis=1)
    return Estimates(value, np.sqrt(variance / weeks), np.full(value.shape, float(terms)))
