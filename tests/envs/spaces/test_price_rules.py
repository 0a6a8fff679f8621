"""Price rules: which prices they allow, where they move an action, what they count, and what a scenario may say."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

import malles_env
from malles_env.envs.spaces.price_rules import RuledPrices
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, PriceRules, Product
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.loader import parse_scenario, save_scenario
from tests.envs.bundled import ACTION_MODES, CROOKED, RULED, make, numbers, same, sampled, scenario_of

ONE = (Product("p", "s", 1.0, 2.0, price_low=1.0, price_high=5.0),)


def moved(rules: PriceRules, asked: Any, last: Any = 2.0, products: tuple[Product, ...] = ONE) -> np.ndarray:
    """Return the prices that one seller with one product gets for prices asked."""
    prices = np.array(asked, dtype=np.float64).reshape(-1, 1)
    before = np.broadcast_to(np.array(last, dtype=np.float64).reshape(-1, 1), prices.shape).copy()
    catalog = Catalog(products, price_rules=rules)
    RuledPrices(SlotLayout(catalog), rules).apply(prices, np.ones(prices.shape, dtype=bool), before)
    return prices[:, 0]


def counted(rules: PriceRules, asked: Any, last: float = 2.0) -> np.ndarray:
    prices = np.array(asked, dtype=np.float64).reshape(-1, 1)
    ruled = RuledPrices(SlotLayout(Catalog(ONE, price_rules=rules)), rules)
    books = ruled.apply(prices, np.ones(prices.shape, dtype=bool), np.full(prices.shape, last))
    np.testing.assert_array_equal(prices[:, 0], asked)
    assert all(key.startswith("cost_") for key in ruled.keys)
    return books[:, 0]


def test_endings_take_the_nearest_rung_and_ties_go_down() -> None:
    rules = PriceRules(endings=(0.99, 0.49))
    found = moved(rules, [1.0, 1.2, 1.74, 1.75, 1.99, 3.3, 5.0])
    np.testing.assert_allclose(found, [1.49, 1.49, 1.49, 1.99, 1.99, 3.49, 4.99], atol=1e-12)
    np.testing.assert_allclose(moved(PriceRules(endings=(0.0,)), [1.2, 2.5, 4.9]), [1.0, 2.0, 5.0])


def test_a_price_stays_or_changes_by_at_least_the_step() -> None:
    rules = PriceRules(step=0.5)
    found = moved(rules, [2.0, 2.1, 2.25, 2.26, 2.5, 2.7, 1.76, 1.75, 1.7])
    np.testing.assert_allclose(found, [2.0, 2.0, 2.0, 2.5, 2.5, 2.7, 2.0, 1.5, 1.5])
    np.testing.assert_allclose(moved(rules, [1.0, 1.1], last=1.2), [1.2, 1.2])  # 0.7 lies below the bounds


def test_a_price_changes_by_at_most_the_largest_change() -> None:
    np.testing.assert_allclose(moved(PriceRules(change=0.5), [1.0, 1.6, 2.4, 4.0]), [1.5, 1.6, 2.4, 2.5])
    share = PriceRules(change_share=0.1)
    np.testing.assert_allclose(moved(share, [1.0, 3.0, 4.0], last=[2.0, 4.0, 4.0]), [1.8, 3.6, 4.0])


def test_a_price_leaves_the_least_margin() -> None:
    np.testing.assert_allclose(moved(PriceRules(margin=0.6), [1.0, 1.59, 1.7]), [1.6, 1.6, 1.7])
    taxed = Catalog(ONE, sales_tax=0.25, price_rules=PriceRules(margin=0.6))
    prices = np.array([[1.0]])
    RuledPrices(SlotLayout(taxed), taxed.price_rules).apply(prices, np.ones((1, 1), dtype=bool), prices.copy())
    assert prices[0, 0] == pytest.approx(2.0)


def obeys(rules: PriceRules, price: np.ndarray, last: np.ndarray) -> np.ndarray:
    change, fine = np.abs(price - last), (price > 1.0 - 1e-8) & (price < 5.0 + 1e-8)
    if rules.endings:
        cents = price[..., None] - np.array(rules.endings)
        fine = fine & (np.abs(cents - np.rint(cents)) < 1e-8).any(axis=-1)
    most = np.inf if rules.change is None and rules.change_share is None else 0.0
    most = most + (rules.change or 0.0) + (rules.change_share or 0.0) * last
    fine = fine & (change < most + 1e-8)
    fine = fine & ((change < 1e-8) | (change > (rules.step or 0.0) - 1e-8))
    fine = fine & (price > 1.0 + (rules.margin or 0.0) - 1e-8)
    return np.asarray(fine)


@pytest.mark.parametrize(
    "rules",
    [
        PriceRules((0.99, 0.49, 0.25), step=0.3, change=0.9, margin=0.2),
        PriceRules((0.95,), change_share=0.6),
        PriceRules(step=0.3, change_share=0.4, margin=0.5),
        PriceRules(step=0.15, change=0.2),
    ],
)
def test_what_binds_is_the_nearest_price_that_obeys_all(rules: PriceRules) -> None:
    rng = np.random.default_rng(0)
    cents = np.arange(100, 501) / 100
    start = cents[obeys(replace(rules, step=None, change=None, change_share=None), cents, cents)]
    last, asked = rng.choice(start, 3000), rng.choice(cents, 3000)
    found = moved(rules, asked, last)
    allowed = obeys(rules, cents[None, :], last[:, None])
    nearest = np.where(allowed, np.abs(cents - asked[:, None]), np.inf).min(axis=1)
    reached = np.isfinite(nearest)
    assert reached.mean() > 0.99
    assert obeys(rules, found, last)[reached].all()
    assert np.all(np.abs(found - asked)[reached] <= nearest[reached] + 1e-8)
    np.testing.assert_allclose(moved(rules, found, last)[reached], found[reached], atol=1e-8)


def test_where_no_rung_is_in_reach_the_price_comes_as_near_to_the_last_as_it_can() -> None:
    rules = PriceRules(endings=(0.99,), change=0.2)
    np.testing.assert_allclose(moved(rules, [4.0, 1.0], last=2.5), [2.99, 2.99], atol=1e-12)
    np.testing.assert_allclose(moved(PriceRules(change=0.2, margin=2.0), [1.0], last=1.5), [3.0])


def test_costs_are_money_to_the_nearest_price_that_obeys_the_rule_alone() -> None:
    def only(name: str) -> dict[str, Any]:
        return {"counted": frozenset({name})}

    ladder = counted(PriceRules((0.99, 0.49), **only("ladder")), [1.99, 2.0, 2.3, 1.0])
    np.testing.assert_allclose(ladder[:, 0], [0.0, 0.01, 0.19, 0.01], atol=1e-12)
    step = counted(PriceRules(step=0.5, **only("step")), [2.0, 2.1, 2.4, 1.4])
    np.testing.assert_allclose(step[:, 0], [0.0, 0.1, 0.1, 0.0], atol=1e-12)
    change = counted(PriceRules(change_share=0.1, **only("change")), [2.0, 2.2, 2.5, 1.0])
    np.testing.assert_allclose(change[:, 0], [0.0, 0.0, 0.3, 0.8], atol=1e-12)
    margin = counted(PriceRules(margin=0.5, **only("margin")), [1.0, 1.5, 2.0])
    np.testing.assert_allclose(margin[:, 0], [0.5, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_infos_say_what_was_moved_and_what_the_rest_costs(mode: str) -> None:
    env, plain = make(RULED, action_mode=mode, demand="expected"), make(CROOKED, action_mode=mode)
    env.reset(seed=1)
    plain.reset(seed=1)
    last, total, paid = env.market_batch.slot_layout.default_offer[0], 0.0, 0.0
    for joint in sampled(env, 4, 6):
        _, _, _, _, infos = env.step(joint)
        plain.step(joint)
        out = env.outcome
        np.testing.assert_array_equal(out.listed, plain.outcome.listed)
        asked, listed, catalog = plain.outcome.prices[0], out.listed[0], env.catalog
        cents = np.array([0.99, 0.49])
        gaps = np.abs((out.prices[0][:, None] - cents) - np.rint(out.prices[0][:, None] - cents)).min(axis=1)
        assert np.all(gaps[listed] < 1e-8)
        np.testing.assert_array_equal(out.prices[0, ~listed], asked[~listed])
        short = np.maximum(5.0 * catalog.unit_cost - out.prices[0], 0.0) * listed
        for n, info in enumerate(map(numbers, infos.values())):
            own = catalog.seller_of == n
            assert list(info)[7:] == ["moved_prices", "cost_margin"]
            assert all(type(value) is np.float64 for value in info.values())
            assert info["moved_prices"] == ((np.abs(out.prices[0] - asked) > 1e-5) & own).sum()
            assert info["cost_margin"] == pytest.approx(short[own].sum(), abs=1e-9)
            total, paid = total + info["moved_prices"], paid + info["cost_margin"]
        last = np.where(listed, out.prices[0], last)
        np.testing.assert_array_equal(env.market_batch._asked[0], last)
    assert total > 5
    assert paid > 0


def test_a_change_is_measured_from_the_price_at_which_a_product_was_listed_last() -> None:
    small = replace(scenario_of(CROOKED), products=ONE, capacity=(), price_rules=PriceRules(change=0.5))
    env = malles_env.parallel_env(small, action_mode="dict")
    env.reset(seed=0)
    for asked, listed, played in ((4.0, 1, 2.5), (1.0, 0, None), (4.0, 1, 3.0)):
        env.step({"seller_0": {"price": [asked], "listed": [listed]}})
        if played is not None:
            assert env.outcome.prices[0, 0] == played
    env.reset(seed=0)
    env.step({"seller_0": {"price": [4.0], "listed": [1]}})
    assert env.outcome.prices[0, 0] == 2.5


def test_infos_of_other_scenarios_stay_as_they_are() -> None:
    env = make(CROOKED)
    env.reset(seed=0)
    infos = env.step(sampled(env, 1, 1)[0])[4]
    assert list(infos["seller_0"]) == ["revenue", "cost", "fees", "profit", "units", "share", "surplus"]


def test_all_faces_say_the_same() -> None:
    scenario = scenario_of(RULED)
    env = make(RULED)
    batch = malles_env.vec_env(scenario, num_markets=3, info="step")
    sums = malles_env.vec_env(scenario, num_markets=3)
    one = gymnasium.make("malles_env/Pricing-v0", scenario=scenario, rivals=None)
    many = gymnasium.make_vec("malles_env/Pricing-v0", 2, "vector_entry_point", scenario=scenario)
    for vec in (batch, sums):
        vec.seed(4)
    rows = batch.reset()
    sums.reset()
    observations, _ = env.reset(seed=4)
    one.reset(seed=4)
    many.reset(seed=4)
    total = np.zeros(2)
    for joint in sampled(env, 9, 6):
        for agent, row in zip(env.possible_agents, rows, strict=False):
            np.testing.assert_array_equal(observations[agent], row)
        observations, rewards, _, _, infos = env.step(joint)
        action = np.tile(np.stack(list(joint.values())), (3, 1))
        rows, gains, _, found = batch.step(action)
        _, _, _, ends = sums.step(action)
        np.testing.assert_array_equal(np.float32(list(rewards.values())), gains[:3])
        for info, other in zip(infos.values(), found[:3], strict=True):
            assert info == {key: other[key] for key in info}
        total += [infos["seller_0"]["moved_prices"], infos["seller_0"]["cost_margin"]]
        _, _, _, _, info = one.step(joint["seller_0"])
        _, _, _, _, together = many.step(np.stack([joint["seller_0"]] * 2))
        assert info == {key: together[key][0] for key in info}
    assert [ends[0]["moved_prices"], ends[0]["cost_margin"]] == pytest.approx(total.tolist())
    assert together["final_info"]["cost_margin"][0] == info["cost_margin"]


def test_pickling_in_the_middle_continues_the_same() -> None:
    env = make(RULED, max_cycles=20)
    env.reset(seed=3)
    joint = sampled(env, 2, 14)
    for actions in joint[:7]:
        env.step(actions)
    copy = pickle.loads(pickle.dumps(env))
    assert same([env.step(actions) for actions in joint[7:]], [copy.step(actions) for actions in joint[7:]])


def soft_drinks(**block: Any) -> dict[str, Any]:
    return load_scenario("soft-drinks").model_dump(mode="json", exclude_defaults=True) | {"price_rules": block}


def test_a_scenario_says_its_rules(tmp_path: Any) -> None:
    scenario = Scenario.model_validate(
        soft_drinks(ladder={"endings": [0.99, 0.49]}, change={"share": 0.2, "enforce": "cost"}, margin={"least": 0.1})
    )
    rules = scenario.catalog().price_rules
    assert rules == PriceRules((0.99, 0.49), change_share=0.2, margin=0.1, counted=frozenset({"change"}))
    assert rules.bound == ("ladder", "margin")
    again = load_scenario(save_scenario(scenario, tmp_path / "ruled.yaml"))
    assert again.catalog().price_rules == rules
    assert again.digest() == scenario.digest() != load_scenario("soft-drinks").digest()
    assert Scenario.model_validate(soft_drinks()).catalog().price_rules is None


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"ladder": {"endings": [1.0]}}, r"price_rules.ladder.endings\[0\]: got 1.0; allowed: less than 1"),
        ({"ladder": {"endings": [-0.01]}}, r"price_rules.ladder.endings\[0\]: got -0.01; allowed: at least 0"),
        ({"ladder": {"endings": []}}, r"price_rules.ladder.endings"),
        ({"margin": {"least": -0.1}}, "price_rules.margin.least: got -0.1; allowed: at least 0"),
        ({"margin": {"least": 9.0}}, r"price_rules.margin.least: got 9.0; allowed: at most .*products\[0\]"),
        ({"step": {"least": 0.0}}, "price_rules.step.least: got 0.0; allowed: at least 1e-09"),
        ({"change": {"enforce": "cost"}}, "price_rules.change: got 'nothing'; allowed: share or money"),
        ({"change": {"share": 0.1, "money": 0.1}}, "price_rules.change: got 'share and money'"),
        ({"step": {"least": 0.5}, "change": {"money": 0.2}}, "price_rules.step.least: got 0.5; allowed: at most"),
        ({"ladder": {"endings": [0.99], "enforce": "warn"}}, "price_rules.ladder.enforce: got 'warn'"),
        ({"ladders": {"endings": [0.99]}}, "price_rules.ladders: there is no such field .did you mean ladder"),
    ],
)
def test_bad_blocks_are_named(block: dict[str, Any], message: str) -> None:
    import yaml

    with pytest.raises(InvalidInput, match=message):
        parse_scenario(yaml.safe_dump(soft_drinks(**block)))


def test_a_ladder_needs_a_rung_within_the_bounds() -> None:
    product = Product("p", "s", 0.1, 0.2, price_low=0.1, price_high=0.4)
    with pytest.raises(InvalidInput, match=r"price_rules.ladder.endings: got \[0.99, 0.49\].*products\[0\] from 0.1"):
        Catalog((product,), price_rules=PriceRules((0.99, 0.49)))
    Catalog((product,), price_rules=PriceRules((0.99, 0.49), counted=frozenset({"ladder"})))  # only counted
    with pytest.raises(InvalidInput, match=r"price_rules\.margin\.least"):
        Catalog((product,), price_rules=PriceRules(margin=3.5, counted=frozenset({"margin"})))
