"""What the sellers that act inside an env have to answer: SB3's `predict`, and optionally `begin`."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from malles_env.market.arrays import BoolArray


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


@runtime_checkable
class Beginner(Protocol):
    """A policy that is given the numbers of episodes when they begin, so that a market's seed decides how it starts."""

    def begin(self, state: Any, episodes: np.ndarray, fresh: BoolArray) -> Any:
        """Return the state for `predict`.

        Args:
            state: What `predict` returned last, or None.
            episodes: Numbers of the episodes under way, drawn from the markets' seeds, unsigned, ``(B,)``.
            fresh: Which markets have just begun theirs, ``(B,)``.
        """
        ...
