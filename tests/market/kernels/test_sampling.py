"""The compiled draws against published test vectors and exact distributions."""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from malles_env.market.kernels import sampling

DRAWS = 60_000


@njit
def many_binomial(stream, trials, p, out):
    for i in range(len(out)):
        out[i] = sampling.binomial(stream, trials, p)


@njit
def many_poisson(stream, mean, out):
    for i in range(len(out)):
        out[i] = sampling.poisson(stream, mean)


@njit
def many_normal(stream, out):
    for i in range(len(out)):
        out[i] = sampling.normal(stream)


@njit
def many_uniform(stream, out):
    for i in range(len(out)):
        out[i] = sampling.uniform(stream)


def p_value(draws: np.ndarray, law) -> float:
    """Chi-square test with bins of at least 20 expected draws."""
    low, high = int(law.ppf(1e-9)), int(law.ppf(1 - 1e-9))
    edges = [low - 1]
    for k in range(low, high + 1):
        if (law.cdf(k) - law.cdf(edges[-1])) * len(draws) >= 20:
            edges.append(k)
    edges[-1] = high + 10**6
    edges[0] = -1
    observed = np.histogram(draws, bins=np.array(edges) + 0.5)[0]
    expected = np.diff(law.cdf(edges)) * len(draws)
    assert observed.sum() == len(draws)
    return stats.chisquare(observed, expected * len(draws) / expected.sum()).pvalue


def test_generator_gives_the_published_numbers():
    """First outputs of xoshiro256++ from the state 1, 2, 3, 4, as in the rand_xoshiro reference tests."""
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    found = [int(sampling.next_word(state)) for _ in range(4)]
    assert found == [41943041, 58720359, 3588806011781223, 3591011842654386]


@pytest.mark.parametrize(
    ("trials", "p"),
    [(1, 0.3), (50, 0.02), (50, 0.5), (1000, 0.02), (1000, 0.7), (100_000, 0.05), (100_000, 1e-5)],
)
def test_binomial(trials, p):
    draws = np.empty(DRAWS)
    many_binomial(sampling.seed_streams([3])[0], float(trials), p, draws)
    assert p_value(draws, stats.binom(trials, p)) > 1e-4


@pytest.mark.parametrize("mean", [0.01, 1.0, 9.9, 10.1, 75.0, 5000.0])
def test_poisson(mean):
    draws = np.empty(DRAWS)
    many_poisson(sampling.seed_streams([4])[0], mean, draws)
    assert p_value(draws, stats.poisson(mean)) > 1e-4


def test_normal_and_uniform():
    draws = np.empty(DRAWS)
    many_normal(sampling.seed_streams([5])[0], draws)
    assert stats.kstest(draws, "norm").pvalue > 1e-4
    many_uniform(sampling.seed_streams([6])[0], draws)
    assert stats.kstest(draws, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("trials", "p", "value"), [(0, 0.5, 0), (10, 0.0, 0), (10, 1.0, 10), (10, 1.0 + 1e-12, 10)])
def test_binomial_at_the_edges(trials, p, value):
    assert sampling.binomial(sampling.seed_streams([1])[0], float(trials), p) == value


def test_streams_depend_on_the_seed_alone():
    one, two = sampling.seed_streams([7, 8]), sampling.seed_streams([8, 7])
    np.testing.assert_array_equal(one, two[::-1])
    assert not np.array_equal(one[0], one[1])
