import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Market, MeanField, Offer, Population, Product, Tastes
from malles_env.market.demand.mean_field import auto_window, contraction_bound, diagnose, share_map, window_is_stable
from malles_env.scenarios import load_scenario
from tests.market.markets import random_tastes


def shelf(tastes: Tastes) -> Offer:
    segments, products = tastes.alpha.shape
    loyalty = np.zeros((1, segments, products + 1))
    loyalty[:, :, 0] = 1.0
    return Offer(
        np.ones((1, products)),
        np.ones((1, products), bool),
        np.ones(products),
        np.full((1, products), 1 / products),
        loyalty,
    )


def coupled(rho: float, products: int = 2, alpha: float = 40.0) -> Tastes:
    return Tastes(alpha=np.full((1, products), alpha), beta=1.0, rho=rho)


@pytest.mark.parametrize("shares", ["buyers", "population"])
@pytest.mark.parametrize(("rho", "count"), [(0.5, 1), (1.98, 1), (2.05, 2), (3.0, 2)])
def test_two_coupled_products_split_at_two(rho, count, shares):
    """One equilibrium up to rho = 2, two stable ones beyond (Brock and Durlauf 2001)."""
    found = diagnose(coupled(rho), np.ones(1), shelf(coupled(rho)), MeanField(shares=shares))
    assert found.stable.sum() == count
    assert found.residual < 1e-8
    assert found.unique_guaranteed == (count == 1)
    if count == 2:
        spread = 2 * found.equilibria[found.stable, 0] - 1
        np.testing.assert_allclose(np.abs(spread), np.abs(np.tanh(rho / 2 * spread)), atol=1e-6)  # m = tanh(J m)


def test_equal_options_have_the_known_counts():
    """Three equal options: 1 stable equilibrium below rho = 2.745644, then 4, and 3 above 3 (one per favourite)."""
    counts = [
        int(diagnose(coupled(rho, 3), np.ones(1), shelf(coupled(rho, 3))).stable.sum()) for rho in (2.7, 2.9, 3.1)
    ]
    assert counts == [1, 4, 3]


@given(st.integers(0, 10_000), st.sampled_from(["buyers", "population"]))
def test_slope_never_exceeds_the_bound(seed, shares):
    rng = np.random.default_rng(seed)
    tastes, weights = random_tastes(rng, 4, 5, rho=3.0), rng.dirichlet(np.ones(4))
    offer = shelf(tastes)
    offer = Offer(
        offer.prices,
        offer.available,
        offer.regular_price,
        offer.mean_field,
        rng.dirichlet(np.ones(6), (1, 4)),
    )
    phi = share_map(tastes, weights, offer, shares)
    here, there = rng.dirichlet(np.ones(5), 32), rng.dirichlet(np.ones(5), 32)
    ratio = np.abs(phi(here) - phi(there)).sum(axis=1) / np.abs(here - there).sum(axis=1)
    assert ratio.max() <= contraction_bound(tastes, weights, shares) + 1e-12


def market_of(tastes: Tastes, **options) -> Market:
    catalog = Catalog(tuple(Product(f"p{j}", "seller", 0.5, 1.0) for j in range(tastes.num_products)))
    return Market(
        catalog, Population.uniform(tastes.num_products), LogitConsumers(tastes), demand="expected", **options
    )


def test_equilibrium_coupling_solves_the_fixed_point():
    tastes = random_tastes(np.random.default_rng(1), 3, 4, rho=0.6)
    catalog = Catalog(tuple(Product(f"p{j}", "seller", 0.5, 1.0) for j in range(4)))
    population = Population.uniform(4, weights=[0.2, 0.3, 0.5])
    market = Market(
        catalog,
        population,
        LogitConsumers(tastes),
        demand="expected",
        mean_field=MeanField(coupling="equilibrium"),
    )
    outcome = market.step(1.0, True)
    np.testing.assert_allclose(outcome.share, outcome.mean_field, atol=1e-9)
    assert outcome.residual[0] < 1e-10
    assert outcome.iterations[0] > 1


def test_lagged_window_is_the_mean_of_the_last_periods():
    market = market_of(coupled(0.5, 3), mean_field=MeanField(window=3), initial_mean_field=[0.5, 0.3, 0.2])
    np.testing.assert_allclose(market.state.mean_field[0], [0.5, 0.3, 0.2])
    shares = [np.array([0.5, 0.3, 0.2])] * 3
    rng = np.random.default_rng(0)
    for _ in range(6):
        outcome = market.step(rng.uniform(0.5, 2, 3), True)
        np.testing.assert_allclose(outcome.mean_field[0], np.mean(shares[-3:], axis=0), atol=1e-12)
        shares.append(outcome.share[0])


def test_a_window_tames_a_negative_slope():
    """Slope rho / 2 = -4 oscillates at W = 2 and settles at W = 10: stable iff |slope| < W."""
    swings = {}
    for window in (2, 10):
        market = market_of(coupled(-8.0), mean_field=MeanField(window=window), initial_mean_field=[0.51, 0.49])
        path = [market.step(1.0, True).share[0, 0] for _ in range(600)]
        swings[window] = np.std(path[-50:])
    assert swings[2] > 0.1
    assert swings[10] < 1e-6
    assert not window_is_stable(-4.0, 2)
    assert window_is_stable(-4.0, 5)
    assert not window_is_stable(1.2, 50)


def test_relaxed_steps_tame_a_negative_slope():
    """A relaxed step a converges iff a < 2 / (1 - slope)."""
    settled = {}
    for step in (0.3, 0.5):  # slope -4: the bound is 0.4
        settings = MeanField(coupling="equilibrium", relaxation=step, max_iterations=400)
        market = market_of(coupled(-8.0), mean_field=settings, initial_mean_field=[0.6, 0.4])
        settled[step] = market.step(1.0, True).residual[0] < 1e-9
    assert settled == {0.3: True, 0.5: False}


def test_population_shares_leave_room_for_the_outside_option():
    market = market_of(coupled(0.5, 2, alpha=0.0), mean_field=MeanField(shares="population"))
    outcome = market.step(1.0, True)
    np.testing.assert_allclose(outcome.share.sum(axis=1), 1 - outcome.outside)


@pytest.mark.parametrize(
    ("buyers", "drift", "window"), [(50, 0.01, 5), (50, 0.003, 10), (200, 0.003, 6), (1000, 0.003, 4)]
)
def test_auto_window(buyers, drift, window):
    """Published optima for variance 0.2: more buyers or faster drift call for a shorter window."""
    assert auto_window(buyers, drift, variance=0.2) == window


def test_auto_window_shrinks_with_the_market():
    sizes = [market_of(coupled(0.1), mean_field=MeanField(window="auto")).window]
    catalog = Catalog((Product("a", "s", 0.5, 1.0), Product("b", "s", 0.5, 1.0)))
    population = Population.uniform(2, size=1e6)
    sizes.append(Market(catalog, population, LogitConsumers(coupled(0.1)), mean_field=MeanField(window="auto")).window)
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize(("shares", "window"), [("buyers", 3), ("population", 2)])
def test_auto_window_counts_the_buyers_not_the_visitors(shares, window):
    """Soft drinks: some 14% of 20,000 consumers buy at regular prices, 23% at average ones: W = 3 either way."""
    scenario = load_scenario("soft-drinks")
    field = scenario.mean_field.model_copy(update={"window": "auto", "shares": shares})
    assert scenario.model_copy(update={"mean_field": field}).market().window == window
    assert auto_window(0.139 * 20_000, 0.003) == auto_window(0.2273 * 20_000, 0.003) == 3


def test_half_life_grows_towards_the_critical_coupling():
    lives = [
        diagnose(coupled(rho), np.ones(1), shelf(coupled(rho)), MeanField(window=1)).half_life
        for rho in (0.2, 1.0, 1.9)
    ]
    assert lives == sorted(lives)
    assert lives[0] == 1.0
    assert lives[2] == pytest.approx(np.log(2) / -np.log(0.95), abs=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "mean_field.window: got 0; allowed: a whole number from 1 to 1000, or 'auto'"),
        ({"coupling": "none"}, "mean_field.coupling"),
        ({"shares": "all"}, "mean_field.shares"),
        ({"relaxation": 0.0}, "mean_field.relaxation"),
        ({"tolerance": 0.0}, "mean_field.tolerance"),
        ({"max_iterations": 0}, "mean_field.max_iterations"),
        ({"drift": -1.0}, "mean_field.drift"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(InvalidInput, match=message):
        MeanField(**options)
