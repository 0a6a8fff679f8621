"""Files of the taste model: atomic writes, safetensors and JSON, hashes, and readable errors."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from malles_env import files
from malles_env.errors import CorruptFile, MissingResource
from malles_env.files import replacing


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys, whole or not at all."""
    files.write_json(path, content, sort_keys=True)


def write_text(path: Path, content: str) -> None:
    """Write text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MissingResource: There is no such file.
        CorruptFile: The file is not a JSON object.
    """
    content = files.read_json(path)
    if not isinstance(content, dict):
        raise CorruptFile(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


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
        raise CorruptFile(f"{path}: not a whole safetensors file ({error}); make or fetch it anew") from error


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
        detail = " ".join(str(error).split())[:300]
        raise CorruptFile(f"{path}: does not fit this model ({detail})") from error


def file_hash(path: Path) -> str:
    """Return a file's sha256, in hex."""
    if not path.is_file():
        raise MissingResource(f"{path}: no such file")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of named tensors, in hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def text_hash(*parts: str) -> str:
    """Return the sha256 of some texts, in hex; the boundaries between them count."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
