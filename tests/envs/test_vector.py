"""Batches of markets: the same numbers as one market, distinct streams, and what SB3 and Gymnasium expect."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

import malles_env
from malles_env.errors import InvalidInput
from tests.envs.bundled import SCENARIOS, consumers_of, make, sampled


def vec(name, **settings):
    return malles_env.vec_env(name, **({"consumers": consumers_of(name)} | settings))


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("action_mode", ["continuous", "discrete"])
def test_one_market_equals_the_parallel_env_bit_for_bit(name, action_mode):
    env, batch = make(name, action_mode=action_mode), vec(name, num_markets=1, action_mode=action_mode)
    batch.seed(4)
    rows = batch.reset()
    observations, _ = env.reset(seed=4)
    for actions in sampled(env, 9, 52):
        for agent, row in zip(env.possible_agents, rows, strict=True):
            np.testing.assert_array_equal(observations[agent], row)
        observations, rewards, _, _, _ = env.step(actions)
        rows, gains, dones, infos = batch.step(np.stack(list(actions.values())))
        np.testing.assert_array_equal(np.float32(list(rewards.values())), np.float32(gains))
    assert dones.all()
    for agent, info in zip(env.possible_agents, infos, strict=True):
        np.testing.assert_array_equal(info["terminal_observation"], observations[agent])


@pytest.mark.parametrize("name", SCENARIOS)
def test_single_seller_views_agree(name):
    one = gymnasium.make("malles_env/Pricing-v0", scenario=name, consumers=consumers_of(name))
    many = gymnasium.make_vec("malles_env/Pricing-v0", num_envs=1, vectorization_mode="vector_entry_point",
                              scenario=name, consumers=consumers_of(name))  # fmt: skip
    three = vec(name, num_markets=1, learner="seller_0")
    three.seed(2)
    rows = three.reset()
    observation, _ = one.reset(seed=2)
    batch, _ = many.reset(seed=2)
    one.action_space.seed(1)
    for _ in range(20):
        np.testing.assert_array_equal(observation, batch[0])
        np.testing.assert_array_equal(observation, rows[0])
        action = one.action_space.sample()
        observation, reward, _, _, _ = one.step(action)
        batch, rewards, _, _, _ = many.step(action[None])
        rows, gains, _, _ = three.step(action[None])
        assert reward == rewards[0]
        assert np.float32(reward) == np.float32(gains[0])


def test_streams_of_a_batch_differ_and_repeat():
    def play(seed):
        batch = vec("bertrand-duopoly", num_markets=6)
        batch.seed(seed)
        batch.reset()
        return np.stack([batch.step(np.full((12, 2), 0.5, np.float32))[1] for _ in range(60)])

    rewards = play(1)
    np.testing.assert_array_equal(rewards, play(1))
    markets = rewards.reshape(60, 6, 2)[:, :, 0].T
    assert len(np.unique(markets, axis=0)) == 6
    np.testing.assert_array_equal(play(2).reshape(60, 6, 2)[:, 0], rewards.reshape(60, 6, 2)[:, 1])


def test_what_stable_baselines_needs_to_bootstrap():
    batch = vec("bertrand-duopoly", num_markets=3, max_cycles=4)
    batch.seed(0)
    batch.reset()
    for t in range(1, 9):
        rows, _, dones, infos = batch.step(np.zeros((6, 2), np.float32))
        assert dones.all() == dones.any() == (t % 4 == 0)
        for row, info in zip(rows, infos, strict=True):
            if t % 4 == 0:
                assert info["TimeLimit.truncated"] is True
                assert not np.array_equal(info["terminal_observation"], row)
            else:
                assert info == {}


def test_vec_env_methods():
    batch = vec("bertrand-duopoly", num_markets=2, action_mode="discrete")
    batch.reset()
    assert batch.get_attr("max_cycles") == [52] * 4
    masks = batch.env_method("action_masks")
    assert len(masks) == 4
    assert np.asarray(masks).all()
    assert batch.env_is_wrapped(VecMonitor) == [False] * 4


def test_pictures_of_market_zero():
    batch = vec("bertrand-duopoly", num_markets=2, max_cycles=3, render_mode="rgb_array")
    batch.reset()
    blank = batch.render()
    for _ in range(2):
        batch.step(np.full((4, 2), 0.5, np.float32))
    drawn = batch.render()
    assert drawn.shape == blank.shape
    assert drawn.dtype == np.uint8
    assert not np.array_equal(drawn, blank)


def test_monitor_sees_profit():
    batch = VecMonitor(vec("bertrand-duopoly", num_markets=2, max_cycles=3), info_keywords=("profit", "share"))
    batch.reset()
    for _ in range(3):
        _, _, _, infos = batch.step(np.full((4, 2), 0.5, np.float32))
    scale = malles_env.load_scenario("bertrand-duopoly").reward_scale
    for info in infos:
        assert info["episode"]["l"] == 3
        assert info["episode"]["r"] == pytest.approx(info["profit"] / scale, rel=1e-4)


class Recorder:
    """A rival that remembers what it was shown."""

    def __init__(self, action):
        self.action, self.shapes = np.asarray(action, np.float32), []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.shapes.append(observation.shape)
        return np.tile(self.action, (len(observation), 1)), state


def test_rivals_are_asked_once_per_step_with_the_whole_batch():
    rival = Recorder([1.0, 1.0])
    batch = vec("bertrand-duopoly", num_markets=5, learner="seller_0", rivals={"seller_1": rival})
    rows = batch.reset()
    for _ in range(3):
        batch.step(np.full((5, 2), 0.5, np.float32))
    assert rival.shapes == [(5, rows.shape[1])] * 3
    np.testing.assert_allclose(batch.outcome.prices[:, 1], batch.market.catalog.price_high[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learner": "seller_7"}, "seller_7"),
        ({"action_mode": "dict"}, "Stable-Baselines3 takes no dict actions"),
        ({"num_markets": 0}, "num_markets: got 0"),
        ({"learner": "seller_0", "rivals": {"seller_5": Recorder([0, 0])}}, "seller_5"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InvalidInput, match=message):
        vec("bertrand-duopoly", **settings)


def test_gymnasium_vector_contract():
    env = gymnasium.make_vec("malles_env/Pricing-v0", num_envs=4, vectorization_mode="vector_entry_point", max_cycles=3)
    assert env.metadata["autoreset_mode"] in tuple(AutoresetMode)
    observations, _ = env.reset(seed=1)
    assert env.observation_space.contains(observations)
    for _ in range(3):
        observations, rewards, terminated, truncated, infos = env.step(np.zeros((4, 2), np.float32))
    assert truncated.all()
    assert not terminated.any()
    assert rewards.shape == (4,)
    assert infos["profit"].shape == (4,)


@pytest.mark.parametrize("learner", ["all", "seller_0"])
def test_ppo_learns_the_same_twice_from_the_same_seed(learner):
    def train():
        model = PPO("MlpPolicy", vec("bertrand-duopoly", num_markets=4, learner=learner), n_steps=26, batch_size=52,
                    n_epochs=2, seed=3, device="cpu")  # fmt: skip
        return model.learn(400).policy.state_dict()

    first, second = train(), train()
    assert all((first[key] == second[key]).all() for key in first)
