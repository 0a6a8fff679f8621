"""LoRA adapters (Hu et al. 2022) on a pre-trained backbone, through peft."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malles_env.errors import CorruptFile, MissingResource, brief, invalid
from malles_env.files import file_hash, text_hash
from malles_env.preference.encoder.backbones import Backbone

FILES = ("adapter_config.json", "adapter_model.safetensors")


def with_adapter(backbone: Backbone, *, rank: int = 8, layers: int = 10, seed: int = 0) -> Backbone:
    """Return the backbone with a fresh adapter on all linear maps of its last layers; the rest stays frozen.

    Args:
        backbone: A pre-trained backbone.
        rank: Rank of the adapter, at least 1.
        layers: Last layers that get one; gradients need not go below them.
        seed: Seed of the adapter's start.

    Raises:
        MissingResource: The package peft is not installed.
        InvalidInput: A rank below 1 or more layers than there are.
    """
    peft = _peft()
    config: Any = backbone.model.config
    depth = int(config.num_hidden_layers)
    if rank < 1:
        raise invalid("rank", rank, "1 or more")
    if not 1 <= layers <= depth:
        raise invalid("layers", layers, f"from 1 to {depth}")
    last = "|".join(map(str, range(depth - layers, depth)))
    maps = (
        rf"layer\.({last})\..*(query|key|value|dense)" if config.model_type == "bert" else rf"layers\.({last})\..*_proj"
    )
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=rf"(.*\.)?{maps}")
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        model = peft.get_peft_model(backbone.model, settings)
    return replace(backbone, model=model, digest="", base=backbone.digest)


def is_adapted(backbone: Backbone) -> bool:
    """Return whether the backbone carries an adapter."""
    return hasattr(backbone.model, "peft_config")


def save_adapter(backbone: Backbone, directory: Path) -> dict[str, str]:
    """Write the adapter in peft's own format, in bfloat16; return the hash of each file."""
    peft = _peft()
    from safetensors.torch import save_file

    model: Any = backbone.model
    state = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    config = model.peft_config["default"]
    config.base_model_name_or_path = backbone.name  # not where it lies on this machine
    config.save_pretrained(str(directory))
    save_file(
        {name: t.detach().cpu().to(torch.bfloat16).contiguous() for name, t in state.items()}, directory / FILES[1]
    )
    for name in FILES:
        (directory / name).chmod(0o644)
    return {name: file_hash(directory / name) for name in FILES}


def load_adapter(backbone: Backbone, directory: Path) -> Backbone:
    """Return the backbone with a saved adapter.

    Raises:
        CorruptFile: The adapter's files do not fit the backbone.
    """
    peft = _peft()
    try:
        with _quiet():
            model = peft.PeftModel.from_pretrained(backbone.model, str(directory), torch_device="cpu")
    except (RuntimeError, ValueError, KeyError) as error:
        raise CorruptFile(f"{directory}: not an adapter of {backbone.name} ({brief(error)})") from error
    digest = adapted_digest(backbone.digest, directory)
    return replace(backbone, model=model.eval(), digest=digest, base=backbone.digest)


def adapted_digest(digest: str, directory: Path) -> str:
    """Return what identifies a backbone with the adapter of `directory`."""
    return text_hash(digest, file_hash(directory / FILES[1]))


def trainable(model: nn.Module) -> nn.ParameterDict:
    """Return the parameters that learn, by name: what a checkpoint of an adapted backbone holds."""
    return nn.ParameterDict(
        {name.replace(".", "|"): part for name, part in model.named_parameters() if part.requires_grad}
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back a deprecation that peft triggers inside transformers and a user can do nothing about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingResource("adapters need the package peft: run  pip install 'malles-env[llm]'") from error
    return peft
