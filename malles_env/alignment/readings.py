"""Readings of a frozen backbone, made once and kept on disk, so that only the heads need training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from malles_env.alignment.backbones import Backbone
from malles_env.alignment.heads import TasteHeads
from malles_env.alignment.model import States, TasteModel
from malles_env.alignment.packing import Request
from malles_env.alignment.storage import (
    read_json,
    read_tensors,
    text_hash,
    write_json,
    write_tensors,
)
from malles_env.errors import CorruptFile, InvalidInput
from malles_env.files import cache_dir

SHARD = 64
"""Requests per file: a kill loses at most the file being made."""


@dataclass
class ReadingTable:
    """Hidden states by text; answers like a backbone for the requests it holds.

    Attributes:
        prefix: States at persona ends [P, width].
        option: States at option ends [O, width].
        persona_row: Row of each persona text.
        option_row: Row of each (persona text, option text).
    """

    prefix: torch.Tensor
    option: torch.Tensor
    persona_row: dict[str, int]
    option_row: dict[tuple[str, str], int]

    def states(self, requests: Sequence[Request]) -> States:
        """Return the stored states of `requests`, in order."""
        try:
            prefix = [self.persona_row[request.persona] for request in requests]
            option = [self.option_row[request.persona, text] for request in requests for text in request.options]
        except KeyError as error:
            raise InvalidInput(f"no reading was made for the text {error.args[0]!r}") from error
        return States(self.prefix[torch.tensor(prefix)].float(), self.option[torch.tensor(option)].float())


def make_readings(
    backbone: Backbone,
    requests: Sequence[Request],
    *,
    words: bool = False,
    directory: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReadingTable:
    """Read `requests` with a frozen backbone, skipping what an earlier run already read.

    Args:
        backbone: The backbone; its precision is used as it is.
        requests: Personas with their options, each persona once.
        words: Read the mean word of each persona as well; see `TasteHeads`.
        directory: Where the files go; by default the user cache, under the backbone's hash.
        progress: Called with (requests done, requests in all) after each file.
    """
    reader = TasteModel(backbone, TasteHeads(backbone.width, 1, words=words))
    home = (directory or _home(backbone)) / ("words" if words else "")
    shards: list[dict[str, torch.Tensor]] = []
    groups = [requests[at : at + SHARD] for at in range(0, len(requests), SHARD)]
    for number, group in enumerate(groups, start=1):
        shards.append(_shard(reader, group, home))
        if progress:
            progress(min(number * SHARD, len(requests)), len(requests))
    return ReadingTable(
        prefix=torch.cat([shard["prefix"] for shard in shards]),
        option=torch.cat([shard["option"] for shard in shards]),
        persona_row={request.persona: row for row, request in enumerate(requests)},
        option_row={pair: row for row, pair in enumerate(_pairs(requests))},
    )


def _home(backbone: Backbone) -> Path:
    precision = str(next(backbone.model.parameters()).dtype).removeprefix("torch.")
    return cache_dir() / "readings" / f"{text_hash(backbone.name, backbone.digest)[:16]}-{precision}"


def _shard(reader: TasteModel, group: Sequence[Request], home: Path) -> dict[str, torch.Tensor]:
    key = text_hash(*(text for request in group for text in (request.persona, *request.options)))[:24]
    tensors, note = home / f"{key}.safetensors", home / f"{key}.json"
    if note.is_file() and tensors.is_file():
        shard = read_tensors(tensors)
        if {name: list(value.shape) for name, value in shard.items()} != read_json(note):
            raise CorruptFile(f"{tensors}: does not hold what its note says; delete both and run again")
        return shard
    with torch.no_grad():
        states = reader.states(group)
    shard = {"prefix": states.prefix.half(), "option": states.option.half()}
    write_tensors(tensors, shard)
    write_json(note, {name: list(value.shape) for name, value in shard.items()})
    return shard


def _pairs(requests: Sequence[Request]) -> list[tuple[str, str]]:
    return [(request.persona, text) for request in requests for text in request.options]
