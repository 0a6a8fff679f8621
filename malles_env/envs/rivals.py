"""Sellers that act inside an env: a simple default rule, and any policies with SB3's `predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from malles_env.envs.arena import Arena
from malles_env.errors import invalid
from malles_env.market.arrays import BoolArray, FloatArray


@runtime_checkable
class Policy(Protocol):
    """Whatever answers observations with actions, as Stable-Baselines3 models do."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Answer a batch of observations ``(B, D)`` (or a dict of such) with B actions and a new state."""
        ...


class RegularPrice:
    """The default rival: regular prices for the products with the largest margins, up to shelf capacity.

    Args:
        arena: Where it plays.
        seat: Whose products it sells.
    """

    def __init__(self, arena: Arena, seat: int) -> None:
        prices, listed = arena.seats.usual
        products = arena.seats.products(seat)
        self.action = arena.actions.encode(seat, prices[products], listed[products])

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the same action for each market of the batch; see `Policy`."""
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        if isinstance(self.action, dict):
            return {key: np.tile(value, (len(first), 1)) for key, value in self.action.items()}, state
        return np.tile(self.action, (len(first), 1)), state


class Rivals:
    """The policies of all seats but the learner's, with their memories.

    Args:
        arena: Where they play.
        learner: Number of the seat that is left to the learner.
        policies: None (all `RegularPrice`), one policy for every rival, or policies by agent name; agents not
            named are `RegularPrice`.
        as_dict: Whether policies see dict observations.

    Raises:
        InvalidInput: An unknown agent, the learner itself, or an object without `predict`.
    """

    def __init__(
        self,
        arena: Arena,
        learner: int,
        policies: Policy | Mapping[str, Policy] | None,
        as_dict: bool = False,
    ) -> None:
        agents = arena.seats.agents
        names = [agent for n, agent in enumerate(agents) if n != learner]
        if policies is None:
            chosen: dict[str, Policy] = {}
        elif isinstance(policies, Mapping):
            chosen = dict(policies)
        else:
            chosen = dict.fromkeys(names, policies)
        for name, policy in chosen.items():
            if name not in names:
                raise invalid("rivals", name, ", ".join(names) or "nobody: the seller is alone")
            if not isinstance(policy, Policy):
                raise invalid(f"rivals[{name!r}]", policy, "an object with predict(observation, ...)")
        self._arena, self._as_dict = arena, as_dict
        self.policies: dict[int, Policy] = {
            n: chosen.get(agent) or RegularPrice(arena, n) for n, agent in enumerate(agents) if n != learner
        }
        self.forget(None)

    def forget(self, markets: BoolArray | None) -> None:
        """Tell the policies that episodes start, in some markets or (None) in all."""
        if markets is None:
            self._states: dict[int, Any] = {}
            self._fresh = np.ones(self._arena.num_markets, dtype=bool)
        else:
            self._fresh = self._fresh | markets

    def act(self, rows: FloatArray, observations: np.ndarray) -> None:
        """Fill the rivals' actions.

        Args:
            rows: Actions of all seats, shape ``(B, N, A)``.
            observations: Of all seats, shape ``(B, N, D)``; each policy gets a copy of its own rows.

        Raises:
            InvalidInput: A policy answered with the wrong shape.
        """
        for seat, policy in self.policies.items():
            seen: Any = observations[:, seat].copy()
            if self._as_dict:
                seen = self._arena.layout.split(seen)
            action, self._states[seat] = policy.predict(
                seen, state=self._states.get(seat), episode_start=self._fresh, deterministic=True
            )
            self._arena.actions.put(rows, seat, action)
        self._fresh = np.zeros_like(self._fresh)
