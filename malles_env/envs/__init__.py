"""The environments of a market for reinforcement learning: PettingZoo, Gymnasium and Stable-Baselines3."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from malles_env.envs.core.settings import EnvSettings
    from malles_env.envs.parallel import PricingParallelEnv, env, parallel_env, raw_env
    from malles_env.envs.play import play_episode
    from malles_env.envs.sb3 import PricingVecEnv, vec_env
    from malles_env.envs.single import PricingEnv
    from malles_env.envs.vector import PricingVectorEnv

__all__ = [
    "EnvSettings",
    "PricingEnv",
    "PricingParallelEnv",
    "PricingVecEnv",
    "PricingVectorEnv",
    "env",
    "parallel_env",
    "play_episode",
    "raw_env",
    "vec_env",
]

_HOMES = {
    "EnvSettings": "core.settings",
    "PricingParallelEnv": "parallel",
    "parallel_env": "parallel",
    "env": "parallel",
    "raw_env": "parallel",
    "play_episode": "play",
    "PricingVecEnv": "sb3",
    "vec_env": "sb3",
    "PricingEnv": "single",
    "PricingVectorEnv": "vector",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'malles_env.envs' has no attribute {name!r}")
    return getattr(import_module(f"malles_env.envs.{_HOMES[name]}"), name)
