"""Tree packing: one household and its shelf in one sequence, every option blind to the others.

A sequence is ``[persona][option 1]...[option J]``. The 4-D mask lets an option see the persona and itself,
and position ids restart after the persona for each option, so scores do not depend on the order of the
shelf, nor on which other options happen to share the sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
import torch

from malles_env.errors import InvalidInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OPTION_MARK = "\n- "
"""Written before each option, as in a list."""


@dataclass(frozen=True)
class Request:
    """One persona text and the option texts to be read after it."""

    persona: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class PackedBatch:
    """Sequences ready for a backbone.

    Attributes:
        ids: Token ids [N, T], right padded.
        positions: Position ids [N, T].
        mask: True where a query may see a key [N, 1, T, T].
        prefix_end: Column of each sequence's last persona token [N].
        option_row: Row of each option [M], options in request order.
        option_start: Column of each option's first token that is not the mark's alone [M].
        option_end: Column of each option's last token [M].
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    prefix_end: torch.Tensor
    option_row: torch.Tensor
    option_start: torch.Tensor
    option_end: torch.Tensor


class TextEncoder:
    """Turns persona and option texts into token ids, each on its own (no merges across the seam)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Wrap a `tokenizers.Tokenizer`."""
        self.tokenizer = tokenizer
        self._ids = lru_cache(maxsize=200_000)(self._encode)

    def persona(self, text: str) -> tuple[int, ...]:
        """Return the ids of a persona text, with the tokenizer's own start token where it has one."""
        return self._ids(text, True)

    @property
    def mark(self) -> tuple[int, ...]:
        """Return the ids of what stands before each option."""
        return self._ids(OPTION_MARK, False)

    def alone(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text that is read by itself, between the tokenizer's own marks."""
        return self._ids(text, True)

    def option(self, text: str) -> tuple[int, ...]:
        """Return the ids of an option text."""
        return self._ids(OPTION_MARK + text, False)

    def _encode(self, text: str, special: bool) -> tuple[int, ...]:
        ids = self.tokenizer.encode(text, add_special_tokens=special).ids
        if not ids:
            raise InvalidInput(f"text {text!r} has no tokens in this backbone's vocabulary")
        return tuple(ids)


def split_requests(requests: Sequence[Request], max_options: int) -> tuple[list[Request], list[int]]:
    """Cut long shelves into sequences of at most `max_options` options.

    Returns:
        The pieces in order, and for each request the index of its first piece.
    """
    pieces: list[Request] = []
    first: list[int] = []
    for request in requests:
        first.append(len(pieces))
        cuts = range(0, max(len(request.options), 1), max_options)
        pieces.extend(Request(request.persona, request.options[at : at + max_options]) for at in cuts)
    return pieces, first


def pack(requests: Sequence[Request], encoder: TextEncoder) -> PackedBatch:
    """Pack requests into one padded batch, a sequence each."""
    rows = [_layout(request, encoder) for request in requests]
    width = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    positions = np.zeros_like(ids)
    segment = np.full_like(ids, -1)
    for at, row in enumerate(rows):
        size = len(row.ids)
        ids[at, :size], positions[at, :size], segment[at, :size] = row.ids, row.positions, row.segment
    return PackedBatch(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        mask=_tree_mask(torch.from_numpy(segment)),
        prefix_end=torch.tensor([row.prefix_end for row in rows]),
        option_row=torch.tensor([at for at, row in enumerate(rows) for _ in row.ends], dtype=torch.long),
        option_start=torch.tensor([start for row in rows for start in row.starts], dtype=torch.long),
        option_end=torch.tensor([end for row in rows for end in row.ends], dtype=torch.long),
    )


@dataclass(frozen=True)
class _Row:
    ids: list[int]
    positions: list[int]
    segment: list[int]
    prefix_end: int
    starts: list[int]
    ends: list[int]


def _layout(request: Request, encoder: TextEncoder) -> _Row:
    prefix = encoder.persona(request.persona)
    start = len(prefix)
    ids, positions, segment = list(prefix), list(range(start)), [0] * start
    starts, ends = [], []
    for number, text in enumerate(request.options, start=1):
        option = encoder.option(text)
        # A space of the mark may be one token with the first word behind it, which is the option's own then.
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(encoder.mark, option, strict=False)))
        starts.append(len(ids) + min(shared, len(option) - 1))
        ids.extend(option)
        positions.extend(range(start, start + len(option)))
        segment.extend([number] * len(option))
        ends.append(len(ids) - 1)
    return _Row(ids, positions, segment, start - 1, starts, ends)


def _tree_mask(segment: torch.Tensor) -> torch.Tensor:
    """Return who sees whom [N, 1, T, T]: own segment and the prefix, causally; padding sees only itself."""
    query, key = segment[:, :, None], segment[:, None, :]
    causal = torch.ones(segment.shape[1], segment.shape[1], dtype=torch.bool).tril()
    seen = ((key == 0) | (key == query)) & (query >= 0) & causal
    return (seen | torch.eye(segment.shape[1], dtype=torch.bool))[:, None]
