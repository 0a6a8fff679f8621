"""Stock that is ordered: when things happen, and known answers of inventory theory."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Market, Population, Product, Replenishment, Supply, Tastes
from malles_env.market.pooled import PooledMarket, Pooling
from tests.market.markets import Asked

PRICE, COST = 3.0, 1.0


def market_of(
    *supplies: Supply, buy: float = 0.4, size: int = 60, whole: bool = True, asked: bool = False, **options: Any
) -> Market:
    """Return markets of one seller in which each of `size` consumers buys one unit of each product with equal chance.

    The chance of buying anything is `buy`, whatever the price.
    """
    count = len(supplies)
    products = tuple(Product(f"p{j}", "one", COST, PRICE) for j in range(count))
    tax = options.pop("unit_tax", 0.0)
    catalog = Catalog(products, unit_tax=tax, replenishment=Replenishment(supplies, whole))
    tastes = Tastes(alpha=np.full((1, count), np.log(buy / (1.0 - buy) / count)), beta=1e-9, price_transform="linear")
    consumers = Asked(tastes) if asked else LogitConsumers(tastes)
    return Market(catalog, Population.uniform(count, size=float(size)), consumers, **options)


def test_an_order_arrives_after_its_lead_time_before_sales() -> None:
    supplies = [Supply(100.0, lead_time=lead, initial=0.0) for lead in (0, 1, 2, 3)]
    market = market_of(*supplies, num_markets=2, demand="expected", size=400)
    market.reset(0)
    for period in range(5):
        out = market.step(PRICE, True, orders=30.0 if period == 0 else 0.0)
        # 400 consumers, 40% of whom buy, leave nothing of 30 units in the period of their arrival
        np.testing.assert_array_equal(out.units[0], [30.0 if lead == period else 0.0 for lead in (0, 1, 2, 3)])
        np.testing.assert_array_equal(out.ordered[0], np.full(4, 30.0 if period == 0 else 0.0))
        coming = market.state.pipeline[0]
        for j, lead in enumerate((0, 1, 2, 3)):
            np.testing.assert_array_equal(coming[:, j], [30.0 if lead - 1 == period + k else 0.0 for k in range(3)])


def test_money_is_that_of_the_ledger_with_tax() -> None:
    supply = Supply(500.0, fixed_cost=7.0, holding_cost=0.25, initial=20.0, salvage=0.5)
    market = market_of(supply, demand="expected", size=100, unit_tax=0.1)
    for last in (False, True):
        out = market.step(PRICE, True, orders=60.0, cycles=2)
        left = out.stock[0, 0]
        assert out.units[0, 0] == pytest.approx(40.0)
        assert out.cost[0, 0] == pytest.approx(0.1 * 40.0)  # the tax is due when a unit is sold
        assert out.ordering[0, 0] == pytest.approx(7.0 + 0.9 * 60.0)
        assert left == pytest.approx(40.0 if not last else 60.0)
        assert out.holding[0, 0] == pytest.approx(0.25 * left)
        assert out.salvage[0, 0] == pytest.approx(0.5 * left if last else 0.0)
        money = out.revenue - out.cost - out.fees - out.ordering - out.holding + out.salvage
        np.testing.assert_array_equal(out.profit, money)
        np.testing.assert_array_equal(out.seller_profit, money)
        assert market.state.stock[0, 0] == (0.0 if last else left)
    assert market.step(PRICE, True).ordering[0, 0] == 0.0  # no order, no fixed cost


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        (-1.0, "order of p0 in market 0: got -1.0; allowed: 0 to 40 units"),
        (41.0, "order of p0 in market 0: got 41.0; allowed: 0 to 40 units"),
        ([[0.0], [2.5]], "order of p0 in market 1: got 2.5; allowed: whole units from 0 to 40"),
        (np.nan, r"orders\[0\]\[0\]: got nan; allowed: finite numbers"),
        ([1.0, 2.0, 3.0], r"orders: got .*; allowed: numbers that broadcast to shape \(2, 1\)"),
    ],
)
def test_orders_that_are_not_allowed_are_named_and_nothing_happens(orders: Any, message: str) -> None:
    market = market_of(Supply(100.0, 60.0, 1, initial=60.0), num_markets=2)
    before = market.state.copy()
    with pytest.raises(InvalidInput, match=message):
        market.step(PRICE, True, orders=orders)
    assert np.array_equal(before.stock, market.state.stock)
    assert np.array_equal(before.streams, market.state.streams)
    assert market.step(PRICE, True, orders=40.0).ordered[0, 0] == 40.0


def test_orders_need_a_market_that_has_them() -> None:
    plain = Market(
        Catalog((Product("a", "one", 1.0, 2.0),)),
        Population.uniform(1, size=10.0),
        LogitConsumers(Tastes([[0.0]], 1.0)),
    )
    with pytest.raises(InvalidInput, match=r"orders: got .*; allowed: nothing, as the catalog has no replenishment"):
        plain.step(2.0, True, orders=1.0)
    out = plain.step(2.0, True)
    assert out.ordered is out.ordering is out.holding is out.salvage is out.stock is None
    assert out.cost[0, 0] == out.units[0, 0] * 1.0


@pytest.mark.parametrize(
    ("supply", "message"),
    [
        (Supply(0.0), r"replenishment\[0\].storage: got 0.0; allowed: a finite number of more than 0"),
        (Supply(9.0, 10.0), r"replenishment\[0\].max_order: got 10.0; allowed: at most storage = 9"),
        (Supply(9.5), r"replenishment\[0\].max_order: got 9.5; allowed: a whole number"),
        (Supply(9.0, lead_time=-1), r"replenishment\[0\].lead_time: got -1; allowed: a whole number of periods"),
        (Supply(9.0, fixed_cost=-1.0), r"replenishment\[0\].fixed_cost: got -1.0"),
        (Supply(9.0, initial=10.0), r"replenishment\[0\].initial: got 10.0; allowed: at most storage = 9"),
    ],
)
def test_bad_supplies_are_named(supply: Supply, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Replenishment((supply,))


def test_a_catalog_takes_one_supply_per_product_and_no_other_stock() -> None:
    one = Replenishment((Supply(9.0),))
    with pytest.raises(InvalidInput, match=r"products\[0\].stock: got 5.0; allowed: nothing beside replenishment"):
        Catalog((Product("a", "one", 1.0, 2.0, stock=5.0),), replenishment=one)
    with pytest.raises(InvalidInput, match="replenishment: got '1 supplies'; allowed: 2, one per product"):
        Catalog((Product("a", "one", 1.0, 2.0), Product("b", "one", 1.0, 2.0)), replenishment=one)


def test_a_snapshot_goes_on_the_same() -> None:
    market = market_of(Supply(100.0, 60.0, 2, initial=30.0), Supply(50.0), num_markets=3)
    market.reset(4)
    market.step(PRICE, True, orders=20.0)
    kept = market.state.copy()
    first = [market.step(PRICE, True, orders=9.0) for _ in range(4)]
    market.state = kept
    for one in first:
        for a, b in zip(one, market.step(PRICE, True, orders=9.0), strict=True):
            assert (a is None and b is None) or np.array_equal(a, b)


def test_asked_consumers_give_the_same_and_their_failure_changes_nothing() -> None:
    supplies = (Supply(100.0, 60.0, 1, 2.0, 0.1, 30.0), Supply(50.0, 50.0, 0, 1.0))
    result, asked = (market_of(*supplies, asked=flag, demand="expected") for flag in (False, True))
    for _ in range(6):
        one, other = (market.step(PRICE, True, orders=[9.0, 7.0], cycles=6) for market in (result, asked))
        np.testing.assert_allclose(one.stock, other.stock, atol=1e-9)
        np.testing.assert_allclose(one.profit, other.profit, atol=1e-9)
    answer = asked.consumers.respond

    def fail(offer: Any) -> Any:
        raise RuntimeError("no answer")

    asked.step(PRICE, True, orders=[30.0, 9.0])
    before = asked.state.copy()
    asked.consumers.respond = fail
    with pytest.raises(RuntimeError, match="no answer"):
        asked.step(PRICE, True, orders=[9.0, 7.0])
    assert np.array_equal(before.stock, asked.state.stock)
    assert np.array_equal(before.pipeline, asked.state.pipeline)
    asked.consumers.respond = answer
    assert asked.step(PRICE, True, orders=[9.0, 7.0]).ordered.tolist() == [[9.0, 7.0]]


def test_cells_of_a_group_cannot_order() -> None:
    with pytest.raises(InvalidInput, match=r"catalog\.replenishment: got 'orders'; allowed: none"):
        PooledMarket(market_of(Supply(100.0)), Pooling(2), groups=1)


# -- known answers -----------------------------------------------------------------------------------------------------


def test_demand_is_binomial_and_the_same_whatever_is_ordered() -> None:
    market = market_of(Supply(100.0), num_markets=40_000)
    market.reset(1)
    start = market.state.copy()
    few = market.step(PRICE, True, orders=3.0).demand[:, 0]
    market.state = start
    many = market.step(PRICE, True, orders=90.0).demand[:, 0]
    np.testing.assert_array_equal(few, many)
    counts = np.bincount(many.astype(int), minlength=61)
    chance = binom.pmf(np.arange(61), 60, 0.4)
    error = np.sqrt(np.maximum(40_000 * chance * (1 - chance), 1.0))
    assert np.all(np.abs(counts - 40_000 * chance) < 5 * error)


@pytest.mark.parametrize(("salvage", "holding"), [(0.0, 0.0), (0.8, 0.0), (0.5, 0.4), (0.0, 2.0)])
def test_newsvendor(salvage: float, holding: float) -> None:
    """One period: the best order is the critical fractile's quantile of demand (Arrow, Harris and Marschak 1951).

    A unit too few loses price - cost, one too many cost + holding - salvage.
    """
    under, over = PRICE - COST, COST + holding - salvage
    fractile = under / (under + over)
    market = market_of(Supply(60.0, holding_cost=holding, salvage=salvage), num_markets=20_000)
    market.reset(2)
    start, orders, profits = market.state.copy(), np.arange(15, 36), []
    for order in orders:
        market.state = start.copy()
        out = market.step(PRICE, True, orders=float(order), cycles=1)
        profits.append(out.seller_profit[:, 0])
    demand, mean = out.demand[:, 0], np.mean(profits, axis=1)
    units, chance = np.arange(61), binom.pmf(np.arange(61), 60, 0.4)
    sold = np.minimum(orders[:, None], units)
    exact = (PRICE * sold - COST * orders[:, None] - (holding - salvage) * (orders[:, None] - sold)) @ chance
    assert orders[exact.argmax()] == binom.ppf(fractile, 60, 0.4)
    # of what was drawn, the best order is exactly the sample's own quantile
    assert orders[mean.argmax()] == np.quantile(demand, fractile, method="inverted_cdf")
    error = np.std(profits, axis=1) / np.sqrt(len(demand))
    assert np.all(np.abs(mean - exact) < 5 * error)


@pytest.mark.parametrize("holding", [0.3, 2.0])
def test_base_stock_without_lead_time_is_a_newsvendor_in_every_period(holding: float) -> None:
    """What is left saves as much in the next order, so that a unit too many costs its holding alone.

    With salvage at cost the last period is as the others, and ordering up to the same level is optimal in all of them
    (Arrow, Karlin and Scarf 1958).
    """
    fractile, periods = (PRICE - COST) / (PRICE - COST + holding), 8
    market = market_of(Supply(60.0, holding_cost=holding, salvage=COST), num_markets=2_000)
    levels, demand, profits = np.arange(20, 36), [], []
    for level in levels:
        market.reset(3)
        total, demand = np.zeros(market.num_markets), []
        for _ in range(periods):
            out = market.step(PRICE, True, orders=level - market.state.stock, cycles=periods)
            total += out.seller_profit[:, 0]
            demand.append(out.demand[:, 0])
        profits.append(total)
    mean, chance, units = np.mean(profits, axis=1), binom.pmf(np.arange(61), 60, 0.4), np.arange(61)
    sold = np.minimum(levels[:, None], units)
    exact = periods * ((PRICE - COST) * sold - holding * (levels[:, None] - sold)) @ chance
    assert levels[exact.argmax()] == binom.ppf(fractile, 60, 0.4)
    assert levels[mean.argmax()] == np.quantile(demand, fractile, method="inverted_cdf")
    assert np.all(np.abs(mean - exact) < 5 * np.std(profits, axis=1) / np.sqrt(market.num_markets))


SIZE, STORE, LEAD, HORIZON, HELD, ONCE = 3, 6, 2, 6, 0.1, 0.5


def exact_plan(policy: Any = None) -> dict[tuple[int, tuple[int, ...], int], tuple[float, int]]:
    """Return value and best order of each state (on hand, on order, period) by backward induction.

    Lost sales with lead time: no base-stock level is optimal, so the answer is computed. With a `policy` (a function of
    the state) the value is that of the policy.
    """
    chance = binom.pmf(np.arange(SIZE + 1), SIZE, 0.6)

    @cache
    def best(stock: int, coming: tuple[int, ...], period: int) -> tuple[float, int]:
        if period == HORIZON:
            return 0.0, 0
        room = STORE - stock - sum(coming)
        choices = range(room + 1) if policy is None else [policy(stock, coming, period)]
        return max(((after(stock, coming, period, order), order) for order in choices), key=lambda pair: pair[0])

    def after(stock: int, coming: tuple[int, ...], period: int, order: int) -> float:
        on_hand, then = stock + coming[0], (*coming[1:], order)
        value = -COST * order - ONCE * (order > 0)
        for want, weight in enumerate(chance):
            sold = min(want, on_hand)
            value += weight * (PRICE * sold - HELD * (on_hand - sold) + best(on_hand - sold, then, period + 1)[0])
        return value

    states = product(range(STORE + 1), product(range(STORE + 1), repeat=LEAD), range(HORIZON))
    return {(s, c, t): best(s, c, t) for s, c, t in states if s + sum(c) <= STORE}


def played(orders: Any, markets: int = 6_000) -> tuple[float, float]:
    """Return mean and standard error of an episode's profit; `orders` maps states to the units ordered in them."""
    supply = Supply(float(STORE), None, LEAD, ONCE, HELD, 2.0)
    market = market_of(supply, buy=0.6, size=SIZE, num_markets=markets)
    market.reset(7)
    total = np.zeros(markets)
    for period in range(HORIZON):
        rows = np.column_stack([market.state.stock[:, 0], market.state.pipeline[:, :, 0]]).astype(int).tolist()
        units = [orders(stock, tuple(coming), period) for stock, *coming in rows]
        out = market.step(PRICE, True, orders=np.array(units, dtype=float)[:, None], cycles=HORIZON)
        total += out.seller_profit[:, 0]
    return float(total.mean()), float(total.std() / np.sqrt(markets))


def test_lead_time_against_an_exact_dynamic_program() -> None:
    plan = exact_plan()
    mean, error = played(lambda *state: plan[state][1])
    value = plan[2, (0, 0), 0][0]
    assert abs(mean - value) < 4 * error
    levels = {}
    for level in range(STORE + 1):

        def up_to(stock: int, coming: tuple[int, ...], period: int, level: int = level) -> int:
            late = period + LEAD >= HORIZON  # it would arrive too late
            return 0 if late else max(level - stock - sum(coming), 0)

        levels[level] = exact_plan(up_to)[2, (0, 0), 0][0]
        assert levels[level] <= value + 1e-9
        if level in (3, 5):
            mean, error = played(up_to)
            assert abs(mean - levels[level]) < 4 * error
    assert 0.9 * value < max(levels.values()) < value


@pytest.mark.parametrize(("fixed", "holding"), [(2.0, 0.2), (30.0, 0.1), (12.0, 0.02), (0.5, 0.4)])
def test_lots_under_known_demand_follow_the_square_root(fixed: float, holding: float) -> None:
    """The best cycle is sqrt(2 K / (h d)) periods (Harris 1913), up to rounding."""
    size, cycles = 20, np.arange(1, 25)
    rate = 0.4 * size
    market = market_of(
        Supply(30 * rate, fixed_cost=fixed, holding_cost=holding), size=size, whole=False, num_markets=len(cycles),
        demand="expected",
    )  # fmt: skip
    cost = np.zeros(len(cycles))
    for period in range(5 * cycles[-1]):
        wanted = np.where(period % cycles == 0, cycles * rate - market.state.stock[:, 0], 0.0)
        out = market.step(PRICE, True, orders=np.maximum(wanted, 0.0)[:, None])
        cost += np.where(period < 5 * cycles, (out.ordering + out.holding)[:, 0], 0.0)
        assert np.all(out.lost_sales < 1e-9)
    per_period = cost / (5 * cycles) - COST * rate
    np.testing.assert_allclose(per_period, fixed / cycles + holding * rate * (cycles - 1) / 2)
    best, formula = cycles[per_period.argmin()], np.sqrt(2.0 * fixed / (holding * rate))
    assert best in (max(np.floor(formula), 1), np.ceil(formula))
