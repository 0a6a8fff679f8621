"""What can be read of a Stable-Baselines3 file without running code: tensors, and the plain fields of its JSON.

SB3 keeps whatever is not JSON as pickles inside that JSON; they are passed over here, never opened.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malles_env.errors import CorruptFile, InvalidInput

PICKLED = ":serialized:"
MOST_BYTES = 100_000_000
"""Bytes of one part of a file, unpacked: about 25 million weights."""
_PARAMETERS = ("policy.optimizer", "actor.optimizer", "critic.optimizer", "ent_coef_optimizer", "policy")
_VARIABLES = ("log_ent_coef", "ent_coef_tensor")
_NETWORK = (
    "net_arch", "log_std_init", "ortho_init", "n_critics", "lstm_hidden_size", "n_lstm_layers", "shared_lstm",
    "enable_critic_lstm",
)  # fmt: skip
"""Settings of a network that plain JSON says in full."""
_HARMLESS = ("optimizer_class", "optimizer_kwargs")
"""Settings that do not matter to a network that only plays."""
_WIDEST, _DEEPEST = 8192, 16
_MEMORY = {"lstm_hidden_size": 1024, "n_lstm_layers": _DEEPEST}


@dataclass(frozen=True)
class StoredSpace:
    """A space as a file names it.

    Attributes:
        kind: Name of its class.
        shape: Of its elements.
    """

    kind: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} of shape {self.shape}"


def read_data(path: Path) -> dict[str, Any]:
    """Return the fields of the file; those SB3 pickled stand there as mappings with the key ``:serialized:``."""
    with zipfile.ZipFile(path) as archive:
        _check_size(path, archive, "data")
        found = json.loads(archive.read("data").decode())
    if not isinstance(found, dict):
        raise CorruptFile(f"{path}: holds no fields of a Stable-Baselines3 policy")
    return found


def read_tensors(path: Path, part: str) -> dict[str, Any]:
    """Return a part of the file that holds tensors, e.g. ``policy.pth``; torch refuses whatever else is in it."""
    import torch

    with zipfile.ZipFile(path) as archive:
        _check_size(path, archive, part)
        with archive.open(part) as file:
            found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return found


def _check_size(path: Path, archive: zipfile.ZipFile, part: str) -> None:
    """Refuse a part that unpacks to far more than any network of a seller.

    Raises:
        InvalidInput: Names the part and its size.
    """
    size = archive.getinfo(part).file_size
    if size > MOST_BYTES:
        raise InvalidInput(f"{path}: {part} has {size:,} bytes unpacked; allowed: at most {MOST_BYTES:,}")


def read_parameters(path: Path) -> dict[str, Any]:
    """Return the state of each network and optimizer in the file, by its name in SB3."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    return {name: read_tensors(path, f"{name}.pth") for name in _PARAMETERS if f"{name}.pth" in names}


def read_variables(path: Path) -> dict[str, Any]:
    """Return the single tensors in the file, such as SAC's entropy coefficient, by name."""
    with zipfile.ZipFile(path) as archive:
        if "pytorch_variables.pth" not in archive.namelist():
            return {}
    found = read_tensors(path, "pytorch_variables.pth") or {}
    return {name: found[name] for name in _VARIABLES if found.get(name) is not None}


def stored_space(stored: dict[str, Any], name: str) -> StoredSpace:
    """Return what the plain notes beside a pickled space say of it."""
    note = stored[name]
    kind = str(note[":type:"]).rpartition(".")[2].strip("'>")
    return StoredSpace(kind, tuple(int(size) for size in note.get("_shape") or ()))


def stored_network(stored: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings of the network, as far as they matter to playing.

    Raises:
        InvalidInput: The file describes its network by code, or another one than malles builds.
    """
    arguments = stored.get("policy_kwargs") or {}
    kind = stored.get("policy_class") or {}
    home = str(kind.get("__module__", "")) if isinstance(kind, dict) else ""
    notes = {name: value for name, value in arguments.items() if name not in (":type:", PICKLED) and value is not None}
    strange = sorted(name for name in notes if name not in (*_NETWORK, *_HARMLESS) and notes[name] is not False)
    if stored.get("use_sde") or not home.startswith(("stable_baselines3.", "sb3_contrib.")):
        strange.append("policy_class" if not stored.get("use_sde") else "use_sde")
    network = {name: notes[name] for name in _NETWORK if name in notes}
    sizes = all(type(network.get(name, 1)) is int and 0 < network.get(name, 1) <= _MEMORY[name] for name in _MEMORY)
    if strange or not sizes or not all(map(_plain, network.values())):
        raise InvalidInput(
            f"{path}: its network cannot be built without running code stored in the file "
            f"({', '.join(strange or network)}); if you made the file yourself, use --trust-policy or trust=True"
        )
    return network


def _plain(value: Any, depth: int = 0) -> bool:
    """Return whether a setting is a number, or layers of sizes that fit into memory."""
    if isinstance(value, dict):
        return depth == 0 and all(_plain(part, 1) for part in value.values())
    if isinstance(value, list):
        return len(value) <= _DEEPEST and all(type(size) is int and 0 < size <= _WIDEST for size in value)
    return isinstance(value, (bool, int, float)) and abs(value) <= _WIDEST
