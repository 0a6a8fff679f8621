"""The climber finds known optima over prices and assortments."""

from __future__ import annotations

import numpy as np
from scipy.special import lambertw

from malles_env.market.solvers.ascent import Box, climb, neighbours

MU = 0.25
QUALITY = np.array([2.0, 1.8, 2.3, 1.5])
COST = np.array([1.0, 0.9, 1.4, 0.7])


def logit_profit(rows, prices, listed):
    utility = np.where(listed, np.exp((QUALITY - prices) / MU), 0.0)
    return ((prices - COST) * utility).sum(axis=1) / (1.0 + utility.sum(axis=1))


def box(capacity: int) -> Box:
    return Box(np.full(4, 0.5), np.full(4, 4.0), COST, capacity)


def test_prices_of_a_logit_monopolist():
    """Equal mark-ups mu (1 + w), profit mu w with Lambert's w (Li and Huh 2011)."""
    w = lambertw(np.exp((QUALITY - COST) / MU - 1).sum()).real
    found = climb(logit_profit, box(4), np.full((1, 4), 2.0), np.ones((1, 4), dtype=bool), tolerance=1e-5)
    assert abs(found.value[0] - MU * w) < 1e-7
    np.testing.assert_allclose(found.prices[0], COST + MU * (1 + w), atol=2e-3)


def test_assortment_under_capacity():
    """With a common mu the best K products are those of largest quality minus cost."""
    start = np.array([[False, False, True, True]])
    found = climb(logit_profit, box(2), np.full((1, 4), 2.0), start, tolerance=1e-5)
    best = np.zeros(4, dtype=bool)
    best[np.argsort(COST - QUALITY)[:2]] = True
    w = lambertw(np.exp((QUALITY - COST)[best] / MU - 1).sum()).real
    assert abs(found.value[0] - MU * w) < 1e-6
    assert found.listed[0].sum() == 2
    assert {tuple(row) for row in found.listed} <= {tuple(best), (True, False, True, False)}


def test_a_kink_at_a_coordinate_is_no_trap():
    def kinked(rows, prices, listed):
        return -np.abs(prices - [1.0, 2.0, 3.0, 1.5]).sum(axis=1) - 0.1 * prices.sum(axis=1)

    found = climb(kinked, box(4), np.full((2, 4), 2.5), np.ones((2, 4), dtype=bool), assortments=False)
    np.testing.assert_allclose(found.prices[0], [1.0, 2.0, 3.0, 1.5], atol=2e-3)


def test_rows_climb_alone():
    """A row's summit does not depend on the rows beside it."""
    starts = np.array([[1.0, 1.0, 1.0, 1.0], [3.9, 0.6, 2.0, 3.0]])
    listed = np.ones((2, 4), dtype=bool)
    both = climb(logit_profit, box(4), starts, listed)
    alone = climb(logit_profit, box(4), starts[1:], listed[1:])
    np.testing.assert_array_equal(both.prices[1], alone.prices[0])


def test_neighbours_keep_the_capacity():
    listed = np.array([True, True, False, False])
    shelves = [tuple(shelf) for shelf, _ in neighbours(listed, 2)]
    assert len(shelves) == 2 + 4
    assert all(1 <= sum(shelf) <= 2 for shelf in shelves)
    assert len([1 for shelf, _ in neighbours(listed, 3) if sum(shelf) == 3]) == 2
