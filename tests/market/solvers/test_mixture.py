"""Exact assortments of mixtures of logits: against all sets, against the single logit, and bad input."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.market.solvers import assortment
from malles_env.market.solvers.mixture import Mixture


def random_mixture(seed: int, segments: int = 3, products: int = 8) -> Mixture:
    rng = np.random.default_rng(seed)
    shape = (segments, products)
    weights = rng.dirichlet(np.ones(segments))
    return Mixture(
        rng.uniform(0.2, 3.0, shape), rng.lognormal(-0.5, 1.0, shape), weights, rng.uniform(0.0, 0.05, products)
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [1, 3, 8])
def test_the_best_set_is_that_of_all_sets(seed: int, most: int) -> None:
    mixture = random_mixture(seed)
    sets = np.array([flags for flags in product((False, True), repeat=8) if sum(flags) <= most])
    found = mixture.best(most)
    assert found.profit == pytest.approx(float(mixture.profit(sets).max()), rel=1e-9)
    assert found.offered.sum() <= most and found.profit == pytest.approx(float(mixture.profit(found.offered)))
    assert found.profit <= found.bound <= found.profit * (1 + 1e-5)


def test_one_segment_is_the_logit_of_the_books() -> None:
    mixture = random_mixture(7, segments=1)
    plain = Mixture(mixture.margin, mixture.attraction, mixture.weights)
    known = assortment.capacity(mixture.margin[0], mixture.attraction[0], 3)
    assert plain.best(3).profit == pytest.approx(known.profit)
    np.testing.assert_array_equal(plain.pooled(3), known.products)


def test_products_that_are_not_there_are_not_offered_and_exchanges_only_improve() -> None:
    mixture = random_mixture(3)
    there = np.arange(8) % 2 == 0
    assert not mixture.best(3, there).offered[~there].any()
    start = np.zeros(8, bool)
    start[:3] = True
    better = mixture.improved(start, 3)
    assert mixture.profit(better) >= mixture.profit(start) and better.sum() <= 3


def test_a_fee_above_every_gain_empties_the_shelf() -> None:
    mixture = random_mixture(1)
    dear = Mixture(mixture.margin, mixture.attraction, mixture.weights, 10.0)
    assert not dear.best(3).offered.any() and dear.best(3).profit == 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attraction": np.zeros((2, 3))}, "attraction"),
        ({"attraction": np.ones(3)}, "shape"),
        ({"margin": np.ones((2, 2))}, "margin"),
        ({"weights": np.array([0.5, np.nan])}, "weights"),
        ({"fee": -1.0}, "fee"),
    ],
)
def test_bad_numbers_are_named(change: dict[str, object], words: str) -> None:
    good: dict[str, object] = {
        "margin": np.ones((2, 3)),
        "attraction": np.ones((2, 3)),
        "weights": np.array([0.5, 0.5]),
    }
    with pytest.raises(InvalidInput, match=words):
        Mixture(**(good | change))  # type: ignore[arg-type]


def test_bad_questions_are_named() -> None:
    with pytest.raises(InvalidInput, match="most: got 0"):
        random_mixture(0).best(0)
    with pytest.raises(InvalidInput, match="allowed: got 'no product'"):
        random_mixture(0).best(2, np.zeros(8, bool))
