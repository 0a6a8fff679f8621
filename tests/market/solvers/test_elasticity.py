"""Elasticities and diversion ratios against finite differences, closed forms and consumers that must be asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Consumers, MeanField, Offer, Tastes, elasticities
from malles_env.market.solvers.game import settle_offer
from tests.market.markets import Asked, random_tastes

SEEDS = st.integers(0, 2**32 - 1)
PRECISE = MeanField(tolerance=1e-14)


def random_case(seed: int, *, linear: bool, batch: int = 2) -> tuple[Tastes, np.ndarray, Offer]:
    rng = np.random.default_rng(seed)
    tastes = random_tastes(rng, 3, 4, linear=linear)
    prices, listed, regular = rng.uniform(1.0, 3.0, (batch, 4)), rng.random((batch, 4)) < 0.8, rng.uniform(1.5, 2.5, 4)
    prices[np.abs(prices / regular - 1.0) < 2e-3] *= 1.01  # differences must not step over the kink
    offer = Offer(
        prices=prices,
        available=listed,
        regular_price=regular,
        mean_field=rng.dirichlet(np.ones(4), batch),
        loyalty=rng.dirichlet(np.ones(5), (batch, 3)),
    )
    return tastes, rng.dirichlet(np.ones(3)), offer


def demand(consumers: Consumers, weights: np.ndarray, offer: Offer, hold: str, of: str, shares: str) -> np.ndarray:
    answer = consumers.respond(offer)
    if hold == "steady":
        answer = settle_offer(consumers, weights, replace(PRECISE, shares=shares), offer)[1]
    taken = answer.probability[:, :, 1:] * (answer.quantity if of == "units" else 1.0)
    return np.einsum("s,bsj->bj", weights, taken)


def differences(*case, step: float = 3e-5) -> np.ndarray:
    """Return d log D_j / d log p_k by central differences, a method of its own."""
    consumers, weights, offer, *rest = case
    columns = []
    for k in range(offer.prices.shape[1]):
        moved = np.exp(step * np.eye(offer.prices.shape[1])[k])
        up = demand(consumers, weights, replace(offer, prices=offer.prices * moved), *rest)
        down = demand(consumers, weights, replace(offer, prices=offer.prices / moved), *rest)
        with np.errstate(divide="ignore", invalid="ignore"):
            columns.append((np.log(up) - np.log(down)) / (2 * step))
    return np.stack(columns, axis=2)


@settings(max_examples=15)
@given(SEEDS, st.booleans(), st.sampled_from(["units", "choice"]), st.sampled_from(["buyers", "population"]))
@pytest.mark.parametrize("hold", ["state", "steady"])
def test_exact_derivatives_equal_central_differences(hold, seed, linear, of, shares):
    tastes, weights, offer = random_case(seed, linear=linear)
    consumers = LogitConsumers(tastes)
    found = elasticities(consumers, weights, offer, hold=hold, of=of, settings=replace(PRECISE, shares=shares))
    expected = differences(consumers, weights, offer, hold, of, shares)
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-6, atol=1e-6)
    rows = found.diversion[offer.available]
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-9)
    assert np.isnan(found.diversion[~offer.available]).all()


@settings(max_examples=5)
@given(SEEDS, st.booleans())
@pytest.mark.parametrize("hold", ["state", "steady"])
def test_asked_consumers_give_the_same_by_differences(hold, seed, linear):
    tastes, weights, offer = random_case(seed, linear=linear)
    tastes = tastes.shifted(3.0)  # where hardly anybody buys, asked consumers take more periods than are played
    exact = elasticities(LogitConsumers(tastes), weights, offer, hold=hold, settings=PRECISE)
    asked = elasticities(Asked(tastes), weights, offer, hold=hold, settings=PRECISE, step=3e-4)
    np.testing.assert_allclose(asked.matrix, exact.matrix, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(asked.diversion, exact.diversion, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("linear", [True, False])
def test_plain_logit_in_closed_form(linear):
    """-beta p (1 - P), beta p P and P_k / (1 - P_j); Train (2009), section 3.6."""
    rng = np.random.default_rng(1)
    tastes = Tastes(rng.normal(0, 1, (1, 3)), 1.7, price_transform="linear" if linear else "log")
    prices, loyalty = rng.uniform(0.5, 3, (5, 3)), np.tile(np.eye(4)[0], (5, 1, 1))
    offer = Offer(prices, np.ones((5, 3), bool), np.full(3, 2.0), np.full((5, 3), 1 / 3), loyalty)
    consumers = LogitConsumers(tastes)
    share = consumers.respond(offer).probability[:, 0]
    slope = 1.7 * (prices if linear else np.ones_like(prices))
    cross = np.repeat((slope * share[:, 1:])[:, None], 3, axis=1)
    for hold in ("state", "steady"):
        found = elasticities(consumers, 1.0, offer, hold=hold, of="choice")
        np.testing.assert_allclose(found.matrix, cross - slope[:, :, None] * np.eye(3), rtol=1e-12)
        expected = share[:, None, :] / (1.0 - share[:, 1:, None])
        expected[:, np.arange(3), np.arange(1, 4)] = 0.0
        np.testing.assert_allclose(found.diversion, expected, rtol=1e-12)


def test_a_price_rise_from_the_regular_price_takes_no_depth_away():
    tastes = Tastes([[0.5, 0.0]], 2.0, gamma=[3.0], kappa=0.0, delta=[2.0])
    loyalty = np.tile(np.eye(3)[0], (1, 1, 1))
    offer = Offer(np.full((1, 2), 2.0), np.ones((1, 2), bool), np.full(2, 2.0), np.full((1, 2), 0.5), loyalty)
    share = LogitConsumers(tastes).respond(offer).probability[0, 0, 1]
    for consumers in (LogitConsumers(tastes), Asked(tastes)):
        found = elasticities(consumers, 1.0, offer).matrix[0, 0, 0]
        assert found == pytest.approx(-2.0 * (1.0 - share), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hold": "now"}, "hold: got 'now'; allowed: 'state' or 'steady'"),
        ({"of": "money"}, "of: got 'money'; allowed: 'units' or 'choice'"),
        ({"step": 0.0}, "step: got 0.0"),
        ({"weights": [1.0, 1.0]}, "weights"),
        ({"weights": [0.0, 0.0, 0.0]}, "weights.*not all zero"),
        ({"prices": np.ones((2, 3))}, r"offer.prices: got \(2, 3\); allowed: shape \(B, 4\)"),
        ({"prices": np.zeros((2, 4))}, "offer.prices"),
    ],
)
def test_mistakes_are_named(changes, message):
    tastes, weights, offer = random_case(0, linear=False)
    if "prices" in changes:
        offer = replace(offer, prices=changes.pop("prices"))
    weights = changes.pop("weights", weights)
    with pytest.raises(InvalidInput, match=message):
        elasticities(LogitConsumers(tastes), weights, offer, **changes)


@pytest.mark.parametrize("hold", ["state", "steady"])
@pytest.mark.parametrize("centre", ["uniform", "long_run"])
def test_forces_are_differentiated_exactly(hold, centre):
    tastes, weights, offer = random_case(7, linear=False)
    rng = np.random.default_rng(7)
    tastes = replace(tastes, gain=rng.uniform(0, 2, (3, 4)), loss=rng.uniform(0, 2, (3, 4)), display=0.5)
    offer = replace(
        offer, display=rng.random((2, 4)) < 0.5, centre=rng.dirichlet(np.ones(4), 2),
        reference=np.log(offer.prices) + rng.choice([-0.1, 0.1], (2, 4)),
    )  # fmt: skip
    field, fade, columns = replace(PRECISE, centre=centre), 0.2, []
    found = elasticities(LogitConsumers(tastes), weights, offer, hold=hold, settings=field, fade=fade)
    for k in range(4):
        logs = []
        for sign in (1, -1):
            moved = replace(offer, prices=offer.prices * np.exp(sign * 3e-5 * np.eye(4)[k]))
            answer = LogitConsumers(tastes).respond(moved)
            if hold == "steady":
                answer = settle_offer(LogitConsumers(tastes), weights, field, moved, fade)[1]
            with np.errstate(divide="ignore"):
                logs.append(np.log(np.einsum("s,bsj->bj", weights, answer.probability[:, :, 1:] * answer.quantity)))
        with np.errstate(invalid="ignore"):
            columns.append((logs[0] - logs[1]) / 6e-5)
    np.testing.assert_allclose(found.matrix, np.stack(columns, axis=2), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.diversion[offer.available].sum(axis=1), 1.0, atol=1e-9)
