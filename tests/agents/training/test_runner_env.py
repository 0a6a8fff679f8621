"""The markets of RLlib's env runners: those of Stable-Baselines3, step by step, with seeds that are never held out."""

from __future__ import annotations

import numpy as np
import pytest

from malles_agents.registry import default_rivals
from malles_agents.training.rllib.runner_env import RUNNERS, RunnerEnv, RunnerTask
from malles_agents.training.train import HELD_OUT, SEEDS_PER_PART, SEEDS_PER_RUN, Run
from malles_env.envs import vec_env
from malles_env.errors import InvalidInput
from malles_env.scenarios import load_scenario


@pytest.mark.parametrize("learner", ["seller_0", "all"])
def test_markets_are_those_of_the_vector_env_and_start_anew_in_a_step_of_their_own(learner: str) -> None:
    market = load_scenario("bertrand-duopoly").model_copy(update={"max_cycles": 5})
    task = RunnerTask(Run("bertrand-duopoly", learner=learner, engine="rllib"), markets=3)
    env = RunnerEnv({"task": task})
    env.core.max_cycles = 5
    rivals = None if learner == "all" else default_rivals(market, learner, "cost-plus")
    other = vec_env(market, num_markets=3, learner=learner, rivals=rivals)
    other.seed(task.seed(1, 0))
    draw = np.random.default_rng(0)
    first, infos = env.reset(seed=1)
    begun = other.reset()
    np.testing.assert_array_equal(first, begun)
    assert infos == {} and env.num_envs == other.num_envs == len(first)
    for period in range(11):
        actions = draw.uniform(-1, 1, (env.num_envs, 2)).astype(np.float32)
        seen, reward, terminated, truncated, _ = env.step(actions)
        assert not terminated.any()
        if period % 6 == 5:  # the step of its own: no reward, and the first observation of the next episode
            assert not reward.any() and not truncated.any()
            np.testing.assert_array_equal(seen, begun)
            continue
        begun, expected, done, infos = other.step(actions)
        np.testing.assert_allclose(reward, expected, rtol=1e-6)
        assert truncated.all() == done.all() == (period % 6 == 4)
        last = np.array([info["terminal_observation"] for info in infos]) if done.all() else begun
        np.testing.assert_array_equal(seen, last)
        assert seen in env.observation_space


def test_every_runner_and_every_restart_has_seeds_of_its_own_and_none_is_held_out() -> None:
    task = RunnerTask(Run("bertrand-duopoly", seed=999, engine="rllib"), markets=8, begun=3328)
    starts = {task.seed(runner, restarts) for runner in range(50) for restarts in range(3)}
    assert len(starts) == 150
    seeds = {start + market for start in starts for market in range(8)}
    assert len(seeds) == 1200 and max(seeds) < HELD_OUT and min(seeds) >= 999 * SEEDS_PER_RUN
    assert SEEDS_PER_PART > 50 * 8 and RUNNERS > 50


def test_a_list_of_seeds_is_refused() -> None:
    env = RunnerEnv({"task": RunnerTask(Run("bertrand-duopoly", engine="rllib"), markets=1)})
    with pytest.raises(InvalidInput, match="seed: got a list"):
        env.reset(seed=[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "torch"}, "engine: got 'torch'; allowed: sb3, rllib"),
        ({"engine": "rllib", "algo": "sac"}, "algo: got 'sac'; allowed: ppo with the engine rllib"),
        ({"engine": "rllib", "env_runners": -1}, "env_runners: got -1; allowed: a whole number from 0"),
    ],
)
def test_a_run_that_cannot_be_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Run("bertrand-duopoly", **changes)
