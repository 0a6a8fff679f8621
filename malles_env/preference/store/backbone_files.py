"""What the folders of all trained models have in common: their backbone, and the hashes of their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from malles_env.errors import CorruptFile
from malles_env.files import file_hash
from malles_env.preference.data.packing import TextEncoder
from malles_env.preference.encoder.adapters import load_adapter
from malles_env.preference.encoder.backbones import Backbone, embedded_from, load_backbone
from malles_env.preference.storage import load_into

LLAMA_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "tie_word_embeddings",
)


def described_backbone(backbone: Backbone, digest: str) -> dict[str, Any]:
    """Return a configuration's entry `backbone`.

    Args:
        backbone: The model's.
        digest: What identifies its weights.
    """
    described: dict[str, Any] = {"name": backbone.name, "owned": backbone.owned, "digest": digest}
    if backbone.owned:
        config: Any = backbone.model.config
        described["llama"] = {key: getattr(config, key) for key in LLAMA_KEYS}
    return described


def stored_backbone(directory: Path, config: dict[str, Any]) -> Backbone:
    """Return the backbone of a saved model, with its adapter, ready to evaluate.

    Args:
        directory: Of the model.
        config: Its configuration, checked.

    Raises:
        MissingResource: A pre-trained backbone is not there.
        CorruptFile: A file is damaged; the message names it.
    """
    described = config["backbone"]
    if not described["owned"]:
        base = load_backbone(described["name"], pooling=described.get("pooling"))
        return load_adapter(base, directory) if "adapter_model.safetensors" in config["files"] else base
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    backbone = embedded_from(described["llama"], tokenizer)
    backbone.encoder = TextEncoder(tokenizer)
    load_into(backbone.model, directory / "model.safetensors")
    backbone.model.to(torch.float32).eval()
    return backbone


def check_files(path: Path, config: dict[str, Any], needed: Sequence[str]) -> None:
    """Check a configuration and the files whose SHA-256 it records.

    Args:
        path: Of the configuration, beside the files.
        config: What stands in it.
        needed: Entries it must have.

    Raises:
        CorruptFile: An entry is missing, or a file differs from what is recorded; the message names it.
        MissingResource: A file is not there.
    """
    for key in needed:
        if key not in config:
            raise CorruptFile(f"{path}: entry {key!r} is missing")
    for file, digest in config["files"].items():
        if file_hash(path.parent / file) != digest:
            raise CorruptFile(f"{path.parent / file}: is damaged or from another model (its hash differs)")
