"""Compiled random draws with one small stream per market: uniform, normal, Poisson, binomial.

Each market owns four 64-bit words of state, so that a batch of any size gives every market the same stream, and a
snapshot of a market is a few numbers. NumPy generators cannot be held per market inside compiled code at this cost.

Sources: xoshiro256++ (Blackman and Vigna 2021); binomial BTRS and Poisson PTRS by transformed rejection
(Hormann 1993a, 1993b), the former with the bounds of Kachitvichyanukul and Schmeiser (1988), and gaps or inversion
where the mean is small; normal by the polar method (Marsaglia and Bray 1964).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, floor, lgamma, log, sqrt

import numpy as np
from numpy.typing import NDArray

from malles_env.compiling import njit
from malles_env.type_aliases import BoolArray, IntArray

StateArray = NDArray[np.uint64]
SMALL_MEAN = 10.0
HALF_LOG_2_PI = 0.9189385332046727
STIRLING_REST = np.array([lgamma(k + 1.0) - ((k + 0.5) * log(k + 1.0) - (k + 1.0) + HALF_LOG_2_PI) for k in range(10)])


def seed_streams(seeds: Sequence[int]) -> StateArray:
    """Return one stream state per seed, shape ``(len(seeds), 4)``.

    Args:
        seeds: Whole numbers of at least 0; equal seeds give equal streams.
    """
    states = [np.random.SeedSequence(int(seed)).generate_state(4, np.uint64) for seed in seeds]
    return np.stack(states) if states else np.empty((0, 4), np.uint64)


@njit(cache=True, inline="always")
def _rotate(x: np.uint64, k: int) -> np.uint64:
    return (x << np.uint64(k)) | (x >> np.uint64(64 - k))


@njit(cache=True, error_model="numpy")
def next_word(state: StateArray) -> np.uint64:
    """Advance one stream (shape ``(4,)``) and return 64 random bits."""
    result = _rotate(state[0] + state[3], 23) + state[0]
    shifted = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = _rotate(state[3], 45)
    return result


@njit(cache=True, error_model="numpy")
def uniform(state: StateArray) -> float:
    """Return a number in [0, 1) with 53 random bits."""
    return (next_word(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, error_model="numpy")
def normal(state: StateArray) -> float:
    """Return a standard normal draw."""
    while True:
        u = 2.0 * uniform(state) - 1.0
        v = 2.0 * uniform(state) - 1.0
        s = u * u + v * v
        if 0.0 < s < 1.0:
            return u * sqrt(-2.0 * log(s) / s)


@njit(cache=True, error_model="numpy")
def _stirling_rest(k: float) -> float:
    """Return log k! minus Stirling's (k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2; error below 1e-9."""
    if k < 10.0:
        return STIRLING_REST[int(k)]
    x = 1.0 / (k + 1.0)
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 * x * x) * x * x) * x


@njit(cache=True, error_model="numpy")
def poisson(state: StateArray, mean: float) -> float:
    """Return a Poisson draw with the given mean (0 for means of 0 and below)."""
    if mean <= 0.0:
        return 0.0
    if mean < SMALL_MEAN:
        limit, k, product = exp(-mean), 0.0, uniform(state)
        while product > limit:
            k += 1.0
            product *= uniform(state)
        return k
    b = 0.931 + 2.53 * sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        k = floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        log_factorial = (k + 0.5) * log(k + 1.0) - (k + 1.0) + HALF_LOG_2_PI + _stirling_rest(k)
        if log(v * inverse_alpha / (a / (us * us) + b)) <= k * log(mean) - mean - log_factorial:
            return k


@njit(cache=True, error_model="numpy")
def binomial(state: StateArray, trials: float, probability: float) -> float:
    """Return the number of successes in `trials` (a whole number) with `probability` each."""
    if trials <= 0.0 or probability <= 0.0:
        return 0.0
    if probability >= 1.0:
        return trials
    if probability > 0.5:
        return trials - binomial_lower(state, trials, 1.0 - probability)
    return binomial_lower(state, trials, probability)


@njit(cache=True, error_model="numpy")
def binomial_lower(state: StateArray, trials: float, p: float) -> float:
    """Binomial draw for p of at most one half."""
    if trials * p < SMALL_MEAN:
        return _binomial_by_gaps(state, trials, p)
    q = 1.0 - p
    spread = sqrt(trials * p * q)
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = trials * p + 0.5
    squeeze = 0.92 - 4.2 / b
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        k = floor((2.0 * a / us + b) * u + c)
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0.0 or k > trials:
            continue
        alpha = (2.83 + 5.1 / b) * spread
        mode = floor((trials + 1.0) * p)
        height = log(v * alpha / (a / (us * us) + b))
        variance, distance = spread * spread, abs(k - mode)
        if 15.0 < distance < 0.5 * variance - 1.0:  # bounds around the normal curve decide most cases
            rest = (distance * (distance / 3.0 + 0.625) + 1.0 / 6.0) / variance + 0.5
            bell, slack = -0.5 * distance * distance / variance, distance / variance * rest
            if height < bell - slack:
                return k
            if height > bell + slack:
                continue
        odds = p / q
        peak = (mode + 0.5) * log((mode + 1.0) / (odds * (trials - mode + 1.0)))
        peak += _stirling_rest(mode) + _stirling_rest(trials - mode)
        here = (trials + 1.0) * log((trials - mode + 1.0) / (trials - k + 1.0))
        here += (k + 0.5) * log(odds * (trials - k + 1.0) / (k + 1.0))
        here -= _stirling_rest(k) + _stirling_rest(trials - k)
        if height <= peak + here:
            return k


@njit(cache=True, error_model="numpy")
def _binomial_by_gaps(state: StateArray, trials: float, p: float) -> float:
    """Count successes by jumping over geometric gaps between them; exact, few draws when the mean is small."""
    log_q = log(1.0 - p) if p > 1e-8 else -p
    successes, position = 0.0, 0.0
    while True:
        position += floor(log(1.0 - uniform(state)) / log_q) + 1.0
        if position > trials:
            return successes
        successes += 1.0


@njit(cache=True)
def pick(streams: StateArray, choices: int, chosen: BoolArray, out: IntArray) -> None:
    """Draw a whole number below `choices`, all alike, from the stream of each chosen market."""
    for b in range(len(out)):
        if chosen[b]:
            out[b] = min(int(uniform(streams[b]) * choices), choices - 1)
