"""A vector env whose only discrete choice is a `Discrete` one, as DQN wants it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from malles_env.errors import invalid


class SingleChoice(VecEnvWrapper):
    """Turns a `MultiDiscrete` action of length one into a `Discrete` one.

    Args:
        venv: A vector env in discrete action mode whose sellers own one product each.

    Raises:
        InvalidInput: More than one product per seller, promotion, orders, or another action space.
    """

    def __init__(self, venv: VecEnv) -> None:
        space = venv.action_space
        if not isinstance(space, spaces.MultiDiscrete) or len(space.nvec) != 1:
            raise invalid(
                "algo",
                "dqn",
                "ppo, a2c, sac or td3: dqn needs sellers with one product each and nothing to promote or order",
            )
        super().__init__(venv, action_space=spaces.Discrete(int(space.nvec[0])))

    def reset(self) -> VecEnvObs:
        """Start new episodes."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Hand on the choice as an array of length one per market."""
        self.venv.step_async(np.asarray(actions).reshape(-1, 1))

    def step_wait(self) -> VecEnvStepReturn:
        """Return what the env returned."""
        return self.venv.step_wait()


class OneChoice:
    """A DQN policy as a seller: its number becomes an action of length one.

    Args:
        model: An SB3 model with a `Discrete` action space.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Answer as SB3 models do, with a last axis of one."""
        action, state = self.model.predict(observation, state, episode_start, deterministic)
        return np.asarray(action)[..., None], state
