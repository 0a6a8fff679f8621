"""Scrambled Sobol points, set up whole even when a signal comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from malles_env.type_aliases import FloatArray


def sobol_points(dimensions: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return the first points of a scrambled Sobol sequence, shape ``(count, dimensions)``, at least 0 and less than 1.

    Args:
        dimensions: Numbers per point, at least 1.
        count: Points, at least 1.
        rng: Scrambles; its state moves on.
    """
    # SciPy swallows what a signal handler raises while it reads its tables, and goes on with half of them; handlers
    # run in the main thread only.
    with ThreadPoolExecutor(max_workers=1) as apart:
        points: FloatArray = apart.submit(_points, dimensions, count, rng).result()
    return points


def _points(dimensions: int, count: int, rng: np.random.Generator) -> FloatArray:
    from scipy.stats import qmc

    engine = qmc.Sobol(dimensions, scramble=True, seed=rng)
    return np.asarray(engine.random_base2(int(np.ceil(np.log2(count))))[:count], dtype=np.float64)
