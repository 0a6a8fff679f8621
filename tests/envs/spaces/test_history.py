"""Observations of several periods: the layout, what stands in it, and its limits."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

import malles_env
from malles_env.errors import InvalidInput
from tests.envs.bundled import CROOKED, NAMES, make, sampled, settings_of

KEPT = ("price", "listed", "sales", "mean_field")


def kept(name: str) -> bool:
    return name.removeprefix("own_").removeprefix("rivals_") in KEPT


@pytest.mark.parametrize("monitoring", ["full", "prices", "own"])
@pytest.mark.parametrize("name", ["bertrand-duopoly", "soft-drinks", CROOKED])
def test_past_blocks_are_what_was_seen_then(name: str, monitoring: Any) -> None:
    plain = make(name, monitoring=monitoring, max_cycles=7, observation_mode="dict")
    env = make(name, monitoring=monitoring, max_cycles=7, observation_mode="dict", history=3)
    seen = [plain.reset(seed=5)[0]]
    now = env.reset(seed=5)[0]
    for actions in [None, *sampled(plain, 4, 6)]:
        if actions is not None:
            seen.append(plain.step(actions)[0])
            now = env.step(actions)[0]
        for agent, blocks in now.items():
            today = {key: value for key, value in blocks.items() if not key.startswith("past_")}
            assert list(today) == list(seen[-1][agent])
            names = [f"past_{age}_{key}" for age in (1, 2) for key in today if kept(key)]
            assert [key for key in blocks if key.startswith("past_")] == names
            for key, value in blocks.items():
                age = int(key.split("_")[1]) if key.startswith("past_") else 0
                then = seen[max(len(seen) - 1 - age, 0)][agent]  # before the first period: the usual start
                np.testing.assert_array_equal(value, then[key.split("_", 2)[2] if age else key])
    assert (now["seller_0"]["past_2_own_price"] != now["seller_0"]["own_price"]).any()


@pytest.mark.parametrize("name", NAMES)
def test_one_period_changes_nothing(name: str) -> None:
    env, same = make(name), make(name, history=1)
    assert env.observation_space("seller_0") == same.observation_space("seller_0")
    np.testing.assert_array_equal(env.reset(seed=1)[0]["seller_0"], same.reset(seed=1)[0]["seller_0"])


@pytest.mark.parametrize("mode", ["flat", "dict"])
def test_all_faces_show_the_same(mode: str) -> None:
    """The vector faces start markets anew in the middle of the batch's life; the past starts anew with them."""
    options = {**settings_of(CROOKED), "max_cycles": 3, "history": 3, "observation_mode": mode, "demand": "expected"}
    one = gymnasium.make("malles_env/Pricing-v0", disable_env_checker=True, **options).unwrapped
    many = gymnasium.make_vec("malles_env/Pricing-v0", 2, "vector_entry_point", **options)
    sb3 = malles_env.vec_env(num_markets=2, learner="seller_0", **options)
    first, row = one.reset(seed=3)[0], sb3.reset()
    rows = many.reset(seed=3)[0]
    rng = np.random.default_rng(1)
    for _ in range(7):
        for found in (rows, row):
            _same_row(found, first)
        assert one.observation_space.contains(first)
        action = rng.uniform(-1, 1, one.action_space.shape).astype(np.float32)
        first, _, _, over, _ = one.step(action)
        if over:
            first = one.reset()[0]
        rows, *_ = many.step(np.stack([action, action]))
        row, *_ = sb3.step(np.stack([action, action]))


def _same_row(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key, value in wanted.items():
            np.testing.assert_array_equal(found[key][1], value)
    else:
        np.testing.assert_array_equal(found[1], wanted)


@pytest.mark.parametrize("history", [0, -1, 5, 2.0, True, "3"])
@pytest.mark.parametrize("face", ["parallel", "single", "vector", "sb3"])
def test_other_numbers_of_periods_are_refused(face: str, history: Any) -> None:
    options = {"max_cycles": 4, "history": history}
    with pytest.raises(InvalidInput, match=r"history: got .*; allowed: a whole number from 1 to 4, the periods of an"):
        if face == "parallel":
            malles_env.parallel_env("bertrand-duopoly", **options)
        elif face == "sb3":
            malles_env.vec_env("bertrand-duopoly", num_markets=2, **options)
        elif face == "single":
            gymnasium.make("malles_env/Pricing-v0", **options)
        else:
            gymnasium.make_vec("malles_env/Pricing-v0", 2, "vector_entry_point", **options)
