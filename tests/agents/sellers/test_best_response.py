"""The myopic best response matches what is known of the textbook duopoly, and brute force elsewhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from malles_agents.seller_view import SellerView
from malles_agents.sellers.best_response import BestResponse
from malles_env.scenarios import parse_scenario
from tests.agents.sellers.test_rules import SHOPFUL


def observation(view: SellerView, rival_prices: np.ndarray, listed: bool = True) -> np.ndarray:
    """Return what the seller sees when every rival product was asked at each of `rival_prices` in turn."""
    prices = np.tile(view.catalog.regular_price, (len(rival_prices), 1))
    shelf = np.zeros(prices.shape, dtype=bool)
    for j in np.setdiff1d(np.arange(prices.shape[1]), view.products):
        prices[:, j] = rival_prices
        shelf[:, j] = listed
    nothing = np.zeros_like(prices)
    perceived = np.tile(view.scenario.first_mean_field(), (len(prices), 1))
    start = np.zeros(len(prices), dtype=np.int64)
    return view._layout.encode(prices, shelf, nothing, nothing, perceived, perceived, nothing, start, 52.0)[
        :, view.index
    ]


@pytest.mark.parametrize(("rival", "best"), [(1.47292666, 1.47292666), (1.92498092, 1.6617)])
def test_textbook_duopoly(rival, best):
    view = SellerView.of("bertrand-duopoly", "seller_0")
    prices, listed = BestResponse(view, tolerance=1e-4).decide(observation(view, np.array([rival])))
    assert listed.all()
    assert abs(prices[0, 0] - best) < 2e-3


def test_both_sellers_answer_alike():
    """The market is symmetric, so seller and rival may change places."""
    answers = []
    for agent in ("seller_0", "seller_1"):
        view = SellerView.of("bertrand-duopoly", agent)
        answers.append(BestResponse(view).decide(observation(view, np.linspace(1.3, 2.1, 5)))[0])
    np.testing.assert_allclose(answers[0], answers[1], atol=2e-3)
    assert (np.diff(answers[0][:, 0]) > 0).all(), "prices are strategic complements"


def test_assortment_and_prices_match_brute_force():
    view = SellerView.of(parse_scenario(SHOPFUL), "seller_0")
    prices, listed = BestResponse(view).decide(observation(view, np.array([1.7])))
    market = view.scenario.market(1, "expected")

    def profit(own: np.ndarray, shelf: np.ndarray) -> float:
        market.reset()
        full = np.array([*own, 1.7])
        return float(market.step(full, [*shelf, True]).seller_profit[0, 0])

    found = profit(prices[0], listed[0])
    for shelf in itertools.product([False, True], repeat=3):
        if 1 <= sum(shelf) <= 2:
            for shares in itertools.product(np.linspace(0, 1, 12), repeat=sum(shelf)):
                own = view.regular_price.copy()
                on = np.array(shelf)
                own[on] = (view.price_low + np.zeros(3))[on] + np.array(shares) * (view.price_high - view.price_low)[on]
                assert profit(own, on) <= found * (1 + 1e-6)


def test_batches_and_memory_change_nothing():
    view = SellerView.of("bertrand-duopoly", "seller_0")
    seen = observation(view, np.array([1.4, 1.8, 1.4]))
    seller = BestResponse(view)
    first, _ = seller.predict(seen)
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(seller.predict(seen)[0], first)
    np.testing.assert_allclose(BestResponse(view).predict(seen[1])[0], first[1], atol=5e-3)


def test_a_rival_that_lists_nothing_leaves_a_monopoly():
    view = SellerView.of("bertrand-duopoly", "seller_0")
    prices, _ = BestResponse(view, tolerance=1e-4).decide(observation(view, np.array([1.5]), listed=False))
    assert abs(prices[0, 0] - 1.801985) < 2e-3
