"""Sellers where products are ordered: those that only set prices order as well, and reckon what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from malles_agents.evaluation.evaluate import play
from malles_agents.planning.search import search
from malles_agents.registry import make_seller
from malles_agents.seller_view import SellerView
from malles_agents.sellers.remembering import own_profit
from malles_agents.studies.tournament import Tournament, run_tournament
from malles_env import vec_env
from malles_env.scenarios import Scenario, parse_scenario, save_scenario
from malles_env.scenarios.report import full_view

CORNER = """
format: 2
name: corner-shops
sellers: [{name: one}, {name: two}]
products:
- {product_id: a, seller: one, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 4.0}
- {product_id: b, seller: one, unit_cost: 1.0, regular_price: 3.0, price_low: 1.5, price_high: 6.0}
- {product_id: c, seller: two, unit_cost: 1.5, regular_price: 2.5, price_low: 1.5, price_high: 5.0}
segments: [{name: all}]
population_size: 600.0
consumers: {kind: logit, tastes: {alpha: [-0.5, -0.8, -0.2], beta: 2.0, display: 0.4, feature: 0.3}}
max_cycles: 26
promotions: {display_fee: 2.0, feature_fee: 3.0, display_slots: 2, feature_slots: 2}
replenishment:
  storage: 1200.0
  max_order: 800.0
  lead_time: 1
  fixed_cost: 40.0
  holding_cost: 0.05
  initial: 200.0
  products: {b: {lead_time: 0, unit_cost: 0.9}}
"""
PLAYERS = [
    "regular-price", "lot-size", "fixed:2.2", "discount:0.1", "cost-plus:0.6", "random", "best-response", "undercut",
    "tit-for-tat", "grim", "nash", "monopoly", "epsilon-greedy", "ucb", "thompson", "q-learning", "mnl-bandit",
    "iterated-least-squares",
]  # fmt: skip


@pytest.fixture
def corner() -> Scenario:
    return parse_scenario(CORNER)


@pytest.mark.parametrize("name", PLAYERS)
@pytest.mark.parametrize("mode", ["continuous", "discrete"])
def test_every_seller_keeps_its_shelves_filled(corner: Scenario, name: str, mode: Any) -> None:
    seller = make_seller(name, corner, "seller_0", action_mode=mode)
    env = vec_env(corner, num_markets=4, learner="seller_0", rivals="cost-plus", action_mode=mode)
    env.seed(3)
    seen, state, start = env.reset(), None, np.ones(4, dtype=bool)
    wanted, sold, ordered = 0.0, 0.0, 0.0
    for _ in range(env.max_cycles):
        action, state = seller.predict(seen, state, start, deterministic=True)
        seen, _, _, _ = env.step(action)
        start, out = np.zeros(4, dtype=bool), env.outcome
        own = out.listed[:, :2]
        wanted, sold = wanted + out.demand[:, :2][own].sum(), sold + out.units[:, :2][own].sum()
        ordered += out.ordered[:, :2].sum()
    # a random seller's last sales tell little of the next, so the others are held to more
    assert sold > (0.5 if name == "random" else 0.8) * wanted
    assert ordered < 1.6 * sold + 4 * 1200.0


def test_base_stock_covers_lead_time_and_the_coming_period(corner: Scenario) -> None:
    env = vec_env(corner, num_markets=1, learner="seller_0", demand="expected")
    env.seed(0)
    seen = env.reset()
    seller = make_seller("regular-price", corner, "seller_0")
    last = np.zeros(2)
    for period in range(6):
        before = env.market.state.copy()
        seen = env.step(seller.predict(seen)[0])[0]
        position = before.stock[0, :2] + before.pipeline[0, :, :2].sum(axis=0)
        if period == 0:
            first = env.outcome.ordered[0, :2] + position
        elif np.all(before.stock[0, :2] > 0.5):
            level = np.array([2.0, 1.0]) * last
            np.testing.assert_allclose(env.outcome.ordered[0, :2], np.maximum(level - position, 0.0), atol=0.51)
        last = env.outcome.units[0, :2]
    expected = env.outcome.demand[0, :2]  # regular prices, nobody loyal: every period is the steady state
    # the first 200 units of b are more than it needs
    np.testing.assert_allclose(first, np.maximum(np.array([2.0, 1.0]) * expected, 200.0), atol=0.51)


def test_lots_order_less_often_and_pay_less_for_it(corner: Scenario) -> None:
    found: dict[str, list[float]] = {}
    for name in ("regular-price", "lot-size"):
        env = vec_env(corner, num_markets=8, learner="seller_0", info="step")
        env.seed(1)
        seen, seller = env.reset(), make_seller(name, corner, "seller_0")
        times, profit = 0.0, 0.0
        for _ in range(26):
            seen, _, _, infos = env.step(seller.predict(seen)[0])
            times += (env.outcome.ordered[:, :2] > 0).sum()
            profit += sum(info["profit"] for info in infos)
        found[name] = [times, profit]
    assert found["lot-size"][0] < 0.7 * found["regular-price"][0]
    assert found["lot-size"][1] > found["regular-price"][1]


def test_own_profit_is_that_of_the_ledger(corner: Scenario) -> None:
    for block in ("promotions", "replenishment", ""):
        scenario = corner if not block else corner.model_copy(update={block: None})
        scenario = scenario.with_policy(unit_tax=0.2, sales_tax=0.1)
        view = SellerView.of(scenario, "seller_0")
        env = vec_env(scenario, num_markets=5, learner="seller_0", info="step")
        env.seed(0)
        env.reset()
        rng, paid = np.random.default_rng(1), 0.0
        for _ in range(8):
            action = rng.uniform(-1.0, 1.0, (5, *env.action_space.shape)).astype(np.float32)
            seen, _, _, infos = env.step(action)
            profit = own_profit(view, view.read(seen))
            np.testing.assert_allclose(profit, [info["profit"] for info in infos], rtol=1e-4, atol=0.02)
            paid += sum(info["fees"] + info.get("ordering_cost", 0.0) for info in infos)
        assert paid > 0


def test_a_search_finds_prices_that_pay(corner: Scenario) -> None:
    best = search(corner, "seller_0", finalists=2, max_cycles=10)
    plain = make_seller("discount:0.3", corner, "seller_0")
    found = play(corner, best.seller(SellerView.of(corner, "seller_0")), episodes=4, max_cycles=10)
    assert found.profit.mean() > play(corner, plain, episodes=4, max_cycles=10).profit.mean()


def test_a_tournament_is_played(corner: Scenario, tmp_path: Any) -> None:
    short = corner.model_copy(update={"max_cycles": 8})
    path = str(save_scenario(short, tmp_path / "corner.yaml"))
    matches = run_tournament(
        Tournament((path,), ("nash", "best-response", "lot-size"), episodes=2), tmp_path / "out", workers=1
    )
    assert len(matches) == 9 * 2
    assert all(np.isfinite([*match.profit, *match.rivals, *match.surplus]).all() for match in matches)


def test_an_sb3_policy_trains_and_plays(corner: Scenario) -> None:
    from stable_baselines3 import PPO

    env = vec_env(corner, num_markets=4, learner="seller_0", rivals="cost-plus", max_cycles=8)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=32, seed=0, device="cpu").learn(64)
    found = play(corner, model, episodes=2, max_cycles=8)
    assert np.isfinite(found.profit).all()


def test_a_scenario_comes_back_from_its_file_and_shows_its_orders(corner: Scenario, tmp_path: Any) -> None:
    from rich.console import Console

    again = parse_scenario(save_scenario(corner, tmp_path / "corner.yaml").read_text())
    assert again.replenishment == corner.replenishment
    assert again.digest() == corner.digest() != corner.model_copy(update={"replenishment": None}).digest()
    console = Console(width=200)
    with console.capture() as capture:
        console.print(full_view(corner))
    shown = capture.get()
    assert "up to 800 at a time, storage 1200, lead time 1, 40 money per order" in shown
    assert "lead time 0" in shown
    assert "(b)" in shown
