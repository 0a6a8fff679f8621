"""Consumer surplus in money: what a price change costs, what a cut gives, and the log-sum where it is exact."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malles_env.market import Offer, Tastes
from malles_env.market.demand.choice import respond
from malles_env.market.demand.surplus import mean_decay, worth_of_purchase
from malles_env.scenarios import Scenario, list_scenarios, load_scenario
from tests.market.markets import random_tastes

UNLIKE = ("gifts", "gifts-houses")
"""Scenarios whose prices reach from 0.42 to 29.95: one rate of money per util for all products is rough there."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


@cache
def known(name: str) -> tuple[Scenario, Tastes]:
    scenario = load_scenario(name)
    return scenario, scenario.build_consumers().tastes


def answers(name: str, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return surplus ``(B,)`` and units ``(B, J)`` per consumer with the first mean field, shelf and loyalty."""
    scenario, tastes = known(name)
    population, perceived = scenario.population(), scenario.first_mean_field()
    offer = Offer(
        prices,
        np.tile(scenario_shelf(name), (len(prices), 1)),
        scenario.catalog().regular_price,
        np.tile(perceived, (len(prices), 1)),
        np.tile(population.initial_loyalty, (len(prices), 1, 1)),
        centre=np.tile(scenario.mean_field_settings().first_centre(perceived), (len(prices), 1)),
    )
    found = respond(tastes, offer)
    units = np.einsum("s,bsj->bj", population.weights, found.probability[:, :, 1:] * found.quantity)
    return found.surplus @ population.weights, units


def usual_prices(name: str, kind: str) -> np.ndarray:
    scenario, _ = known(name)
    return scenario.catalog().regular_price if kind == "regular" else scenario.average_price()


def scenario_shelf(name: str) -> np.ndarray:
    """Return what may be listed in the first period."""
    return known(name)[0].catalog().enters == 0


@pytest.mark.parametrize("kind", ["regular", "average"])
@pytest.mark.parametrize("name", list_scenarios())
def test_a_rise_of_one_price_costs_consumers_its_units(name, kind):
    """A rise of 1% costs the mean of the units before and after; weighted by units the error is 2.5% at most."""
    prices, listed = usual_prices(name, kind), scenario_shelf(name)
    rises = prices * (1.0 + 0.01 * np.eye(len(prices)))
    surplus, units = answers(name, np.vstack([prices, rises]))
    cost = 0.5 * (units[0] + np.diag(units[1:])) * 0.01 * prices
    ratio = ((surplus[0] - surplus[1:])[listed]) / cost[listed]
    rough = 0.4 if name in UNLIKE else 0.0
    assert (np.abs(ratio - 1.0) < 0.05 + rough).all(), ratio
    rough = 0.04 if name in UNLIKE else 0.0
    assert ratio @ units[0][listed] / units[0].sum() == pytest.approx(1.0, abs=0.025 + rough)


@pytest.mark.parametrize("name", list_scenarios())
def test_the_kernel_says_the_same(name):
    scenario, _ = known(name)
    prices = usual_prices(name, "average") * np.array([1.0, 0.7, 1.4])[:, None]
    market = scenario.market(num_markets=3, demand="expected")
    found = market.advance(prices, np.ones(prices.shape, bool)).consumer_surplus / scenario.population_size
    np.testing.assert_allclose(found, answers(name, prices)[0], rtol=1e-9)


def cut_over_area(name: str, kind: str, cut: float) -> float:
    """Return what a cut of all prices gives over the area under the demand for units along the way."""
    prices = usual_prices(name, kind)
    along = prices * (1.0 - cut * (NODES[:, None] + 1.0) / 2.0)
    surplus, units = answers(name, np.vstack([prices, prices * (1.0 - cut), along]))
    return float((surplus[1] - surplus[0]) / (0.5 * WEIGHTS @ (units[2:] @ (cut * prices))))


@pytest.mark.parametrize("kind", ["regular", "average"])
@pytest.mark.parametrize("name", list_scenarios())
def test_a_cut_of_all_prices_gives_the_area_under_demand(name, kind):
    rough = 0.05 if name in UNLIKE else 0.0
    assert cut_over_area(name, kind, 0.2) == pytest.approx(1.0, abs=0.05 + rough)
    assert cut_over_area(name, kind, 0.4) == pytest.approx(1.0, abs=0.11 + rough)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_rare_purchases_give_the_area_under_demand(seed, linear):
    """Where few buy and depth adds nothing the approximation is exact, whatever the betas and quantities."""
    rng = np.random.default_rng(seed)
    given_ = random_tastes(rng, 2, 3, linear=linear, rho=0.0)
    tastes = Tastes(given_.alpha - 18.0, given_.beta, kappa=given_.kappa, price_transform=given_.price_transform)
    regular = rng.uniform(1, 3, 3)
    low, high = regular * rng.uniform(0.5, 1.5, (2, 3))
    along = low + (high - low) * (NODES[:, None] + 1.0) / 2.0
    prices = np.vstack([low, high, along])
    loyalty = np.tile(np.eye(4)[0], (len(prices), 2, 1))
    offer = Offer(prices, np.ones(prices.shape, bool), regular, np.full(prices.shape, 1 / 3), loyalty)
    found = respond(tastes, offer)
    taken = found.probability[:, :, 1:] * found.quantity
    area = 0.5 * np.einsum("n,nsj,j->s", WEIGHTS, taken[2:], high - low)
    np.testing.assert_allclose(found.surplus[0] - found.surplus[1], area, rtol=1e-5, atol=1e-14)  # of log(1 + x): 2e-16


def test_with_one_linear_beta_and_one_unit_it_is_the_log_sum():
    rng = np.random.default_rng(0)
    alpha, lambda_ = rng.normal(0, 2, (3, 4)), rng.uniform(-1, 2, 3)
    tastes = Tastes(alpha, beta=[2.0, 3.0, 4.0], rho=0.5, lambda_=lambda_, price_transform="linear")
    prices, perceived = rng.uniform(0.5, 4, (5, 4)), rng.dirichlet(np.ones(4), 5)
    loyalty = rng.dirichlet(np.ones(5), (5, 3))
    listed = rng.random((5, 4)) < 0.7
    utility = alpha - np.array([2.0, 3.0, 4.0])[:, None] * prices[:, None] + 0.5 * (perceived[:, None] - 0.25)
    utility = np.where(listed[:, None], utility, -np.inf)
    by_last = [np.log1p(np.exp(utility).sum(axis=2))]
    by_last += [np.log1p(np.exp(utility + lambda_[:, None] * np.eye(4)[k]).sum(axis=2)) for k in range(4)]
    expected = (loyalty * np.stack(by_last, axis=2)).sum(axis=2) / np.array([2.0, 3.0, 4.0])
    found = respond(tastes, Offer(prices, listed, np.full(4, 2.0), perceived, loyalty)).surplus
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_where_prices_do_not_matter_a_rise_still_costs_its_units():
    tastes = Tastes([[0.3, -0.2]], beta=0.0, kappa=0.0, price_transform="linear")
    prices = np.array([[1.0, 1.0], [1.5, 1.0]])
    loyalty = np.tile(np.eye(3)[0], (2, 1, 1))
    found = respond(tastes, Offer(prices, np.ones((2, 2), bool), np.ones(2), np.full((2, 2), 0.5), loyalty))
    assert found.surplus[0, 0] - found.surplus[1, 0] == pytest.approx(0.5 * 2.0 * found.probability[0, 0, 1])


def test_worth_of_a_purchase_in_closed_form():
    tastes = Tastes([[0.0]], beta=2.0)
    ratio = np.array([[0.5], [1.0], [2.0]])
    found = worth_of_purchase(tastes, 3.0 * ratio, np.array([3.0]))[:, 0]
    np.testing.assert_allclose(found, 3.0 * (ratio - ratio**2 / 2), atol=1e-14)  # area p^-2 from p to 2
    np.testing.assert_allclose(mean_decay(np.array([0.0, 1e-9, 1.0])), [1.0, 1.0, 1.0 - np.exp(-1.0)], rtol=1e-8)
