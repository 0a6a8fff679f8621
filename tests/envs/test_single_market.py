"""One market's step in one compiled call gives the numbers of the several calls that batches make, bit for bit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from malles_env import list_scenarios, load_scenario, parallel_env
from malles_env.envs.core.single_market import fits
from malles_env.errors import InvalidInput
from tests.envs.bundled import ALONE, CROOKED, PROMOTED, RULED, STOCKED, TIERED, make

ORDERS = {"lead_time": 1, "storage": 2000.0, "holding_cost": 0.01, "fixed_cost": 5.0, "initial": 500.0}


def orders(**more):
    return load_scenario("bertrand-duopoly").changed("orders", replenishment=ORDERS, **more)


def promotion_and_orders():
    worth = {"promotion": {"display": 0.3, "feature": 0.2}}
    return orders(promotions={"display_fee": 3.0, "feature_fee": 5.0}, forces=worth)


MARKETS = {
    "bertrand-duopoly": lambda: "bertrand-duopoly",
    "wholesale": lambda: "wholesale",
    "clearance": lambda: "clearance",
    "orders": orders,
    "promotion and orders": promotion_and_orders,
}


def several_calls(scenario, **settings):
    env = parallel_env(scenario, **settings)
    env.market_batch.__dict__["_single"] = None
    return env


def same(one, other):
    for agent in other[0]:
        seen, shown = one[0][agent], other[0][agent]
        for a, b in zip(seen.values(), shown.values(), strict=True) if isinstance(shown, dict) else [(seen, shown)]:
            assert a.tobytes() == b.tobytes()
        assert one[1][agent] == other[1][agent]
        assert str(one[4][agent]) == str(other[4][agent])  # masks are arrays in tuples
    assert one[2:4] == other[2:4]


@pytest.mark.parametrize("mode", ["continuous", "discrete", "dict"])
@pytest.mark.parametrize("name", MARKETS)
def test_one_call_is_several_calls(name, mode):
    settings = {"action_mode": mode, "max_cycles": 4, "observation_mode": "dict" if mode == "dict" else "flat"}
    one, other = parallel_env(MARKETS[name](), **settings), several_calls(MARKETS[name](), **settings)
    assert fits(one.market_batch)
    for space in one.action_spaces.values():
        space.seed(0)
    for seed in (1, 2):
        one.reset(seed=seed)
        other.reset(seed=seed)
        while one.agents:
            actions = {agent: one.action_space(agent).sample() for agent in one.agents}
            same(one.step(actions), other.step(actions))
            assert one.state().tobytes() == other.state().tobytes()
            for a, b in zip(one.outcome, other.outcome, strict=True):
                assert (a is None) == (b is None)
                if b is not None:
                    np.testing.assert_array_equal(a, b)


def test_the_usual_markets_are_played_in_one_call():
    late = {"gifts", "gifts-houses"}  # products that enter later are listed by what period it is
    for name in {*list_scenarios(), ALONE} - late:
        assert fits(make(name).market_batch)
    for name in (CROOKED, PROMOTED, RULED, STOCKED, TIERED):  # stock that runs out, price rules, tiers
        assert not fits(make(name).market_batch)
    assert not fits(parallel_env("wholesale", history=2).market_batch)
    assert not fits(parallel_env("wholesale", demand="exact").market_batch)


@pytest.mark.parametrize("mode", ["continuous", "dict"])
def test_a_wrong_action_changes_nothing_and_is_named(mode):
    one, other = parallel_env(orders(), action_mode=mode), several_calls(orders(), action_mode=mode)
    for env in (one, other):
        env.reset(seed=1)
    right = {agent: one.encode_action(agent, [1.5], [True], order=[10.0]) for agent in one.agents}
    same(one.step(right), other.step(right))
    state = copy.deepcopy(one.market.state)
    wrong = copy.deepcopy(right)
    if mode == "dict":
        wrong["seller_1"]["price"][0] = 99.0
    else:
        wrong["seller_1"][1] = np.nan
    messages = []
    for env in (one, other):
        with pytest.raises(InvalidInput) as error:
            env.step(wrong)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and "seller_1" in messages[0]
    for name in ("stock", "pipeline", "period", "streams", "mean_field", "loyalty"):
        np.testing.assert_array_equal(getattr(one.market.state, name), getattr(state, name))
    same(one.step(right), other.step(right))


def test_a_market_goes_on_where_it_was_pickled():
    one = parallel_env("wholesale")
    one.reset(seed=3)
    action = {agent: np.zeros(one.action_space(agent).shape, np.float32) + 0.3 for agent in one.agents}
    one.step(action)
    other = pickle.loads(pickle.dumps(one))
    same(one.step(action), other.step(action))
