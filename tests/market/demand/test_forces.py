"""Promotion, reference prices in logs, fading inertia, long-run shares, seasons, and what follows from them."""

from dataclasses import replace

import numpy as np
import pytest

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import (
    Catalog,
    Dynamics,
    Market,
    MeanField,
    Offer,
    PooledMarket,
    Pooling,
    Population,
    Product,
    Tastes,
)
from malles_env.market.demand.choice import respond
from malles_env.market.generic_step import DrawnConsumers
from malles_env.market.solvers.game import Game, steady_loyalty
from tests.market.markets import random_market, random_tastes


class Drawn(LogitConsumers):
    """Consumers with several tastes."""

    def __init__(self, draws):
        super().__init__(draws[0])
        object.__setattr__(self, "draws", tuple(draws))


def forced(rng, segments=5, products=6):
    """Random tastes with every force, three sensitivity classes."""
    plain, of = random_tastes(rng, segments, products), rng.integers(0, 3, segments)
    by_product = [rng.uniform(0, 3, (3, products))[of] for _ in range(2)]
    shown = [rng.normal(0.4, 0.3, 3)[of] for _ in range(2)]
    return replace(plain, gain=by_product[0], loss=by_product[1], display=shown[0], feature=shown[1])


ALL = Dynamics(reference_memory=0.7, fade=0.1, season_sd=0.3, season_persistence=0.5)


def forced_market(seed=0, draws=1, **options):
    rng = np.random.default_rng(seed + 1000)
    shell = random_market(seed)
    consumers = Drawn([forced(rng) for _ in range(draws)])
    settings = {"mean_field": MeanField(3, centre="long_run", long_run=6.0), "dynamics": ALL} | options
    start = rng.dirichlet(np.ones(shell.num_products))
    return Market(shell.catalog, shell.population, consumers, initial_mean_field=start, **settings)


@pytest.mark.parametrize("coupling", ["lagged", "equilibrium"])
def test_the_kernel_plays_the_formulas_with_every_force_and_draw(coupling):
    field = MeanField(3, coupling, centre="long_run", long_run=6.0)
    market = forced_market(draws=3, num_markets=150, demand="expected", tastes="draws", mean_field=field)
    market.reset(5)
    rng, shape = np.random.default_rng(0), (150, market.num_products)
    log_regular, weights = np.log(market.catalog.regular_price), market.population.weights
    assert len(np.unique(market.state.draw)) == 3
    for _ in range(5):
        prices, listed = market.catalog.regular_price * rng.uniform(0.5, 1.5, shape), rng.random(shape) < 0.8
        flags = rng.random((2, *shape)) < 0.3
        before, loyalty = market.state.copy(), market.loyalty
        outcome = market.step(prices, listed, *flags)
        offer = Offer(
            prices, listed, market.catalog.regular_price, outcome.mean_field, loyalty, *flags,
            before.log_reference + log_regular, before.centre,
        )  # fmt: skip
        answer = DrawnConsumers(market.consumers.draws, market.state.draw).respond(offer)
        chosen = np.einsum("s,bsj->bj", weights, answer.probability[:, :, 1:])
        units = np.einsum("s,bsj->bj", weights, answer.probability[:, :, 1:] * answer.quantity)
        np.testing.assert_allclose(outcome.demand, market.population.size * units, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(outcome.outside, answer.probability[:, :, 0] @ weights, atol=1e-9)
        total = answer.surplus @ weights * market.population.size
        np.testing.assert_allclose(outcome.consumer_surplus, total, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(market.loyalty, ALL.faded(answer.loyalty), atol=1e-9)
        share = chosen / chosen.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(market.state.centre, before.centre + (share - before.centre) / 6.0, atol=1e-9)
        seen = np.log(prices / market.catalog.regular_price)
        moved = np.where(listed, 0.7 * before.log_reference + 0.3 * seen, before.log_reference)
        np.testing.assert_allclose(market.state.log_reference, moved, atol=1e-9)


@pytest.mark.parametrize("demand", ["multinomial", "gaussian", "exact", "expected"])
def test_a_market_is_the_same_alone_and_in_a_batch(demand):
    batch = forced_market(draws=4, num_markets=70, demand=demand, tastes="draws")
    batch.reset(3)
    alone = forced_market(draws=4, num_markets=1, demand=demand, tastes="draws")
    alone.reset(3 + 41)
    assert batch.state.draw[41] == alone.state.draw[0]
    listed = np.ones(batch.num_products, dtype=bool)
    for _ in range(4):
        many, one = batch.step(batch.catalog.regular_price, listed, listed), None
        one = alone.step(alone.catalog.regular_price, listed, listed)
        np.testing.assert_allclose(one.units[0], many.units[41], rtol=1e-9)
        np.testing.assert_allclose(alone.loyalty[0], batch.loyalty[41], atol=1e-12)
    chosen = np.arange(70) == 41
    others = batch.loyalty[~chosen]
    batch.reset(markets=chosen)  # a new draw moves the market to another block; nobody else notices
    np.testing.assert_array_equal(batch.loyalty[~chosen], others)
    np.testing.assert_allclose(batch.loyalty[41], batch.population.initial_loyalty)


def test_every_draw_comes_up_alike():
    market = forced_market(draws=4, num_markets=2000, demand="expected", tastes="draws")
    market.reset(0)
    counts = np.bincount(market.state.draw, minlength=4)
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # chi-square with 3 degrees of freedom, .999
    first = market.state.draw.copy()
    market.reset()
    assert (market.state.draw != first).any()
    market.reset(0)
    np.testing.assert_array_equal(market.state.draw, first)


def test_unserved_buyers_keep_their_last_purchase_under_every_force():
    shell, rng = random_market(3, stock=40.0), np.random.default_rng(3)
    tastes = forced(rng)
    market = Market(shell.catalog, shell.population, LogitConsumers(tastes), demand="expected", dynamics=ALL)
    offer = Offer(
        market.catalog.regular_price[None] * 0.8, np.ones((1, 6), bool), market.catalog.regular_price,
        market.state.mean_field.copy(), market.loyalty,
        reference=np.log(market.catalog.regular_price)[None], centre=market.state.centre.copy(),
    )  # fmt: skip
    outcome = market.step(offer.prices, True)
    assert (outcome.lost_sales > 0).any()
    answer = respond(tastes, offer)
    lost = answer.probability[:, :, 1:] * (outcome.lost_sales / outcome.demand)[:, None]
    after = answer.loyalty.copy()
    after[:, :, 1:] -= lost
    after += lost.sum(axis=2, keepdims=True) * offer.loyalty
    np.testing.assert_allclose(market.loyalty, ALL.faded(after), atol=1e-9)


# -- reference prices ---------------------------------------------------------------------------------------------


def average_profit(gain, loss, grid, periods=160):
    """Average profit of every two-price cycle over `grid`, shape ``(len(grid), len(grid))``."""
    catalog = Catalog((Product("p", "seller", 1.0, 2.0, 0.5, 8.0),))
    tastes = Tastes(alpha=np.array([[0.5]]), beta=2.5, gain=gain, loss=loss)
    first, second = (side.reshape(-1, 1) for side in np.meshgrid(grid, grid, indexing="ij"))
    market = Market(
        catalog, Population.uniform(1), LogitConsumers(tastes), num_markets=len(first), demand="expected",
        dynamics=Dynamics(reference_memory=0.6),
    )  # fmt: skip
    earned = [market.step(first if t % 2 == 0 else second, True).profit[:, 0] for t in range(periods)]
    return np.mean(earned[-60:], axis=0).reshape(len(grid), len(grid))


def test_equal_gain_and_loss_make_a_constant_price_best_and_a_larger_gain_makes_cycles():
    grid = np.linspace(1.2, 4.0, 57)
    same, seeking = average_profit(1.0, 1.0, grid), average_profit(2.3, 0.7, grid)
    best = np.unravel_index(same.argmax(), same.shape)
    assert best[0] == best[1]
    low, high = sorted(grid[np.array(np.unravel_index(seeking.argmax(), seeking.shape))])
    assert low < high
    assert seeking.max() > 1.02 * np.diag(seeking).max()


def test_a_strength_beside_log_prices_is_a_symmetric_gain_and_loss():
    from malles_env.market import ReferencePrice

    shell = random_market(1)
    tastes = random_tastes(np.random.default_rng(1), 5, 6)
    options = {"demand": "expected", "num_markets": 2}
    folded = Market(
        shell.catalog, shell.population, LogitConsumers(tastes), reference_price=ReferencePrice(0.5, 0.8), **options
    )
    given = Market(shell.catalog, shell.population, LogitConsumers(tastes.comparing(0.5)), **options)
    for factor in (0.4, 1.0, 1.3):
        prices = factor * shell.catalog.regular_price
        np.testing.assert_allclose(folded.step(prices, True).demand, given.step(prices, True).demand, rtol=1e-12)
    # The exploit of a felt price in money is gone: after dear weeks a deep cut sells what the formula says.
    np.testing.assert_allclose(tastes.comparing(0.5).gain, 0.5 * tastes.beta)


# -- long-run shares, fading, seasons -----------------------------------------------------------------------------


def test_momentum_fades_and_leaves_the_elasticity_without_coupling():
    def response(rho, centre, week):
        catalog = Catalog(tuple(Product(f"p{j}", f"seller_{j}", 1.0, 2.0) for j in range(3)))
        tastes = Tastes(alpha=np.zeros((1, 3)), beta=2.0, rho=rho)
        market = Market(
            catalog, Population.uniform(3), LogitConsumers(tastes), num_markets=2, demand="expected",
            mean_field=MeanField(8, centre=centre, long_run=10.0),
        )  # fmt: skip
        prices = np.full((2, 3), 2.0)
        prices[1, 0] = 1.98
        for _ in range(week):
            units = market.step(prices, True).units[:, 0]
        return float(np.log(units[1] / units[0]) / np.log(0.99))

    base = response(0.0, "uniform", 2)
    assert response(1.9, "long_run", 200) == pytest.approx(base, rel=1e-3)
    assert abs(response(1.9, "uniform", 200)) > 1.3 * abs(base)  # the permanent externality of the textbook form
    assert abs(response(1.9, "long_run", 9)) > 1.05 * abs(base)  # momentum, while it lasts


@pytest.mark.parametrize("fade", [0.0, 0.1, 0.6])
def test_steady_loyalty_repeats_itself(fade):
    rng = np.random.default_rng(0)
    tastes = random_tastes(rng, 4, 5, rho=0.0)
    offer = Offer(
        rng.uniform(1, 3, (2, 5)), rng.random((2, 5)) < 0.8, np.full(5, 2.0), np.full((2, 5), 0.2),
        rng.dirichlet(np.ones(6), (2, 4)),
    )  # fmt: skip
    settled = steady_loyalty(tastes, offer, fade)
    after = Dynamics(fade=fade).faded(respond(tastes, replace(offer, loyalty=settled)).loyalty)
    np.testing.assert_allclose(after, settled, atol=1e-12)


def test_the_game_is_where_the_market_settles_under_every_force():
    market = forced_market(demand="expected", dynamics=replace(ALL, season_sd=0.0))
    prices = 0.9 * market.catalog.regular_price
    for _ in range(400):
        outcome = market.step(prices, True)
    steady = Game.of(market).product_profit(prices)
    np.testing.assert_allclose(outcome.profit, steady, rtol=1e-6)


def test_seasons_average_out_and_remember():
    market = forced_market(num_markets=4000, demand="gaussian")
    market.reset(1)
    factors = []
    for _ in range(6):
        factors.append(market.dynamics.traffic(market.state.season))
        market.step(market.catalog.regular_price, True)
    levels = np.array(factors)
    error = levels.mean(axis=0).std() / np.sqrt(4000)
    assert abs(levels.mean() - 1.0) < 4 * error
    logs = np.log(levels) + 0.5 * ALL.season_sd**2
    assert logs[0].std() == pytest.approx(0.3, rel=0.05)  # one standard error is 1.1%
    assert np.corrcoef(logs[2], logs[3])[0, 1] == pytest.approx(0.5, abs=0.05)
    calm = forced_market(num_markets=3, demand="expected")
    first, again = calm.step(2.0, True), forced_market(num_markets=3, demand="expected").step(2.0, True)
    np.testing.assert_array_equal(first.units, again.units)
    np.testing.assert_array_equal(first.units[0], first.units[1])


@pytest.mark.parametrize("kind", ["tastes", "asked", "cells"])
def test_a_state_put_back_plays_the_same_period_again(kind):
    """Traffic follows from the season of the state, also in the first period after a state was put back."""
    market = forced_market(num_markets=4, demand="exact" if kind == "asked" else "gaussian")
    if kind == "cells":
        market = PooledMarket(market, Pooling(2), groups=2, sizes=[0.3, 0.7], demand="gaussian")
    market.reset(3)
    kept = market.state.copy()
    prices = market.catalog.regular_price
    first = [market.step(prices, True) for _ in range(3)]
    market.state = kept
    again = [market.step(prices, True) for _ in range(3)]
    for one, other in zip(first, again, strict=True):
        for name in ("demand", "seller_profit", "consumer_surplus", "share", "outside"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=name)


# -- what is refused ----------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_named():
    shell, rng = random_market(0), np.random.default_rng(0)
    parts = shell.catalog, shell.population
    with pytest.raises(InvalidInput, match="tastes: got 'draws'; allowed: 'mean'"):
        Market(*parts, shell.consumers, tastes="draws")
    with pytest.raises(InvalidInput, match="tastes: got 'median'"):
        Market(*parts, shell.consumers, tastes="median")
    wrong = Drawn([forced(rng), forced(rng, 4)])
    with pytest.raises(InvalidInput, match=r"draws\[1\] \(segments, products\): got \(4, 6\)"):
        Market(*parts, wrong, tastes="draws")
    with pytest.raises(InvalidInput, match=r"tastes\.gain.*with linear prices"):
        Tastes(alpha=np.zeros((1, 2)), beta=1.0, gain=1.0, price_transform="linear")
    with pytest.raises(InvalidInput, match=r"tastes\.loss\[0\]\[1\]: got nan"):
        Tastes(alpha=np.zeros((1, 2)), beta=1.0, loss=np.array([[0.0, np.nan]]))
    with pytest.raises(InvalidInput, match=r"dynamics\.fade: got 1\.0; allowed: at least 0 and less than 1"):
        Dynamics(fade=1.0)
    with pytest.raises(InvalidInput, match=r"dynamics\.season_sd: got nan"):
        Dynamics(season_sd=float("nan"))
    with pytest.raises(InvalidInput, match=r"mean_field\.centre: got 'median'"):
        MeanField(centre="median")
    with pytest.raises(InvalidInput, match=r"display: got \(7,\)"):
        shell.step(2.0, True, display=np.ones(7))
