"""Readings of texts by a frozen backbone, made once and kept on disk, so that only the heads need training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from malles_env.errors import CorruptFile
from malles_env.files import cache_dir, keeping, read_json_object, text_hash, write_json
from malles_env.preference.data.packing import Request
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.encoder.encoder import States, read_states, rows_of
from malles_env.preference.heads.inputs import Readings
from malles_env.preference.storage import read_tensors, write_tensors
from malles_env.type_aliases import OnProgress

SHARD = 16
"""Requests (markets) per file: a kill loses at most the file being made."""


def make_readings(
    backbone: Backbone,
    products: ProductTable,
    *,
    directory: Path | None = None,
    progress: OnProgress | None = None,
) -> Readings:
    """Read all products with a frozen backbone, skipping what an earlier run already read.

    Args:
        backbone: The backbone; its precision is used as it is.
        products: The texts.
        directory: Where the files go; by default the user cache, under the backbone's hash.
        progress: Called with (markets read, markets in all) after each file.
    """
    home = directory or _home(backbone)
    requests, product_row, prefix_row = products.requests()
    shards: list[States] = []
    for at in range(0, len(requests), SHARD):
        shards.append(_shard(backbone, requests[at : at + SHARD], home))
        if progress:
            progress(min(at + SHARD, len(requests)), len(requests))
    states = States(torch.cat([s.prefix for s in shards]), torch.cat([s.option for s in shards]))
    return rows_of(states, product_row, prefix_row)


def _home(backbone: Backbone) -> Path:
    precision = str(next(backbone.model.parameters()).dtype).removeprefix("torch.")
    # The name of a folder of last states is what it was before there were other readings.
    kind = () if backbone.pooling == "last" else (backbone.pooling,)
    return cache_dir() / "readings" / f"{text_hash(backbone.name, backbone.digest, *kind)[:16]}-{precision}"


def _shard(backbone: Backbone, group: Sequence[Request], home: Path) -> States:
    key = text_hash(*(text for request in group for text in (request.persona, *request.options)))[:24]
    tensors, note = home / f"{key}.safetensors", home / f"{key}.json"
    if note.is_file() and tensors.is_file():
        shard = read_tensors(tensors)
        if {name: list(value.shape) for name, value in shard.items()} != read_json_object(note):
            raise CorruptFile(f"{tensors}: does not hold what its note says; delete both and run again")
    else:
        with torch.no_grad():
            states = read_states(backbone, group)
        shard = {"prefix": states.prefix.half().cpu(), "option": states.option.half().cpu()}
        with keeping(tensors):
            write_tensors(tensors, shard)
            write_json(note, {name: list(value.shape) for name, value in shard.items()}, sort_keys=True)
    return States(shard["prefix"].float(), shard["option"].float())
