"""Exact dynamic programs against published figures, closed forms and the engine."""

import numpy as np
import pytest

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Market, MeanField, Population, Product, ReferencePrice, Tastes
from malles_env.market.solvers.dynamic import (
    finite_stock_plan,
    gallego_van_ryzin,
    reference_plan,
    reference_steady_price,
)
from malles_env.scenarios import load_scenario


@pytest.mark.parametrize(("stock", "potential", "value"), [(5, 20, 6.00040), (1, 10, 1.54304), (10, 40, 12.69762)])
def test_selling_a_stock_at_random_arrivals(stock, potential, value):
    assert gallego_van_ryzin(stock, potential)[0] == pytest.approx(value, abs=1e-5)


def test_first_price_and_no_stock():
    assert gallego_van_ryzin(10, 40)[1] == pytest.approx(1.5129, abs=1e-4)
    assert gallego_van_ryzin(0, 40) == (0.0, np.inf)


def test_fine_periods_approach_continuous_time():
    """Many short periods with few consumers each come close to Poisson arrivals at rate a exp(-p)."""
    prices = np.linspace(0.2, 5, 481)
    periods, potential = 2000, 20.0
    plan = finite_stock_plan(prices, potential / periods * np.exp(-prices), size=1, stock=5, periods=periods)
    assert plan.value[-1, 5] == pytest.approx(gallego_van_ryzin(5, potential)[0], abs=0.01)
    assert plan.price(periods, 5) == pytest.approx(gallego_van_ryzin(5, potential)[1], abs=0.02)


def test_a_plan_beats_its_neighbours_and_brute_force():
    """Two periods, two units: all price pairs of open-loop and closed-loop policies tried by hand."""
    prices, share = np.array([1.0, 2.0, 3.0]), np.array([0.8, 0.5, 0.3])
    plan = finite_stock_plan(prices, share, size=3, stock=2, periods=2, unit_cost=0.5)
    from scipy.stats import binom

    def sold(units, p):
        law = binom.pmf(range(4), 3, share[p])
        return [law[0], law[1:].sum()] if units == 1 else [law[0], law[1], law[2:].sum()]

    best = 0.0
    for first in range(3):
        for after in np.ndindex(3, 3):  # price with one and with two units left
            total = 0.0
            for k, odds in enumerate(sold(2, first)):
                left = 2 - k
                later = 0.0
                if left:
                    p = after[left - 1]
                    later = sum(o * n * (prices[p] - 0.5) for n, o in enumerate(sold(left, p)))
                total += odds * (k * (prices[first] - 0.5) + later)
            best = max(best, total)
    assert plan.value[2, 2] == pytest.approx(best)


def test_the_plan_earns_its_value_in_the_engine():
    scenario = load_scenario("clearance")
    prices = np.linspace(1.5, 4.5, 121)
    share = 1.0 / (1.0 + np.exp(-(4.0 - 2.0 * prices)))
    plan = finite_stock_plan(prices, share, size=50, stock=400, periods=52, unit_cost=1.0)
    market = scenario.market(num_markets=4000)
    market.reset(11)
    total = np.zeros(4000)
    for day in range(52):
        asked = plan.price(52 - day, market.state.stock[:, 0])[:, None]
        total += market.step(asked, True).seller_profit[:, 0]
    error = total.std(ddof=1) / np.sqrt(4000)
    assert total.mean() == pytest.approx(plan.value[52, 400], abs=4 * error)
    fixed = max(_fixed_profit(scenario, price) for price in (2.6, 2.8, 3.0))
    assert total.mean() > fixed - 4 * error


def _fixed_profit(scenario, price):
    market = scenario.market(num_markets=2000)
    market.reset(12)
    return sum(market.step([[price]], True).seller_profit[:, 0].mean() for _ in range(52))


@pytest.mark.parametrize(("strength", "price"), [(0.0, 1.80199), (0.5, 1.77758), (1.0, 1.75599)])
def test_reference_prices_lower_the_steady_price(strength, price):
    exact = reference_steady_price(2.0, 1.0, 0.25, strength, 0.8, 0.95)
    assert exact == pytest.approx(price, abs=1e-5)
    plan = reference_plan(2.0, 1.0, 0.25, strength, 0.8, 0.95, low=1.6, high=2.0)
    assert plan.steady(0.8, 1.8) == pytest.approx(exact, abs=1e-3)


def one_seller(strength):
    catalog = Catalog((Product("a", "one", 1.0, 2.0, 1.0, 3.0),))
    population = Population(1.0, np.ones(1), np.array([[1.0, 0.0]]))
    tastes = Tastes(alpha=np.array([[8.0]]), beta=4.0, price_transform="linear")
    return Market(
        catalog, population, LogitConsumers(tastes), num_markets=3, demand="expected",
        mean_field=MeanField(shares="population"), reference_price=ReferencePrice(strength, 0.8),
    )  # fmt: skip


def test_the_engine_moves_and_uses_reference_prices():
    """u = (a - p + strength (r - p)) / mu, r' = 0.8 r + 0.2 p, starting at the regular price."""
    market, r = one_seller(0.7), 2.0
    for p in (1.5, 1.9, 1.7):
        outcome = market.step([[p]], True)
        share = 1.0 / (1.0 + np.exp(-(2.0 - p + 0.7 * (r - p)) / 0.25))
        np.testing.assert_allclose(outcome.units, share, rtol=1e-12)
        np.testing.assert_allclose(outcome.seller_profit, (p - 1.0) * share, rtol=1e-12)
        r = 0.8 * r + 0.2 * p
        np.testing.assert_allclose(market.state.reference, r)
    market.step([[1.2]], False)
    np.testing.assert_allclose(market.state.reference, r)
    market.reset(markets=np.array([True, False, False]))
    np.testing.assert_allclose(market.state.reference[:, 0], [2.0, r, r])


def test_following_the_plan_in_the_engine_settles_at_the_steady_price():
    market, plan = one_seller(1.0), reference_plan(2.0, 1.0, 0.25, 1.0, 0.8, 0.95, low=1.6, high=2.0)
    for _ in range(300):
        price = np.interp(market.state.reference, plan.reference, plan.price)
        market.step(price, True)
    assert price[0, 0] == pytest.approx(reference_steady_price(2.0, 1.0, 0.25, 1.0, 0.8, 0.95), abs=1e-3)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InvalidInput, match="strength"):
        ReferencePrice(-1.0)
    with pytest.raises(InvalidInput, match="memory"):
        ReferencePrice(1.0, 1.0)
    with pytest.raises(InvalidInput, match="stock"):
        gallego_van_ryzin(-1, 1.0)
