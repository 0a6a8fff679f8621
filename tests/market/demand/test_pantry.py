"""Pantries: the kernel against the formulas, closed forms, dips after deals, and what lasts of a price cut."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Dynamics, Market, MeanField, Offer, Population, Product, Tastes, elasticities
from malles_env.market.demand.choice import respond
from malles_env.market.demand.pantry import Pantry, pantry_of, units_per_consumer
from malles_env.market.generic_step import DrawnConsumers
from malles_env.market.pooled import PooledMarket, Pooling
from malles_env.market.solvers.game import Game, settle_offer, steady_pantry
from tests.market.demand.test_forces import ALL, Drawn, forced
from tests.market.markets import Asked, random_actions, random_market, random_tastes

KEEPING = replace(ALL, pantry_keep=0.7)
CALM = replace(KEEPING, season_sd=0.0)


def stored_market(seed=0, draws=1, loyal=True, **options):
    """A market with every force and a pantry, three sensitivity classes."""
    rng = np.random.default_rng(seed + 500)
    shell = random_market(seed, stock=options.pop("stock", np.inf))
    tastes = [replace(forced(rng), pantry=rng.uniform(0.0, 0.6, 5)) for _ in range(draws)]
    tastes = tastes if loyal else [replace(one, lambda_=0.0) for one in tastes]
    settings = {"mean_field": MeanField(3, centre="long_run", long_run=6.0), "dynamics": KEEPING} | options
    start = rng.dirichlet(np.ones(shell.num_products))
    usual = shell.catalog.regular_price * rng.uniform(0.7, 1.0, shell.num_products)
    return Market(
        shell.catalog, shell.population, Drawn(tastes), initial_mean_field=start, usual_prices=usual, **settings
    )


def shop(theta=0.4, keep=0.7, beta=2.0, **options):
    """One segment, one product: everything in closed form."""
    catalog = Catalog((Product("p", "seller", 1.0, 2.0, 0.5, 8.0),))
    consumers = LogitConsumers(Tastes(alpha=[[0.3]], beta=beta, kappa=-0.5, pantry=theta))
    settings = {"demand": "expected", "dynamics": Dynamics(pantry_keep=keep)} | options
    return Market(catalog, Population.uniform(1), consumers, **settings)


# -- kernel and formulas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loyal", [True, False])
@pytest.mark.parametrize("coupling", ["lagged", "equilibrium"])
def test_the_kernel_plays_the_formulas_for_a_year(coupling, loyal):
    field = MeanField(3, coupling, centre="long_run", long_run=6.0)
    market = stored_market(draws=3, loyal=loyal, num_markets=90, demand="expected", tastes="draws", mean_field=field)
    market.reset(5)
    rng, shape = np.random.default_rng(0), (90, market.num_products)
    catalog, population = market.catalog, market.population
    draws, draw = market.consumers.draws, market.state.draw.copy()
    assert len(np.unique(draw)) == 3
    pantry = pantry_of(
        draws, 0.7, population, catalog.regular_price, market.usual_prices, market.initial_mean_field, field
    )
    stock, size = np.zeros((90, 5)), population.size
    for _ in range(52):
        prices, listed = catalog.regular_price * rng.uniform(0.5, 1.5, shape), rng.random(shape) < 0.8
        flags = rng.random((2, *shape)) < 0.3
        before, loyalty = market.state.copy(), market.loyalty
        outcome = market.step(prices, listed, *flags)
        offer = Offer(
            prices, listed, catalog.regular_price, outcome.mean_field, loyalty, *flags,
            before.log_reference + np.log(catalog.regular_price), before.centre, stock,
        )  # fmt: skip
        answer = DrawnConsumers(draws, draw).respond(offer)
        units = np.einsum("s,bsj->bj", population.weights, answer.probability[:, :, 1:] * answer.quantity)
        np.testing.assert_allclose(outcome.demand, size * units, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(outcome.outside, answer.probability[:, :, 0] @ population.weights, rtol=1e-9)
        surplus = answer.surplus @ population.weights * size
        np.testing.assert_allclose(outcome.consumer_surplus, surplus, rtol=1e-9, atol=1e-8)
        after = CALM.faded(answer.loyalty) if loyal else loyalty  # nobody loyal: nobody counts
        np.testing.assert_allclose(market.loyalty, after, atol=1e-9)
        stock = pantry.of(draw).moved(stock, answer)
        np.testing.assert_allclose(market.state.pantry, stock, rtol=1e-9, atol=1e-9)
    assert stock.std() > 0.2 and stock.min() > -1.0 / 0.3


@pytest.mark.parametrize("demand", ["multinomial", "gaussian", "exact", "expected"])
def test_a_market_is_the_same_alone_in_a_batch_and_on_threads(demand):
    make = {"draws": 4, "demand": demand, "tastes": "draws"}
    batch, threaded, alone = (stored_market(num_markets=b, **make) for b in (70, 70, 1))
    threaded.threads = 3
    for market, seed in ((batch, 3), (threaded, 3), (alone, 3 + 41)):
        market.reset(seed)
    prices = 0.8 * batch.catalog.regular_price
    for _ in range(5):
        many, same, one = (market.step(prices, True) for market in (batch, threaded, alone))
        np.testing.assert_array_equal(same.units, many.units)
        np.testing.assert_allclose(one.units[0], many.units[41], rtol=1e-9)
    np.testing.assert_array_equal(threaded.state.pantry, batch.state.pantry)
    np.testing.assert_allclose(alone.state.pantry[0], batch.state.pantry[41], rtol=1e-9)


@pytest.mark.parametrize("coupling", ["lagged", "equilibrium"])
def test_groups_of_cells_keep_pantries(coupling):
    market = stored_market(demand="expected", dynamics=CALM, mean_field=MeanField(3, coupling))
    pooled = PooledMarket(market, Pooling(cells=2), groups=1, sizes=[0.3, 0.7], demand="expected")
    rng = np.random.default_rng(1)
    for _ in range(8):
        prices, listed = random_actions(rng, market)
        market.step(prices, listed)
        pooled.step(prices.repeat(2, axis=0), listed.repeat(2, axis=0))
        np.testing.assert_allclose(pooled.state.pantry, market.state.pantry.repeat(2, axis=0), rtol=1e-7, atol=1e-7)
    assert np.abs(market.state.pantry).max() > 0.05


def test_exact_draws_fill_the_same_pantries():
    exact, mean = stored_market(demand="exact", dynamics=CALM), stored_market(demand="expected", dynamics=CALM)
    for market in (exact, mean):  # the first period feels the same mean field; later ones feel the draws
        market.step(0.7 * market.catalog.regular_price, True)
    np.testing.assert_allclose(exact.state.pantry, mean.state.pantry, rtol=1e-9)


@pytest.mark.parametrize("loyal", [True, False])
@pytest.mark.parametrize("demand", ["expected", "exact"])
def test_what_was_not_served_does_not_come_home(demand, loyal):
    market = stored_market(3, stock=60.0, demand=demand, loyal=loyal)
    regular, tastes = market.catalog.regular_price, market.consumers.draws[0]
    first, field, loyalty = market.state.copy(), market.state.mean_field.copy(), market.loyalty
    outcome = market.step(0.6 * regular, True)
    assert (outcome.lost_sales > 0).any() and (outcome.lost_sales < outcome.demand).all()
    offer = Offer(
        0.6 * regular[None], np.ones((1, 6), bool), regular, field, loyalty, reference=np.log(regular)[None],
        centre=first.centre,
    )  # fmt: skip
    answer = respond(tastes, offer)
    served = answer.probability[:, :, 1:] * answer.quantity * (outcome.units / outcome.demand)[:, None]
    usual = pantry_of(
        [tastes], 0.7, market.population, regular, market.usual_prices, market.initial_mean_field, market.mean_field
    ).usual
    np.testing.assert_allclose(market.state.pantry, served.sum(axis=2) / usual - 1.0, atol=1e-9)


def test_no_theta_is_no_pantry_and_no_keep_remembers_one_period():
    plain, empty = stored_market(demand="expected"), stored_market(demand="expected")
    none = [replace(tastes, pantry=0.0) for tastes in plain.consumers.draws]
    bare = Market(
        plain.catalog, plain.population, Drawn(none), demand="expected", mean_field=plain.mean_field,
        dynamics=plain.dynamics, initial_mean_field=plain.initial_mean_field,
    )  # fmt: skip
    assert bare._pantry is None
    first = [market.step(0.7 * market.catalog.regular_price, True) for market in (bare, plain, empty)]
    np.testing.assert_array_equal(first[0].demand, first[1].demand)  # the first period knows no stock
    later = [market.step(market.catalog.regular_price, True) for market in (bare, plain)]
    assert (later[0].demand > later[1].demand).all()
    np.testing.assert_array_equal(bare.state.pantry, 0.0)
    forgetful = shop(keep=0.0)
    x = [forgetful.step(price, True).units[0, 0] for price in (1.2, 1.7, 2.4)]
    usual = shop().step(2.0, True).units[0, 0]
    assert forgetful.state.pantry[0, 0] == pytest.approx(x[-1] / usual - 1.0, rel=1e-12)


def test_one_product_by_hand():
    market, stock, usual = shop(), 0.0, None
    for price in (2.0, 1.2, 2.0, 2.0, 3.0):
        worth = np.exp(0.3 - 2.0 * np.log(price / 2.0) - 0.4 * stock)
        units = worth / (1.0 + worth) * (1.0 + np.exp(-0.5))
        usual = usual or units
        assert market.step(price, True).units[0, 0] == pytest.approx(units, rel=1e-12)
        stock = 0.7 * stock + units / usual - 1.0
        assert market.state.pantry[0, 0] == pytest.approx(stock, abs=1e-12)


# -- what follows from it -------------------------------------------------------------------------------------------


def test_a_deal_borrows_from_the_weeks_after_it():
    market = shop(num_markets=2)
    prices = np.full((12, 2), 2.0)
    prices[2, 1] = 1.2
    units = np.array([market.step(row[:, None], True).units[:, 0] for row in prices])
    assert np.ptp(units[:, 0]) < 1e-12  # usual prices, usual units, week by week
    over = units[:, 1] / units[:, 0] - 1.0
    assert over[2] > 0.3 and (over[:2] == 0).all()
    assert over[3] < -0.05 and (np.diff(over[3:]) > 0).all() and over[11] > -0.01  # a dip that recovers
    borrowed = -over[3:].sum() / over[2]
    assert 0.2 < borrowed < 1.0


def test_a_lasting_price_settles_at_the_closed_form():
    market = shop()
    units = [market.step(1.5, True).units[0, 0] for _ in range(200)]
    usual, stock = shop().step(2.0, True).units[0, 0], market.state.pantry[0, 0]
    assert 0.3 * stock == pytest.approx(units[-1] / usual - 1.0, abs=1e-12)
    before = market.state.copy()
    market.step(1.5, True)
    assert market.state.pantry[0, 0] == pytest.approx(before.pantry[0, 0], abs=1e-12)
    worth = np.exp(0.3 - 2.0 * np.log(0.75) - 0.4 * stock)
    assert units[-1] == pytest.approx(worth / (1.0 + worth) * (1.0 + np.exp(-0.5)), rel=1e-12)
    nothing = shop()
    for _ in range(200):
        nothing.step(1.5, False)
    assert nothing.state.pantry[0, 0] == pytest.approx(-1.0 / 0.3)


def test_a_lasting_cut_sells_less_than_a_short_one():
    def units(periods, price):
        market = shop(theta=0.5)
        return [market.step(price, True).units[0, 0] for _ in range(periods)][-1]

    def elasticity(periods):
        return np.log(units(periods, 2.1 * 1.0001) / units(periods, 2.1 / 1.0001)) / np.log(1.0001**2)

    short, long = elasticity(1), elasticity(400)
    assert short < long < 0
    market = shop(theta=0.5)
    for _ in range(400):
        market.step(2.1, True)
    usual = shop().step(2.0, True).units[0, 0]
    level = market.step(2.1, True)
    damped = 0.3 / (0.3 + 0.5 * level.outside[0] * level.units[0, 0] / usual)
    assert long == pytest.approx(-2.0 * level.outside[0] * damped, rel=1e-6)
    assert abs(short) > 1.3 * abs(long)


@pytest.mark.parametrize("shares", ["buyers", "population"])
@pytest.mark.parametrize("centre", ["uniform", "long_run"])
@pytest.mark.parametrize("linear", [True, False])
def test_steady_elasticities_are_exact_derivatives(linear, centre, shares):
    rng = np.random.default_rng(11)
    tastes = replace(random_tastes(rng, 3, 4, linear=linear), pantry=rng.uniform(0.1, 0.6, 3))
    field = MeanField(tolerance=1e-14, centre=centre, shares=shares)
    population = Population(1.0, rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(5), 3))
    regular = np.full(4, 2.0)
    offer = Offer(
        rng.uniform(1.0, 3.0, (2, 4)), rng.random((2, 4)) < 0.8, regular, np.full((2, 4), 0.25),
        np.tile(population.initial_loyalty, (2, 1, 1)), pantry=rng.normal(0.0, 0.5, (2, 3)),
    )  # fmt: skip
    pantry = pantry_of([tastes], 0.6, population, regular, 0.9 * regular, np.full(4, 0.25), field)
    weights, consumers = population.weights, LogitConsumers(tastes)

    def logs(moved, hold):
        answer = consumers.respond(moved)
        if hold == "steady":
            answer = settle_offer(consumers, weights, field, moved, 0.2, pantry)[1]
        with np.errstate(divide="ignore"):
            return np.log(np.einsum("s,bsj->bj", weights, answer.probability[:, :, 1:] * answer.quantity))

    found = {}
    for hold in ("state", "steady"):
        columns = []
        for k in range(4):
            up, down = (replace(offer, prices=offer.prices * np.exp(x * np.eye(4)[k])) for x in (3e-5, -3e-5))
            with np.errstate(invalid="ignore"):
                columns.append((logs(up, hold) - logs(down, hold)) / 6e-5)
        found[hold] = elasticities(consumers, weights, offer, hold=hold, settings=field, fade=0.2, pantry=pantry)
        np.testing.assert_allclose(found[hold].matrix, np.stack(columns, axis=2), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found[hold].diversion[offer.available].sum(axis=1), 1.0, atol=1e-9)


def test_steady_elasticities_are_those_of_long_paths():
    make = {"demand": "expected", "dynamics": CALM, "num_markets": 7}
    market = stored_market(**make)
    regular, tastes = market.catalog.regular_price, market.consumers.draws[0]
    prices = np.tile(1.1 * regular, (7, 1))
    prices[1:] *= np.exp(1e-4 * np.eye(6))
    lower = prices / np.exp(2e-4 * np.vstack([np.zeros(6), np.eye(6)]))
    logs = []
    for path in (prices, lower):
        market.reset(0)
        for _ in range(600):
            outcome = market.step(path, True)
        logs.append(np.log(outcome.demand))
    slopes = ((logs[0] - logs[1]) / 2e-4)[1:].T
    field, first = market.mean_field, market.initial_mean_field
    pantry = pantry_of([tastes], 0.7, market.population, regular, market.usual_prices, first, field)
    offer = Offer(prices[:1], np.ones((1, 6), bool), regular, first[None], market.population.initial_loyalty[None])
    found = elasticities(
        LogitConsumers(tastes), market.population.weights, offer, hold="steady", settings=field, fade=0.1, pantry=pantry
    )
    np.testing.assert_allclose(found.matrix[0], slopes, rtol=1e-6, atol=1e-6)


def test_the_game_is_where_the_market_settles():
    market = stored_market(demand="expected", dynamics=CALM)
    prices = 0.8 * market.catalog.regular_price
    for _ in range(400):
        outcome = market.step(prices, True)
    game = Game.of(market)
    np.testing.assert_allclose(outcome.profit, game.product_profit(prices), rtol=1e-6)
    np.testing.assert_allclose(outcome.consumer_surplus, game.surplus(prices), rtol=1e-6)
    linear = shop()
    flat = replace(linear.consumers.tastes, price_transform="linear", kappa=-np.inf)
    assert not Game(linear.catalog, linear.population, LogitConsumers(flat)).smooth_logit
    assert Game(linear.catalog, linear.population, LogitConsumers(replace(flat, pantry=0.0))).smooth_logit


@pytest.mark.parametrize("theta", [0.05, 0.6, 8.0])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_steady_pantries_repeat_themselves(theta, keep):
    rng = np.random.default_rng(4)
    tastes = replace(random_tastes(rng, 4, 5), pantry=theta)
    offer = Offer(
        rng.uniform(0.5, 4.0, (6, 5)), rng.random((6, 5)) < 0.7, np.full(5, 2.0), np.full((6, 5), 0.2),
        rng.dirichlet(np.ones(6), (6, 4)),
    )  # fmt: skip
    offer.available[0] = False
    pantry = Pantry(keep, rng.uniform(0.05, 1.5, 4))
    settled = steady_pantry(tastes, offer, pantry, 0.1)
    answer = respond(tastes, settled)
    np.testing.assert_allclose(pantry.moved(settled.pantry, answer), settled.pantry, atol=1e-9)
    np.testing.assert_allclose(Dynamics(fade=0.1).faded(answer.loyalty), settled.loyalty, atol=1e-9)
    np.testing.assert_allclose(settled.pantry[0], -1.0 / (1.0 - keep))


def test_a_small_rise_costs_consumers_their_units_whatever_is_at_home():
    rng = np.random.default_rng(2)
    tastes = replace(random_tastes(rng, 3, 4, rho=0.0), lambda_=0.0, pantry=0.5)
    regular, nobody = np.full(4, 2.0), np.tile(np.eye(5)[0], (1, 3, 1))
    stock = rng.normal(0.0, 1.0, (1, 3))
    offer = Offer(regular[None], np.ones((1, 4), bool), regular, np.full((1, 4), 0.25), nobody, pantry=stock)
    answer, step = respond(tastes, offer), 1e-6
    for j in range(4):
        risen = respond(tastes, replace(offer, prices=offer.prices + step * np.eye(4)[j]))
        lost = (answer.surplus - risen.surplus) / step
        np.testing.assert_allclose(lost, (answer.probability[:, :, 1:] * answer.quantity)[:, :, j], rtol=1e-5)


# -- states, and what is refused ------------------------------------------------------------------------------------


def test_pantries_are_kept_copied_and_emptied_with_the_rest():
    make = {"num_markets": 6, "draws": 3, "tastes": "draws", "demand": "multinomial", "dynamics": CALM}
    market = stored_market(**make)
    market.reset(1)
    prices = 0.8 * market.catalog.regular_price
    for _ in range(3):
        market.step(prices, True)
    again, kept = pickle.loads(pickle.dumps(market)), market.state.copy()
    expected = [market.step(prices, True).units for _ in range(4)]
    assert not np.array_equal(kept.pantry, market.state.pantry)
    np.testing.assert_array_equal([again.step(prices, True).units for _ in range(4)], expected)
    np.testing.assert_array_equal(again.state.pantry, market.state.pantry)
    market.state = kept.copy()
    np.testing.assert_array_equal([market.step(prices, True).units for _ in range(4)], expected)
    chosen, before = np.arange(6) == 2, market.state.pantry.copy()
    market.reset(markets=chosen)
    np.testing.assert_array_equal(market.state.pantry[~chosen], before[~chosen])
    np.testing.assert_array_equal(market.state.pantry[chosen], 0.0)


def test_consumers_that_must_be_asked_have_no_pantry():
    tastes = replace(random_tastes(np.random.default_rng(0), 5, 6), pantry=0.5)
    shell = random_market(0)
    asked = Market(shell.catalog, shell.population, Asked(tastes), demand="expected")
    plain = Market(shell.catalog, shell.population, Asked(replace(tastes, pantry=0.0)), demand="expected")
    for price in (1.0, 2.0, 2.0):
        np.testing.assert_array_equal(asked.step(price, True).units, plain.step(price, True).units)
    np.testing.assert_array_equal(asked.state.pantry, 0.0)


def test_a_batch_of_offers_takes_its_pantries_along():
    offer = Offer(*(np.ones((3, 2)) for _ in range(5)), pantry=np.arange(12.0).reshape(3, 4))
    np.testing.assert_array_equal(offer.take(np.array([2, 0])).pantry, offer.pantry[[2, 0]])
    assert units_per_consumer(respond(Tastes([[0.0, 0.0]], 1.0), shop_offer())).shape == (1, 1)


def shop_offer() -> Offer:
    """Two products, one market."""
    return Offer(
        np.ones((1, 2)), np.ones((1, 2), bool), np.ones(2), np.full((1, 2), 0.5), np.tile(np.eye(3)[0], (1, 1, 1))
    )


def test_what_does_not_fit_is_named():
    shell = random_market(0)
    with pytest.raises(InvalidInput, match=r"dynamics\.pantry_keep: got 1\.0; allowed: at least 0 and less than 1"):
        Dynamics(pantry_keep=1.0)
    for theta in (-0.1, float("nan"), 51.0):
        with pytest.raises(InvalidInput, match=r"tastes\.pantry\[0\]"):
            Tastes([[0.0]], 1.0, pantry=theta)
    with pytest.raises(InvalidInput, match=r"usual_prices\[1\]: got 0\.0"):
        Market(shell.catalog, shell.population, shell.consumers, usual_prices=[2.0, 0.0, 2.0, 2.0, 2.0, 2.0])
    with pytest.raises(InvalidInput, match=r"usual_prices.*broadcast to shape \(6,\)"):
        Market(shell.catalog, shell.population, shell.consumers, usual_prices=[2.0, 2.0])
