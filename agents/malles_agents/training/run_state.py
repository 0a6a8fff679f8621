"""Where a training run stands between two rollouts beside its networks: random streams, markets, what was seen last.

Kept inside a checkpoint as JSON and plain arrays, so that a resumed run is the same run bit for bit. Nothing of it is
trusted: no code in it is run, and what does not fit is refused.
"""

from __future__ import annotations

import json
import random
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.envs.sb3 import PricingVecEnv
from malles_env.envs.snapshot import Plain, put_back, take
from malles_env.errors import CorruptFile

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

TREE, ARRAYS = "run_state.json", "run_state.npz"
_SEEN = ("_last_obs", "_last_episode_starts", "_last_lstm_states")
_MOST_BYTES = 1 << 30


def why_inexact(model: BaseAlgorithm) -> str | None:
    """Return why runs of this algorithm cannot go on bit for bit; None where they can."""
    if hasattr(model, "replay_buffer"):
        return "its replay buffer is not kept"
    return "its exploration noise is not kept" if getattr(model, "use_sde", False) else None


def add_state(buffer: BytesIO, model: BaseAlgorithm, running: np.ndarray) -> None:
    """Add to a checkpoint where the run stands, or a word on why it is not known.

    Args:
        buffer: A zip file that SB3 wrote.
        model: Between two rollouts.
        running: Reward of the episodes under way, one number per slot.
    """
    found: dict[str, Plain] = {"why": why_inexact(model)}
    if found["why"] is None:
        try:
            found |= {"env": take(_pricing_env(model)), "draws": _streams(), "seen": _seen(model), "running": running}
        except TypeError as error:
            found = {"why": str(error)}
    arrays: list[np.ndarray] = []
    tree = json.dumps(_without_arrays(found, arrays))
    packed = BytesIO()
    np.savez(packed, **{str(k): array for k, array in enumerate(arrays)})  # type: ignore[arg-type]
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(TREE, tree)
        archive.writestr(ARRAYS, packed.getvalue())


def put_state(path: Path, model: BaseAlgorithm) -> np.ndarray:
    """Bring `model`, whose env was reset, to where a checkpoint was written.

    Returns:
        Reward of the episodes under way.

    Raises:
        CorruptFile: The checkpoint does not say, or says it of another run; the message says what is wrong.
    """
    import torch

    found = _read(path)
    if found.get("why"):
        raise CorruptFile(str(found["why"]))
    env = _pricing_env(model)
    try:
        put_back(env, found["env"])
        for name, value in found["seen"].items():
            setattr(model, name, _as_seen(name, value, getattr(model, name)))
        draws = found["draws"]
        torch.set_rng_state(torch.from_numpy(draws["torch"]))
        np.random.set_state((str(draws["numpy"][0]), *draws["numpy"][1:]))
        random.setstate((int(draws["python"][0]), tuple(map(int, draws["python"][1])), draws["python"][2]))
        running = np.asarray(found["running"], dtype=np.float64)
    except CorruptFile:
        raise
    except Exception as error:  # arrays, streams and tensors raise errors of many kinds over what does not fit
        raise CorruptFile(f"{type(error).__name__}: {error}".splitlines()[0][:160]) from None
    if running.shape != (env.num_envs,):
        raise CorruptFile("another number of markets")
    return running


def _pricing_env(model: BaseAlgorithm) -> PricingVecEnv:
    env: Any = model.env
    while env is not None and not isinstance(env, PricingVecEnv):
        env = getattr(env, "venv", None)
    if env is None:
        raise TypeError("an env of another kind cannot be kept")
    return env


def _streams() -> dict[str, Plain]:
    import torch

    version, words, spare = random.getstate()
    return {
        "torch": torch.get_rng_state().numpy().copy(),
        "numpy": list(np.random.get_state()),
        "python": [version, np.array(words, dtype=np.int64), spare],
    }


def _seen(model: BaseAlgorithm) -> dict[str, Plain]:
    return {name: _detached(getattr(model, name)) for name in _SEEN if hasattr(model, name)}


def _detached(value: Any) -> Plain:
    """Return arrays, dicts and tuples of arrays and tensors as plain ones."""
    if isinstance(value, dict):
        return {name: _detached(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_detached(part) for part in value]
    return value.detach().cpu().numpy().copy() if hasattr(value, "detach") else value


def _as_seen(name: str, value: Plain, now: Any) -> Any:
    """Return what was seen last in the form of what is seen `now`, after a reset."""
    import torch

    if isinstance(now, dict):
        return {key: _as_seen(name, value[key], part) for key, part in now.items()}
    if isinstance(now, tuple):
        parts = [_as_seen(name, one, other) for one, other in zip(value, now, strict=True)]
        return type(now)(*parts) if hasattr(now, "_fields") else tuple(parts)
    current = now.detach().cpu().numpy() if hasattr(now, "detach") else now
    if not isinstance(value, np.ndarray) or (value.dtype, value.shape) != (current.dtype, current.shape):
        raise CorruptFile(f"another {name}")
    return torch.from_numpy(value.copy()) if hasattr(now, "detach") else value.copy()


def _without_arrays(value: Plain, arrays: list[np.ndarray]) -> Any:
    """Return `value` as JSON has it, its arrays by their place in `arrays`."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"dict": {name: _without_arrays(part, arrays) for name, part in value.items()}}
    if isinstance(value, (tuple, list)):
        return {"tuple" if isinstance(value, tuple) else "list": [_without_arrays(part, arrays) for part in value]}
    return value


def _with_arrays(tree: Any, arrays: Any) -> Plain:
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "array":
        return arrays[str(int(value))]
    if kind == "dict":
        return {name: _with_arrays(part, arrays) for name, part in value.items()}
    parts = [_with_arrays(part, arrays) for part in value]
    return tuple(parts) if kind == "tuple" else parts


def _read(path: Path) -> dict[str, Plain]:
    with zipfile.ZipFile(path) as archive:
        if not {TREE, ARRAYS} <= set(archive.namelist()):
            raise CorruptFile("it was written by a version that did not keep it")
        if archive.getinfo(TREE).file_size + archive.getinfo(ARRAYS).file_size > _MOST_BYTES:
            raise CorruptFile("more than a run keeps")
        try:
            tree = json.loads(archive.read(TREE))
            with np.load(BytesIO(archive.read(ARRAYS)), allow_pickle=False) as arrays:
                found = _with_arrays(tree, arrays)
        except (ValueError, KeyError, TypeError, OSError, RecursionError, zipfile.BadZipFile) as error:
            raise CorruptFile(f"it cannot be read ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise CorruptFile("it cannot be read")
    return found
