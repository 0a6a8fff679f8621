"""Quantity discounts: what buyers make of them, the kernel beside the formulas, draws, money, known answers."""

from __future__ import annotations

import pickle
from dataclasses import replace
from math import exp, factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import (
    Catalog,
    Dynamics,
    Market,
    MeanField,
    Offer,
    Population,
    Product,
    ReferencePrice,
    Tastes,
    Tier,
    Tiers,
    elasticities,
)
from malles_env.market.demand.choice import respond
from malles_env.market.pooled import PooledMarket, Pooling
from malles_env.market.seller_rules.tiers import orders_of
from malles_env.market.solvers.closed_form import lambert_w_exp
from tests.market.markets import Asked, random_tastes

SEEDS = st.integers(0, 10_000)
DEEPEST = 0.4


def tiered_market(
    seed: int = 0,
    *,
    asked: bool = False,
    linear: bool = False,
    tiers: bool = True,
    stock: float = np.inf,
    sales_tax: float = 0.0,
    loyal: bool = True,
    draws: int = 0,
    pantry: float = 0.0,
    **options,
) -> Market:
    """Return a random market of 5 segments and 6 products; all but the last carry tiers of 3 to 11 units."""
    rng = np.random.default_rng(seed)
    goods = tuple(
        Product(f"p{j}", f"s{j % 3}", float(rng.uniform(0.5, 1.5)), float(rng.uniform(1.5, 3)), stock=stock)
        for j in range(6)
    )
    found = Tiers({f"p{j}": Tier(3 + 2 * j, DEEPEST) for j in range(5)}) if tiers else None
    many = []
    for _ in range(max(draws, 1)):
        tastes = random_tastes(rng, 5, 6, linear=linear)
        many.append(replace(tastes, kappa=tastes.kappa + 2.0, lambda_=tastes.lambda_ * loyal, pantry=pantry))
    population = Population(900.0, rng.uniform(0.1, 1, 5), rng.dirichlet(np.ones(7), 5))
    consumers = Asked(many[0]) if asked else LogitConsumers(many[0])
    if draws:
        consumers = Drawn(many[0], tuple(many))
        options["tastes"] = "draws"
    return Market(Catalog(goods, sales_tax=sales_tax, tiers=found), population, consumers, **options)


class Drawn(LogitConsumers):
    """Consumers with draws of their tastes."""

    def __init__(self, tastes: Tastes, draws: tuple[Tastes, ...]) -> None:
        super().__init__(tastes)
        object.__setattr__(self, "draws", draws)


def random_offer(rng: np.random.Generator, market: Market) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return list prices, listings and tier prices, a third of them without a discount."""
    shape = (market.num_markets, market.num_products)
    prices = market.catalog.regular_price * rng.uniform(0.6, 1.4, shape)
    depth = rng.uniform(0.0, DEEPEST, shape) * (rng.random(shape) < 0.67)
    depth[:, -1] = 0.0
    return prices, rng.random(shape) < 0.8, prices * (1.0 - depth)


def poisson(n: int, mean: float) -> float:
    return exp(-mean) * mean**n / factorial(n)


@given(st.floats(0.01, 9.0), st.integers(2, 14), st.floats(0.0, 1.0))
def test_orders_are_those_of_buyers_who_pay_the_least(more, threshold, place):
    """Brute force: for every wanted size, the cheapest order that holds it; of equals the smaller."""
    ratio = 1.0 - place * (1.0 - 1.0 / threshold) * 0.999
    found = orders_of(np.full((1, 1, 1), more), np.array([[ratio]]), np.array([threshold]))
    meet = units = raised = cost = 0.0
    for wanted in range(1, 80):
        chance = poisson(wanted - 1, more)
        raises = wanted < threshold and threshold * ratio < wanted - 1e-9
        bought = threshold if raises else wanted
        at_tier = bought >= threshold and ratio < 1.0
        meet, units = meet + chance * at_tier, units + chance * bought * at_tier
        raised, cost = raised + chance * (bought - wanted), cost + chance * bought * (ratio if at_tier else 1.0)
    for name, value in (("meet", meet), ("units", units), ("raised", raised), ("paid", cost / (1.0 + more))):
        np.testing.assert_allclose(getattr(found, name)[0, 0, 0], value, atol=1e-9, err_msg=name)


@given(SEEDS, st.booleans(), st.booleans(), st.sampled_from(["lagged", "equilibrium"]), st.sampled_from([1, 3, 70]))
def test_the_kernel_equals_the_numpy_formulas(seed, linear, loyal, coupling, num_markets):
    options = {"linear": linear, "loyal": loyal, "num_markets": num_markets, "demand": "expected", "stock": 2000.0,
               "sales_tax": 0.2, "mean_field": MeanField(window=3, coupling=coupling)}  # fmt: skip
    fast, slow = tiered_market(seed, **options), tiered_market(seed, asked=True, **options)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        prices, listed, tier = random_offer(rng, fast)
        posted = listed & (tier < prices) & (fast.state.stock > 0)
        here, there = (m.step(prices, listed, tier_prices=tier) for m in (fast, slow))
        for name, value in here._asdict().items():
            if value is not None:
                np.testing.assert_allclose(value, getattr(there, name), rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_array_equal(here.tier_units > 0, posted)
        if loyal:
            np.testing.assert_allclose(fast.loyalty, slow.loyalty, atol=1e-10)


@pytest.mark.parametrize("linear", [False, True])
def test_the_kernel_equals_the_formulas_with_reference_prices_promotion_and_draws(linear):
    options = {"demand": "expected", "num_markets": 9, "reference_price": ReferencePrice(0.5), "linear": linear}
    fast, slow = tiered_market(4, draws=3, **options), tiered_market(4, draws=3, **options)
    slow._coefficients = None  # so that it has to ask
    for market in (fast, slow):
        market.reset(7)
    assert len(set(fast.state.draw.tolist())) > 1
    rng = np.random.default_rng(1)
    for _ in range(4):
        prices, listed, tier = random_offer(rng, fast)
        shown = rng.random(prices.shape) < 0.5
        here, there = (m.step(prices, listed, shown, None, tier_prices=tier) for m in (fast, slow))
        for name in ("units", "tier_units", "revenue", "consumer_surplus", "outside"):
            np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("coupling", ["lagged", "equilibrium"])
def test_what_was_bought_at_a_discount_is_at_home(coupling):
    """The kernel's pantries are those of the formulas, and fuller than at list prices."""
    options = {"demand": "expected", "num_markets": 9, "pantry": 0.4, "draws": 2, "dynamics": Dynamics(pantry_keep=0.6),
               "mean_field": MeanField(coupling=coupling)}  # fmt: skip
    fast, slow, plain = (tiered_market(4, **options) for _ in range(3))
    slow._coefficients = None  # so that it has to ask
    for market in (fast, slow, plain):
        market.reset(7)
    rng = np.random.default_rng(1)
    for _ in range(6):
        prices, listed, tier = random_offer(rng, fast)
        tier[0] = prices[0]
        here, there = (m.step(prices, listed, tier_prices=tier) for m in (fast, slow))
        plain.step(prices, listed)
        np.testing.assert_allclose(fast.state.pantry, slow.state.pantry, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(here.units, there.units, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(here.consumer_surplus, there.consumer_surplus, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fast.state.pantry[0], plain.state.pantry[0], rtol=1e-9, atol=1e-9)
    assert (fast.state.pantry[1:] > plain.state.pantry[1:]).mean() > 0.9


@pytest.mark.parametrize("demand", ["multinomial", "gaussian", "expected", "exact"])
def test_without_a_discount_nothing_changes_bit_for_bit(demand):
    """Markets of a batch that post none, or as much as nothing, equal markets in which nobody can."""
    options = {"num_markets": 4, "demand": demand, "stock": 3000.0}
    able, plain = tiered_market(2, **options), tiered_market(2, tiers=False, **options)
    alone = [tiered_market(2, **options | {"num_markets": 1}) for _ in range(4)]
    for market in (able, plain):
        market.reset(5)
    for b, market in enumerate(alone):
        market.reset(5 + b)
    rng = np.random.default_rng(0)
    for _ in range(5):
        prices, listed, tier = random_offer(rng, able)
        tier[::2] = prices[::2]
        here, there = able.step(prices, listed, tier_prices=tier), plain.step(prices, listed)
        singles = [m.step(prices[[b]], listed[[b]], tier_prices=tier[[b]]) for b, m in enumerate(alone)]
        for name, value in there._asdict().items():
            if value is not None and not (demand == "exact" and name == "consumer_surplus"):  # summed by BLAS there
                np.testing.assert_array_equal(getattr(here, name)[::2], value[::2], err_msg=name)
        if demand != "exact":
            for b, single in enumerate(singles):
                for name, value in here._asdict().items():
                    if value is not None:
                        np.testing.assert_array_equal(value[b], getattr(single, name)[0], err_msg=name)
        assert not here.tier_units[::2].any() and here.tier_units[1::2].any()


@pytest.mark.parametrize("demand", ["multinomial", "exact"])
def test_what_is_drawn_has_the_expected_mean(demand):
    """4,000 markets (seed 1): every mean within four standard errors; by chance one in 16,000 is not."""
    markets = 4000 if demand == "multinomial" else 1500
    depth = np.array([0.3, 0.2, 0.4, 0.1, 0.25, 0.0])
    mean, drawn = tiered_market(3, demand="expected"), tiered_market(3, demand=demand, num_markets=markets)
    drawn.reset(1)
    prices = drawn.catalog.regular_price
    here, there = (m.step(prices, True, tier_prices=prices * (1.0 - depth)) for m in (mean, drawn))
    for name in ("units", "tier_units", "revenue", "profit"):
        values = getattr(there, name)
        error = values.std(axis=0) / np.sqrt(markets)
        assert (np.abs(values.mean(axis=0) - getattr(here, name)[0]) <= 4.0 * error + 1e-9).all(), name


def test_draws_vary_as_orders_do():
    """Where 20 units and more are sold, quick draws spread within 7% as order-by-order ones do (one segment)."""
    depth = np.array([0.3, 0.2, 0.4, 0.1, 0.25, 0.0])
    spread = []
    for demand, seed in (("multinomial", 1), ("exact", 2)):
        market = tiered_market(3, demand=demand, num_markets=3000)
        first = np.eye(5)[0]
        market = Market(
            market.catalog, Population(900.0, first, market.population.initial_loyalty), market.consumers,
            num_markets=3000, demand=demand,
        )  # fmt: skip
        market.reset(seed)
        prices = market.catalog.regular_price
        found = market.step(prices, True, tier_prices=prices * (1.0 - depth))
        sold = np.hstack([found.units, found.tier_units])
        many = sold.mean(axis=0) > 20.0
        spread.append(sold.std(axis=0))
    assert many.sum() > 8
    assert (np.abs(np.log(spread[0][many] / spread[1][many])) < 0.07).all(), spread


@given(SEEDS, st.sampled_from(["multinomial", "gaussian", "expected", "exact"]), st.booleans())
def test_money_adds_up(seed, demand, short):
    options = {"demand": demand, "num_markets": 3, "stock": 150.0 if short else np.inf, "sales_tax": 0.25}
    market = tiered_market(seed, **options)
    market.reset(seed)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        prices, listed, tier = random_offer(rng, market)
        before = market.state.stock.copy()
        out = market.step(prices, listed, tier_prices=tier)
        usual = out.units - out.tier_units
        assert (out.tier_units >= 0).all() and (usual >= -1e-9).all() and (out.units <= before).all()
        assert not out.tier_units[tier >= prices].any() and not out.tier_units[~listed].any()
        revenue = (prices * usual + tier * out.tier_units) / 1.25
        np.testing.assert_allclose(out.revenue, revenue, atol=1e-9)
        np.testing.assert_allclose(out.cost, market.catalog.unit_cost * out.units, atol=1e-9)
        np.testing.assert_array_equal(out.profit, out.revenue - out.cost - out.fees)
        owned = market.catalog.seller_of[:, None] == np.arange(3)
        np.testing.assert_allclose(out.seller_profit, out.profit @ owned, atol=1e-9)
        if demand != "expected":
            np.testing.assert_array_equal(out.units, np.floor(out.units))
            np.testing.assert_array_equal(out.tier_units, np.floor(out.tier_units))


def test_all_units_of_large_orders_have_the_tier_price():
    """Orders wanted are of 41 units on average, 1 + Poisson(40), so that none stays below a threshold of 8."""
    tastes = Tastes(alpha=[[1.0]], beta=1.0, kappa=np.log(40.0))
    catalog = Catalog((Product("p", "s", 1.0, 2.0),), tiers=Tiers({"p": Tier(8, 0.5)}))
    market = Market(catalog, Population.uniform(1, size=500), LogitConsumers(tastes), num_markets=5)
    market.reset(0)
    out = market.step(2.0, True, tier_prices=1.5)
    np.testing.assert_array_equal(out.tier_units, out.units)
    np.testing.assert_allclose(out.revenue, 1.5 * out.units, atol=1e-9)
    assert (out.units % 1 == 0).all() and (out.units > 8).all()


@pytest.mark.parametrize("linear", [False, True])
def test_where_every_order_meets_the_threshold_a_tier_price_acts_as_the_list_price(linear):
    """Two markets, one with the prices t on its list, one that posts them for orders of two units, of 60 on average."""
    cut = np.array([[0.7, 0.9, 0.95, 0.8]])
    tastes = random_tastes(np.random.default_rng(2), 3, 4, linear=linear)
    tastes = replace(tastes, kappa=np.full((3, 4), np.log(60.0)))
    catalog = Catalog(
        tuple(Product(f"p{j}", "s", 1.0, 2.0) for j in range(4)), tiers=Tiers({f"p{j}": Tier(2, 0.5) for j in range(4)})
    )
    posts, lists = (
        Market(catalog, Population.uniform(4, weights=np.ones(3)), LogitConsumers(tastes), demand="expected")
        for _ in range(2)
    )
    for _ in range(3):
        here, there = posts.step(2.0, True, tier_prices=2.0 * cut), lists.step(2.0 * cut, True)
        for name in ("units", "revenue", "profit", "outside"):
            np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-9, err_msg=name)


def two_kinds(num_markets: int) -> tuple[Market, dict[str, float]]:
    """Return a monopolist who meets buyers of single units and price-sensitive ones of 41 units on average.

    With every large order beyond the threshold and no small one, the two prices part the buyers, and each is that of a
    logit monopolist: p = c + (1 + W(exp(a - b c - 1))) / b with profit W / b per buyer (Anderson, de Palma and Thisse
    1992, chapter 7).
    """
    alpha, beta, cost, more, weights = np.array([6.0, 5.0]), np.array([2.0, 4.0]), 1.0, 40.0, np.array([0.95, 0.05])
    tastes = Tastes(
        alpha=alpha[:, None], beta=beta[:, None], kappa=np.array([[-np.inf], [np.log(more)]]), price_transform="linear"
    )
    catalog = Catalog((Product("p", "s", cost, 2.5, 1.0, 5.0),), tiers=Tiers({"p": Tier(8, 0.8)}))
    population = Population.uniform(1, size=1000.0, weights=weights)
    market = Market(catalog, population, LogitConsumers(tastes), num_markets=num_markets, demand="expected")
    w = lambert_w_exp(alpha - beta * cost - 1.0)
    price, profit = cost + (1.0 + w) / beta, 1000.0 * weights * w / beta * np.array([1.0, 1.0 + more])
    return market, {"price": price[0], "tier": price[1], "profit": float(profit.sum())}


def test_a_tier_is_second_degree_price_discrimination():
    """The best pair of prices on a grid is that of the formula, and beats the best single price."""
    list_prices, tier_prices = np.linspace(1.2, 4.0, 141), np.linspace(1.1, 4.0, 146)
    pairs = np.array([(p, t) for p in list_prices for t in tier_prices if 0.2 * p <= t <= p])
    market, known = two_kinds(len(pairs))
    profit = market.step(pairs[:, :1], True, tier_prices=pairs[:, 1:]).seller_profit[:, 0]
    best = pairs[profit.argmax()]
    assert abs(best[0] - known["price"]) <= 0.0101 and abs(best[1] - known["tier"]) <= 0.0101
    assert profit.max() == pytest.approx(known["profit"], rel=1e-4)
    assert profit.max() <= known["profit"] * (1.0 + 1e-9)

    single, _ = two_kinds(len(list_prices))
    alone = single.step(list_prices[:, None], True).seller_profit[:, 0]
    tastes = single.consumers.tastes
    share = 1.0 / (1.0 + np.exp(tastes.beta * list_prices - tastes.alpha))
    brute = (list_prices - 1.0) * (1000.0 * single.population.weights * [1.0, 41.0] @ share)
    np.testing.assert_allclose(alone, brute, rtol=1e-9)
    assert profit.max() > 1.05 * alone.max()


@pytest.mark.parametrize("linear", [False, True])
def test_surplus_falls_by_the_units_bought_at_the_tier_price(linear):
    """Where few buy, exactly: dCS / dt = -units, from the list price down; also across sizes that begin to round up."""
    tastes = Tastes(
        alpha=[[-12.0 + (2.0 if linear else 0.0)]], beta=2.0, kappa=1.5, price_transform="linear" if linear else "log"
    )
    catalog = Catalog((Product("p", "s", 1.0, 2.0),), tiers=Tiers({"p": Tier(6, 0.5)}))
    tier = np.linspace(1.0, 2.0, 20_001)
    market = Market(
        catalog, Population.uniform(1, size=1e6), LogitConsumers(tastes), num_markets=len(tier), demand="expected"
    )
    out = market.step(2.0, True, tier_prices=tier[:, None])
    units, surplus = out.tier_units[:, 0], out.consumer_surplus
    middle = 0.5 * (units[1:] + units[:-1])[:-1]  # at t = p nothing is sold below the list price
    gained = surplus[0] - surplus[-2]
    assert gained == pytest.approx(float(middle.sum() * (tier[1] - tier[0])), rel=2e-3)
    smooth = (tier[1:-1] > 1.7) & (tier[1:-1] < 1.95)  # no order between 5.1 and 5.9 units begins to round up
    slope = ((surplus[2:] - surplus[:-2]) / (tier[2:] - tier[:-2]))[smooth]
    np.testing.assert_allclose(slope, -units[1:-1][smooth], rtol=1e-3)


def test_elasticities_hold_the_discount():
    """As with one market per price, list and tier price rising together by 0.01%."""
    market = tiered_market(5, demand="expected", num_markets=7, loyal=False)
    tastes = market.consumers.tastes
    regular = market.catalog.regular_price
    depth = np.array([0.3, 0.2, 0.35, 0.15, 0.25, 0.0])
    step = 1e-4
    prices = 1.1 * regular * np.exp(np.vstack([np.zeros(6), step * np.eye(6)]))
    units = market.step(prices, True, tier_prices=prices * (1.0 - depth)).units
    offer = Offer(
        1.1 * regular[None], np.ones((1, 6), bool), regular, np.full((1, 6), 1 / 6),
        market.population.initial_loyalty[None], tier_prices=1.1 * regular[None] * (1.0 - depth),
        thresholds=market.catalog.tiers.thresholds(market.catalog.product_ids),
    )  # fmt: skip
    found = elasticities(LogitConsumers(tastes), market.population.weights, offer).matrix[0]
    brute = (np.log(units[1:]) - np.log(units[0])).T / step
    np.testing.assert_allclose(found, brute, rtol=2e-3, atol=2e-3)
    plain = elasticities(LogitConsumers(tastes), market.population.weights, replace(offer, tier_prices=None)).matrix[0]
    assert np.abs(found - plain).max() > 0.01


def test_answers_hold_what_tiers_do():
    market = tiered_market(1, num_markets=2)
    regular = market.catalog.regular_price
    offer = Offer(
        np.tile(regular, (2, 1)), np.ones((2, 6), bool), regular, np.full((2, 6), 1 / 6), market.loyalty,
        tier_prices=np.tile(regular * [0.7, 0.7, 0.7, 0.7, 0.7, 1.0], (2, 1)),
        thresholds=market.catalog.tiers.thresholds(market.catalog.product_ids),
    )  # fmt: skip
    found, plain = (respond(market.consumers.tastes, o) for o in (offer, replace(offer, tier_prices=None)))
    assert plain.tier is None and found.tier.shape == (2, 3, 5, 6)
    meet, units, raised = np.moveaxis(found.tier, 1, 0)
    assert (found.quantity - plain.quantity >= raised - 1e-12).all()
    steady = respond(replace(market.consumers.tastes, delta=np.zeros(5)), offer)
    np.testing.assert_allclose(steady.quantity - plain.quantity, steady.tier[:, 2], atol=1e-12)
    assert (units <= found.quantity + 1e-12).all() and (meet <= 1).all() and not meet[:, :, -1].any()
    taken = respond(market.consumers.tastes, offer.take(np.array([1])))
    np.testing.assert_array_equal(taken.tier[0], found.tier[1])


def test_a_batch_plays_alike_on_threads_and_after_pickling():
    one, two = tiered_market(6, num_markets=150), tiered_market(6, num_markets=150)
    two.threads = 3
    for market in (one, two):
        market.reset(9)
    rng = np.random.default_rng(3)
    for _ in range(2):
        prices, listed, tier = random_offer(rng, one)
        here, there = (m.step(prices, listed, tier_prices=tier) for m in (one, two))
        np.testing.assert_array_equal(here.tier_units, there.tier_units)
        np.testing.assert_array_equal(here.seller_profit, there.seller_profit)
        two = pickle.loads(pickle.dumps(two))


def test_bad_tier_prices_are_named():
    market = tiered_market(0)
    prices = np.full(6, 2.0)
    for j, value, message in (
        (0, 2.1, r"tier price of p0: got 2.1; allowed: at least 1.2 and at most the list price 2"),
        (1, 1.1, r"tier price of p1: got 1.1; allowed: at least 1.2 and at most the list price 2"),
        (5, 1.9, r"tier price of p5: got 1.9; allowed: the list price 2, as the product carries no tier"),
        (0, np.nan, "tier_prices"),
    ):
        tier = prices.copy()
        tier[j] = value
        with pytest.raises(InvalidInput, match=message):
            market.step(prices, True, tier_prices=tier)
    assert market.state.period[0] == 0
    with pytest.raises(InvalidInput, match=r"tier price of p0.*carries no tier"):
        tiered_market(0, tiers=False).step(prices, True, tier_prices=0.9 * prices)
    with pytest.raises(InvalidInput, match="tier_prices"):
        market.step(prices, True, tier_prices=np.ones(5))


@pytest.mark.parametrize(
    ("tier", "message"),
    [
        (Tier(1, 0.2), "tiers.p.threshold: got 1; allowed: a whole number from 2 to 500"),
        (Tier(501, 0.2), "tiers.p.threshold: got 501"),
        (Tier(4, 0.0), "tiers.p.most: got 0.0; allowed: more than 0 and at most 0.75"),
        (Tier(4, 0.8), "tiers.p.most: got 0.8; allowed: more than 0 and at most 0.75, so that 4 units cost no less"),
    ],
)
def test_bad_tiers_are_named(tier, message):
    with pytest.raises(InvalidInput, match=message):
        Tiers({"p": tier})


def test_tiers_of_products_that_are_not_there_and_consumers_without_an_answer():
    with pytest.raises(InvalidInput, match="tiers: got 'q'; allowed: one of the products p"):
        Catalog((Product("p", "s", 1.0, 2.0),), tiers=Tiers({"q": Tier(4, 0.5)}))
    market = tiered_market(0, asked=True)
    inner = market.consumers
    market.consumers = Unaware(inner)
    prices = market.catalog.regular_price
    market.step(prices, True)
    with pytest.raises(InvalidInput, match="these consumers do not answer to them"):
        market.step(prices, True, tier_prices=np.where(np.arange(6) < 5, 0.9 * prices, prices))


class Unaware:
    """Consumers whose answers do not hold sizes of orders."""

    def __init__(self, inner: Asked) -> None:
        self.inner = inner
        self.num_segments, self.num_products = inner.num_segments, inner.num_products

    def respond(self, offer: Offer):
        return replace(self.inner.respond(offer), tier=None)


def test_groups_of_cells_refuse_discounts():
    like = tiered_market(0)
    cells = PooledMarket(like, Pooling(2), groups=1)
    prices = like.catalog.regular_price
    with pytest.raises(InvalidInput, match="groups of cells have no quantity discounts"):
        cells.step(prices, True, tier_prices=np.where(np.arange(6) < 5, 0.9 * prices, prices))
    assert cells.step(prices, True, tier_prices=prices).tier_units.sum() == 0.0
