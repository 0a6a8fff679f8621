"""Markets in groups: one cell is `Market`, two equal cells are one market, and money and stock add up."""

from __future__ import annotations

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.market import Dynamics, MeanField, PooledMarket, Pooling, ReferencePrice
from tests.market.markets import random_actions, random_market

FIELDS = ("demand", "units", "lost_sales", "revenue", "fees", "profit", "share", "seller_profit", "mean_field")
ALONE = Pooling()
HALVES = Pooling(cells=2)
KINDS = {
    "plain": {},
    "stock": {"stock": 900.0, "fee": 3.0},
    "population shares": {"mean_field": MeanField(shares="population", window=3)},
    "long-run centre": {"mean_field": MeanField(centre="long_run", window=4)},
    "equilibrium": {"mean_field": MeanField(coupling="equilibrium")},
    "memories": {
        "reference_price": ReferencePrice(0.5),
        "dynamics": Dynamics(reference_memory=0.7, fade=0.3, season_sd=0.3, season_persistence=0.6),
    },
    "pantry": {"pantry": 0.4, "stock": 3000.0, "usual_prices": 2.0, "mean_field": MeanField(coupling="equilibrium")},
    "linear memories": {"linear": True, "reference_price": ReferencePrice(0.5)},
}


@pytest.mark.parametrize("demand", ["multinomial", "gaussian", "expected"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_cell_of_size_one_is_a_market(kind: str, demand: str) -> None:
    market = random_market(num_markets=3, demand=demand, **KINDS[kind])
    pooled = PooledMarket(market, ALONE, groups=3, demand=demand)
    market.reset(seeds=7)
    pooled.reset(seeds=7)
    rng = np.random.default_rng(1)
    for _ in range(12):
        prices, listed = random_actions(rng, market)
        one, other = market.step(prices, listed), pooled.step(prices, listed)
        for name in FIELDS:
            np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(pooled.loyalty, market.loyalty, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(pooled.state.centre, market.state.centre, rtol=1e-9)
        np.testing.assert_allclose(pooled.log_reference, market.log_reference, atol=1e-12)
        np.testing.assert_allclose(pooled.state.pantry, market.state.pantry, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_at_the_same_prices_are_one_market_split_in_two(kind: str) -> None:
    market = random_market(demand="expected", **KINDS[kind])
    pooled = PooledMarket(market, HALVES, groups=1, sizes=[0.3, 0.7], demand="expected")
    rng = np.random.default_rng(1)
    for _ in range(12):
        prices, listed = random_actions(rng, market)
        one, other = market.step(prices, listed), pooled.step(prices.repeat(2, axis=0), listed.repeat(2, axis=0))
        for name in ("demand", "units", "lost_sales", "revenue", "fees", "profit", "seller_profit"):
            halves = getattr(other, name)
            np.testing.assert_allclose(halves.sum(0), getattr(one, name)[0], rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(other.share, one.share.repeat(2, axis=0), rtol=1e-9)
        np.testing.assert_allclose(pooled.state.stock, market.state.stock.repeat(2, axis=0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(pooled.loyalty, market.loyalty.repeat(2, axis=0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(pooled.state.pantry, market.state.pantry.repeat(2, axis=0), rtol=1e-9, atol=1e-9)


def test_a_cell_of_size_zero_does_not_matter() -> None:
    market = random_market(demand="expected", stock=900.0)
    pooled = PooledMarket(market, HALVES, groups=1, sizes=[0.0, 1.0], demand="expected")
    rng = np.random.default_rng(1)
    for _ in range(12):
        prices, listed = random_actions(rng, market)
        both = np.concatenate([prices * 1.3, prices])
        one, other = market.step(prices, listed), pooled.step(both, listed.repeat(2, axis=0))
        np.testing.assert_allclose(other.profit[1], one.profit[0], rtol=1e-9, atol=1e-9)
        assert other.units[0].sum() == 0.0


def test_cells_without_anything_in_common_are_markets_of_their_own() -> None:
    market = random_market(num_markets=4, demand="multinomial", stock=900.0)
    pooled = PooledMarket(market, Pooling(4, 0.0, one_stock=False, one_season=False), groups=1)
    market.reset(seeds=3)
    pooled.reset(seeds=3)
    rng = np.random.default_rng(2)
    for _ in range(12):
        actions = random_actions(rng, market)
        np.testing.assert_allclose(pooled.step(*actions).profit, market.step(*actions).profit, rtol=1e-12)


def test_one_stock_is_shared_in_whole_units_and_never_negative() -> None:
    market = random_market(stock=701.0)
    pooled = PooledMarket(market, Pooling(3), groups=5, sizes=[0.2, 0.3, 0.5])
    pooled.reset(seeds=0)
    rng, sold, short = np.random.default_rng(3), 0.0, 0.0
    for _ in range(20):
        outcome = pooled.step(*random_actions(rng, pooled))
        units = outcome.units.reshape(5, 3, -1)
        sold, short = sold + units.sum(1), short + outcome.lost_sales.sum()
        assert (units == np.round(units)).all()
        assert (outcome.units <= outcome.demand).all()
        np.testing.assert_allclose(pooled.state.stock.reshape(5, 3, -1), (701.0 - sold)[:, None].repeat(3, axis=1))
    assert short > 0
    assert pooled.state.stock.min() >= 0.0


def test_spillover_mixes_own_and_common_shares() -> None:
    market = random_market(demand="expected", mean_field=MeanField(window=1))
    pooled = PooledMarket(market, Pooling(2, 0.25, one_stock=False), groups=1, demand="expected")
    alone = random_market(num_markets=2, demand="expected", mean_field=MeanField(window=1))
    actions = random_actions(np.random.default_rng(4), alone)
    first = alone.step(*actions)
    own, buyers = first.share, 1.0 - first.outside
    common = buyers @ own / buyers.sum()
    np.testing.assert_allclose(pooled.step(*actions).share, 0.75 * own + 0.25 * common, rtol=1e-9)
    np.testing.assert_allclose(pooled.state.mean_field, 0.75 * own + 0.25 * common, rtol=1e-9)


def test_what_a_pooled_market_refuses() -> None:
    market = random_market()
    with pytest.raises(InvalidInput, match=r"pooling\.spillover: got 1\.2"):
        Pooling(2, 1.2)
    with pytest.raises(InvalidInput, match=r"pooling\.cells: got 0"):
        Pooling(0)
    with pytest.raises(InvalidInput, match="demand: got 'exact'"):
        PooledMarket(market, HALVES, groups=1, demand="exact")
    with pytest.raises(InvalidInput, match="sizes"):
        PooledMarket(market, HALVES, groups=1, sizes=[0.5, -0.5])
    with pytest.raises(InvalidInput, match="consumers: got 'Asked'"):
        PooledMarket(random_market(asked=True), HALVES, groups=1)
    pooled = PooledMarket(market, HALVES, groups=2)
    with pytest.raises(InvalidInput, match="whole groups of 2"):
        pooled.reset(markets=np.array([True, False, True, True]))
