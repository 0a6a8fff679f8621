from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malles_env.market import Offer, Tastes
from malles_env.market.demand.choice import own_price_elasticity, respond, utilities
from tests.market.markets import random_tastes

SEEDS = st.integers(0, 2**32 - 1)
REGULAR = 2.0


def random_offer(rng: np.random.Generator, tastes: Tastes, batch: int = 3) -> Offer:
    segments, products = tastes.alpha.shape
    return Offer(
        prices=rng.uniform(0.5, 4, (batch, products)),
        available=rng.random((batch, products)) < 0.8,
        regular_price=np.full(products, REGULAR),
        mean_field=rng.dirichlet(np.ones(products), batch),
        loyalty=rng.dirichlet(np.ones(products + 1), (batch, segments)),
    )


@given(SEEDS, st.booleans())
def test_probabilities_and_loyalty_are_distributions(seed, linear):
    rng = np.random.default_rng(seed)
    tastes = random_tastes(rng, 4, 5, linear=linear)
    offer = random_offer(rng, tastes)
    response = respond(tastes, offer)
    for shares in (response.probability, response.loyalty):
        assert np.all(shares >= 0)
        np.testing.assert_allclose(shares.sum(axis=2), 1.0, atol=1e-12)
    assert np.all(response.probability[:, :, 1:][~np.repeat(offer.available[:, None], 4, axis=1)] == 0)
    assert np.all(response.quantity >= 1)


@given(SEEDS)
def test_loyalty_flow_equals_averaging_over_last_purchases(seed):
    """The O(J) formulas against the definition: one softmax per last purchase k."""
    rng = np.random.default_rng(seed)
    tastes = random_tastes(rng, 3, 4)
    offer = random_offer(rng, tastes, batch=2)
    base = utilities(tastes, offer)
    probability, loyalty = np.zeros((2, 3, 5)), np.zeros((2, 3, 5))
    for k in range(5):
        bonus = np.zeros((3, 4))
        if k > 0:
            bonus[:, k - 1] = tastes.lambda_
        exp_u = np.exp(np.concatenate([np.zeros((2, 3, 1)), base + bonus], axis=2))
        given_k = exp_u / exp_u.sum(axis=2, keepdims=True) * offer.loyalty[:, :, [k]]
        probability += given_k
        loyalty[:, :, 1:] += given_k[:, :, 1:]
        loyalty[:, :, k] += given_k[:, :, 0]
    response = respond(tastes, offer)
    np.testing.assert_allclose(response.probability, probability, atol=1e-12)
    np.testing.assert_allclose(response.loyalty, loyalty, atol=1e-12)


@given(SEEDS)
def test_order_of_products_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    tastes = random_tastes(rng, 3, 5)
    offer = random_offer(rng, tastes)
    order = rng.permutation(5)
    with_outside = np.concatenate([[0], order + 1])
    shuffled = Offer(offer.prices[:, order], offer.available[:, order], offer.regular_price[order],
                     offer.mean_field[:, order], offer.loyalty[:, :, with_outside])  # fmt: skip
    moved = Tastes(tastes.alpha[:, order], tastes.beta[:, order], tastes.gamma, tastes.rho, tastes.lambda_,
                   tastes.kappa[:, order], tastes.delta)  # fmt: skip
    here, there = respond(tastes, offer), respond(moved, shuffled)
    np.testing.assert_allclose(there.probability, here.probability[:, :, with_outside], atol=1e-12)
    np.testing.assert_allclose(there.loyalty, here.loyalty[:, :, with_outside], atol=1e-12)
    np.testing.assert_allclose(there.surplus, here.surplus, atol=1e-10)


@given(SEEDS, st.booleans(), st.floats(1.01, 2.0))
def test_law_of_demand(seed, linear, factor):
    rng = np.random.default_rng(seed)
    tastes = random_tastes(rng, 4, 5, linear=linear)
    offer = random_offer(rng, tastes)
    prices = offer.prices.copy()
    prices[:, 0] *= factor
    dearer = Offer(prices, offer.available, offer.regular_price, offer.mean_field, offer.loyalty)
    before, after = respond(tastes, offer), respond(tastes, dearer)
    assert np.all(after.probability[:, :, 1] <= before.probability[:, :, 1] + 1e-15)
    assert np.all(after.quantity[:, :, 0] <= before.quantity[:, :, 0] + 1e-12)
    tastes = replace(tastes, beta=tastes.beta[:, 0], kappa=tastes.kappa[:, 0])
    before, after = respond(tastes, offer), respond(tastes, dearer)
    assert np.all(after.surplus <= before.surplus + 1e-12)  # see `surplus.consumer_surplus` for betas that differ


@given(SEEDS, st.booleans())
def test_own_price_elasticity_is_the_textbook_one(seed, linear):
    """-beta p (1 - P) for linear prices, -beta (1 - P) for log prices, against finite differences."""
    rng = np.random.default_rng(seed)
    alpha, beta = rng.normal(0, 1, (2, 3)), rng.uniform(0.5, 3, (2, 3))
    tastes = Tastes(alpha, beta, price_transform="linear" if linear else "log")
    offer = random_offer(rng, tastes, batch=1)
    offer = Offer(offer.prices, np.ones((1, 3), bool), offer.regular_price, offer.mean_field, offer.loyalty)
    step = 1e-6
    up, down = offer.prices.copy(), offer.prices.copy()
    up[:, 1] *= np.exp(step)
    down[:, 1] *= np.exp(-step)
    high = respond(tastes, Offer(up, offer.available, offer.regular_price, offer.mean_field, offer.loyalty))
    low = respond(tastes, Offer(down, offer.available, offer.regular_price, offer.mean_field, offer.loyalty))
    numeric = (np.log(high.probability) - np.log(low.probability))[:, :, 2] / (2 * step)
    np.testing.assert_allclose(own_price_elasticity(tastes, offer)[:, :, 1], numeric, rtol=1e-5)


def test_surplus_is_the_log_sum_in_money():
    tastes = Tastes(alpha=[[8.0, 8.0]], beta=4.0, price_transform="linear")
    offer = Offer(
        np.full((1, 2), 1.47292666),
        np.ones((1, 2), bool),
        np.full(2, 2.0),
        np.full((1, 2), 0.5),
        np.array([[[1.0, 0, 0]]]),
    )
    expected = 0.25 * np.log(1 + 2 * np.exp((2 - 1.47292666) / 0.25))  # mu log(sum exp), Calvano et al.
    assert respond(tastes, offer).surplus[0, 0] == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(0.715098, abs=1e-6)


def test_extreme_utilities_do_not_overflow():
    tastes = Tastes(alpha=[[900.0, -900.0]], beta=1.0)
    offer = Offer(
        np.full((1, 2), 2.0),
        np.ones((1, 2), bool),
        np.full(2, 2.0),
        np.full((1, 2), 0.5),
        np.array([[[0.5, 0.25, 0.25]]]),
    )
    response = respond(tastes, offer)
    np.testing.assert_allclose(response.probability[0, 0], [0, 1, 0], atol=1e-12)
    assert np.isfinite(response.surplus).all()
