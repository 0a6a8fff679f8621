"""Tensors in files: safetensors written whole or not at all, readable errors, hashes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from malles_env.errors import CorruptFile, MissingResource, brief
from malles_env.files import replacing


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a safetensors file atomically.

    Raises:
        OSError: It cannot be written.
    """
    plain = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary)
        except SafetensorError as error:  # it words the system's error: "I/O error: No space left ... (os error 28)"
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
        temporary.chmod(0o644)  # safetensors writes files that only their owner may read


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        MissingResource: There is no such file.
        CorruptFile: The file is cut short or not safetensors.
    """
    if not path.is_file():
        raise MissingResource(f"{path}: no such file")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptFile(f"{path}: not a whole safetensors file ({brief(error)}); make or fetch it anew") from error


def load_into(module: torch.nn.Module, path: Path) -> None:
    """Load a safetensors file into a module; names and shapes must agree.

    Raises:
        CorruptFile: The file holds other tensors than the module.
    """
    load_tensors_into(module, read_tensors(path), path)


def load_tensors_into(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load tensors into a module; names and shapes must agree, or the error names the file at `path`.

    Raises:
        CorruptFile: There are other tensors than the module's.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        detail = brief(error, 300)
        raise CorruptFile(f"{path}: does not fit this model ({detail})") from error


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of named tensors, in hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
