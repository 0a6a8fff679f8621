"""The search of plans against optima known another way: dynamic programs, theorems, memoryless markets."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from malles_agents.planning.path_search import BestPaths, end_of, search_paths
from malles_agents.planning.paths import Paths, PathValue
from malles_agents.planning.search import EpisodeValue, Stationary, search
from malles_agents.registry import default_rivals, make_seller
from malles_agents.seller_view import SellerView
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.loader import parse_scenario

MEMORY, BETA, ALPHA, COST, LOW, HIGH = 0.6, 2.5, 0.5, 1.0, 1.2, 4.0


@cache
def comparing(gain: float, loss: float, weeks: int) -> Scenario:
    """Return a market of one product whose buyers compare log prices with what they remember."""
    return parse_scenario(
        f"""
        format: 2
        name: comparing
        currency: USD
        sellers: [{{name: only}}]
        products:
        - {{product_id: p, seller: only, unit_cost: {COST}, regular_price: 2.0, price_low: {LOW}, price_high: {HIGH}}}
        segments: [{{name: all}}]
        population_size: 1.0
        consumers: {{kind: logit, tastes: {{alpha: [{ALPHA}], beta: {BETA}}}}}
        forces: {{reference_price: {{gain: {gain}, loss: {loss}, memory: {MEMORY}}}}}
        mean_field: {{shares: population}}
        max_cycles: {weeks}
        reward_scale: 1.0
        """
    )


def searched(scenario: Scenario) -> tuple[BestPaths, PathValue]:
    value = PathValue(scenario, "seller_0", {})
    return search_paths(value, search(scenario, "seller_0", {}, finalists=2)), value


def exact(gain: float, loss: float, weeks: int) -> float:
    """Return the optimum by backward induction over log reference prices; interpolation makes it a close estimate."""
    reference, price = np.linspace(np.log(LOW), np.log(HIGH), 801), np.linspace(LOW, HIGH, 561)
    difference = reference[:, None] - np.log(price)
    utility = ALPHA - BETA * np.log(price / 2.0) + np.where(difference > 0, gain, loss) * difference
    profit = (price - COST) / (1.0 + np.exp(-utility))
    following = MEMORY * reference[:, None] + (1.0 - MEMORY) * np.log(price)
    worth = np.zeros(len(reference))
    for _ in range(weeks):
        worth = (profit + np.interp(following, reference, worth)).max(axis=1)
    return float(np.interp(np.log(2.0), reference, worth))


def test_where_gains_count_more_the_search_finds_the_optimum_of_the_dynamic_program():
    weeks = 24
    best, value = searched(comparing(2.3, 0.7, weeks))
    optimum = exact(2.3, 0.7, weeks)
    assert best.free_profit.sum() == pytest.approx(optimum, rel=3e-3)
    assert best.free_profit.sum() < optimum * (1 + 1e-3)
    assert best.ratio_without_end > 1.02
    prices = value.asked(best.without_end)[0][: weeks - best.end, 0]
    assert np.std(np.log(prices)) > 0.05  # a calendar, not a level
    # by hand: both end in the same weeks of the constant action
    constant = best.constant_profit
    np.testing.assert_allclose(best.without_end.prices[0, -best.end :], best.constant.prices[0, 0, 0])
    gained = best.without_end_profit.sum() - constant.sum()
    assert best.ratio_without_end == pytest.approx(1 + gained / constant[: -best.end].sum())


def test_where_gains_and_losses_count_alike_only_start_and_end_are_worth_anything():
    weeks = 24
    best, value = searched(comparing(1.0, 1.0, weeks))
    assert best.free_profit.sum() == pytest.approx(exact(1.0, 1.0, weeks), rel=1e-3)
    prices = value.asked(best.without_end)[0][6 : weeks - best.end, 0]
    assert np.std(np.log(prices)) < 0.02
    assert best.ratio > best.ratio_without_end
    assert best.ratio_without_end < 1.01


def test_a_plan_has_one_value_whoever_is_valued_beside_it():
    """Rivals that draw at random draw the same for every candidate and in every call."""
    scenario = load_scenario("bertrand-duopoly")
    rivals = {"seller_1": make_seller("random", scenario, "seller_1")}
    value = PathValue(scenario, "seller_0", rivals, max_cycles=9)
    flat = Paths.constant(np.array([1.5]), np.array([True])).tiled(9)
    others = flat.take([0] * 11).priced(np.linspace(1.2, 2.0, 11)[:, None, None] + np.zeros((11, 9, 1)))
    alone, among = value(flat)[0], value(Paths.joined([others, flat]))[-1]
    np.testing.assert_array_equal(alone, among)
    level = EpisodeValue(scenario, "seller_0", rivals, num_markets=4, max_cycles=9)
    known = level(np.zeros(1, dtype=int), np.array([[1.5]]), np.array([[True]]))
    assert alone.sum() == pytest.approx(known[0], rel=1e-6)


def test_the_calendar_is_found_that_a_shelf_or_a_slot_asks_for():
    """Two products on a shelf for one: the plan may change shelves; promotion that costs nothing is taken."""
    text = """
        format: 2
        name: promoted
        currency: USD
        sellers: [{name: only, capacity: 1}]
        products:
        - {product_id: a, seller: only, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 4.0}
        - {product_id: b, seller: only, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 4.0}
        segments: [{name: all}]
        population_size: 100.0
        consumers: {kind: logit, tastes: {alpha: [0.5, 0.4], beta: 2.5, display: 0.5, feature: 0.5}}
        promotions: {display_fee: 0.0, feature_fee: 1000.0, display_slots: 1, feature_slots: 1}
        max_cycles: 8
        reward_scale: 1.0
        """
    scenario = parse_scenario(text)
    value = PathValue(scenario, "seller_0", {})
    view = value.view
    start = Stationary("seller_0", view.regular_price, np.array([False, True]), 0.0, 0, view.product_ids)
    best = search_paths(value, start, restarts=1)
    assert best.free.listed[0].tolist() == [[True, False]] * 8  # the better product, every week
    assert best.free.promoted[0, 0, :, 0].all()  # the free display
    assert not best.free.promoted[1].any()  # never the dear leaflet
    assert best.ratio == pytest.approx(1.0, abs=1e-5)  # nothing is remembered, so no plan beats a constant action


def test_a_plan_orders_what_it_sells():
    scenario = parse_scenario(
        """
        format: 2
        name: ordered
        currency: USD
        sellers: [{name: only}]
        products:
        - {product_id: p, seller: only, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 4.0}
        segments: [{name: all}]
        population_size: 100.0
        consumers: {kind: logit, tastes: {alpha: [0.5], beta: 2.5}}
        replenishment: {storage: 200.0, initial: 50.0, lead_time: 1}
        max_cycles: 6
        reward_scale: 1.0
        """
    )
    value = PathValue(scenario, "seller_0", {})
    flat = Paths.constant(np.array([2.0]), np.array([True])).tiled(6)
    level = EpisodeValue(scenario, "seller_0", {}, num_markets=4)
    known = level(np.zeros(1, dtype=int), np.array([[2.0]]), np.array([[True]]))
    assert value(flat).sum() == pytest.approx(known[0], rel=1e-6)
    assert value(flat)[0, -1] != 0.0


def test_the_end_is_a_quarter_of_a_short_episode():
    assert [end_of(weeks) for weeks in (1, 8, 52, 200)] == [0, 2, 12, 12]


def test_rivals_that_answer_are_met_as_they_are():
    scenario = load_scenario("bertrand-duopoly")
    rivals = default_rivals(scenario, "seller_0", "undercut")
    value = PathValue(scenario, "seller_0", rivals, max_cycles=6)
    dear = Paths.constant(np.array([1.9]), np.array([True])).tiled(6)
    cheap = dear.priced(np.where(np.arange(6)[:, None] == 0, 1.45, dear.prices))
    profit = value(Paths.joined([dear, cheap]))
    assert profit[1, 1] != pytest.approx(profit[0, 1])  # what was asked in week 1 moves the rival in week 2
    assert SellerView.of(scenario, "seller_0").agent == value.view.agent
