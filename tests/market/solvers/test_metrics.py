"""Measures against hand-made cases and the textbook duopoly."""

import numpy as np
import pytest

from malles_env.market.solvers import closed_form, metrics
from malles_env.market.solvers.game import Game
from malles_env.scenarios import load_scenario


@pytest.fixture(scope="module")
def duopoly():
    return Game.of(load_scenario("bertrand-duopoly").market())


def test_profit_gain_is_zero_at_nash_and_one_at_the_cartel():
    gain = metrics.profit_gain([[1.0, 3.0], [2.0, 6.0], [3.0, 3.0]], [1.0, 3.0], [2.0, 6.0])
    np.testing.assert_allclose(gain, [0.0, 1.0, 0.5])
    assert np.isnan(metrics.profit_gain([1.0, 1.0], [1.0, 1.0], [1.0, 1.0]))
    np.testing.assert_allclose(metrics.seller_gain([1.5, 3.0], [1.0, 3.0], [2.0, 6.0]), [0.5, 0.0])
    assert metrics.price_index([1.5, 1.5], [1.0, 1.0], [2.0, 2.0]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("price", "surplus", "total"), [(1.472926660, 0.715098, 1.16095), (1.924980919, 0.327078, 1.00206)]
)
def test_surplus_and_welfare_of_the_textbook_duopoly(duopoly, price, surplus, total):
    assert duopoly.surplus([[price, price]])[0] / 1000 == pytest.approx(surplus, abs=1e-6)
    assert metrics.welfare(duopoly, [[price, price]])[0] / 1000 == pytest.approx(total, abs=1e-5)
    utility = np.array([(2.0 - price) / 0.25] * 2)
    assert metrics.logit_surplus(utility, 0.25) == pytest.approx(surplus, abs=1e-6)


def test_prices_at_cost_lose_no_welfare(duopoly):
    assert metrics.deadweight_loss(duopoly, [[1.0, 1.0]])[0] == pytest.approx(0.0, abs=1e-9)
    rng = np.random.default_rng(0)
    assert (metrics.deadweight_loss(duopoly, rng.uniform(0.6, 3.0, (200, 2))) > 0).all()


@pytest.mark.parametrize("policy", [{}, {"sales_tax": 0.2}, {"unit_tax": 0.2}, {"sales_tax": 0.1, "unit_tax": 0.1}])
def test_taxes_are_no_loss_of_welfare(duopoly, policy):
    """At p = 1.6 the duopoly loses 33.3 against prices at cost, whoever gets the money."""
    taxed = Game.of(load_scenario("bertrand-duopoly").with_policy(**policy).market())
    assert metrics.deadweight_loss(taxed, [[1.6, 1.6]])[0] == pytest.approx(33.3, abs=0.05)
    assert metrics.welfare(taxed, [[1.6, 1.6]])[0] == pytest.approx(
        metrics.welfare(duopoly, [[1.6, 1.6]])[0], rel=1e-12
    )


def test_tax_revenue(duopoly):
    units = 1000 * duopoly.demand([[1.6, 1.6]]).sum()
    both = Game.of(load_scenario("bertrand-duopoly").with_policy(sales_tax=0.25, unit_tax=0.1).market())
    assert metrics.tax_revenue(duopoly, [[1.6, 1.6]])[0] == 0.0
    assert metrics.tax_revenue(both, [[1.6, 1.6]])[0] == pytest.approx((1.6 - 1.6 / 1.25 + 0.1) * units)


def test_exploitability_vanishes_at_nash_only(duopoly):
    exact = closed_form.nash([2, 2], 1.0, [0, 1], 0.25)
    assert metrics.nash_conv(duopoly, exact.prices) == pytest.approx(0.0, abs=1e-8)
    cartel = closed_form.joint_optimum([2, 2], 1.0, 0.25)
    assert metrics.nash_conv(duopoly, cartel.prices) / 1000 == pytest.approx(2 * (0.41169 - 0.33749), abs=2e-5)
    assert metrics.best_response_gap(0.33749, 0.41169) == pytest.approx(1 - 0.33749 / 0.41169)


def test_concentration():
    assert metrics.hhi([0.2, 0.2]) == pytest.approx(5000)
    assert metrics.hhi([0.1, 0.3, 0.4], seller_of=[0, 0, 1]) == pytest.approx(5000)
    assert metrics.hhi([0.3, 0.0]) == pytest.approx(10_000)
    assert np.isnan(metrics.hhi([0.0, 0.0]))


def test_regret():
    np.testing.assert_allclose(metrics.regret([1.0, 2.0, 3.0], 3.0), [2.0, 3.0, 3.0])
    assert metrics.fixed_price_regret([[1.0, 1.0], [3.0, 0.0]], [1.0, 0.0]) == pytest.approx(2.0)


def test_dispersion():
    found = metrics.price_dispersion([[1.0, 3.0], [2.0, 2.0]])
    assert (found.deviation, found.spread, found.equal, found.over_time) == pytest.approx((0.5, 1.0, 0.5, 0.5))
    assert found.variation == pytest.approx(0.25)


def test_convergence():
    steady = np.concatenate([np.linspace(3, 1, 200), np.full(100, 1.0)])
    assert metrics.settled(steady)
    assert not metrics.settled(steady[:250])
    assert metrics.stable_since([[1, 2], [1, 3], [1, 3], [1, 3]]) == 1
    assert metrics.stable_since([[1], [1]]) == 0


def test_punishment():
    prices = [[1.5, 2.0], [1.6, 1.4], [1.8, 1.7], [2.0, 2.0], [2.0, 2.0]]
    found = metrics.punishment(prices, [[2.0, 0.0, 0.5, 1.0, 1.0], [1.0] * 5], before=[2.0, 2.0], discount=1.0)
    assert found.cut == pytest.approx(0.6)
    assert found.recovery == 3
    assert found.gain == pytest.approx(4.5 / 5 - 1)
