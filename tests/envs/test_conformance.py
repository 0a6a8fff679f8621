"""The official checkers of PettingZoo, Gymnasium and Stable-Baselines3, for every scenario and mode."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pettingzoo
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
    state_test,
)
from pettingzoo.utils.conversions import parallel_to_aec
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import malles_env  # noqa: F401  (registers the envs)
from malles_env.envs.parallel import env as aec_env
from malles_env.envs.parallel import parallel_env
from tests.envs.bundled import NAMES, settings_of

MODES = [
    {"action_mode": action, "observation_mode": observation}
    for action in ("continuous", "discrete", "dict")
    for observation in ("flat", "dict")
]
LARGE = "gifts-houses"
"""As `gifts`, with ten sellers: seconds for each mode."""
CASES = [
    pytest.param(name, mode, id=f"{name}-{'-'.join(mode.values())}", marks=[pytest.mark.slow] if name == LARGE else [])
    for name in NAMES
    for mode in MODES
]
# Advice that a mode goes against on purpose: PettingZoo's for Box and Discrete spaces only, Gymnasium's for Boxes
# from -1 to 1 (the dict mode is in money). Any other warning fails.
OTHER_SPACES = r".*probably should be.*|.*Observation is not (a )?NumPy array.*"
MONEY = r".*recommend using a symmetric and normalized space.*"


@pytest.fixture(autouse=True)
def _advice(request: pytest.FixtureRequest) -> Any:
    mode = getattr(request.node, "callspec", None)
    in_money = mode is not None and mode.params.get("mode", {}).get("action_mode") == "dict"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=OTHER_SPACES, category=UserWarning)
        if in_money:
            warnings.filterwarnings("ignore", message=MONEY, category=UserWarning)
        yield


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_pettingzoo(name: str, mode: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_of(name) | mode
    parallel_api_test(parallel_env(**settings, max_cycles=20), num_cycles=25)
    parallel_seed_test(lambda: parallel_env(**settings), num_cycles=10)
    api_test(parallel_to_aec(parallel_env(**settings, max_cycles=15)), num_cycles=20)
    seed_test(lambda: parallel_to_aec(parallel_env(**settings, max_cycles=15)), num_cycles=15)


@pytest.mark.parametrize("name", NAMES)
def test_pettingzoo_length_and_state(name: str) -> None:
    settings = settings_of(name)
    max_cycles_test(
        SimpleNamespace(
            parallel_env=lambda **more: parallel_env(**settings, **more),
            env=lambda **more: aec_env(**settings, **more),
        )
    )
    state_test(aec_env(**settings), parallel_env(**settings))


def test_pettingzoo_render(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    render_test(lambda render_mode: aec_env(**settings_of("bertrand-duopoly"), render_mode=render_mode))


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_gymnasium(name: str, mode: dict[str, str]) -> None:
    env = gymnasium.make("malles_env/Pricing-v0", **settings_of(name), **mode)
    check_env(env.unwrapped, skip_render_check=True)


def test_gymnasium_render(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    env = gymnasium.make("malles_env/Pricing-v0", render_mode="rgb_array")
    check_env(env.unwrapped)


@pytest.mark.parametrize("observation_mode", ["flat", "dict"])
@pytest.mark.parametrize("action_mode", ["continuous", "discrete"])
@pytest.mark.parametrize("name", NAMES)
def test_stable_baselines(name: str, action_mode: str, observation_mode: str) -> None:
    env = gymnasium.make(
        "malles_env/Pricing-v0", **settings_of(name), action_mode=action_mode, observation_mode=observation_mode
    )
    check_env_sb3(env.unwrapped, skip_render_check=True)


def test_registries() -> None:
    made = pettingzoo.make("parallel", "malles/pricing_v0", max_cycles=3)
    assert made.possible_agents == ["seller_0", "seller_1"]
    assert made.max_cycles == 3
    assert gymnasium.spec("malles_env/Pricing-v0").max_episode_steps is None


def test_every_scenario_plays_with_its_own_name() -> None:
    env = parallel_env("bertrand-duopoly")
    observations, _ = env.reset(seed=0)
    assert all(np.abs(row).sum() > 0 for row in observations.values())
    assert env.max_cycles == env.scenario.max_cycles == 52
