"""Maximum likelihood: conditional logit of choice given a purchase, binary logit with an offset, Poisson regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malles_env.errors import InvalidInput
from malles_env.evaluation.validate.estimation.estimates import Clusters, Fit, grouped
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

_STEP = 1e-5
"""First-step coefficients are moved by this much to see what they do to the second step's scores."""


def shares(scores: FloatArray, visit: IntArray) -> FloatArray:
    """Return choice probabilities [N] of alternatives with utilities [N]; rows of a visit stand together."""
    starts = np.flatnonzero(np.diff(visit, prepend=-1))
    place = np.cumsum(np.diff(visit, prepend=-1) != 0) - 1
    mass = np.exp(scores - np.maximum.reduceat(scores, starts)[place])
    whole: FloatArray = mass / np.add.reduceat(mass, starts)[place]
    return whole


def fit_logit(
    name: str, features: FloatArray, visit: IntArray, chosen: BoolArray, visits: int, offset: FloatArray | None = None
) -> Maximum:
    """Fit a conditional logit.

    Args:
        name: What is fitted, for errors.
        features: Of the alternatives [N, K].
        visit: Visit of each alternative, ascending [N].
        chosen: One true row per visit [N].
        visits: Number of visits; those without rows score 0.
        offset: Utilities with coefficient 1 [N]; None for none.

    Returns:
        The maximum, scores by visit [visits, K].
    """
    base = np.zeros(len(visit)) if offset is None else offset
    starts = np.flatnonzero(np.diff(visit, prepend=-1))

    def scored(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        probability = shares(base + features @ values, visit)
        weighted = features * probability[:, None]
        mean = np.add.reduceat(weighted, starts)
        return logit_scores(features, probability, visit, chosen, visits), weighted.T @ features - mean.T @ mean

    return newton(name, scored, np.zeros(features.shape[1]))


def logit_scores(
    features: FloatArray, probability: FloatArray, visit: IntArray, chosen: BoolArray, visits: int
) -> FloatArray:
    """Return the gradient of each visit's log-likelihood [visits, K]."""
    scores = np.zeros((visits, features.shape[1]))
    starts = np.flatnonzero(np.diff(visit, prepend=-1))
    scores[visit[starts]] = np.add.reduceat(features * (chosen - probability)[:, None], starts)
    return scores


def fit_binary(
    name: str, features: FloatArray, offset: FloatArray, chosen: BoolArray, visit: IntArray, visits: int
) -> tuple[Maximum, Callable[[FloatArray, FloatArray], FloatArray]]:
    """Fit a logit of being chosen on features, next to an offset with coefficient 1.

    Args:
        name: What is fitted, for errors.
        features: [N, K].
        offset: Log odds [N].
        chosen: [N].
        visit: Visit of each row [N].
        visits: Number of visits.

    Returns:
        The maximum, scores by visit [visits, K], and a function from other features and offset to the summed scores at
        the fitted coefficients [K].
    """

    def expected(values: FloatArray, features: FloatArray, offset: FloatArray) -> FloatArray:
        odds: FloatArray = 0.5 * (1 + np.tanh(0.5 * (offset + features @ values)))
        return odds

    def by_visit(rows: FloatArray) -> FloatArray:
        scores = np.zeros((visits, rows.shape[1]))
        sums = grouped(rows, visit)
        scores[: len(sums)] = sums
        return scores

    def scored(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        odds = expected(values, features, offset)
        information = (features * (odds * (1 - odds))[:, None]).T @ features
        return by_visit(features * (chosen - odds)[:, None]), information

    found = newton(name, scored, np.zeros(features.shape[1]))

    def at(others: FloatArray, base: FloatArray) -> FloatArray:
        sums: FloatArray = others.T @ (chosen - expected(found.values, others, base))
        return sums

    return found, at


def fit_counts(name: str, features: FloatArray, counts: FloatArray) -> Maximum:
    """Fit a Poisson regression, log of the mean linear in features; consistent whatever the counts' variance.

    Args:
        name: What is fitted, for errors.
        features: A constant or dummies that span one among them [N, K].
        counts: At least 0, whole or not [N].
    """

    def scored(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean = np.exp(np.minimum(features @ values, 50.0))
        return features * (counts - mean)[:, None], (features * mean[:, None]).T @ features

    # From the least-squares fit of the logs Newton's steps stay short.
    start = np.linalg.lstsq(features, np.log(counts + 0.5), rcond=None)[0]
    return newton(name, scored, start.astype(np.float64))


def newton(name: str, scored: Callable[[FloatArray], tuple[FloatArray, FloatArray]], start: FloatArray) -> Maximum:
    """Maximise a concave log-likelihood by Newton's method with bounded steps.

    Args:
        name: What is fitted, for errors.
        scored: Coefficients [K] -> scores by observation [N, K] and the information matrix [K, K].
        start: Where to begin [K].

    Raises:
        InvalidInput: The data do not determine the coefficients.
    """
    values = start.copy()
    for _ in range(100):
        scores, information = scored(values)
        try:
            inverse: FloatArray = np.linalg.inv(information).astype(np.float64)
        except np.linalg.LinAlgError:
            raise _undetermined(name) from None
        step = inverse @ scores.sum(0)
        size = float(np.abs(step).max(initial=0.0))
        if not np.isfinite(size):
            raise _undetermined(name)
        values = values + step * min(1.0, 2.0 / max(size, 1e-300))
        if size < 1e-8:
            scale = np.sqrt(np.diag(information))
            if np.linalg.cond(information / np.outer(scale, scale)) > 1e12:
                raise _undetermined(name)
            return Maximum(values, scored(values)[0], inverse)
    raise _undetermined(name)


@dataclass(frozen=True)
class Maximum:
    """Where a log-likelihood is highest.

    Attributes:
        values: Coefficients [K].
        scores: Gradient by observation [N, K].
        inverse: Inverse of the information matrix [K, K].
    """

    values: FloatArray
    scores: FloatArray
    inverse: FloatArray

    def fit(self, clusters: Clusters) -> Fit:
        """Return the coefficients with sandwich errors."""
        return Fit(self.values, self.scores @ self.inverse, clusters)

    def after(self, first: Fit, scores_at: Callable[[FloatArray], FloatArray]) -> Fit:
        """Return the coefficients with errors that count a first step's errors too (Murphy and Topel 1985).

        Args:
            first: The first step, on the same observations.
            scores_at: The first step's coefficients -> this step's summed scores [K], at this step's coefficients.
        """
        columns = []
        for k in range(len(first.values)):
            move = np.zeros(len(first.values))
            move[k] = _STEP
            columns.append((scores_at(first.values + move) - scores_at(first.values - move)) / (2 * _STEP))
        scores = self.scores + first.influence @ np.stack(columns)
        return Fit(self.values, scores @ self.inverse, first.clusters)


def _undetermined(name: str) -> InvalidInput:
    return InvalidInput(
        f"{name}: the data do not determine its coefficients (too little variation or too few purchases)"
    )
