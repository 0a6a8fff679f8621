"""What trainers and wrappers of other libraries rely on; Gymnasium's, Stable-Baselines3's and SB3-contrib's own run."""

from __future__ import annotations

import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RenderCollection
from gymnasium.wrappers import vector as vector_wrappers
from pettingzoo.test import api_test, parallel_api_test
from pettingzoo.utils import OrderEnforcingWrapper
from pettingzoo.utils.conversions import parallel_to_aec_wrapper
from stable_baselines3 import DQN

import malles_env
from malles_env.envs import env as aec_env
from malles_env.envs import parallel_env, raw_env, vec_env
from malles_env.envs.single import PricingEnv
from malles_env.errors import InvalidInput, MallesError
from tests.envs.bundled import CROOKED, STOCKED, make, random_action, same, sampled, scenario_of

ID = "malles_env/Pricing-v0"
MODES = list(AutoresetMode)


def many(num_envs: int = 3, **settings: Any) -> Any:
    return gymnasium.make_vec(ID, num_envs=num_envs, **settings)


def actions_of(env: Any, rng: np.random.Generator) -> Any:
    return np.stack([random_action(env.single_action_space, rng) for _ in range(env.num_envs)])


# -- Gymnasium's vector API ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_episodes_end_as_those_of_gymnasiums_own_vector_env(mode: AutoresetMode) -> None:
    """Out of step after a masked reset, every number is that of single envs in a `SyncVectorEnv`."""
    ours = many(max_cycles=4, autoreset_mode=mode)
    theirs = SyncVectorEnv([partial(PricingEnv, max_cycles=4)] * 3, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is ours.unwrapped.autoreset_mode is mode
    assert same(*[env.reset(seed=5)[0] for env in (ours, theirs)])
    rng, over = np.random.default_rng(0), np.zeros(3, dtype=bool)
    for period in range(14):
        mask = over if mode is AutoresetMode.DISABLED else np.array([period == 2, False, period == 9])
        if mask.any():
            seen, infos = zip(*(env.reset(options={"reset_mask": mask.copy()}) for env in (ours, theirs)), strict=True)
            assert same(*seen)
            assert (infos[0]["_profit"] == mask).all() and not infos[0]["profit"].any()
        action = actions_of(ours, rng)
        mine, yours = ours.step(action), theirs.step(action)
        assert same(mine[0], yours[0])
        np.testing.assert_array_equal(mine[1], yours[1])
        np.testing.assert_array_equal(mine[3], yours[3])
        over = mine[3]
        if mode is not AutoresetMode.SAME_STEP:
            assert mine[4].keys() == yours[4].keys()
            assert all(np.array_equal(mine[4][key], yours[4][key]) for key in mine[4])
        elif over.any():
            for key in ("final_obs", "_final_obs", "_final_info"):
                assert all(map(np.array_equal, mine[4][key], yours[4][key]))
            theirs_last = yours[4]["final_info"]
            assert all(np.array_equal(mine[4]["final_info"][key][over], theirs_last[key][over]) for key in theirs_last)


def test_wrappers_that_need_another_mode_than_the_default_get_it() -> None:
    for wrapped in (vector_wrappers.NormalizeObservation, vector_wrappers.FlattenObservation):
        with pytest.raises(ValueError, match="autoreset_mode"):
            wrapped(many(max_cycles=3))
        env = wrapped(many(max_cycles=3, autoreset_mode="NextStep"))
        env.reset(seed=0)
        flags = [env.step(np.zeros((3, 2), np.float32))[3].all() for _ in range(8)]
        assert flags == [False, False, True, False, False, False, True, False]


def test_disabled_means_that_the_caller_resets() -> None:
    env = many(max_cycles=1, autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(np.zeros((3, 2), np.float32))
    with pytest.raises(MallesError, match=r"episodes are over \(market 0, 1, 2\); call reset\(options="):
        env.step(np.zeros((3, 2), np.float32))


def test_a_masked_reset_takes_seeds_of_its_markets() -> None:
    one, other = many(), many()
    one.reset(seed=[1, 2, 3])
    other.reset(seed=[7, 7, 7])
    mask = np.array([True, False, True])
    other.reset(seed=[1, None, 3], options={"reset_mask": mask})
    action = actions_of(one, np.random.default_rng(1))
    rewards = [env.step(action)[1] for env in (one, other)]
    assert (rewards[0][mask] == rewards[1][mask]).all() and rewards[0][1] != rewards[1][1]


@pytest.mark.parametrize("mask", [np.zeros(3, bool), np.ones(2, bool), [True, True, False], np.ones(3)])
def test_other_masks_are_refused(mask: Any) -> None:
    with pytest.raises(InvalidInput, match=r"options\['reset_mask'\]: got .*; allowed: a bool array of shape \(3,\)"):
        many().reset(options={"reset_mask": mask})


def test_other_modes_and_limits_are_refused() -> None:
    with pytest.raises(InvalidInput, match="autoreset_mode: got 'later'; allowed: NextStep, SameStep, Disabled"):
        many(autoreset_mode="later")
    with pytest.raises(InvalidInput, match="max_episode_steps: got 0; allowed: a whole number from 1"):
        many(max_episode_steps=0)


def test_episodes_can_be_cut_off_as_single_ones_are() -> None:
    batch, one = many(1, max_episode_steps=3), gymnasium.make(ID, max_episode_steps=3)
    rows, alone = batch.reset(seed=1)[0], one.reset(seed=1)[0]
    for period in range(3):
        np.testing.assert_array_equal(rows[0], alone)
        action = actions_of(batch, np.random.default_rng(period))
        rows, _, _, cut, _ = batch.step(action)
        alone, _, _, truncated, _ = one.step(action[0])
        assert bool(cut[0]) == truncated == (period == 2)


def test_a_vector_env_draws_a_picture_of_every_market() -> None:
    env = many(2, render_mode="rgb_array", max_cycles=2)
    env.reset(seed=0)
    env.step(np.array([[0.5, 0.5], [-0.5, 0.5]], np.float32))
    pictures = env.render()
    assert isinstance(pictures, tuple) and len(pictures) == env.num_envs
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 for picture in pictures)
    assert not np.array_equal(*pictures)
    assert many().render() is None


# -- infos -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["continuous", "discrete", "flat-discrete", "dict"])
@pytest.mark.parametrize("name", ["bertrand-duopoly", STOCKED])
def test_reset_and_step_tell_the_same_things(name: str, mode: str) -> None:
    env = make(name, action_mode=mode, price_levels=2) if name != STOCKED or mode != "flat-discrete" else make(CROOKED)
    _, at_reset = env.reset(seed=0)
    *_, at_step = env.step(sampled(env, 0, 1)[0])
    for agent, info in at_step.items():
        numbers = {key: value for key, value in info.items() if key != "action_mask"}
        assert list(info) == list(at_reset[agent])
        assert {type(value) for value in numbers.values()} == {np.float64}
        assert {float(at_reset[agent][key]) for key in numbers} == {0.0}
        masks = [part.get("action_mask") for part in (at_reset[agent], info)]
        assert type(masks[0]) is type(masks[1])


def test_single_envs_and_batches_tell_the_same_things_too() -> None:
    one, batch = gymnasium.make(ID), many()
    assert list(one.reset(seed=0)[1]) == list(one.step(np.zeros(2, np.float32))[4])
    assert list(batch.reset(seed=0)[1]) == list(batch.step(np.zeros((3, 2), np.float32))[4])


# -- actions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["discrete", "flat-discrete"])
def test_a_single_number_may_come_with_or_without_an_axis(mode: str) -> None:
    env, one = make("bertrand-duopoly", action_mode=mode), gymnasium.make(ID, action_mode=mode).unwrapped
    rewards = []
    for action in (5, np.int64(5), np.array(5), np.array([5])):
        env.reset(seed=0)
        one.reset(seed=0)
        rewards.append([env.step(dict.fromkeys(env.agents, action))[1]["seller_0"], one.step(action)[1]])
    assert rewards.count(rewards[0]) == 4
    for learner in ("all", "seller_0"):
        markets = vec_env("bertrand-duopoly", 3, action_mode=mode, learner=learner)
        markets.reset()
        markets.step(np.full(markets.num_envs, 5))
        assert np.ptp(markets.outcome.prices[:, 0]) == 0.0


def test_flat_choices_are_the_discrete_ones_numbered_through() -> None:
    settings = {"price_levels": 3, "max_cycles": 30}
    flat, plain = (
        make(CROOKED, action_mode="flat-discrete", **settings),
        make(CROOKED, action_mode="discrete", **settings),
    )
    flat.reset(seed=2)
    plain.reset(seed=2)
    space = plain.action_space("seller_0")
    assert flat.action_space("seller_0") == gymnasium.spaces.Discrete(4**3)
    for joint in sampled(plain, 3, 20):
        numbers = {agent: int(np.ravel_multi_index(tuple(action), space.nvec)) for agent, action in joint.items()}
        (*_, here), (*_, there) = flat.step(numbers), plain.step(joint)
        for agent, info in here.items():
            masks = info.pop("action_mask"), there[agent].pop("action_mask")
            assert info == there[agent]
            choices = np.indices(space.nvec).reshape(len(space.nvec), -1).T
            open_ = [all(mask[choice] for mask, choice in zip(masks[1], row, strict=True)) for row in choices]
            np.testing.assert_array_equal(masks[0], open_)
    action = flat.encode_action("seller_0", prices=plain.catalog.price_high[[0, 2, 3]], listed=[True, False, True])
    assert np.array_equal(np.unravel_index(int(action), space.nvec), [3, 0, 3])


def test_flat_choices_outside_the_space_are_refused() -> None:
    env = make("bertrand-duopoly", action_mode="flat-discrete")
    env.reset(seed=0)
    for wrong in (16, -1):
        with pytest.raises(InvalidInput, match=f"action of seller_1: got {wrong}; allowed: 0 to 15"):
            env.step({"seller_0": 0, "seller_1": wrong})
    with pytest.raises(InvalidInput, match=r"flat-discrete, which has 31 x 31 x 31 .*; allowed: at most 10,000"):
        make("soft-drinks", action_mode="flat-discrete", price_levels=30)


def test_dqn_learns_from_flat_choices() -> None:
    markets = vec_env("bertrand-duopoly", 4, action_mode="flat-discrete", learner="seller_0", seed=0)
    model = DQN("MlpPolicy", markets, learning_starts=8, buffer_size=64, batch_size=8, seed=0, device="cpu")
    assert model.learn(24).num_timesteps >= 24


def test_rounding_at_the_bounds_is_clamped() -> None:
    env, twin = make("bertrand-duopoly"), make("bertrand-duopoly")
    for joint in (np.ones(2, np.float32), -np.ones(2, np.float32)):
        beyond = np.nextafter(joint, 2 * joint, dtype=np.float32)
        for market in (env, twin):
            market.reset(seed=0)
        assert same(env.step(dict.fromkeys(env.agents, beyond)), twin.step(dict.fromkeys(env.agents, joint)))
    with pytest.raises(InvalidInput, match="allowed: -1 to 1"):
        env.step(dict.fromkeys(env.agents, np.full(2, 1.00001, np.float32)))


def test_what_is_outside_names_the_wrappers_that_clip() -> None:
    env = make("bertrand-duopoly")
    env.reset(seed=0)
    for value, named in ((1.7669, True), (np.nan, False)):
        with pytest.raises(InvalidInput, match="allowed: -1 to 1") as found:
            env.step(dict.fromkeys(env.agents, np.full(2, value)))
        assert ("ClipAction" in str(found.value) and "clip_actions_v0" in str(found.value)) is named
    clipped = gymnasium.wrappers.ClipAction(gymnasium.make(ID))
    clipped.reset(seed=0)
    clipped.step(np.full(2, 1.7669, np.float32))


# -- PettingZoo ------------------------------------------------------------------------------------------------------


def test_spaces_are_attributes_too() -> None:
    env = make("soft-drinks", action_mode="discrete")
    for agent in env.possible_agents:
        assert env.observation_spaces[agent] is env.observation_space(agent)
        assert env.action_spaces[agent] is env.action_space(agent)


@pytest.mark.parametrize("mode", ["discrete", "flat-discrete"])
def test_masks_in_infos_are_those_of_the_market(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    env = parallel_env(scenario_of(CROOKED), action_mode=mode, price_levels=3, max_cycles=8)
    _, infos = env.reset(seed=0)
    closed = 0
    while env.agents:
        joint = {agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents}
        *_, infos = env.step(joint)
        for view, info in enumerate(infos.values()):
            flat = np.concatenate([np.atleast_1d(part) for part in info["action_mask"]])
            np.testing.assert_array_equal(flat, env.market_batch.masks(view, 0))
            closed += int((flat == 0).sum())
    assert closed > 0
    again = parallel_env(scenario_of(CROOKED), action_mode=mode, price_levels=3, max_cycles=8)
    parallel_api_test(again, num_cycles=12)
    with warnings.catch_warnings():  # advice against all but Box and Discrete
        warnings.filterwarnings("ignore", message=r".*probably should be.*", category=UserWarning)
        api_test(raw_env(scenario_of(CROOKED), action_mode=mode, price_levels=3, max_cycles=8), num_cycles=12)


def test_env_raw_env_and_parallel_env_mean_what_pettingzoo_means() -> None:
    assert type(raw_env("bertrand-duopoly")) is parallel_to_aec_wrapper
    wrapped = aec_env("bertrand-duopoly", max_cycles=7)
    assert type(wrapped) is OrderEnforcingWrapper and wrapped.unwrapped.max_cycles == 7
    assert type(parallel_env("bertrand-duopoly")).__name__ == "PricingParallelEnv"


def test_wrappers_that_draw_find_a_stream_of_the_resets_seed() -> None:
    env = make("bertrand-duopoly")
    env.reset(seed=3)
    first = env.np_random.integers(1000, size=5)
    env.reset()
    assert not np.array_equal(first, env.np_random.integers(1000, size=5))
    env.reset(seed=3)
    np.testing.assert_array_equal(first, env.np_random.integers(1000, size=5))


# -- constructors ----------------------------------------------------------------------------------------------------


def test_what_a_wrapper_adds_to_metadata_stays_with_its_env() -> None:
    before = PricingEnv.metadata["render_modes"][:]
    for _ in range(2):
        env = RenderCollection(gymnasium.make(ID, render_mode="ansi").unwrapped)
        env.metadata["render_modes"].append("another")
    assert PricingEnv.metadata["render_modes"] == before
    kinds = (PricingEnv, type(many().unwrapped), type(parallel_env()))
    assert all(kind().metadata["render_modes"] is not kind.metadata["render_modes"] for kind in kinds)


@pytest.mark.parametrize("face", [parallel_env, vec_env, partial(gymnasium.make, ID), many])
def test_an_argument_that_there_is_not_is_named(face: Any) -> None:
    with pytest.raises(InvalidInput, match=r"max_cycle: there is no such argument \(did you mean max_cycles\?\)"):
        face(max_cycle=3)


def test_gymnasium_without_autoreset_modes_is_refused_at_installation() -> None:
    text = (Path(malles_env.__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'"gymnasium>=1\.(\d+)', text)
    assert found is not None and int(found[1]) >= 1
