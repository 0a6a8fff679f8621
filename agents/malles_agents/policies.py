"""Stable-Baselines3 policies as sellers: classes by name, safe loading, and a check that a policy fits its seat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents.checkpoints import check_zip
from malles_agents.seat import Seat
from malles_env.errors import CorruptFile, invalid

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS = ("ppo", "a2c", "sac", "td3", "dqn")


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Return the SB3 class called `name`.

    Raises:
        InvalidInput: It is none of ppo, a2c, sac, td3, dqn.
    """
    if name not in ALGORITHMS:
        raise invalid("algo", name, ", ".join(ALGORITHMS))
    import stable_baselines3

    return getattr(stable_baselines3, name.upper())  # type: ignore[no-any-return]


def load_model(algorithm: str, path: Path, env: Any = None, **replaced: Any) -> BaseAlgorithm:
    """Load an SB3 model on the CPU.

    SB3 keeps some Python objects in its files: load only policies you trust.

    Args:
        algorithm: Which class wrote it.
        path: The zip file.
        env: Env to go on training with; None to play.
        replaced: Stored attributes to set instead of reading them.

    Raises:
        MissingResource: No such file.
        CorruptFile: The file is damaged, half-written or of another algorithm.
    """
    check_zip(path)
    try:
        return algorithm_class(algorithm).load(path, env=env, device="cpu", custom_objects=replaced or None)
    except (KeyError, ValueError, AttributeError, TypeError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptFile(f"{path}: cannot be read as a {algorithm} policy ({reason[:160]})") from None


def load_policy(algorithm: str, path: Path, seat: Seat) -> Any:
    """Load a trained policy to play in `seat`.

    Raises:
        InvalidInput: It was trained for other observation or action spaces.
        MissingResource: No such file.
        CorruptFile: The file cannot be read.
    """
    from gymnasium import spaces

    model = load_model(algorithm, path, lr_schedule=_no_rate, learning_rate=0.0, clip_range=_no_rate)
    found = model.action_space
    single = isinstance(found, spaces.Discrete)
    if isinstance(found, spaces.Discrete):
        found = spaces.MultiDiscrete([int(found.n)])
    _must_match("observation space", path, model.observation_space, seat.observation_space, seat)
    _must_match("action space", path, found, seat.action_space, seat)
    if not single:
        return model
    from malles_agents.single_choice import OneChoice

    return OneChoice(model)


def _must_match(name: str, path: Path, found: Any, wanted: Any, seat: Seat) -> None:
    if type(found) is not type(wanted) or found.shape != wanted.shape:
        raise invalid(f"{name} of {path}", found, f"{wanted}, that of {seat.agent} in {seat.scenario.name}")


def _no_rate(progress: float) -> float:
    return 0.0
