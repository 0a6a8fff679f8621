"""Quantity discounts as actions: spaces, bounds, what sellers see, infos, and what a scenario file may say."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

import malles_env
from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import cost_plus
from malles_env.envs.spaces.actions import Actions
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.errors import InvalidInput
from malles_env.market import PriceRules, Tier, Tiers
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.loader import parse_scenario, save_scenario
from malles_env.scenarios.report import full_view
from tests.envs.bundled import ACTION_MODES, CROOKED, TIERED, alike, make, play, same, sampled, scenario_of

BIG = [0, 2, 3]  # products of seller_0: tiers on the first (40%) and last (25%); seller_1 has one of 50%
PLAIN = "tiers only"


def small(name: str = PLAIN, **changes: Any) -> Any:
    """Return the crooked market with the tiers of the tiered one and nothing else, so that rows are short."""
    return replace(scenario_of(CROOKED), name=name, tiers=scenario_of(TIERED).tiers, **changes)


def actions_of(mode: Any, scenario: Any = None) -> Actions:
    return Actions(SlotLayout((scenario or small()).catalog()), mode, 5)


def decode(actions: Actions, **by_agent: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return list prices and discounts."""
    rows = actions.blank(1)
    for agent, action in by_agent.items():
        actions.put(rows, actions.slot_layout.index(agent), action)
    prices, _ = actions.decode(rows)
    tier = actions.tiered(rows, prices, actions.slot_layout.catalog.price_low)
    return prices[0], 1.0 - tier[0] / prices[0]


def wholesale(**block: Any) -> Scenario:
    return Scenario.model_validate(load_scenario("wholesale").model_dump() | {"tiers": block})


def test_spaces_grow_only_where_a_scenario_has_tiers() -> None:
    assert actions_of("continuous", scenario_of(CROOKED)).space("seller_0").shape == (6,)
    assert actions_of("continuous").space("seller_0").shape == (9,)
    assert actions_of("discrete").space("seller_0").nvec.tolist() == [6] * 3 + [5] * 3
    money = actions_of("dict")
    assert set(money.space("seller_0")) == {"price", "listed", "tier"}
    np.testing.assert_array_equal(money.space("seller_0")["tier"].high, [0.4, 0.25])
    assert money.space("seller_1")["tier"].shape == (1,)
    assert set(money.space("seller_2")) == {"price", "listed"}
    plain, with_tiers = (malles_env.parallel_env(s) for s in (scenario_of(CROOKED), small()))
    more = [
        b.name
        for b in with_tiers.market_batch.layout.blocks
        if b.name not in {a.name for a in plain.market_batch.layout.blocks}
    ]
    assert more == ["own_tier", "rivals_tier"]
    assert with_tiers.state_space.shape[0] == plain.state_space.shape[0] + 5


def test_discounts_run_from_none_to_the_deepest() -> None:
    row = np.array([1, 1, 1, 0, 0, 0, -1, 1, 1], np.float32)
    prices, depth = decode(actions_of("continuous"), seller_0=row)
    np.testing.assert_allclose(depth[BIG], [0.0, 0.0, 0.25], atol=1e-7)  # the middle product carries no tier
    assert depth[0] == 0.0
    row[6:] = [0.0, 0, -0.5]
    np.testing.assert_allclose(decode(actions_of("continuous"), seller_0=row)[1][BIG], [0.2, 0, 0.0625], atol=1e-7)
    discrete = np.array([5, 5, 5, 1, 4, 4])
    np.testing.assert_allclose(decode(actions_of("discrete"), seller_0=discrete)[1][BIG], [0.1, 0, 0.25], atol=1e-12)
    money = {"price": prices[BIG], "listed": [1, 0, 1], "tier": [0.15, 0.05]}
    np.testing.assert_allclose(decode(actions_of("dict"), seller_0=money)[1][BIG], [0.15, 0, 0.05], atol=1e-12)


def test_no_tier_price_is_below_the_lowest_price_or_the_least_margin() -> None:
    actions = actions_of("dict")
    low = actions.slot_layout.catalog.price_low
    cheap = {"price": 1.2 * low[BIG], "listed": [1, 1, 1], "tier": [0.4, 0.1]}
    np.testing.assert_allclose(decode(actions, seller_0=cheap)[1][BIG], [1 / 6, 0, 0.1], atol=1e-12)
    ruled = small(price_rules=PriceRules(margin=1.0))
    env = malles_env.parallel_env(ruled, demand="expected")
    env.reset(seed=0)
    low = [env.catalog.price_low[env.market_batch.slot_layout.products(n)] for n in range(3)]
    joint = {agent: env.encode_action(agent, low[n], True) for n, agent in enumerate(env.agents)}
    joint["seller_0"] = env.encode_action("seller_0", [1.5, 4.0, 5.0], True, tier=[0.4, 0, 0.25])
    env.step(joint)
    assert env.outcome.tier_prices[0, 0] == pytest.approx(max(1.5 * 0.6, 2.0 * 0.5), abs=1e-6)
    assert env.outcome.tier_prices[0, 3] == pytest.approx(5.0 * 0.75, abs=1e-6)


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_encode_is_the_inverse_of_decode(mode: str) -> None:
    actions = actions_of(mode)
    action = actions.encode(0, [3.0, 4.0, 5.0], True, tier=[0.2, 0.0, 0.0625])
    np.testing.assert_allclose(decode(actions, seller_0=action)[1][BIG], [0.2, 0.0, 0.0625], atol=1e-6)
    none = actions.encode(0, [3.0, 4.0, 5.0], True)
    assert not decode(actions, seller_0=none)[1][BIG].any()
    if mode == "dict":
        assert list(none["tier"]) == [0.0, 0.0]
    many = actions.encode(0, np.full((4, 3), 3.0), True, tier=np.full((4, 3), [0.1, 0.0, 0.1]))
    rows = actions.blank(4)
    actions.put(rows, 0, many)
    assert actions.tiered(rows, actions.decode(rows)[0], actions.slot_layout.catalog.price_low).shape == (4, 5)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"price": [3, 4, 5], "listed": [1, 0, 1]}, "a dict with 'price', 'listed' and 'tier'"),
        ({"price": [3, 4, 5], "listed": [1, 0, 1], "tier": [0.1] * 3}, r"seller_0\['tier'\].*2 numbers, one per"),
        (
            {"price": [3, 4, 5], "listed": [1, 0, 1], "tier": [0.1, 0.3]},
            r"seller_0, \['tier'\]\[2\]: got 0.3; allowed: 0 to 0.25 of the list price",
        ),
        ({"price": [3, 4, 5], "listed": [1, 0, 1], "tier": [-0.1, 0.1]}, r"\['tier'\]\[0\]: got -0.1; .* 0 to 0.4"),
        ({"price": [3, 4, 5], "listed": [1, 0, 1], "tier": [np.nan, 0.1]}, r"\['tier'\]\[0\]: got nan"),
    ],
)
def test_bad_discounts_are_named(action: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        decode(actions_of("dict"), seller_0=action)


def test_bad_discounts_to_encode_are_named() -> None:
    for mode in ACTION_MODES:
        with pytest.raises(InvalidInput, match=r"seller_0\['tier'\]\[1\]: got 0.1; .* as the product carries no"):
            actions_of(mode).encode(0, [3.0, 4.0, 5.0], True, tier=0.1)
        with pytest.raises(InvalidInput, match=r"seller_0\['tier'\].*as the scenario has no tiers"):
            actions_of(mode, scenario_of(CROOKED)).encode(0, [3.0, 4.0, 5.0], True, tier=0.1)
    with pytest.raises(InvalidInput, match=r"action of seller_2: .*a dict with 'price' and 'listed'"):
        decode(actions_of("dict"), seller_2={"price": [1.0], "listed": [1], "tier": []})
    row = np.array([0, 0, 0, 1, 1, 1, 1.5, 0, 0], np.float32)
    with pytest.raises(InvalidInput, match=r"seller_0, \[6\]: got 1.5; allowed: -1 to 1"):
        decode(actions_of("continuous"), seller_0=row)


@pytest.mark.parametrize("demand", ["multinomial", "expected", "exact"])
def test_money_adds_up_and_infos_say_what_tiers_sold(demand: str) -> None:
    env = malles_env.parallel_env(small(), demand=demand)
    env.reset(seed=1)
    sold = 0.0
    for joint in sampled(env, 3, 6):
        _, rewards, _, _, infos = env.step(joint)
        out = env.outcome
        paid = out.prices * (out.units - out.tier_units) + out.tier_prices * out.tier_units
        np.testing.assert_allclose(out.revenue, paid, atol=1e-9)
        for n, (agent, info) in enumerate(infos.items()):
            own = env.catalog.seller_of == n
            assert info["tier_units"] == pytest.approx(out.tier_units[0, own].sum(), abs=1e-9)
            assert info["tier_revenue"] == pytest.approx((out.tier_prices * out.tier_units)[0, own].sum(), abs=1e-9)
            assert info["profit"] == pytest.approx(info["revenue"] - info["cost"] - info["fees"], abs=1e-9)
            assert info["units"] >= info["tier_units"] and rewards[agent] == info["profit"] / 50.0
            sold += info["tier_units"]
    assert sold > 20
    assert not any("tier" in key for key in make(CROOKED).market_batch.info_keys)


@pytest.mark.parametrize("monitoring", ["prices", "own", "full"])
def test_sellers_see_the_discounts_of_the_last_period(monitoring: Any) -> None:
    env = malles_env.parallel_env(small(), monitoring=monitoring)
    first, _ = env.reset(seed=2)
    assert not env.market_batch.layout.split(first["seller_0"])["own_tier"].any()
    for joint in sampled(env, 6, 5):
        observations, *_ = env.step(joint)
        out = env.outcome
        depth = np.where(out.listed, 1.0 - out.tier_prices / out.prices, 0.0)[0]
        for n, agent in enumerate(env.possible_agents):
            seen = env.market_batch.layout.read(observations[agent], n)["tier"]
            hidden = (env.catalog.seller_of != n) & (monitoring == "own")
            np.testing.assert_allclose(seen[~hidden], depth[~hidden], atol=1e-6)
            assert np.isnan(seen[hidden]).all()
        np.testing.assert_allclose(env.state()[-6:-1], depth / [0.4, 0.5, 1, 0.25, 1], atol=1e-6)


@pytest.mark.parametrize("action_mode", ["continuous", "discrete"])
@pytest.mark.parametrize("name", [PLAIN, TIERED])
def test_one_market_equals_the_parallel_env_bit_for_bit(action_mode: Any, name: str) -> None:
    settings = {"action_mode": action_mode, "max_cycles": 9}
    scenario = small() if name == PLAIN else scenario_of(TIERED)
    env = malles_env.parallel_env(scenario, **settings)
    batch, many = (malles_env.vec_env(scenario, num_markets=m, info="step", **settings) for m in (1, 3))
    *_, (_, _, rows) = alike(env, batch, many)
    assert not env.market_batch.layout.split(rows)["own_tier"].any()  # the next episode has begun


@pytest.mark.parametrize("action_mode", ACTION_MODES)
def test_pickling_in_the_middle_and_seeds(action_mode: Any) -> None:
    env, twin = (malles_env.parallel_env(small(), action_mode=action_mode, max_cycles=20) for _ in range(2))
    env.reset(seed=3)
    twin.reset(seed=3)
    joint = sampled(env, 2, 14)
    assert same(play(env, joint[:7]), play(twin, joint[:7]))
    copy = pickle.loads(pickle.dumps(env))
    assert same(play(env, joint[7:]), play(copy, joint[7:]))


def test_without_discounts_an_episode_is_that_of_a_scenario_without_tiers() -> None:
    plain, able = malles_env.parallel_env(scenario_of(CROOKED)), malles_env.parallel_env(small())
    plain.reset(seed=8)
    able.reset(seed=8)
    for joint in sampled(plain, 1, 6):
        none = {agent: np.concatenate([row, -np.ones(3, np.float32)]) for agent, row in joint.items()}
        _, rewards, _, _, infos = plain.step(joint)
        _, others, _, _, found = able.step(none)
        assert rewards == others
        for agent, info in infos.items():
            assert info | {"tier_units": 0.0, "tier_revenue": 0.0} == found[agent]


def test_masks_close_what_cannot_be_discounted() -> None:
    actions = actions_of("discrete")
    mask = actions.masks(0, np.array([9.0, 9.0, 9.0, 0.0, 9.0]))
    assert mask.shape == (actions.space("seller_0").nvec.sum(),)
    tiers = mask[18:].reshape(3, 5)
    assert tiers[:, 0].all()
    np.testing.assert_array_equal(tiers[:, 1:].all(axis=1), [True, False, False])


def test_sellers_that_follow_rules_post_no_discount() -> None:
    scenario = wholesale(threshold=6, most=0.25)
    view = SellerView.of(scenario, "seller_1")
    env = malles_env.vec_env(scenario, num_markets=2, learner="seller_0", rivals={"seller_1": cost_plus(view)})
    env.reset()
    view = SellerView.of(scenario, "seller_0")
    row = view.encode(view.regular_price, view.regular_price > 0)
    assert row.shape == view.action_space.shape
    env.step(np.stack([row, row]))
    np.testing.assert_array_equal(env.outcome.tier_prices, env.outcome.prices)
    assert env.outcome.units.sum() > 0 and not env.outcome.tier_units.any()


def test_a_scenario_says_thresholds_and_depths(tmp_path: Any) -> None:
    scenario = wholesale(threshold=6, most=0.25, products={"corvane_anchor": {"threshold": 4, "most": 0.1}})
    tiers = scenario.catalog().tiers
    assert tiers is not None
    assert tiers.thresholds(scenario.product_ids).tolist() == [6, 6, 6, 6, 6, 6, 4, 6]
    assert tiers.deepest(scenario.product_ids)[6] == 0.1
    some = wholesale(most=0.2, products={"daxline_adhesive": {"threshold": 12}}).catalog().tiers
    assert some is not None and some.by_product == {"daxline_adhesive": Tier(12, 0.2)}
    assert scenario.digest() != load_scenario("wholesale").digest()
    again = load_scenario(save_scenario(scenario, tmp_path / "tiered.yaml"))
    assert again.tiers == scenario.tiers and again.digest() == scenario.digest()


def test_scenario_show_tells_the_tiers() -> None:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(full_view(wholesale(threshold=6, most=0.25, products={"corvane_anchor": {"most": 0.1}})))
    words = console.export_text()
    assert "up to 25% off for every unit of an order of 6 or more" in words
    assert "up to 10% off for every unit of an order of 6 or more (corvane_anchor)" in words


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"threshold": 1, "most": 0.2}, "tiers.threshold: got 1; allowed: a whole number from 2 to 500"),
        ({"threshold": 6}, "tiers.most: got None; allowed: a share of the list price"),
        ({"threshold": 2.5, "most": 0.2}, "tiers.threshold: got 2.5"),
        ({"threshold": 4, "most": 0.9}, "tiers.most: got 0.9; allowed: more than 0 and at most 0.75"),
        ({"most": 0.2}, "tiers: got 'no threshold and no products'"),
        ({"products": {"nobody": {"threshold": 3, "most": 0.1}}}, "tiers.products: got 'nobody'; allowed: one of"),
        (
            {"threshold": 6, "most": 0.2, "products": {"corvane_foam": {"most": -0.1}}},
            "tiers.products.corvane_foam.most: got -0.1; allowed: more than 0",
        ),
        ({"thresholds": [6, 12]}, "tiers.thresholds: there is no such field"),
    ],
)
def test_bad_blocks_are_named(block: dict[str, Any], message: str) -> None:
    fields = load_scenario("wholesale").model_dump(mode="json", exclude_defaults=True) | {"tiers": block}
    with pytest.raises(InvalidInput, match=message):
        parse_scenario(yaml.safe_dump(fields))


def test_tiers_need_orders_of_several_units_and_consumers_that_know_them() -> None:
    duopoly = load_scenario("bertrand-duopoly").model_dump()
    with pytest.raises(ValueError, match="tiers: got 'set'; allowed: nothing where every buyer takes one unit"):
        Scenario.model_validate(duopoly | {"tiers": {"threshold": 2, "most": 0.2}})
    asked = load_scenario("wholesale").model_dump() | {"consumers": {"kind": "prompted", "model": "m"}}
    with pytest.raises(ValueError, match="tiers: got 'set'; allowed: nothing with kind: prompted"):
        Scenario.model_validate(asked | {"tiers": {"threshold": 2, "most": 0.2}})


def test_merged_sellers_keep_the_tiers_of_their_products() -> None:
    merged = wholesale(products={"daxline_adhesive": {"threshold": 5, "most": 0.2}}).with_policy(
        mergers=[["aldermoor", "daxline"]]
    )
    layout = SlotLayout(merged.catalog())
    assert Tiers(merged.catalog().tiers.by_product) == merged.catalog().tiers
    assert [len(layout.tier_slots(n)) for n in range(layout.count)] == [1, 0, 0]
