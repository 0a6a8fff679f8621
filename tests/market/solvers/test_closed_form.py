"""Closed forms against published figures, first-order conditions and brute force on random instances."""

import numpy as np
import pytest
from scipy.optimize import minimize

from malles_env.errors import InvalidInput
from malles_env.market.solvers import assortment, closed_form

CALVANO = {  # sellers: Nash price, joint price, Nash profit, joint profit (pricing literature; n = 2 in the paper)
    2: (1.472927, 1.924981, 0.222927, 0.337490),
    3: (1.370163, 2.000000, 0.120163, 0.250000),
    4: (1.331461, 2.054411, 0.081461, 0.201103),
    5: (1.311521, 2.097231, 0.061521, 0.169446),
}


@pytest.mark.parametrize("sellers", CALVANO)
def test_textbook_prices(sellers):
    quality, found = np.full(sellers, 2.0), CALVANO[sellers]
    competition = closed_form.nash(quality, 1.0, np.arange(sellers), 0.25)
    cartel = closed_form.joint_optimum(quality, 1.0, 0.25)
    measured = (competition.prices[0], cartel.prices[0], competition.profit[0], cartel.profit[0])
    np.testing.assert_allclose(measured, found, atol=1e-6)


def test_one_seller_of_many_products_beats_any_other_price():
    rng = np.random.default_rng(1)
    for _ in range(100):
        count, mu = int(rng.integers(1, 8)), rng.uniform(0.1, 2.0)
        a, c, outside = rng.uniform(-1, 4, count), rng.uniform(0, 2, count), rng.normal()
        best = closed_form.joint_optimum(a, c, mu, outside)

        def loss(p, a=a, c=c, mu=mu, outside=outside):
            return -float((p - c) @ closed_form.logit_shares(p, a, mu, outside))

        tried = minimize(loss, c + mu, method="BFGS", options={"gtol": 1e-10})
        assert -tried.fun <= best.profit.sum() + 1e-9
        np.testing.assert_allclose(best.profit.sum(), -tried.fun, rtol=1e-4)  # as near as the optimiser comes


def test_product_specific_sensitivity_beats_any_other_price():
    rng = np.random.default_rng(2)
    for _ in range(60):
        count = int(rng.integers(1, 6))
        a, c, b = rng.uniform(0, 4, count), rng.uniform(0, 1, count), rng.uniform(0.5, 4, count)
        best = closed_form.sensitivity_optimum(a, c, b)

        def loss(p, a=a, c=c, b=b):
            weight = np.exp(a - b * p)
            return -float((p - c) @ weight) / (1 + weight.sum())

        tried = minimize(loss, best.prices * 1.05, method="BFGS", options={"gtol": 1e-10})
        np.testing.assert_allclose(best.profit.sum(), -tried.fun, rtol=1e-6)
        assert -tried.fun <= best.profit.sum() + 1e-9


def test_no_seller_can_gain_in_the_multi_product_equilibrium():
    rng = np.random.default_rng(3)
    for _ in range(100):
        count, mu = int(rng.integers(2, 9)), rng.uniform(0.1, 1.0)
        a, c = rng.uniform(0, 3, count), rng.uniform(0, 1, count)
        owner = rng.integers(0, 3, count)
        found = closed_form.nash(a, c, owner, mu)
        for seller in np.unique(owner):
            own = owner == seller
            rest = np.exp((a - found.prices)[~own] / mu).sum()
            reply = closed_form.joint_optimum(a[own], c[own], mu, outside=mu * np.log1p(rest))
            np.testing.assert_allclose(found.prices[own], reply.prices, atol=1e-9)


@pytest.mark.parametrize(
    ("coupling", "price"),
    [(0.0, 1.472927), (0.1, 1.392343), (0.2, 1.300321), (0.3, 1.202441), (0.4, 1.102345), (0.45, 1.052037)],
)
def test_coupling_makes_competition_fiercer(coupling, price):
    assert closed_form.symmetric_coupled_nash(2, 2.0, 1.0, 0.25, coupling) == pytest.approx(price, abs=1e-6)


@pytest.mark.parametrize(("stock", "price"), [(380, 1.885), (395, 1.843), (410, 1.795), (425, 1.740)])
def test_a_binding_stock_sets_the_price(stock, price):
    """The published equilibrium prices of Friedrich et al. (2024), to their rounding."""
    assert closed_form.capped_price(2.0, 0.25, stock / 1000) == pytest.approx(price, abs=2e-3)


def test_patience_that_sustains_the_cartel():
    deviation = max(
        (p - 1) * closed_form.logit_shares([p, 1.924981], [2, 2], 0.25)[0] for p in np.linspace(1.5, 1.9, 4001)
    )
    assert deviation == pytest.approx(0.41169, abs=1e-5)
    assert closed_form.critical_discount(0.337490, deviation, 0.222927) == pytest.approx(0.3931, abs=1e-4)


def test_limits_are_refused():
    with pytest.raises(InvalidInput, match="mu"):
        closed_form.nash([1.0], [0.0], [0], 0.0)
    with pytest.raises(InvalidInput, match="coupling"):
        closed_form.symmetric_coupled_nash(2, 2.0, 1.0, 0.25, 0.5)
    with pytest.raises(InvalidInput, match="attraction"):
        assortment.capacity([1.0], [0.0], 1)


def test_assortments_equal_brute_force():
    rng = np.random.default_rng(4)
    for _ in range(150):
        count = int(rng.integers(1, 9))
        margin, attraction = rng.uniform(-1, 10, count), np.exp(rng.normal(0, 1.5, count))
        free, exact = assortment.revenue_ordered(margin, attraction), assortment.brute_force(margin, attraction)
        assert free.profit == pytest.approx(exact.profit, rel=1e-12)
        most = int(rng.integers(1, count + 1))
        limited = assortment.capacity(margin, attraction, most)
        assert len(limited.products) <= most
        assert limited.profit == pytest.approx(assortment.brute_force(margin, attraction, most).profit, rel=1e-12)
        assert limited.profit == pytest.approx(assortment.profit_of(limited.products, margin, attraction), rel=1e-12)


def test_a_capacity_breaks_the_revenue_order():
    margin, attraction = [10.0, 9.0, 8.0, 7.0], [0.1, 0.1, 1.0, 2.0]
    assert assortment.revenue_ordered(margin, attraction).profit == pytest.approx(5.690476, abs=1e-6)
    limited = assortment.capacity(margin, attraction, 2)
    assert limited.products.tolist() == [2, 3]
    assert limited.profit == pytest.approx(5.5)
    assert assortment.profit_of([0, 1], margin, attraction) == pytest.approx(1.5833, abs=1e-4)


def test_joint_price_and_assortment_equal_brute_force():
    from itertools import combinations

    rng = np.random.default_rng(5)
    for _ in range(40):
        count = int(rng.integers(2, 7))
        most = int(rng.integers(1, count + 1))
        a, c, b = rng.uniform(-1, 4, count), rng.uniform(0, 1, count), rng.uniform(0.5, 3, count)
        found = assortment.priced(a, c, b, most)
        tried = max(
            closed_form.sensitivity_optimum(a[list(s)], c[list(s)], b[list(s)]).profit.sum()
            for s in combinations(range(count), most)
        )
        assert found.profit == pytest.approx(tried, rel=1e-9)
