"""Functions of a user's own inside an env: rewards, observations, and sellers that are plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.type_aliases import FloatArray

if TYPE_CHECKING:
    from malles_env.envs.core.settings import ObservationFn, RewardFn
    from malles_env.market import Outcome


def check_function(name: str, function: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        InvalidInput: Neither None nor a function.
    """
    if function is not None and not callable(function):
        raise invalid(name, function, "a function, or None")


def checked_rewards(function: RewardFn, outcome: Outcome) -> FloatArray:
    """Return the rewards of all sellers that a function gives for an outcome, fresh, shape ``(B, N)``.

    Raises:
        InvalidInput: They are no finite numbers or do not broadcast to that shape. The period has been played.
    """
    shape = outcome.seller_profit.shape
    rewards = _floats("reward_fn", function(outcome))
    try:
        found = np.array(np.broadcast_to(rewards, shape), dtype=np.float64)
    except ValueError:
        raise invalid("reward_fn", rewards.shape, f"numbers of shape {shape}, one per market and seller") from None
    if not np.isfinite(found).all():
        raise invalid("reward_fn", float(found[~np.isfinite(found)][0]), "finite numbers")
    return found


def transformed(function: ObservationFn, blocks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what agents see instead of `blocks`, each ``(B, N, size)``: fresh float32, shape ``(B, N, K)``.

    Raises:
        InvalidInput: The function returned another shape, or no finite numbers.
    """
    first = next(iter(blocks.values()))
    seen = _floats("observation_fn", function(blocks))
    if seen.ndim != 3 or seen.shape[:2] != first.shape[:2] or seen.shape[2] == 0:
        allowed = f"an array of shape {first.shape[:2]} + (K,): per market and seller K numbers, at least one"
        raise invalid("observation_fn", seen.shape, allowed)
    if not np.isfinite(seen).all():
        raise invalid("observation_fn", float(seen[~np.isfinite(seen)][0]), "finite numbers")
    return seen.astype(np.float32)


def _floats(name: str, values: Any) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except Exception:  # whatever the object's own conversion raises
        raise InvalidInput(f"{name}: got {type(values).__name__}; allowed: an array of numbers") from None


class FunctionSeller:
    """A plain function as a seller: it is given observations and returns actions.

    >>> import numpy as np
    >>> from malles_env import vec_env
    >>> markets = vec_env("bertrand-duopoly", 4, learner="seller_0", rivals=lambda seen: np.full((len(seen), 2), 0.5))
    >>> markets.reset().shape[0]
    4

    Args:
        function: Called with the observations of its seller, ``(B, D)`` (or a dict of ``(B, size)``); returns the
            actions as their space says with a leading axis of B, or one action for all markets.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the function's actions; see `malles_env.envs.core.rivals.Policy`."""
        return self.function(observation), state


def as_policy(seller: Any) -> Any:
    """Return a plain function as a seller with `predict`; anything else as it is."""
    plain = callable(seller) and not hasattr(seller, "predict") and not isinstance(seller, type)
    return FunctionSeller(seller) if plain else seller
