"""Stable-Baselines3 policies as the distributions they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from malles_agents.logged.distributions import CensoredNormal, Choices, Distribution, SquashedNormal
from malles_agents.logged.stochastic import _Drawing
from malles_agents.seller_view import Seat
from malles_env.errors import invalid
from malles_env.market.arrays import BoolArray, FloatArray


class Sampled(_Drawing):
    """A PPO, A2C, SAC or recurrent PPO policy, sampled instead of asked for its mode.

    PPO's and A2C's normal draws are clipped into the action space, as Stable-Baselines3 does when it trains and plays.

    Args:
        model: An SB3 model or its policy.
        seat: Where it plays.
        seed: Of the draws by `predict`.

    Raises:
        InvalidInput: A policy with another kind of distribution (state-dependent exploration, say).
    """

    def __init__(self, model: Any, seat: Seat, seed: int = 0) -> None:
        super().__init__(seat, seed)
        self.policy = getattr(model, "policy", model)
        self.policy.set_training_mode(False)
        if getattr(self.policy, "use_sde", False):
            raise invalid("policy", "use_sde", "a policy without state-dependent exploration")

    def distribution(
        self, observation: np.ndarray, state: Any = None, episode_start: BoolArray | None = None
    ) -> tuple[Distribution, Any]:
        """Return what the network says; a recurrent policy's memory travels in the state."""
        import torch

        with torch.no_grad():
            seen = torch.as_tensor(np.asarray(observation, dtype=np.float32))
            if hasattr(self.policy, "lstm_actor"):
                return self._recurrent(seen, state, episode_start)
            if hasattr(self.policy, "actor"):
                mean, log_std, _ = self.policy.actor.get_action_dist_params(seen)
                return SquashedNormal(_array(mean), _array(log_std.exp()), self.read), None
            return self._of(self.policy.get_distribution(seen)), None

    def _recurrent(self, seen: Any, state: Any, episode_start: BoolArray | None) -> tuple[Distribution, Any]:
        import torch

        if state is None:
            layers, _, size = self.policy.lstm_hidden_state_shape
            state = (np.zeros((layers, len(seen), size), dtype=np.float32),) * 2
        fresh = np.zeros(len(seen)) if episode_start is None else np.asarray(episode_start)
        memory = tuple(torch.as_tensor(part) for part in state)
        found, after = self.policy.get_distribution(seen, memory, torch.as_tensor(fresh, dtype=torch.float32))
        return self._of(found), tuple(part.numpy() for part in after)

    def _of(self, found: Any) -> Distribution:
        inner = found.distribution
        if isinstance(inner, list):
            return Choices([_array(part.probs) for part in inner], self.read)
        if hasattr(inner, "scale"):
            return CensoredNormal(_array(inner.mean), _array(inner.scale), self.read)
        raise invalid("policy", type(found).__name__, "a normal distribution or one of choices")


def _array(tensor: Any) -> FloatArray:
    return np.asarray(tensor.numpy(), dtype=np.float64)
