import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malles_env.errors import InvalidInput
from malles_env.market import MeanField
from tests.market.markets import duopoly, random_actions, random_market

SEEDS = st.integers(0, 10_000)
SAME = (
    "demand",
    "units",
    "lost_sales",
    "revenue",
    "cost",
    "fees",
    "profit",
    "share",
    "seller_profit",
    "consumer_surplus",
    "outside",
    "mean_field",
    "residual",
    "iterations",
)


@pytest.mark.parametrize(("price", "profit"), [(1.47292666, 0.22292666), (1.92498092, 0.33749046)])
def test_textbook_duopoly(price, profit):
    """Calvano et al. (2020): profits at the Bertrand-Nash and at the joint monopoly price."""
    outcome = duopoly().step(price, True)
    np.testing.assert_allclose(outcome.profit, profit, atol=5e-9)


@given(SEEDS, st.sampled_from([1, 5, 70]), st.booleans(), st.sampled_from(["lagged", "equilibrium"]))
def test_kernel_equals_the_numpy_formulas(seed, num_markets, linear, coupling):
    options = {
        "seed": seed,
        "linear": linear,
        "num_markets": num_markets,
        "demand": "expected",
        "stock": 400.0,
        "fee": 0.5,
        "mean_field": MeanField(window=3, coupling=coupling),
    }
    fast, asked = random_market(**options), random_market(asked=True, **options)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        prices, listed = random_actions(rng, fast)
        here, there = fast.step(prices, listed), asked.step(prices, listed)
        for name in SAME:  # sums in another order may end the iteration one round earlier or later
            atol = 1 if name == "iterations" else 1e-9
            np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-9, atol=atol, err_msg=name)
        np.testing.assert_allclose(fast.loyalty, asked.loyalty, atol=1e-10)
        np.testing.assert_allclose(fast.state.mean_field, asked.state.mean_field, atol=1e-10)


@given(
    SEEDS,
    st.sampled_from(["multinomial", "gaussian", "expected", "exact"]),
    st.sampled_from(["lagged", "equilibrium"]),
)
def test_books_balance(seed, demand, coupling):
    market = random_market(
        seed, demand=demand, num_markets=3, stock=150.0, fee=1.25, mean_field=MeanField(coupling=coupling)
    )
    market.reset(seed)
    rng = np.random.default_rng(seed)
    bought = np.zeros_like(market.state.stock)
    for _ in range(5):
        prices, listed = random_actions(rng, market)
        before = market.state.stock.copy()
        outcome = market.step(prices, listed)
        assert np.all(outcome.units[~listed] == 0)
        assert np.all(outcome.demand[~listed] == 0)
        assert np.all(outcome.units <= before)
        np.testing.assert_array_equal(outcome.lost_sales, outcome.demand - outcome.units)
        np.testing.assert_allclose(market.state.stock, before - outcome.units, atol=1e-9)
        cents = np.round(100 * (outcome.units * prices - outcome.units * market.catalog.unit_cost - 1.25 * listed))
        np.testing.assert_allclose(np.round(100 * outcome.profit), cents, atol=1)
        np.testing.assert_allclose(outcome.seller_profit.sum(axis=1), outcome.profit.sum(axis=1), atol=1e-8)
        np.testing.assert_allclose(market.loyalty.sum(axis=2), 1.0, atol=1e-9)
        assert np.all(market.loyalty >= -1e-12)
        np.testing.assert_allclose(outcome.share.sum(axis=1), 1.0, atol=1e-9)
        if demand != "expected":
            np.testing.assert_array_equal(outcome.demand, np.round(outcome.demand))
        bought += outcome.units
    np.testing.assert_allclose(bought + market.state.stock, 150.0, atol=1e-6)


def test_stock_at_zero_closes_the_product():
    market = random_market(3, demand="expected", stock=1.0)
    first = market.step(market.catalog.regular_price, True)
    assert np.all(market.state.stock == 0)
    assert np.all(first.lost_sales > 0)
    second = market.step(market.catalog.regular_price, True)
    assert np.all(second.demand == 0)
    assert second.outside == pytest.approx(1.0)


def test_same_seed_same_trajectory_and_distinct_streams():
    def run(seed, **options):
        market = random_market(1, num_markets=4, **options)
        market.reset(seed)
        rng = np.random.default_rng(0)
        price, listed = (np.repeat(part[:1], 4, axis=0) for part in random_actions(rng, market))
        return np.stack([market.step(price, listed).units for _ in range(20)])

    one = run(5)
    np.testing.assert_array_equal(one, run(5))
    assert not np.array_equal(one, run(6))
    assert not np.array_equal(one[:, 0], one[:, 1])
    np.testing.assert_array_equal(one[:, 1], run(6)[:, 0])  # market b is seeded with seed + b


def test_batch_members_do_not_influence_each_other():
    alone, many = random_market(2), random_market(2, num_markets=40)
    alone.reset(11)
    many.reset(11)
    rng = np.random.default_rng(0)
    for _ in range(20):
        prices, listed = random_actions(rng, many)
        here, there = alone.step(prices[:1], listed[:1]), many.step(prices, listed)
        np.testing.assert_allclose(here.units[0], there.units[0], rtol=1e-12)


def test_threads_change_no_number():
    one, two = random_market(2, num_markets=200), random_market(2, num_markets=200)
    two.threads = 3
    rng = np.random.default_rng(0)
    for market in (one, two):
        market.reset(5)
    for _ in range(5):
        prices, listed = random_actions(rng, one)
        here, there = one.step(prices, listed), two.step(prices, listed)
        for name in SAME:
            np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    np.testing.assert_array_equal(one.loyalty, two.loyalty)


def test_partial_reset_keeps_the_others():
    market = random_market(2, num_markets=3)
    market.reset(1)
    market.step(market.catalog.regular_price, True)
    before = market.loyalty
    market.reset(markets=np.array([False, True, False]))
    np.testing.assert_array_equal(market.state.period, [1, 0, 1])
    np.testing.assert_array_equal(market.loyalty[[0, 2]], before[[0, 2]])
    np.testing.assert_allclose(market.loyalty[1], market.population.initial_loyalty)


def test_pickle_in_the_middle_continues_the_same():
    market = random_market(2, num_markets=2)
    market.reset(3)
    market.step(market.catalog.regular_price, True)
    copy = pickle.loads(pickle.dumps(market))
    for _ in range(5):
        np.testing.assert_array_equal(
            market.step(market.catalog.regular_price, True).units,
            copy.step(copy.catalog.regular_price, True).units,
        )


@pytest.mark.parametrize("demand", ["multinomial", "gaussian", "exact"])
def test_sampled_demand_has_the_expected_mean(demand):
    draws, size = 4000, 500.0
    sampled = random_market(4, num_markets=draws, demand=demand, size=size)
    sampled.reset(0)
    outcome = sampled.step(sampled.catalog.regular_price, True)
    expected = random_market(4, demand="expected", size=size).step(sampled.catalog.regular_price, True)
    error = outcome.units.std(axis=0) / np.sqrt(draws)
    assert np.all(np.abs(outcome.units.mean(axis=0) - expected.units[0]) < 4.5 * error + 0.02)


def test_noise_of_buyers():
    """Drawing each consumer from the segments gives N p (1 - p); fixed segment sizes can only give less."""
    variance = {}
    for demand in ("multinomial", "gaussian", "exact"):
        market = random_market(4, num_markets=6000, demand=demand, quantities=False)
        market.reset(1)
        variance[demand] = market.step(market.catalog.regular_price, True).units.var(axis=0)
    mean = random_market(4, demand="expected", quantities=False).step(market.catalog.regular_price, True).units[0]
    binomial = mean * (1 - mean / 1000)
    tolerance = 5 * np.sqrt(2 / 6000)  # five standard errors of a sample variance
    np.testing.assert_allclose(variance["multinomial"], binomial, rtol=tolerance)
    np.testing.assert_allclose(variance["gaussian"], binomial + 1 / 12, rtol=tolerance)
    assert np.all(variance["exact"] < binomial * (1 + tolerance))


@pytest.mark.parametrize(
    ("prices", "listed", "message"),
    [
        (np.nan, True, r"prices\[0\]\[0\]: got nan"),
        (np.inf, True, r"prices\[0\]\[0\]: got inf"),
        (-1.0, True, r"prices\[0\]\[0\]: got -1.0; allowed: finite numbers from"),
        (np.ones(3), True, r"prices: got array.*shape \(1, 2\)"),
        (1.5, np.ones(3, bool), r"listed: got \(3,\)"),
    ],
)
def test_bad_actions_are_named(prices, listed, message):
    with pytest.raises(InvalidInput, match=message):
        duopoly().step(prices, listed)


def test_shelf_capacity_is_enforced():
    from dataclasses import replace

    market = random_market(0)
    market.catalog = replace(market.catalog, capacity={"seller_0": 1})
    with pytest.raises(InvalidInput, match="listed products of seller_0: got 2; allowed: at most 1"):
        market.step(market.catalog.regular_price, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"demand": "normal"}, "demand: got 'normal'; allowed: multinomial"),
        ({"num_markets": 0}, "num_markets: got 0"),
        ({"initial_mean_field": [0.5, np.nan]}, r"initial_mean_field\[1\]: got nan"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(InvalidInput, match=message):
        duopoly(**options)


def test_bad_seed_is_named():
    with pytest.raises(InvalidInput, match="seed: got -1"):
        duopoly().reset(-1)
    with pytest.raises(InvalidInput, match="seeds"):
        duopoly().reset([1, 2])
