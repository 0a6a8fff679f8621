"""Orders as actions: spaces, rounding and room, what they cost, what sellers see, and what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

import malles_env
from malles_env.envs.core.market_batch import MONEY_KEYS, STOCK_KEYS
from malles_env.envs.spaces.actions import Actions
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.errors import InvalidInput
from malles_env.market import Product, Replenishment, Supply
from tests.envs.bundled import (
    ACTION_MODES,
    CROOKED,
    PROMOTED,
    STOCKED,
    alike,
    make,
    numbers,
    play,
    same,
    sampled,
    scenario_of,
)

BIG = [0, 2, 3]  # products of seller_0; their largest orders are 60, 33 and 7, their lead times 2, 1 and 2


def actions_of(mode: Any, name: str = STOCKED, levels: int = 5) -> Actions:
    return Actions(SlotLayout(scenario_of(name).catalog()), mode, levels)


def ordered(actions: Actions, **by_agent: Any) -> np.ndarray:
    rows = actions.blank(1)
    for agent, action in by_agent.items():
        actions.put(rows, actions.slot_layout.index(agent), action)
    actions.decode(rows)
    return actions.ordered(rows)[0]


def test_spaces_grow_only_where_products_are_ordered() -> None:
    assert actions_of("continuous", PROMOTED).space("seller_0").shape == (12,)
    assert actions_of("continuous").space("seller_0").shape == (15,)
    assert actions_of("discrete").space("seller_0").nvec.tolist() == [6] * 3 + [2] * 6 + [6] * 3
    assert "order" not in actions_of("dict", PROMOTED).space("seller_0").spaces
    order = actions_of("dict").space("seller_0")["order"]
    assert order.dtype == np.int64
    assert order.low.tolist() == [0, 0, 0]
    assert order.high.tolist() == [60, 33, 7]
    plain, stocked = make(PROMOTED), make(STOCKED)
    more = [
        b.name
        for b in stocked.market_batch.layout.blocks
        if b.name not in {b.name for b in plain.market_batch.layout.blocks}
    ]
    assert more == ["own_ordered", "own_on_order_1", "own_on_order_2"]
    assert not any("order" in block.name for block in plain.market_batch.layout.blocks)
    full = make(STOCKED, monitoring="full").market_batch.layout
    assert {"rivals_ordered", "rivals_on_order_2", "rivals_stock"} <= {block.name for block in full.blocks}
    assert stocked.state_space.shape[0] == plain.state_space.shape[0] + 3 * 5


def test_continuous_orders_run_from_none_to_the_largest_in_whole_units() -> None:
    actions, action = actions_of("continuous"), np.zeros(15, np.float32)
    for share, found in ((-1.0, [0, 0, 0]), (1.0, [60, 33, 7]), (0.0, [30, 17, 4])):  # 16.5 and 3.5 are rounded up
        action[12:] = share
        np.testing.assert_array_equal(ordered(actions, seller_0=action)[BIG], found)
    some = replace(
        scenario_of(STOCKED), replenishment=Replenishment(scenario_of(STOCKED).replenishment.supplies, False)
    )
    split = Actions(SlotLayout(some.catalog()), "continuous")
    action[12:] = 0.0
    np.testing.assert_array_equal(ordered(split, seller_0=action)[BIG], [30.0, 16.5, 3.5])


def test_discrete_orders_are_a_grid() -> None:
    for choice, found in ((0, [0, 0, 0]), (1, [12, 7, 1]), (3, [36, 20, 4]), (5, [60, 33, 7])):
        action = np.array([1] * 3 + [0] * 6 + [choice] * 3)
        np.testing.assert_array_equal(ordered(actions_of("discrete"), seller_0=action)[BIG], found)


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_encode_is_the_inverse_of_decode(mode: str) -> None:
    actions = actions_of(mode, levels=30)
    wanted = np.array([[60.0, 11.0, 0.0], [2.0, 33.0, 7.0]])  # on the discrete grid, too
    batch = actions.encode(0, np.full((2, 3), 3.0), True, order=wanted)
    rows = actions.blank(2)
    actions.put(rows, 0, batch)
    actions.decode(rows)
    np.testing.assert_array_equal(actions.ordered(rows)[:, BIG], wanted)
    nothing = actions.encode(0, [3.0, 4.0, 6.0], True)
    np.testing.assert_array_equal(ordered(actions, seller_0=nothing)[BIG], [0, 0, 0])


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([1, -2, 0], r"seller_0.*\['order'\]\[1\]: got -2.0; allowed: 0 to 33 units"),
        ([1, 2, 8], r"seller_0.*\['order'\]\[2\]: got 8.0; allowed: 0 to 7 units"),
        ([121, 2, 3], r"seller_0.*\['order'\]\[0\]: got 121.0; allowed: 0 to 60 units"),  # beyond the storage, 120
        ([1, 2.5, 3], r"seller_0.*\['order'\]\[1\]: got 2.5; allowed: whole units from 0 to 33"),
        ([np.nan, 2, 3], r"seller_0.*\['order'\]\[0\]: got nan; allowed: 0 to 60 units"),
    ],
)
def test_bad_orders_are_named_and_nothing_happens(order: list[float], message: str) -> None:
    for mode in ACTION_MODES:
        with pytest.raises(InvalidInput, match=message):
            actions_of(mode).encode(0, [3.0, 4.0, 6.0], True, order=order)
    env = make(STOCKED, action_mode="dict")
    env.reset(seed=0)
    joint = sampled(env, 0, 1)[0]
    joint["seller_0"]["order"] = np.array(order)
    before = env.market.state.copy()
    with pytest.raises(InvalidInput, match=message):
        env.step(joint)
    assert np.array_equal(env.market.state.stock, before.stock)
    assert np.array_equal(env.market.state.pipeline, before.pipeline)
    assert np.array_equal(env.market.state.period, before.period)


def test_orders_where_products_are_not_ordered_are_refused() -> None:
    actions = actions_of("dict", CROOKED)
    with pytest.raises(InvalidInput, match=r"seller_0\['order'\].*the scenario has no replenishment"):
        actions.encode(0, [3.0, 4.0, 6.0], True, order=1)
    with pytest.raises(InvalidInput, match="a dict with 'price' and 'listed'"):
        actions.put(actions.blank(1), 0, {"price": [3, 4, 6], "listed": [1, 1, 1], "order": [0, 0, 0]})
    with pytest.raises(InvalidInput, match="a dict with 'price', 'listed' and 'order'"):
        money = actions_of("dict")
        money.put(money.blank(1), 2, {"price": [1.0], "listed": [1]})


def dynamics(env: Any, orders: np.ndarray, stock: np.ndarray, pipeline: np.ndarray, whole: bool = True) -> np.ndarray:
    """Place orders by the rules of the docs, product by product; return units placed and move stock and pipeline."""
    placed = np.zeros(len(orders))
    for j, supply in enumerate(env.catalog.replenishment.supplies):
        room = supply.storage - stock[j] - pipeline[:, j].sum()
        placed[j] = min(orders[j], supply.largest, np.floor(room) if whole else room)
        coming = [*pipeline[:, j], 0.0]
        coming[supply.lead_time] += placed[j]
        stock[j] += coming[0]
        pipeline[:, j] = coming[1:]
    return placed


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_stock_and_money_add_up_over_an_episode(mode: str) -> None:
    env = make(STOCKED, action_mode=mode, max_cycles=12)
    env.reset(seed=5)
    supplies, catalog = env.catalog.replenishment.supplies, env.catalog
    stock = np.array([supply.initial for supply in supplies])
    pipeline, capped, lost = np.zeros((2, 5)), 0.0, 0.0
    costs = {name: np.array([getattr(s, name) for s in supplies]) for name in ("fixed_cost", "holding_cost", "salvage")}
    for period, joint in enumerate(sampled(env, 6, 12)):
        rows = env.market_batch.actions.blank(1)
        for n, agent in enumerate(env.possible_agents):
            env.market_batch.actions.put(rows, n, joint[agent])
        asked = env.market_batch.actions.ordered(rows)[0]
        placed = dynamics(env, asked, stock, pipeline)
        _, rewards, _, truncated, infos = env.step(joint)
        out = env.outcome
        np.testing.assert_array_equal(out.ordered[0], placed)
        stock -= out.units[0]
        np.testing.assert_array_equal(out.stock[0], stock)
        assert np.all(stock >= 0.0)
        assert np.all(stock + pipeline.sum(axis=0) <= [s.storage for s in supplies])
        last = period == 11
        assert truncated["seller_0"] == last
        np.testing.assert_array_equal(out.cost, 0.0 * out.units)  # units are paid when they are ordered
        np.testing.assert_allclose(out.ordering[0], catalog.unit_cost * placed + costs["fixed_cost"] * (placed > 0))
        np.testing.assert_allclose(out.holding[0], costs["holding_cost"] * stock)
        np.testing.assert_allclose(out.salvage[0], costs["salvage"] * stock if last else 0.0 * stock)
        profit = out.revenue - out.cost - out.fees - out.ordering - out.holding + out.salvage
        np.testing.assert_array_equal(out.profit, profit)
        for n, agent in enumerate(infos):
            info, own = numbers(infos[agent]), catalog.seller_of == n
            assert tuple(info) == (*MONEY_KEYS, *STOCK_KEYS)
            assert all(type(value) is np.float64 for value in info.values())
            assert info["profit"] == out.seller_profit[0, n]
            assert rewards[agent] == info["profit"] / 50.0
            visible = info["revenue"] - info["cost"] - info["fees"] - info["ordering_cost"] - info["holding_cost"]
            assert info["profit"] == pytest.approx(visible + info["salvage"], abs=1e-9)
            assert [info["ordered"], info["stock"]] == [placed[own].sum(), stock[own].sum()]
            assert info["capped_orders"] == (asked - placed)[own].sum()
            capped += info["capped_orders"]
        lost += out.lost_sales.sum()
        shown = np.zeros(5) if last else stock
        np.testing.assert_array_equal(env.market.state.stock[0], shown)
        np.testing.assert_array_equal(env.market.state.pipeline[0], 0.0 * pipeline if last else pipeline)
    assert capped > 0
    assert lost > 0


@pytest.mark.parametrize("monitoring", ["prices", "own", "full"])
def test_sellers_see_stock_and_what_is_on_its_way(monitoring: Any) -> None:
    env = make(STOCKED, monitoring=monitoring, max_cycles=9)
    first, _ = env.reset(seed=2)
    storage = env.market_batch.layout.scales[1]
    seen = env.market_batch.layout.read(first["seller_0"], 0)
    np.testing.assert_allclose(seen["stock"][BIG], [40, 10, 60], rtol=1e-6)
    for joint in sampled(env, 6, 8):
        observations, *_ = env.step(joint)
        state, out = env.market.state, env.outcome
        for n, agent in enumerate(env.possible_agents):
            assert env.observation_space(agent).contains(observations[agent])
            seen = env.market_batch.layout.read(observations[agent], n)
            visible = np.ones(5, dtype=bool) if monitoring == "full" else env.catalog.seller_of == n
            np.testing.assert_allclose(seen["stock"], np.where(visible, state.stock[0], np.nan), rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(seen["ordered"], np.where(visible, out.ordered[0], np.nan), rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(
                seen["on_order"], np.where(visible, state.pipeline[0], np.nan), rtol=1e-5, atol=1e-4
            )
        whole = env.state()
        assert env.state_space.contains(whole)
        shown = np.concatenate(
            [out.ordered[0] / env.market_batch.layout.scales[3], (state.pipeline[0] / storage).ravel()]
        )
        np.testing.assert_allclose(whole[-16:-1], shown, rtol=1e-6)
    assert state.pipeline.any()


@pytest.mark.parametrize("action_mode", ["continuous", "discrete"])
def test_one_market_equals_the_parallel_env_bit_for_bit(action_mode: Any) -> None:
    settings = {"action_mode": action_mode, "max_cycles": 9}
    env = make(STOCKED, **settings)
    batch = malles_env.vec_env(scenario_of(STOCKED), num_markets=1, info="step", **settings)
    many = malles_env.vec_env(scenario_of(STOCKED), num_markets=3, info="step", **settings)
    sums = malles_env.vec_env(scenario_of(STOCKED), num_markets=1, **settings)
    sums.seed(4)
    sums.reset()
    total: dict[str, float] = dict.fromkeys((*MONEY_KEYS, *STOCK_KEYS), 0.0)
    for joint, infos, seen in alike(env, batch, many):
        rows = seen
        _, _, _, ends = sums.step(np.stack(list(joint.values())))
        total = {key: value + infos["seller_0"][key] for key, value in total.items()}
    stock = env.market_batch.layout.split(rows)["own_stock"]  # the next episode has begun
    np.testing.assert_allclose(stock[0], [40 / 120, 10 / 80, 1.0], rtol=1e-6)
    total["share"], total["stock"] = total["share"] / 9, total["stock"] / 9
    assert {key: ends[0][key] for key in total} == pytest.approx(total)


def test_single_seller_faces_agree() -> None:
    scenario = scenario_of(STOCKED)
    one = gymnasium.make("malles_env/Pricing-v0", scenario=scenario)
    many = gymnasium.make_vec("malles_env/Pricing-v0", 2, "vector_entry_point", scenario=scenario)
    seen, _ = one.reset(seed=2)
    batch, _ = many.reset(seed=2)
    rng = np.random.default_rng(0)
    for _ in range(scenario.max_cycles):
        np.testing.assert_array_equal(seen, batch[0])
        action = rng.uniform(-1, 1, one.action_space.shape).astype(np.float32)
        seen, reward, _, _, info = one.step(action)
        batch, rewards, _, _, infos = many.step(np.stack([action] * 2))
        assert reward == rewards[0]
        assert info == {key: infos[key][0] for key in info}
    assert infos["final_info"]["salvage"][0] == info["salvage"]


@pytest.mark.parametrize("observation_mode", ["flat", "dict"])
def test_the_default_rival_orders_as_well(observation_mode: Any) -> None:
    env = malles_env.vec_env(
        scenario_of(STOCKED), num_markets=4, learner="seller_0", observation_mode=observation_mode, history=3,
        max_cycles=30,
    )  # fmt: skip
    env.seed(1)
    env.reset()
    sold = np.zeros(5)
    for _ in range(30):
        env.step(np.full((4, 15), -1.0, np.float32))
        assert not env.outcome.ordered[:, BIG].any()
        sold += env.outcome.units.mean(axis=0)
    assert sold[1] > 0
    assert sold[4] > 0


@pytest.mark.parametrize("action_mode", ACTION_MODES)
def test_pickling_in_the_middle_and_seeds(action_mode: Any) -> None:
    env, twin = (make(STOCKED, action_mode=action_mode, max_cycles=20) for _ in range(2))
    env.reset(seed=3)
    twin.reset(seed=3)
    joint = sampled(env, 2, 14)
    assert same(play(env, joint[:7]), play(twin, joint[:7]))
    copy = pickle.loads(pickle.dumps(env))
    assert same(play(env, joint[7:]), play(copy, joint[7:]))


def test_some_markets_start_anew_while_others_go_on() -> None:
    market_batch = malles_env.vec_env(scenario_of(STOCKED), num_markets=3, max_cycles=9).core.market_batch
    market_batch.reset(1)
    rng = np.random.default_rng(0)
    for _ in range(4):
        market_batch.step(rng.uniform(-1, 1, (3, 3, 15)))
    before = market_batch.market.state.copy()
    market_batch.reset(markets=np.array([False, True, False]))
    state, first = market_batch.market.state, scenario_of(STOCKED).replenishment.of("initial")
    np.testing.assert_array_equal(state.stock, [before.stock[0], first, before.stock[2]])
    np.testing.assert_array_equal(state.pipeline, [before.pipeline[0], np.zeros((2, 5)), before.pipeline[2]])
    assert before.pipeline.any()
    seen = market_batch.layout.read(market_batch.observe(9)[:, 0], 0)
    assert not seen["ordered"][1, BIG].any()
    assert seen["ordered"][0, BIG].any()


def test_masks_close_orders_that_come_to_the_same_and_what_cannot_be_sold() -> None:
    env = malles_env.vec_env(scenario_of(STOCKED), num_markets=2, action_mode="discrete", price_levels=5)
    env.seed(0)
    env.reset()
    state = env.market.state
    state.stock[0] = [0.0, 0.0, 0.0, 53.0, 0.0]
    state.pipeline[0, 0, 2] = 9.0
    big = env.action_masks(0)
    assert big.shape == (env.action_space.nvec.sum(),)
    np.testing.assert_array_equal(big[:18].reshape(3, 6)[:, 1], [False, True, True])  # nothing, arriving, on hand
    orders = big[-18:].reshape(3, 6)
    assert orders[:2].all()
    np.testing.assert_array_equal(orders[2], [True, True, True, True, True, True])  # 1, 3, 4, 6 and 7 of room 7
    state.stock[0, 3] = 57.0
    np.testing.assert_array_equal(env.action_masks(0)[-6:], [True, True, True, False, False, False])  # 1, then 3
    small = env.action_masks(1)
    assert small[:6].all()  # with lead time 0 it can sell what it orders now
    assert not small[6:18].reshape(2, 6)[:, 1:].any()  # empty slots
    assert not small[-12:].reshape(2, 6)[:, 1:].any()


def test_before_its_entry_a_seller_neither_orders_nor_holds() -> None:
    products = (Product("a", "one", 1.0, 2.0), Product("b", "two", 1.0, 2.0, enters=2))
    supply = Replenishment((Supply(50.0, 10.0, 0, 1.0, 0.5), Supply(50.0, 10.0, 0, 1.0, 0.5, initial=4.0)))
    late = replace(scenario_of(STOCKED), products=products, capacity=(), promotions=None, replenishment=supply)
    env = malles_env.parallel_env(late)
    env.reset(seed=0)
    joint = {agent: np.ones(3, np.float32) for agent in env.agents}
    for placed in (0.0, 0.0, 10.0):
        infos = env.step(joint)[4]
        assert infos["seller_1"]["ordered"] == placed
        assert (infos["seller_1"]["ordering_cost"] > 0) == (placed > 0)
        assert placed > 0 or infos["seller_1"]["profit"] == 0.0
