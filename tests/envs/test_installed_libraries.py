"""Trainers and wrappers that are no dependency of ours: a test runs where its library is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from malles_env.envs import parallel_env

pytestmark = pytest.mark.slow
ID = "malles_env/Pricing-v0"


@pytest.fixture(autouse=True)
def _their_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_gymnasium_records_videos_of_all_markets(mode: str, tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    from gymnasium.wrappers.vector import RecordVideo

    markets = gymnasium.make_vec(ID, num_envs=3, render_mode="rgb_array", max_cycles=3, autoreset_mode=mode)
    env = RecordVideo(markets, str(tmp_path), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    for _ in range(5):
        env.step(np.full((3, 2), 0.5, np.float32))
    env.close()
    assert list(tmp_path.glob("*.mp4"))


def test_gymnasium_shows_all_markets_in_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    pytest.importorskip("cv2")
    from gymnasium.wrappers.vector import HumanRendering

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = HumanRendering(gymnasium.make_vec(ID, num_envs=4, render_mode="rgb_array"))
    env.reset(seed=0)
    env.step(np.full((4, 2), 0.5, np.float32))
    env.close()


def test_skrl_wraps_the_parallel_env_and_the_vector_env() -> None:
    pytest.importorskip("skrl")
    from skrl.envs.wrappers.torch import wrap_env

    env: Any = wrap_env(parallel_env(max_cycles=3), wrapper="pettingzoo")
    env.reset()
    actions = {agent: space_sample(env.action_space(agent)) for agent in env.possible_agents}
    _, rewards, *_ = env.step(actions)
    assert set(rewards) == {"seller_0", "seller_1"}
    markets: Any = wrap_env(gymnasium.make_vec(ID, num_envs=3, max_cycles=3), wrapper="gymnasium")
    markets.reset()


def space_sample(space: Any) -> Any:
    import torch

    return torch.as_tensor(space.sample()).reshape(1, -1)


def test_torchrl_takes_the_vector_env_and_reads_infos() -> None:
    pytest.importorskip("torchrl")
    from torchrl.envs import GymWrapper, PettingZooWrapper, check_env_specs

    markets = GymWrapper(gymnasium.make_vec(ID, num_envs=3, max_cycles=3))
    assert markets.rollout(5, break_when_any_done=False).batch_size[0] == 3
    one = GymWrapper(gymnasium.make(ID)).auto_register_info_dict()
    assert "profit" in one.rollout(2)["next"].keys()  # noqa: SIM118
    check_env_specs(PettingZooWrapper(parallel_env(action_mode="flat-discrete"), use_mask=True))


def test_minari_records_infos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gymnasium.make(ID, max_cycles=3), record_infos=True)
    env.reset(seed=0)
    while not env.step(env.action_space.sample())[3]:
        pass
    found = env.create_dataset("malles/pricing-v0", description="three periods")
    assert found[0].infos["profit"].shape == (4,)


def test_supersuit_skips_frames_and_clips() -> None:
    supersuit = pytest.importorskip("supersuit")
    env = supersuit.frame_skip_v0(parallel_env(max_cycles=12), (2, 3))
    env.reset(seed=0)
    _, _, _, over, _ = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    assert not any(over.values())
    clipped = supersuit.clip_actions_v0(parallel_env())
    clipped.reset(seed=0)
    clipped.step({agent: np.full(2, 1.7669, np.float32) for agent in clipped.agents})


def test_agilerl_plays_with_single_numbers() -> None:
    pytest.importorskip("agilerl")
    from agilerl.vector.pz_async_vec_env import AsyncPettingZooVecEnv

    env = AsyncPettingZooVecEnv([lambda: parallel_env(action_mode="flat-discrete", max_cycles=3)] * 2)
    try:
        env.reset(seed=0)
        _, rewards, *_ = env.step({agent: np.array([5, 6]) for agent in env.agents})
        assert rewards["seller_0"].shape == (2,)
    finally:
        env.close()
