"""The search for stationary actions recovers known best responses, over whole episodes and against any rival."""

from __future__ import annotations

import numpy as np
import pytest

from malles_agents.planning.search import EpisodeValue, assortments, search
from malles_agents.registry import make_seller
from malles_agents.seller_view import SellerView
from malles_env.scenarios import load_scenario, parse_scenario
from tests.agents.sellers.test_rules import SHOPFUL


@pytest.mark.parametrize(
    ("rival", "price", "profit"), [(1.47292666, 1.47292666, 0.22292666), (1.92498092, 1.6617, 0.41169)]
)
def test_best_price_against_a_fixed_rival(rival, price, profit):
    """The textbook duopoly of Calvano et al. (2020), 1000 consumers, 52 periods."""
    scenario = load_scenario("bertrand-duopoly")
    rivals = {"seller_1": make_seller(f"fixed:{rival}", scenario, "seller_1")}
    found = search(scenario, "seller_0", rivals, num_markets=16)
    assert abs(found.value / 52_000 - profit) < 1e-5
    assert abs(found.prices[0] - price) < 2e-3
    assert found.product_ids == ("product_a",)


def test_a_rival_that_reacts_is_met_as_it_is():
    """Against a best-responding rival the leader asks more than the Nash price and earns more."""
    scenario = load_scenario("bertrand-duopoly")
    rivals = {"seller_1": make_seller("best-response", scenario, "seller_1")}
    found = search(scenario, "seller_0", rivals, num_markets=16)
    assert found.prices[0] > 1.55
    assert found.value / 52_000 > 0.2229 * 1.05


def test_assortment_prices_and_seed():
    """No other assortment at the same prices does better, no price moved by 2%, and the answer repeats."""
    scenario = parse_scenario(SHOPFUL)
    rivals = {"seller_1": make_seller("cost-plus", scenario, "seller_1")}
    found = search(scenario, "seller_0", rivals, num_markets=32)
    again = search(scenario, "seller_0", rivals, num_markets=64)
    np.testing.assert_allclose(again.prices, found.prices, rtol=1e-9)
    value = EpisodeValue(scenario, "seller_0", rivals, num_markets=16)
    shelves = assortments(value.view, np.random.default_rng(0))
    assert len(shelves) == 6
    assert (shelves.sum(axis=1) <= 2).all()
    same = np.tile(found.prices, (len(shelves), 1))
    assert value(np.zeros(6, dtype=int), same, shelves).max() <= found.value * (1 + 1e-9)
    moved = np.clip(
        np.tile(found.prices, (6, 1)) * (1 + 0.02 * np.vstack([np.eye(3), -np.eye(3)])), 0, value.view.price_high
    )
    assert value(np.zeros(6, dtype=int), moved, np.tile(found.listed, (6, 1))).max() <= found.value * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["random", "thompson", "epsilon-greedy", "q-learning", "best-response"])
def test_the_same_candidate_has_the_same_value_whatever_its_rival_draws(kind):
    scenario = load_scenario("bertrand-duopoly")
    rivals = {"seller_1": make_seller(kind, scenario, "seller_1")}
    value = EpisodeValue(scenario, "seller_0", rivals, num_markets=4, max_cycles=30)
    prices = np.array([[1.6], [1.4], [1.6], [1.6], [1.8], [1.6]])
    stream = getattr(rivals["seller_1"], "rng", None)
    before = None if stream is None else stream.bit_generator.state
    found = value(np.arange(6), prices, np.ones((6, 1), bool))
    assert before is None or rivals["seller_1"].rng.bit_generator.state == before
    same = found[[0, 2, 3, 5]]
    np.testing.assert_array_equal(same, same[0])
    assert len(set(found.tolist())) == 3
    np.testing.assert_array_equal(value(np.arange(6), prices, np.ones((6, 1), bool)), found)
    other = EpisodeValue(scenario, "seller_0", rivals, num_markets=16, max_cycles=30)
    np.testing.assert_allclose(other(np.arange(6), prices, np.ones((6, 1), bool)), found, rtol=1e-12)


def test_many_products_start_from_the_best_sellers():
    entries = ", ".join(
        f"{{product_id: p{i}, seller: big, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 3.0}}"
        for i in range(14)
    )
    text = f"""
name: many
sellers: [{{name: big, capacity: 6}}]
products: [{entries}]
segments: [{{name: one, weight: 1.0}}]
population_size: 100.0
consumers: {{kind: logit, tastes: {{alpha: 0.0, beta: 2.0}}}}
"""
    view = SellerView.of(parse_scenario(text), "seller_0")
    shelves = assortments(view, np.random.default_rng(0))
    assert len(shelves) == 512
    assert (shelves.sum(axis=1) == 6).all()
