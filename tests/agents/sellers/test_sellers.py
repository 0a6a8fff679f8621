"""Reactive, oracle and learning sellers: what each is meant to do, in the textbook duopoly and in retail markets."""

import numpy as np
import pytest

from malles_agents.evaluation.evaluate import play
from malles_agents.registry import make_seller
from malles_agents.seller_view import SellerView
from malles_agents.sellers.assortment_bandit import optimistic
from malles_agents.sellers.remembering import own_profit
from malles_env import vec_env
from malles_env.errors import InvalidInput
from malles_env.market.solvers import assortment, closed_form
from malles_env.scenarios import load_scenario, parse_scenario

NASH, MONOPOLY = 1.472926660, 1.924980919
KINDS = (
    "undercut",
    "tit-for-tat",
    "grim",
    "nash",
    "monopoly",
    "epsilon-greedy",
    "ucb",
    "thompson",
    "q-learning",
    "mnl-bandit",
)


def prices_of(first, second, periods=60, scenario="bertrand-duopoly"):
    return play(scenario, make_seller(first, scenario), rivals={"seller_1": make_seller(second, scenario, "seller_1")},
                episodes=2, max_cycles=periods).prices  # fmt: skip


def test_oracles_ask_the_textbook_prices():
    prices = prices_of("nash", "monopoly", 2)
    np.testing.assert_allclose(prices, [[NASH, MONOPOLY]] * 2, atol=1e-6)


def test_tit_for_tat_cooperates_with_itself_and_matches_a_rival():
    np.testing.assert_allclose(prices_of("tit-for-tat", "tit-for-tat"), MONOPOLY, atol=1e-5)
    answered = prices_of("tit-for-tat", "fixed:1.6")
    np.testing.assert_allclose(answered[0, 0], MONOPOLY, atol=1e-5)
    np.testing.assert_allclose(answered[1:, 0], 1.6, atol=1e-5)


def test_grim_never_forgives():
    np.testing.assert_allclose(prices_of("grim", "grim"), MONOPOLY, atol=1e-5)
    answered = prices_of("grim", "undercut")
    np.testing.assert_allclose(answered[0, 0], MONOPOLY, atol=1e-5)
    np.testing.assert_allclose(answered[3:, 0], NASH, atol=1e-5)


def test_undercutting_ends_at_its_floor():
    prices = prices_of("undercut", "undercut")
    np.testing.assert_allclose(prices[-1], NASH, atol=1e-5)
    assert (np.diff(prices[:, 0]) <= 1e-6).all()
    below = prices_of("undercut:-0.4", "fixed:1.3")
    np.testing.assert_allclose(below[-1, 0], NASH - 0.4 * (MONOPOLY - NASH), atol=1e-4)


def test_a_new_episode_is_a_new_start():
    """Grim must have forgotten by the second episode of a market that resets itself."""
    rival = make_seller("grim", "bertrand-duopoly", "seller_1")
    env = vec_env("bertrand-duopoly", num_markets=3, learner="seller_0", rivals={"seller_1": rival}, max_cycles=5)
    env.seed(0)
    env.reset()
    low = np.tile(np.array([[-0.9, 1.0]], dtype=np.float32), (3, 1))
    seen = []
    for _ in range(7):
        env.step(low)
        seen.append(env.outcome.prices[0, 1])
    np.testing.assert_allclose(seen, [MONOPOLY] + [NASH] * 4 + [MONOPOLY, NASH], atol=1e-5)


@pytest.mark.parametrize("kind", ["random", "epsilon-greedy", "thompson", "q-learning"])
def test_sellers_of_a_kind_explore_on_their_own(kind):
    """One stream for both sellers would move their prices in step and look like collusion."""
    prices = prices_of(kind, kind, 200)
    assert abs(np.corrcoef(prices.T)[0, 1]) < 0.4
    assert (np.isclose(prices[:, 0], prices[:, 1])).mean() < 0.5


def test_a_tax_reaches_oracles_and_learners():
    """The oracle's price solves the taxed game, and a learner books what it keeps after tax."""
    plain = load_scenario("bertrand-duopoly")
    taxed, consumers = plain.with_policy(sales_tax=0.2), plain.build_consumers()
    before = make_seller("nash", plain, consumers=consumers).prices
    after = make_seller("nash", taxed, consumers=consumers).prices
    exact = closed_form.nash([2.0, 2.0], [1.2, 1.2], [0, 1], 0.25).prices[0]
    np.testing.assert_allclose([before[0], after[0]], [NASH, exact], atol=1e-5)
    view = SellerView.of(taxed, "seller_0", consumers=consumers)
    rivals = {"seller_1": make_seller("cost-plus", taxed, "seller_1", consumers=consumers)}
    env = vec_env(taxed, num_markets=2, learner="seller_0", rivals=rivals, consumers=consumers, max_cycles=5)
    env.seed(0)
    env.reset()
    observation, *_ = env.step(np.array([[0.0, 1.0]] * 2, dtype=np.float32))
    booked = own_profit(view, view.read(observation))
    np.testing.assert_allclose(booked, env.outcome.seller_profit[:, 0], rtol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon-greedy", "ucb", "thompson"])
def test_bandits_find_a_good_price(kind):
    """Against a fixed rival the best of nine levels is known; late in the episode a bandit mostly plays near it."""
    found = play(
        "bertrand-duopoly", make_seller(kind, "bertrand-duopoly"),
        rivals={"seller_1": make_seller("nash", "bertrand-duopoly", "seller_1")}, episodes=8, max_cycles=400,
    )  # fmt: skip
    best = 0.2229 * 1000
    assert found.profit.mean() / 400 > 0.93 * best
    late = found.prices[300:, 0]
    share = closed_form.logit_shares(np.stack([late, np.full(100, NASH)], axis=1), [2, 2], 0.25)[:, 0]
    assert ((late - 1) * share * 1000).mean() > 0.95 * best


def test_q_learning_improves():
    found = [
        play(
            "bertrand-duopoly", make_seller("q-learning", "bertrand-duopoly"),
            rivals={"seller_1": make_seller("nash", "bertrand-duopoly", "seller_1")}, episodes=8, max_cycles=cycles,
        ).profit.mean() / cycles
        for cycles in (60, 900)
    ]  # fmt: skip
    assert found[1] > found[0]
    assert found[1] > 0.9 * 222.9


def test_mnl_bandit_finds_the_best_assortment():
    """Ten products, four on the shelf; the answer is the exact capacitated optimum at regular prices."""
    alpha = np.array([-3.0, -2.0, -3.5, -1.5, -2.8, -4.0, -1.8, -2.6, -3.2, -2.2])
    products = "\n".join(
        f"- {{product_id: p{j}, seller: one, unit_cost: 1.0, regular_price: {2 + 0.1 * j}, "
        "price_low: 1.0, price_high: 5.0}"
        for j in range(10)
    )
    market = parse_scenario(f"""
name: shelf
sellers: [{{name: one, capacity: 4}}]
products:
{products}
segments: [{{name: all}}]
population_size: 5000.0
consumers: {{kind: logit, tastes: {{alpha: {alpha.tolist()}, beta: 1.0}}}}
""")
    played = play(market, make_seller("mnl-bandit", market), episodes=1, max_cycles=40)
    best = assortment.capacity(1.0 + 0.1 * np.arange(10), np.exp(alpha), 4)
    assert np.flatnonzero(played.listed[-1]).tolist() == best.products.tolist()


def test_optimistic_bounds_shrink():
    bound = [optimistic(np.array([0.5]), np.array([n]), 10.0, 1.0)[0] for n in (1.0, 100.0, 1e6)]
    assert bound[0] > bound[1] > bound[2] > 0.5
    assert optimistic(np.array([0.0]), np.array([0.0]), 1.0)[0] == np.inf


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_plays_in_batches_alone_and_repeats_by_seed(kind):
    runs = [prices_of(kind, "cost-plus", 12, "bertrand-duopoly") for _ in range(2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    seller = make_seller(kind, "bertrand-duopoly")
    one, _ = seller.predict(np.zeros(SellerView.of("bertrand-duopoly", "seller_0").observation_space.shape, np.float32))
    assert one.shape == (2,)


@pytest.fixture(scope="module")
def retail():
    """One scenario and its consumers for every kind, so that the market's benchmarks are found once."""
    scenario = load_scenario("ice-cream")
    return scenario, scenario.build_consumers()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_at_home_in_a_retail_market(kind, retail):
    scenario, consumers = retail
    rivals = {f"seller_{n}": make_seller(kind, scenario, f"seller_{n}", consumers=consumers) for n in range(1, 5)}
    seller = make_seller(kind, scenario, consumers=consumers)
    played = play(scenario, seller, rivals=rivals, episodes=2, max_cycles=5, consumers=consumers)
    assert (played.profit > 0).all()


@pytest.mark.parametrize("spec", ["grim:1", "undercut:x", "ucb:-1", "thompson:0.5", "mnl-bandit:0"])
def test_wrong_arguments_are_refused(spec):
    with pytest.raises(InvalidInput):
        make_seller(spec, "bertrand-duopoly")
