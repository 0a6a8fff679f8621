"""Groups households by what and how often they buy: k-means with a smallest size, seeded."""

from __future__ import annotations

import numpy as np

from malles_env.errors import invalid
from malles_env.type_aliases import FloatArray, IntArray


def cluster(features: FloatArray, groups: int, *, min_size: int = 1, seed: int = 0, restarts: int = 10) -> IntArray:
    """Return the group of each row; groups are numbered by size, the largest first.

    Args:
        features: Rows to group, shape ``(H, F)``.
        groups: Groups wanted, at least 1; fewer come out where some would be too small.
        min_size: Smallest group; the rows of smaller ones join the nearest other group.
        seed: Seed of the starting centres.
        restarts: Starts, of which the one with the least squared distance is kept.

    Returns:
        Group numbers, shape ``(H,)``.

    Raises:
        InvalidInput: Fewer rows than `min_size` or than 1.
    """
    if len(features) < max(min_size, 1) or groups < 1:
        raise invalid("groups", groups, f"at least 1, from at least {min_size} rows, not {len(features)}")
    rng = np.random.default_rng(seed)
    best, least = np.zeros(len(features), dtype=np.int64), np.inf
    for _ in range(restarts):
        labels, total = _lloyd(features, _spread_centres(features, groups, rng))
        if total < least - 1e-9:
            best, least = labels, total
    return _by_size(_without_small(features, best, min_size))


def _spread_centres(features: FloatArray, groups: int, rng: np.random.Generator) -> FloatArray:
    """Draw centres far from each other (k-means++, Arthur and Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(features)))]
    nearest = _squared(features, features[chosen])[:, 0]
    while len(chosen) < min(groups, len(features)) and nearest.sum() > 0:
        chosen.append(int(rng.choice(len(features), p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, _squared(features, features[chosen[-1:]])[:, 0])
    return features[chosen].copy()


def _lloyd(features: FloatArray, centres: FloatArray, most: int = 100) -> tuple[IntArray, float]:
    labels = np.full(len(features), -1, dtype=np.int64)
    distance = _squared(features, centres)
    for _ in range(most):
        fresh = distance.argmin(axis=1)
        if np.array_equal(fresh, labels):
            break
        labels = fresh
        for group in np.unique(labels):
            centres[group] = features[labels == group].mean(axis=0)
        distance = _squared(features, centres)
    return labels, float(distance.min(axis=1).sum())


def _without_small(features: FloatArray, labels: IntArray, min_size: int) -> IntArray:
    labels = labels.copy()
    while True:
        groups, sizes = np.unique(labels, return_counts=True)
        if sizes.min() >= min_size or len(groups) == 1:
            return labels
        small, others = groups[sizes.argmin()], np.delete(groups, sizes.argmin())
        centres = np.array([features[labels == group].mean(axis=0) for group in others])
        rows = np.flatnonzero(labels == small)
        labels[rows] = others[_squared(features[rows], centres).argmin(axis=1)]


def _by_size(labels: IntArray) -> IntArray:
    groups, sizes = np.unique(labels, return_counts=True)
    rank = np.empty(int(groups.max()) + 1, dtype=np.int64)
    rank[groups[np.argsort(-sizes, kind="stable")]] = np.arange(len(groups))
    return rank[labels]


def _squared(rows: FloatArray, centres: FloatArray) -> FloatArray:
    return ((rows[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
