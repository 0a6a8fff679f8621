"""Weighted least squares and two-stage least squares with absorbed fixed effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malles_env.errors import InvalidInput
from malles_env.evaluation.validate.estimation.estimates import Clusters, Fit
from malles_env.type_aliases import FloatArray, IntArray

_SWEEPS = 500


def absorbed(values: FloatArray, groups: Sequence[IntArray], weights: FloatArray) -> FloatArray:
    """Return columns less the fixed effects of several groupings, by alternating projections.

    Args:
        values: Columns [N, K].
        groups: Group codes 0..G-1, each [N].
        weights: Weights of the rows, above 0 [N].

    Raises:
        InvalidInput: The projections do not settle.
    """
    left = values.astype(np.float64, copy=True)
    sizes = [np.bincount(group, weights) for group in groups]
    scale = np.abs(left).max(initial=1e-300)
    for _ in range(_SWEEPS):
        before = left.copy()
        for group, size in zip(groups, sizes, strict=True):
            for k in range(left.shape[1]):
                left[:, k] -= (np.bincount(group, weights * left[:, k]) / size)[group]
        if len(groups) < 2 or np.abs(left - before).max(initial=0.0) < 1e-10 * scale:
            return left
    raise InvalidInput(f"fixed effects: not settled after {_SWEEPS} sweeps; the panel falls into loosely joined parts")


def two_stage(
    name: str, outcome: FloatArray, regressors: FloatArray, instruments: FloatArray, weights: FloatArray,
    clusters: Clusters,
) -> Fit:  # fmt: skip
    """Return two-stage least squares of a just identified equation; with itself as instrument, least squares.

    Args:
        name: What is estimated, for errors.
        outcome: [N].
        regressors: Price first, then controls [N, K].
        instruments: The price's instrument first, then the same controls [N, K].
        weights: [N].
        clusters: Groupings of the rows.

    Raises:
        InvalidInput: The instruments do not move the regressors.
    """
    weighted = instruments * weights[:, None]
    cross = weighted.T @ regressors
    scale = np.sqrt(np.outer((instruments * weighted).sum(0), (regressors**2 * weights[:, None]).sum(0)))
    if not scale.all() or np.linalg.cond(cross / scale) > 1e10:
        raise InvalidInput(f"{name}: nothing varies that is not absorbed by the fixed effects and controls")
    inverse = np.linalg.inv(cross)
    values = inverse @ (weighted.T @ outcome)
    left = outcome - regressors @ values
    return Fit(values, (weighted * left[:, None]) @ inverse.T, clusters)
