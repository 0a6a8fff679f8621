"""Stable-Baselines3 policies as sellers: classes by name, safe loading, and a check that a policy fits its agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_agents.checkpoints import check_zip
from malles_agents.seller_view import SellerView
from malles_agents.sellers.sb3.stored import (
    StoredSpace,
    read_data,
    read_parameters,
    read_tensors,
    read_variables,
    stored_network,
    stored_space,
)
from malles_env.errors import CorruptFile, MallesError, MissingResource, invalid

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS = ("ppo", "a2c", "sac", "td3", "dqn", "recurrent-ppo")
COUNTERS = (
    "num_timesteps", "_total_timesteps", "_num_timesteps_at_start", "_episode_num", "_n_updates", "_n_calls",
    "_current_progress_remaining", "exploration_rate",
)  # fmt: skip
"""What a checkpoint states of how far a run had come."""


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Return the SB3 class called `name`.

    Raises:
        InvalidInput: It is none of ppo, a2c, sac, td3, dqn, recurrent-ppo.
        MissingResource: It stands in sb3-contrib, which is not installed.
    """
    if name not in ALGORITHMS:
        raise invalid("algo", name, ", ".join(ALGORITHMS))
    if name == "recurrent-ppo":
        try:
            from sb3_contrib import RecurrentPPO
        except ModuleNotFoundError:
            raise MissingResource(f"{name} needs sb3-contrib: run  pip install 'malles-env[contrib]'") from None
        return RecurrentPPO
    import stable_baselines3

    return getattr(stable_baselines3, name.upper())  # type: ignore[no-any-return]


def load_model(algorithm: str, path: Path, env: Any, arguments: Mapping[str, Any], *, seed: int = 0) -> BaseAlgorithm:
    """Return the SB3 model of a checkpoint, to go on training with, on the CPU; no code in the file is run.

    Networks, schedules and spaces are built anew from `arguments` and `env`; of the file, only tensors (weights,
    optimizers) and counters are taken. As with SB3's own loading, buffers begin empty.

    Args:
        algorithm: Which class wrote it.
        path: The zip file.
        env: Env to go on training with.
        arguments: Of the class, as the run was begun with.
        seed: Of the model.

    Raises:
        MissingResource: No such file.
        CorruptFile: The file is damaged, half-written, of another algorithm or of another network.
    """
    check_zip(path)
    with _readable(algorithm, path):
        model = algorithm_class(algorithm)(env=env, seed=seed, device="cpu", **arguments)
        model.set_parameters(read_parameters(path), exact_match=True, device="cpu")
        for name, value in read_variables(path).items():
            getattr(model, name).data = value.data
        counters = read_data(path)
        for name in COUNTERS:
            if hasattr(model, name) and type(counters.get(name)) in (int, float):
                setattr(model, name, counters[name])
    return model


def load_policy(algorithm: str, path: Path, view: SellerView, *, trust: bool = False) -> Any:
    """Load a trained policy to play in `view`, without running code that the file may hold.

    Args:
        algorithm: Which class wrote it.
        path: The zip file.
        view: Where it plays; gives the spaces.
        trust: Let SB3 unpickle the whole file, which runs code stored in it: only for files you made. Needed for
            networks that the plain fields of the file do not describe.

    Raises:
        InvalidInput: It was trained for other observation or action spaces, or needs `trust`.
        MissingResource: No such file.
        CorruptFile: The file cannot be read.
    """
    check_zip(path)
    with _readable(algorithm, path):
        stored = read_data(path)
        observation, action = stored_space(stored, "observation_space"), stored_space(stored, "action_space")
    wanted = view.action_space
    single = action.kind == "Discrete" and wanted.shape == (1,)
    if single:
        action = StoredSpace("MultiDiscrete", (1,))
    _must_match("observation space", path, observation, view.observation_space, view)
    _must_match("action space", path, action, wanted, view)
    if trust:
        with _readable(algorithm, path):
            model = algorithm_class(algorithm).load(path, device="cpu", custom_objects=_NO_SCHEDULES)
    else:
        model = _rebuilt(algorithm, path, stored, view, single)
    _check_answer(model, path, view)
    if not single:
        return model
    from malles_agents.sellers.sb3.single_choice import OneChoice

    return OneChoice(model)


def _rebuilt(algorithm: str, path: Path, stored: dict[str, Any], view: SellerView, single: bool) -> Any:
    """Return SB3's policy, its network built from plain fields and the market's spaces, with the file's weights."""
    from gymnasium import spaces

    network, action = stored_network(stored, path), view.action_space
    if single:
        assert isinstance(action, spaces.MultiDiscrete)
        action = spaces.Discrete(int(action.nvec[0]))
    with _readable(algorithm, path):
        aliases: dict[str, Any] = algorithm_class(algorithm).policy_aliases
        made = aliases.get("MlpPolicy") or aliases["MlpLstmPolicy"]
        policy = made(view.observation_space, action, _no_rate, **network)
        policy.load_state_dict(read_tensors(path, "policy.pth"))
    policy.set_training_mode(False)
    return policy


def _check_answer(model: Any, path: Path, view: SellerView) -> None:
    """Refuse weights that are not finite, or so large that no action comes out.

    Raises:
        CorruptFile: The policy has no finite action.
    """
    try:
        action, _ = model.predict(np.zeros(view.observation_space.shape or (), dtype=np.float32), deterministic=True)
        finite = bool(np.isfinite(action).all())
    except (ValueError, RuntimeError):  # torch's distributions refuse parameters that are no numbers
        finite = False
    if not finite:
        raise CorruptFile(f"{path}: its weights give no finite action; train again")


@contextmanager
def _readable(algorithm: str, path: Path) -> Iterator[None]:
    """Say in one line what keeps a file from being read as a policy of this algorithm."""
    try:
        yield
    except MallesError:
        raise
    except Exception as error:  # torch, zipfile, json and SB3 raise errors of a dozen kinds over a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptFile(f"{path}: cannot be read as a {algorithm} policy ({reason[:160]})") from None


def _must_match(name: str, path: Path, found: StoredSpace, wanted: Any, view: SellerView) -> None:
    if (found.kind, found.shape) != (type(wanted).__name__, wanted.shape):
        allowed = StoredSpace(type(wanted).__name__, wanted.shape)
        raise invalid(f"{name} of {path}", str(found), f"{allowed}, that of {view.agent} in {view.scenario.name}")


def _no_rate(progress: float) -> float:
    return 0.0


_NO_SCHEDULES = {"lr_schedule": _no_rate, "learning_rate": 0.0, "clip_range": _no_rate}
