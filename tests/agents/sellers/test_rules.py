"""Rule sellers act as their names say, in both action modes, alone and in batches."""

from __future__ import annotations

import numpy as np
import pytest

from malles_agents.registry import make_seller, seller_names
from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import RandomSeller, StationarySeller, best_sellers, cost_plus, discount, fixed_price
from malles_env.envs.spaces.actions import Actions
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.errors import InvalidInput, MissingResource
from malles_env.scenarios import parse_scenario

SHOPFUL = """
name: three-of-four
sellers: [{name: big, capacity: 2}, {name: small}]
products:
- {product_id: a, seller: big, unit_cost: 1.0, regular_price: 2.0, price_low: 1.00, price_high: 4.00}
- {product_id: b, seller: big, unit_cost: 1.0, regular_price: 3.0, price_low: 1.50, price_high: 6.00}
- {product_id: c, seller: big, unit_cost: 2.0, regular_price: 2.5, price_low: 1.25, price_high: 5.00}
- {product_id: d, seller: small, unit_cost: 1.0, regular_price: 2.0, price_low: 1.00, price_high: 4.00}
segments:
- {name: one, weight: 1.0, loyalty: {a: 0.1, b: 0.2, c: 0.5}}
population_size: 500.0
consumers: {kind: logit, tastes: {alpha: [0.0, 0.0, 0.0, 0.0], beta: 2.0}}
"""


@pytest.fixture
def scenario():
    return parse_scenario(SHOPFUL)


@pytest.fixture
def view(scenario):
    return SellerView.of(scenario, "seller_0")


def asked(view: SellerView, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the seller's prices and listings after the env has decoded the action."""
    actions = Actions(SlotLayout(view.catalog), view.action_mode)
    rows = actions.blank(len(np.atleast_2d(action)))
    actions.put(rows, view.index, np.atleast_2d(action))
    prices, listed = actions.decode(rows)
    return prices[:, view.products], listed[:, view.products]


def blank(view: SellerView, batch: int | None = None) -> np.ndarray:
    size = view.observation_space.shape
    return np.zeros(size if batch is None else (batch, *size), dtype=np.float32)


def test_single_and_batched_answers_agree(view):
    seller = cost_plus(view, 0.4)
    one, _ = seller.predict(blank(view))
    many, state = seller.predict(blank(view, 5), "hidden", np.ones(5, dtype=bool), deterministic=True)
    assert one.shape == view.action_space.shape
    assert many.shape == (5, *one.shape)
    assert state == "hidden"
    assert view.action_space.contains(one)
    np.testing.assert_array_equal(many[3], one)


def test_cost_plus_asks_cost_times_markup(view):
    prices, listed = asked(view, cost_plus(view, 0.3).predict(blank(view))[0])
    np.testing.assert_allclose(prices[0], np.clip(view.unit_cost * 1.3, view.price_low, view.price_high), rtol=1e-6)
    assert listed[0].sum() == 2


def test_fixed_keeps_regular_prices_or_the_one_named(view):
    prices, _ = asked(view, fixed_price(view).predict(blank(view))[0])
    np.testing.assert_allclose(prices[0], view.regular_price, rtol=1e-6)
    prices, _ = asked(view, discount(view, 0.2).predict(blank(view))[0])
    np.testing.assert_allclose(prices[0], 0.8 * view.regular_price, rtol=1e-5)
    with pytest.raises(InvalidInput, match=r"discount depth: got 1\.0"):
        discount(view, 1.0)
    prices, _ = asked(view, fixed_price(view, 2.25).predict(blank(view))[0])
    np.testing.assert_allclose(prices[0], 2.25, rtol=1e-6)


def test_shelf_is_filled_by_past_share_times_margin(view):
    """Shares .1, .2, .5 times margins 1, 2, 0.5 are .1, .4, .25."""
    assert best_sellers(view, view.regular_price).tolist() == [False, True, True]


def test_random_seller_fills_the_shelf_within_bounds_and_repeats_by_seed(view):
    seller = RandomSeller(view, seed=4)
    prices, listed = seller.decide(blank(view, 300))
    assert (listed.sum(axis=1) == view.capacity).all()
    assert (prices >= view.price_low).all()
    assert (prices <= view.price_high).all()
    assert len({tuple(row) for row in listed}) == 3
    again, _ = RandomSeller(view, seed=4).decide(blank(view, 300))
    np.testing.assert_array_equal(prices, again)


def test_discrete_mode_lands_on_the_grid(scenario):
    view = SellerView.of(scenario, "seller_0", action_mode="discrete")
    action, _ = fixed_price(view).predict(blank(view))
    assert view.action_space.contains(action)
    prices, listed = asked(view, action)
    step = (view.price_high - view.price_low) / 14
    assert (np.abs(prices - view.regular_price)[listed] <= step[listed[0]] / 2 + 1e-9).all()


@pytest.mark.parametrize("prices", [[1.0, np.nan, 1.0], [1.0, 2.0], -1.0])
def test_impossible_prices_are_refused(view, prices):
    with pytest.raises(InvalidInput, match="prices"):
        StationarySeller(view, prices)


@pytest.mark.parametrize("spec", ["cheapest", "", "Fixed", "ppo2:x.zip"])
def test_unknown_names_list_what_exists(scenario, spec):
    with pytest.raises(InvalidInput) as caught:
        make_seller(spec, scenario)
    assert all(name in str(caught.value) for name in seller_names())


@pytest.mark.parametrize(
    "spec", ["cost-plus:much", "cost-plus:-1", "cost-plus:nan", "fixed:0", "ppo", "best-response:1"]
)
def test_bad_arguments_are_named(scenario, spec):
    with pytest.raises(InvalidInput, match=r"seller|mark-up|prices"):
        make_seller(spec, scenario)


def test_missing_policy_is_named(scenario, tmp_path):
    with pytest.raises(MissingResource, match=r"gone\.zip"):
        make_seller(f"ppo:{tmp_path / 'gone.zip'}", scenario)


def test_unknown_seller_lists_the_sellers(scenario):
    with pytest.raises(InvalidInput, match="seller_0, seller_1"):
        make_seller("fixed", scenario, "seller_7")
