"""Solvers against closed forms, brute force and the engine itself."""

import numpy as np
import pytest

from malles_env.consumers.logit import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Market, MeanField, Population, Product, Tastes
from malles_env.market.solvers import closed_form
from malles_env.market.solvers.equilibrium import benchmarks, best_response, monopoly, nash
from malles_env.market.solvers.game import Game


def make_game(tastes, cost, owner, *, bounds=(1e-3, 20.0), mean_field=None, capacity=None, weights=None, regular=2.0):
    products = tuple(
        Product(f"p{j}", f"s{owner[j]}", float(cost[j]), regular, *bounds) for j in range(tastes.num_products)
    )
    weights = np.full(tastes.num_segments, 1 / tastes.num_segments) if weights is None else weights
    population = Population(size=1.0, weights=weights, initial_loyalty=no_history(tastes))
    return Game(Catalog(products, capacity or {}), population, LogitConsumers(tastes), mean_field or MeanField())


def no_history(tastes):
    loyalty = np.zeros((tastes.num_segments, tastes.num_products + 1))
    loyalty[:, 0] = 1.0
    return loyalty


def linear(a, mu, segments=1, **more):
    alpha = np.tile(np.asarray(a) / mu, (segments, 1))
    return Tastes(alpha=alpha, beta=1 / mu, price_transform="linear", **more)


def random_logit(rng):
    count, mu = int(rng.integers(2, 7)), rng.uniform(0.15, 0.8)
    a, c = rng.uniform(0.5, 3, count), rng.uniform(0.1, 1, count)
    owner = np.sort(np.concatenate([[0, 1], rng.integers(0, 2, count - 2)]))
    return a, c, owner, mu


def test_nash_and_monopoly_equal_the_closed_forms():
    rng = np.random.default_rng(0)
    for _ in range(12):
        a, c, owner, mu = random_logit(rng)
        game = make_game(linear(a, mu), c, owner)
        found = nash(game, starts=2)
        exact = closed_form.nash(a, c, owner, mu)
        np.testing.assert_allclose(found.prices, exact.prices, atol=1e-6)
        assert found.residual < 1e-9
        assert found.agree.tolist() == [1.0]
        cartel = monopoly(game, starts=1)
        np.testing.assert_allclose(cartel.prices, closed_form.joint_optimum(a, c, mu).prices, atol=1e-6)


def test_general_search_agrees_with_the_exact_path():
    """The direct search, which serves coupled and loyal markets, finds what the derivatives find."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        a, c, owner, mu = random_logit(rng)
        exact = closed_form.nash(a, c, owner, mu).prices
        plain = make_game(linear(a, mu), c, owner, bounds=(0.05, 4.0))
        tiny = make_game(linear(a, mu, rho=1e-9), c, owner, bounds=(0.05, 4.0))
        assert plain.smooth_logit
        assert not tiny.smooth_logit
        np.testing.assert_allclose(nash(tiny, starts=1).prices, exact, atol=2e-4)


def test_best_response_beats_a_fine_grid_with_several_segments():
    rng = np.random.default_rng(2)
    for _ in range(15):
        segments, (_, c, owner, _) = int(rng.integers(2, 5)), random_logit(rng)
        count = len(c)
        tastes = Tastes(
            alpha=rng.normal(1, 1, (segments, count)), beta=rng.uniform(0.5, 5, segments), price_transform="linear"
        )
        game = make_game(tastes, c, owner, weights=rng.dirichlet(np.ones(segments)), bounds=(0.05, 6.0))
        prices = rng.uniform(0.5, 3, count)
        reply = best_response(game, 0, prices)
        own = np.flatnonzero(owner == 0)
        tried = np.tile(prices, (4000, 1))
        tried[:, own] = reply.prices[own] + rng.normal(0, 0.3, (4000, len(own)))
        tried = np.clip(tried, 0.05, 6.0)
        assert game.profit(tried)[:, 0].max() <= reply.profit * (1 + 1e-9)
        np.testing.assert_allclose(reply.prices[owner != 0], prices[owner != 0])


@pytest.mark.parametrize("coupling", [0.1, 0.3, pytest.param(0.45, marks=pytest.mark.slow)])
def test_coupled_duopoly_equals_its_closed_form(coupling):
    """u = (a - p + J q) / mu: rho is J / mu on population shares, and the constant -rho / J goes into alpha.

    Demand is unique up to 0.5, and the closer to it, the more slowly is it found: 0.3 is the quick twin of 0.45.
    """
    rho = coupling / 0.25
    game = make_game(
        linear([2.0 + coupling / 2] * 2, 0.25, rho=rho), [1, 1], [0, 1], bounds=(1.0, 2.5),
        mean_field=MeanField(coupling="equilibrium", shares="population", tolerance=1e-12, max_iterations=5000),
    )  # fmt: skip
    exact = closed_form.symmetric_coupled_nash(2, 2.0, 1.0, 0.25, coupling)
    np.testing.assert_allclose(nash(game, starts=1, tolerance=1e-6).prices, exact, atol=1e-5)


@pytest.mark.parametrize(
    ("coupling", "prices", "profit"),
    [(0.3, (1.98343, 1.98343), 0.759786), (0.35, (1.95472, 2.09192), 0.776005), (0.5, (2.01991, 2.39119), 0.854140)],
)
def test_strong_coupling_splits_the_prices_of_one_seller(coupling, prices, profit):
    """Du, Cooper and Wang (2016): one low price and the rest high once coupling is strong."""
    game = make_game(
        linear([2.0 + coupling / 2] * 2, 0.25, rho=coupling / 0.25), [1, 1], [0, 0], bounds=(1.0, 3.0),
        mean_field=MeanField(coupling="equilibrium", shares="population", tolerance=1e-13, max_iterations=20_000),
    )  # fmt: skip
    game = Game(game.catalog, game.population, game.consumers, game.mean_field, np.array([0.5, 0.1]))
    found = monopoly(game, starts=3)
    assert found.profit.sum() == pytest.approx(profit, abs=2e-5)
    np.testing.assert_allclose(np.sort(found.prices), prices, atol=2e-2)


def test_the_steady_state_is_where_the_engine_settles():
    rng = np.random.default_rng(3)
    tastes = Tastes(
        alpha=rng.normal(-1, 0.5, (2, 3)), beta=[2.0, 3.0], gamma=[0.5, 1.0], rho=[0.6, 0.2], lambda_=[2.0, 0.5],
        kappa=np.full((2, 3), -1.0), delta=[0.3, 0.1],
    )  # fmt: skip
    game = make_game(tastes, [1, 1, 1], [0, 0, 1], weights=np.array([0.3, 0.7]))
    prices = np.array([1.8, 2.0, 1.5])
    market = Market(game.catalog, game.population, game.consumers, demand="expected", mean_field=MeanField(window=1))
    for _ in range(3000):
        outcome = market.step(prices, True)
    np.testing.assert_allclose(game.demand(prices)[0], outcome.units[0], rtol=1e-7)
    np.testing.assert_allclose(game.profit(prices)[0], outcome.seller_profit[0], rtol=1e-7)


def test_merging_sellers_raises_prices_and_joint_profit():
    game = make_game(linear([2, 2, 2], 0.25), [1, 1, 1], [0, 1, 2])
    before, merged = nash(game, starts=1), nash(game, owners=[0, 0, 1], starts=1)
    exact = closed_form.nash([2, 2, 2], 1.0, [0, 0, 1], 0.25)
    np.testing.assert_allclose(merged.prices, exact.prices, atol=1e-6)
    assert (merged.prices > before.prices).all()
    assert merged.profit[0] > before.profit[:2].sum()


def test_a_capacity_limits_the_listed_products():
    """With a common sensitivity the products with the largest a - c are listed (dominant strategy)."""
    a, c = np.array([1.0, 2.0, 1.5, 2.2]), np.array([0.5, 1.0, 0.2, 1.9])
    game = make_game(linear(a, 0.3), c, [0, 0, 0, 1], capacity={"s0": 2}, bounds=(0.1, 4.0))
    found = nash(game, assortment=True, starts=2)
    assert found.listed.tolist() == [False, True, True, True]
    exact = closed_form.nash(a[1:], c[1:], [0, 0, 1], 0.3)
    np.testing.assert_allclose(found.prices[1:], exact.prices, atol=1e-4)


def test_unknown_owner_is_refused():
    game = make_game(linear([2, 2], 0.25), [1, 1], [0, 1])
    with pytest.raises(InvalidInput, match="owner"):
        best_response(game, 7, [1.5, 1.5])


@pytest.mark.parametrize("name", ["bertrand-duopoly", "ice-cream"])
def test_bundled_scenarios_have_benchmarks(name):
    from malles_env.scenarios import load_scenario

    found = benchmarks(Game.of(load_scenario(name).market()))
    assert found.nash.residual < 1e-6
    assert found.monopoly.profit.sum() > found.nash.profit.sum()
