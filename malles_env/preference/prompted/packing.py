"""Packing: a shelf and its households in one sequence, with the attention prior in its mask.

A row is ``[shelf][household 1][household 2]...``; a household's units questions hang below it, one per option
asked about. Everybody sees the shelf and his own branch, causally, and positions restart behind the shelf, so an
answer is the one a prompt with this household alone would get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from malles_env.preference.data.packing import TextEncoder
from malles_env.preference.prompted.data import PromptData
from malles_env.preference.prompted.labels import Labels
from malles_env.preference.prompted.prompt import (
    Piece,
    household_pieces,
    shelf_header,
    shelf_pieces,
    unit_pieces,
)
from malles_env.preference.prompted.questions import Question

NONE, CHOSEN, ALL = "none", "chosen", "all"
"""Which units questions to ask: none, for what was bought, for every option."""


class Speller:
    """Spells pieces as token ids, each on its own (no merges across a seam), with a cache."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Wrap a backbone's encoder and find its labels."""
        self.encoder = encoder
        self.labels = Labels.of(encoder)
        self._known: dict[str, list[int]] = {}

    def start(self, text: str) -> list[int]:
        """Return the ids of a prompt's first words, with the tokenizer's start token where it has one."""
        return list(self.encoder.persona(text))

    def ids(self, piece: Piece) -> list[int]:
        """Return the ids of a piece."""
        if piece.label == -2:
            return [self.labels.outside]
        if piece.label >= 0:
            return [self.labels.options[piece.label]]
        if piece.text not in self._known:
            self._known[piece.text] = self.encoder.tokenizer.encode(piece.text, add_special_tokens=False).ids
        return self._known[piece.text]


@dataclass
class PackedRow:
    """One question spelled out.

    Attributes:
        ids: Token ids [T].
        position: Position ids [T].
        household: 0 in the shelf, else the household's number from 1 [T].
        leaf: 0 outside units questions, else the question's number from 1 [T].
        economic: True on price, discount and promotion tokens [T].
        answer: Column of each household's answer boundary [n].
        unit: (household's index, line, column) of each units boundary.
    """

    ids: list[int] = field(default_factory=list)
    position: list[int] = field(default_factory=list)
    household: list[int] = field(default_factory=list)
    leaf: list[int] = field(default_factory=list)
    economic: list[bool] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    unit: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, ids: Sequence[int], start: int, household: int, leaf: int, economic: bool = False) -> int:
        """Append tokens from position `start`; return the next position."""
        self.ids += ids
        self.position += range(start, start + len(ids))
        self.household += [household] * len(ids)
        self.leaf += [leaf] * len(ids)
        self.economic += [economic] * len(ids)
        return start + len(ids)


def spell(question: Question, data: PromptData, speller: Speller, units: str) -> PackedRow:
    """Return a question as tokens; `units` is NONE, CHOSEN or ALL."""
    labels, row = speller.labels, PackedRow()
    lines = question.lines(data)
    labels.check_shelf(len(lines))
    end = row.add(speller.start(shelf_header(data.markets[data.market[question.rows[0]]])), 0, 0, 0)
    for piece in shelf_pieces(lines, labels.option_gap):
        end = row.add(speller.ids(piece), end, 0, 0, piece.economic)
    for at, household in enumerate(question.households(data)):
        here = end
        for piece in household_pieces(household, labels.option_gap):
            here = row.add(speller.ids(piece), here, at + 1, 0)
        row.answer.append(len(row.ids) - 1)
        for line in _asked(question, data, at, units):
            below = here
            for piece in unit_pieces(line, labels.unit_gap):
                below = row.add(speller.ids(piece), below, at + 1, len(row.unit) + 1)
            row.unit.append((at, line, len(row.ids) - 1))
    return row


def _asked(question: Question, data: PromptData, at: int, units: str) -> list[int]:
    if units == ALL:
        return list(range(len(question.order)))
    chosen = int(data.chosen[question.rows[at]])
    if units == NONE or chosen == 0:
        return []
    own = question.places[at][question.order]
    return [int(np.flatnonzero(own == chosen - 1)[0])]


@dataclass(frozen=True)
class PromptBatch:
    """Rows ready for a backbone, right padded.

    Attributes:
        ids: Token ids [N, T].
        positions: Position ids [N, T].
        household: See `PackedRow`; -1 in the padding [N, T].
        leaf: See `PackedRow` [N, T].
        economic: See `PackedRow` [N, T].
        answer: Row and column of each answer boundary, households in order of the questions [M, 2].
        unit: Row and column of each units boundary [U, 2].
        unit_owner: Index of its answer and its line [U, 2].
    """

    ids: torch.Tensor
    positions: torch.Tensor
    household: torch.Tensor
    leaf: torch.Tensor
    economic: torch.Tensor
    answer: torch.Tensor
    unit: torch.Tensor
    unit_owner: torch.Tensor


def pad(rows: Sequence[PackedRow]) -> PromptBatch:
    """Return rows as one padded batch."""
    width = max(len(row.ids) for row in rows)
    columns = {
        name: np.full((len(rows), width), fill, dtype=dtype)
        for name, fill, dtype in (
            ("ids", 0, np.int64),
            ("position", 0, np.int64),
            ("household", -1, np.int64),
            ("leaf", 0, np.int64),
            ("economic", False, np.bool_),
        )
    }
    for at, row in enumerate(rows):
        for name, array in columns.items():
            array[at, : len(row.ids)] = getattr(row, name)
    first = np.cumsum([0, *(len(row.answer) for row in rows)])
    answer = [(at, column) for at, row in enumerate(rows) for column in row.answer]
    unit = [(at, column) for at, row in enumerate(rows) for _, _, column in row.unit]
    owner = [(first[at] + who, line) for at, row in enumerate(rows) for who, line, _ in row.unit]
    whole = {name: torch.from_numpy(array) for name, array in columns.items()}
    return PromptBatch(
        ids=whole["ids"],
        positions=whole["position"],
        household=whole["household"],
        leaf=whole["leaf"],
        economic=whole["economic"],
        answer=torch.tensor(answer, dtype=torch.long).reshape(-1, 2),
        unit=torch.tensor(unit, dtype=torch.long).reshape(-1, 2),
        unit_owner=torch.tensor(np.array(owner, dtype=np.int64).reshape(-1, 2)),
    )


def seen_mask(batch: PromptBatch) -> torch.Tensor:
    """Return who sees whom [N, 1, T, T]: the shelf and the own branch, causally; padding sees itself."""
    query, key = batch.household[:, :, None], batch.household[:, None, :]
    leaf_query, leaf_key = batch.leaf[:, :, None], batch.leaf[:, None, :]
    size = batch.ids.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    branch = (key == query) & ((leaf_key == 0) | (leaf_key == leaf_query))
    seen = ((key == 0) | branch) & (query >= 0) & causal
    return (seen | torch.eye(size, dtype=torch.bool))[:, None]


def attention_bias(batch: PromptBatch, strength: float, dtype: torch.dtype) -> torch.Tensor:
    """Return the additive attention mask with the prior [N, 1, T, T].

    ``bias[q, k] = strength * 1[k states a price, discount or promotion]`` where q sees k, else -inf: before
    normalisation, every weight on such a token is multiplied by exp(strength), in every head and layer.

    Args:
        batch: The rows.
        strength: In nats; 0 leaves the plain mask.
        dtype: Precision of the backbone's attention.
    """
    seen = seen_mask(batch)
    bias = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf)
    if strength:
        bias += strength * batch.economic[:, None, None, :].to(dtype)
    return bias
