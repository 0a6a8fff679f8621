"""How estimates of many replications of an experiment compare with the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.experiments.intervals import Estimates
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class Performance:
    """Of one design over R replications, shape ``(K,)`` each.

    Attributes:
        mean: Of the estimates.
        bias: Mean less truth.
        bias_se: Its Monte Carlo standard error.
        sd: Standard deviation of the estimates: their true standard error.
        mean_se: Mean of the standard errors that the experiments report.
        rmse: Root mean squared error.
        coverage: Share of the 95% intervals that hold the truth.
        coverage_se: Its Monte Carlo standard error.
        power: Share of the intervals that leave out 0.
        wrong_sign: Share of the intervals that leave out 0 on the side on which the truth is not.
    """

    mean: FloatArray
    bias: FloatArray
    bias_se: FloatArray
    sd: FloatArray
    mean_se: FloatArray
    rmse: FloatArray
    coverage: FloatArray
    coverage_se: FloatArray
    power: FloatArray
    wrong_sign: FloatArray


def performance(estimates: Estimates, truth: FloatArray) -> Performance:
    """Judge estimates ``(R, K)`` against the truth ``(K,)``."""
    low, high = estimates.interval
    error, count = estimates.value - truth, len(estimates.value)
    inside = (low <= truth) & (truth <= high)
    coverage, sd = inside.mean(axis=0), error.std(axis=0, ddof=1)
    wrong = ((low > 0.0) & (truth < 0.0)) | ((high < 0.0) & (truth > 0.0))
    return Performance(
        mean=estimates.value.mean(axis=0),
        bias=error.mean(axis=0),
        bias_se=sd / np.sqrt(count),
        sd=sd,
        mean_se=estimates.se.mean(axis=0),
        rmse=np.sqrt((error**2).mean(axis=0)),
        coverage=coverage,
        coverage_se=np.sqrt(coverage * (1.0 - coverage) / count),
        power=((low > 0.0) | (high < 0.0)).mean(axis=0),
        wrong_sign=wrong.mean(axis=0),
    )
