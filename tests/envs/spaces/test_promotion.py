"""Display and advertising as actions: spaces, slots, fees, what sellers see, and what a scenario file may say."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import malles_env
from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import cost_plus
from malles_env.envs.spaces.actions import Actions
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Product, Promotions
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.loader import parse_scenario, save_scenario
from tests.envs.bundled import ACTION_MODES, CROOKED, PROMOTED, alike, make, play, same, sampled, scenario_of

BIG = [0, 2, 3]  # products of seller_0, which may list 2, display 1 and advertise 2; seller_1 may advertise 1


def actions_of(mode: Any, name: str = PROMOTED) -> Actions:
    return Actions(SlotLayout(scenario_of(name).catalog()), mode, 5)


def decode(actions: Actions, **by_agent: Any) -> tuple[np.ndarray, ...]:
    rows = actions.blank(1)
    for agent, action in by_agent.items():
        actions.put(rows, actions.slot_layout.index(agent), action)
    prices, listed = actions.decode(rows)
    return prices[0], listed[0], *(flags[0] for flags in actions.promoted(rows, prices, listed))


def soft_drinks(**block: Any) -> Scenario:
    return Scenario.model_validate(load_scenario("soft-drinks").model_dump() | {"promotions": block})


def test_spaces_grow_only_where_a_scenario_has_promotions() -> None:
    assert actions_of("continuous", CROOKED).space("seller_0").shape == (6,)
    assert actions_of("continuous").space("seller_0").shape == (12,)
    assert actions_of("discrete", CROOKED).space("seller_0").nvec.tolist() == [6] * 3
    assert actions_of("discrete").space("seller_0").nvec.tolist() == [6] * 3 + [2] * 6
    money = actions_of("dict")
    assert set(actions_of("dict", CROOKED).space("seller_0")) == {"price", "listed"}
    assert set(money.space("seller_0")) == {"price", "listed", "display", "feature"}
    assert set(money.space("seller_1")) == {"price", "listed", "feature"}  # it has no slot for a display
    assert set(money.space("seller_2")) == {"price", "listed"}
    plain, with_flags = make(CROOKED), make(PROMOTED)
    more = [
        block.name for block in with_flags.market_batch.layout.blocks if block not in plain.market_batch.layout.blocks
    ]
    assert {"own_display", "own_feature", "rivals_display", "rivals_feature"} <= set(more)
    assert not any("display" in block.name for block in plain.market_batch.layout.blocks)
    assert with_flags.state_space.shape[0] == plain.state_space.shape[0] + 2 * 5


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.3, 0.2, 0.1], [True, False, False]),
        ([0.2, 0.3, 0.9], [False, True, False]),  # the third is not on the shelf
        ([0.5, 0.5, 0.0], [True, False, False]),
        ([-0.1, 0.0, 0.7], [False, False, False]),
    ],
)
def test_over_the_budget_the_best_scores_of_listed_products_stay(scores: list[float], kept: list[bool]) -> None:
    action = np.array([0, 0, 0, 0.9, 0.5, 0.1, *scores, 1, 1, 1], np.float32)
    _, listed, display, feature = decode(actions_of("continuous"), seller_0=action)
    np.testing.assert_array_equal(listed[BIG], [True, True, False])
    np.testing.assert_array_equal(display[BIG], kept)
    np.testing.assert_array_equal(feature[BIG], [True, True, False])


def test_over_the_budget_the_largest_margins_stay_in_the_other_modes() -> None:
    catalog = scenario_of(PROMOTED).catalog()
    _, listed, display, _ = decode(actions_of("discrete"), seller_0=np.array([5, 0, 1, 1, 1, 1, 0, 0, 0]))
    assert catalog.price_high[0] - catalog.unit_cost[0] > catalog.price_low[3] - catalog.unit_cost[3]
    np.testing.assert_array_equal(listed[BIG], [True, False, True])
    np.testing.assert_array_equal(display[BIG], [True, False, False])
    action = {"price": [3.5, 4.0, 6.0], "listed": [1, 0, 1], "display": [1, 1, 1], "feature": [0, 1, 0]}
    _, _, display, feature = decode(actions_of("dict"), seller_0=action)
    np.testing.assert_array_equal(display[BIG], [False, False, True])
    assert not feature.any()


def test_a_bit_without_a_slot_is_an_error_in_money_and_ignored_elsewhere() -> None:
    money = actions_of("dict")
    with pytest.raises(
        InvalidInput, match=r"action of seller_1\['display'\]: got \[1\]; allowed: 0, as the seller has"
    ):
        decode(money, seller_1={"price": [3.0], "listed": [1], "feature": [0], "display": [1]})
    _, _, display, feature = decode(money, seller_1={"price": [3.0], "listed": [1], "feature": [1], "display": [0]})
    assert not display.any()
    assert feature[1]
    every = np.ones(12, np.float32)
    _, listed, display, feature = decode(actions_of("continuous"), seller_1=every, seller_2=every)
    assert listed[[1, 4]].all()
    assert not display.any()
    np.testing.assert_array_equal(np.flatnonzero(feature), [1])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"price": [3, 4, 6], "listed": [1, 0, 1]}, "a dict with 'price', 'listed', 'display' and 'feature'"),
        ({"price": [3, 4, 6], "listed": [1, 0, 1], "display": [1], "feature": [0, 0, 0]}, r"seller_0\['display'\]"),
        (
            {"price": [3, 4, 6], "listed": [1, 0, 1], "display": [1, 0, 0], "feature": [0, 2, 0]},
            r"\['feature'\]\[1\]: got 2.0; allowed: 0 to 1",
        ),
    ],
)
def test_bad_bits_are_named(action: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        decode(actions_of("dict"), seller_0=action)


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_encode_is_the_inverse_of_decode(mode: str) -> None:
    actions = actions_of(mode)
    wanted = np.array([False, True, True]), np.array([False, False, True]), np.array([False, True, False])
    action = actions.encode(0, [3.0, 4.0, 6.0], *wanted)
    found = decode(actions, seller_0=action)
    for flags, asked in zip(found[1:], wanted, strict=True):
        np.testing.assert_array_equal(flags[BIG], asked)
    with pytest.raises(InvalidInput, match=r"seller_1\['display'\].*no display slot"):
        actions.encode(1, [3.0], [True], display=[True])
    with pytest.raises(InvalidInput, match=r"seller_0\['feature'\].*the scenario has no promotions"):
        actions_of(mode, CROOKED).encode(0, [3.0, 4.0, 6.0], True, feature=True)


@pytest.mark.parametrize("demand", ["multinomial", "expected", "exact"])
def test_money_adds_up(demand: str) -> None:
    env = make(PROMOTED, demand=demand)
    env.reset(seed=1)
    charged = 0.0
    for joint in sampled(env, 3, 6):
        _, rewards, _, _, infos = env.step(joint)
        out = env.outcome
        assert not np.any((out.promoted[0] | out.promoted[1]) & ~out.listed)
        fees = 0.5 * out.listed * (np.arange(5) < 4) + 3.25 * out.promoted[0] + 7.5 * out.promoted[1]
        np.testing.assert_array_equal(out.fees, fees)
        np.testing.assert_array_equal(out.profit, out.revenue - out.cost - out.fees)
        charged += float(out.promoted[0].sum() + out.promoted[1].sum())
        for n, (agent, info) in enumerate(infos.items()):
            assert info["profit"] == out.seller_profit[0, n]
            assert rewards[agent] == info["profit"] / 50.0
            assert info["fees"] == pytest.approx(out.fees[0, env.catalog.seller_of == n].sum(), abs=1e-9)
            assert info["profit"] == pytest.approx(info["revenue"] - info["cost"] - info["fees"], abs=1e-9)
    assert charged > 3


def test_promotion_sells_more_of_the_promoted() -> None:
    def sold(**flags: Any) -> np.ndarray:
        env = make(PROMOTED, demand="expected")
        env.reset(seed=0)
        joint = {
            agent: env.encode_action(agent, env.catalog.regular_price[env.catalog.products_of(n)], True)
            for n, agent in enumerate(env.agents)
        }
        own = env.catalog.regular_price[BIG]
        env.step(joint | {"seller_0": env.encode_action("seller_0", own, [True, True, False], **flags)})
        units: np.ndarray = env.outcome.demand[0]
        return units

    plain, shown, both = sold(), sold(display=[True, False, False]), sold(display=[1, 0, 0], feature=[1, 0, 0])
    assert plain[0] < shown[0] < both[0]
    assert np.all(shown[[1, 2, 4]] < plain[[1, 2, 4]])


@pytest.mark.parametrize("monitoring", ["prices", "own", "full"])
def test_sellers_see_what_was_promoted(monitoring: Any) -> None:
    env = make(PROMOTED, monitoring=monitoring)
    first, _ = env.reset(seed=2)
    assert not env.market_batch.layout.split(first["seller_0"])["own_feature"].any()
    for joint in sampled(env, 6, 5):
        observations, *_ = env.step(joint)
        out = env.outcome
        for n, agent in enumerate(env.possible_agents):
            seen = env.market_batch.layout.read(observations[agent], n)
            public = np.ones(5, dtype=bool) if monitoring != "own" else env.catalog.seller_of == n
            np.testing.assert_array_equal(seen["display"], out.promoted[0, 0] & public)
            np.testing.assert_array_equal(seen["feature"], out.promoted[1, 0] & public)
        np.testing.assert_array_equal(env.state()[-11:-1], np.concatenate([out.promoted[0, 0], out.promoted[1, 0]]))


@pytest.mark.parametrize("action_mode", ["continuous", "discrete"])
def test_one_market_equals_the_parallel_env_bit_for_bit(action_mode: Any) -> None:
    settings = {"action_mode": action_mode, "max_cycles": 9}
    env = make(PROMOTED, **settings)
    batch = malles_env.vec_env(scenario_of(PROMOTED), num_markets=1, info="step", **settings)
    many = malles_env.vec_env(scenario_of(PROMOTED), num_markets=3, info="step", **settings)
    *_, (_, _, rows) = alike(env, batch, many)
    assert not env.market_batch.layout.split(rows)["own_display"].any()  # the next episode has begun


@pytest.mark.parametrize("action_mode", ACTION_MODES)
def test_pickling_in_the_middle_and_seeds(action_mode: Any) -> None:
    env, twin = (make(PROMOTED, action_mode=action_mode, max_cycles=20) for _ in range(2))
    env.reset(seed=3)
    twin.reset(seed=3)
    joint = sampled(env, 2, 14)
    assert same(play(env, joint[:7]), play(twin, joint[:7]))
    copy = pickle.loads(pickle.dumps(env))
    assert same(play(env, joint[7:]), play(copy, joint[7:]))


def test_masks_close_what_cannot_be_promoted() -> None:
    stock = np.array([9.0, 9.0, 0.0, 9.0, 9.0])
    actions = actions_of("discrete")
    big = actions.masks(0, stock)
    assert big.shape == (actions.space("seller_0").nvec.sum(),)
    np.testing.assert_array_equal(big[18:].reshape(6, 2)[:, 1], [True, False, True] * 2)
    small = actions.masks(1, stock)[18:].reshape(6, 2)
    np.testing.assert_array_equal(small[:, 1], [False, False, False, True, False, False])
    assert small[:, 0].all()


def test_before_its_entry_a_seller_pays_nothing() -> None:
    products = (Product("a", "one", 1.0, 2.0), Product("b", "two", 1.0, 2.0, enters=1))
    late = replace(
        scenario_of(PROMOTED), products=products, capacity=(), promotions=Promotions(1.0, 2.0, {"two": (1, 1)})
    )
    env = malles_env.parallel_env(late)
    env.reset(seed=0)
    joint = {agent: np.ones(4, np.float32) for agent in env.agents}
    for fees in (0.0, 3.0):
        observations, _, _, _, infos = env.step(joint)
        assert [info["fees"] for info in infos.values()] == [0.0, fees]
        assert env.market_batch.layout.split(observations["seller_1"])["own_display"][0] == (fees > 0)


def test_the_market_refuses_more_than_the_slots() -> None:
    market = scenario_of(PROMOTED).market()
    listed, shown = [[1, 1, 1, 0, 1]], [[1, 0, 1, 0, 0]]
    with pytest.raises(InvalidInput, match="display of products of big: got 2; allowed: at most 1"):
        market.step(market.catalog.regular_price, listed, shown)
    assert market.step(market.catalog.regular_price, listed, None, shown).fees.sum() == 3 * 0.5 + 2 * 7.5


def test_sellers_that_follow_rules_promote_nothing() -> None:
    scenario = soft_drinks(display_fee=1000.0)
    view = SellerView.of(scenario, "seller_1")
    env = malles_env.vec_env(scenario, num_markets=2, learner="seller_0", rivals={"seller_1": cost_plus(view)})
    env.reset()
    view = SellerView.of(scenario, "seller_0")
    row = view.encode(view.regular_price, view.regular_price > 0)
    assert row.shape == view.action_space.shape
    env.step(np.stack([row, row]))
    out = env.outcome
    assert out.listed[:, view.products].any()
    assert not out.promoted[0].any()
    assert not out.promoted[1].any()


def test_a_scenario_says_fees_and_slots() -> None:
    scenario = soft_drinks(display_fee=20.0, feature_fee=50.0, slots={"store_brand": {"feature": 3}})
    promotions = scenario.catalog().promotions
    assert promotions is not None
    assert promotions.budget(scenario.seller_names).tolist() == [[1, 1, 1, 1], [1, 1, 3, 1]]
    assert (promotions.display_fee, promotions.feature_fee) == (20.0, 50.0)
    merged = scenario.with_policy(mergers=[["maker_1208", "store_brand"]])
    assert merged.catalog().promotions.budget(merged.seller_names)[:, 0].tolist() == [2, 4]
    assert scenario.digest() != load_scenario("soft-drinks").digest()


def test_a_scenario_with_promotions_comes_back_from_its_file(tmp_path: Any) -> None:
    scenario = soft_drinks(display_fee=20.0, slots={"store_brand": {"display": 0}})
    again = load_scenario(save_scenario(scenario, tmp_path / "promoted.yaml"))
    assert again.promotions == scenario.promotions
    assert again.digest() == scenario.digest()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"display_fee": -1.0}, "promotions.display_fee: got -1.0; allowed: at least 0"),
        ({"display_slots": -1}, "promotions.display_slots: got -1; allowed: at least 0"),
        (
            {"slots": {"store_brand": {"feature": -2}}},
            "promotions.slots.store_brand.feature: got -2; allowed: at least 0",
        ),
        (
            {"slots": {"nobody": {"feature": 1}}},
            "promotions.slots: got 'nobody'; allowed: one of the sellers maker_1208",
        ),
        ({"fee": 1.0}, "promotions.fee: there is no such field"),
    ],
)
def test_bad_blocks_are_named(block: dict[str, Any], message: str) -> None:
    import yaml

    fields = load_scenario("soft-drinks").model_dump(mode="json", exclude_defaults=True) | {"promotions": block}
    with pytest.raises(InvalidInput, match=message):
        parse_scenario(yaml.safe_dump(fields))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"display_fee": -1.0}, "promotions.display_fee"),
        ({"feature_fee": np.inf}, "promotions.feature_fee"),
        ({"slots": {"s": (0, -1)}}, "promotions.slots.s.feature: got -1"),
        ({"slots": {"t": (0, 1)}}, "promotions.slots: got 't'; allowed: one of the sellers s"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Catalog((Product("p", "s", 1.0, 2.0),), promotions=Promotions(**settings))
