"""Estimates with standard errors that allow for dependence within clusters, and joint tests of several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from malles_env.errors import invalid
from malles_env.type_aliases import FloatArray, IntArray

Clusters = Mapping[str, IntArray]
"""What observations are grouped by -> the group of each observation [N]."""


@dataclass(frozen=True)
class Estimate:
    """One number with its standard error.

    Attributes:
        value: The number; finite.
        se: Its standard error, clustered; finite, at least 0.
        cluster: What the errors are clustered by.
        clusters: How many clusters there are.
    """

    value: float
    se: float
    cluster: str
    clusters: int

    def __str__(self) -> str:
        """Return e.g. ``-3.11 ± 0.33``."""
        return f"{self.value:.2f} ± {self.se:.2f}"

    @property
    def t(self) -> float:
        """The value over its standard error."""
        return self.value / self.se

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate times a number that is taken as known."""
        return Estimate(self.value * factor, self.se * abs(factor), self.cluster, self.clusters)


@dataclass(frozen=True)
class JointTest:
    """Whether several coefficients are all 0.

    Attributes:
        f: F statistic.
        restrictions: Coefficients tested, its first degrees of freedom.
        p: Probability of a statistic as large, if all were 0.
        cluster: What the errors are clustered by.
        clusters: How many clusters there are.
    """

    f: float
    restrictions: int
    p: float
    cluster: str
    clusters: int


@dataclass(frozen=True)
class Fit:
    """K coefficients and what each of N observations adds to their errors.

    Attributes:
        values: The coefficients [K].
        influence: Contribution of each observation to estimate minus truth, to first order [N, K].
        clusters: Groupings of the observations; errors are computed for each, and the larger ones are reported.
    """

    values: FloatArray
    influence: FloatArray
    clusters: Clusters

    def estimate(self, name: str, weights: int | FloatArray) -> Estimate:
        """Return a coefficient, or a weighted sum of coefficients, with the larger of its clustered errors.

        Args:
            name: What it is called in an error.
            weights: Place of the coefficient, or weights of all [K].

        Raises:
            InvalidInput: Estimate or error is no finite number, or there are less than two clusters.
        """
        weights = np.eye(len(self.values))[weights] if isinstance(weights, int) else weights
        sums = self.influence @ weights
        return largest(name, float(self.values @ weights), {key: (sums, code) for key, code in self.clusters.items()})

    def covariance(self, cluster: str) -> FloatArray:
        """Return the covariance [K, K] clustered by one of the groupings, corrected by G / (G - 1)."""
        sums = grouped(self.influence, self.clusters[cluster])
        covariance: FloatArray = sums.T @ sums * len(sums) / max(len(sums) - 1, 1)
        return covariance

    def joint(self, name: str, columns: Sequence[int]) -> JointTest:
        """Return the Wald test that coefficients are all 0, under the grouping that speaks least against it.

        With G clusters and q coefficients W (G - q) / (q (G - 1)) is compared with F(q, G - q), Hotelling's
        distribution: with few clusters the plain chi-squared test rejects far too often.

        Args:
            name: What it is called in an error.
            columns: Places of the coefficients.

        Raises:
            InvalidInput: There are no more clusters than coefficients, or the statistic is no finite number.
        """
        at = np.asarray(columns)
        tests = [self._wald(name, at, key) for key in self.clusters]
        return max(tests, key=lambda test: test.p)

    def _wald(self, name: str, at: IntArray, cluster: str) -> JointTest:
        from scipy.stats import f as f_distribution

        groups, number = int(self.clusters[cluster].max()) + 1, len(at)
        if groups <= number:
            raise invalid(name, f"{groups} clusters by {cluster}", f"more than the {number} coefficients tested")
        covariance = self.covariance(cluster)[np.ix_(at, at)]
        wald = float(self.values[at] @ np.linalg.pinv(covariance, hermitian=True) @ self.values[at])
        statistic = finite(name, wald * (groups - number) / (number * (groups - 1)))
        p = float(f_distribution.sf(statistic, number, groups - number))
        return JointTest(statistic, number, p, cluster, groups)


def finite(name: str, value: float) -> float:
    """Return a number, or raise the error that names the estimate that is none.

    Raises:
        InvalidInput: NaN or an infinity.
    """
    if not np.isfinite(value):
        raise invalid(f"estimate {name}", value, "a finite number; the data do not identify it")
    return value


def largest(name: str, value: float, parts: Mapping[str, tuple[FloatArray, IntArray]]) -> Estimate:
    """Return an estimate with the largest of its errors.

    Args:
        name: What it is called in an error.
        value: The estimate.
        parts: Cluster name -> influence of each observation [N] and its cluster [N].

    Raises:
        InvalidInput: Estimate or error is no finite number, or there are less than two clusters.
    """
    found = []
    for cluster, (influence, code) in parts.items():
        sums = grouped(influence[:, None], code)[:, 0]
        if len(sums) < 2:
            raise invalid(f"estimate {name}", f"{len(sums)} {cluster}", "at least 2 to cluster errors by")
        se = float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)))
        found.append(Estimate(finite(name, value), finite(f"error of {name}", se), cluster, len(sums)))
    return max(found, key=lambda estimate: estimate.se)


def grouped(values: FloatArray, code: IntArray) -> FloatArray:
    """Return the sums of rows [N, K] over groups 0..G-1 [G, K]."""
    sums = np.zeros((int(code.max()) + 1, values.shape[1]))
    np.add.at(sums, code, values)
    return sums


def codes(*columns: NDArray[np.generic]) -> IntArray:
    """Return codes 0..G-1 of the combinations that occur in columns [N]."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        own = np.unique(column, return_inverse=True)[1]
        code = np.unique(code * (int(own.max(initial=0)) + 1) + own, return_inverse=True)[1]
    return code


def mean_of(name: str, top: FloatArray, bottom: FloatArray, clusters: Clusters) -> Estimate:
    """Return sum(top) / sum(bottom) with the largest of its linearised clustered errors.

    Args:
        name: What it is called in an error.
        top: [N].
        bottom: [N].
        clusters: Groupings of the observations.
    """
    whole = float(bottom.sum())
    value = float(top.sum()) / whole if whole else float("nan")
    influence = (top - value * bottom) / whole if whole else top
    return largest(name, value, {key: (influence, code) for key, code in clusters.items()})
