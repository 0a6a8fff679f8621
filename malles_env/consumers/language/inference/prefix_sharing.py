"""Reading many prompts at once: what they have in common is read once, the rest packed into few large products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from malles_env.consumers.language.inference.kv_cache import KeptReadings
from malles_env.consumers.language.inference.prefix_attention import NAME, Pack

MINIMUM = 16
"""Shorter common beginnings are not worth a pass of their own."""


@dataclass(frozen=True)
class Family:
    """Prompts that begin alike.

    Attributes:
        prefix: Token ids all of them begin with; may be empty.
        members: Their places among all prompts.
        rests: The other ids of each, one or more [n][*].
    """

    prefix: list[int]
    members: list[int]
    rests: list[list[int]]


def families(spelled: Sequence[Sequence[int]], keys: Sequence[object]) -> list[Family]:
    """Return prompts sorted into families.

    Whole prompts are spelled and the cut is laid where their tokens first differ, so that a prefix is what a prompt
    read alone begins with, whatever the tokenizer merges across the seam.

    Args:
        spelled: Token ids of each whole prompt.
        keys: Prompts with equal keys may share; the others are packed without a prefix.
    """
    groups: dict[object, list[int]] = {}
    for at, key in enumerate(keys):
        groups.setdefault(key, []).append(at)
    found, lone = [], []
    for members in groups.values():
        size = common([spelled[at] for at in members])
        if len(members) == 1 or size < MINIMUM:
            lone += members
        else:
            rests = [list(spelled[at][size:]) for at in members]
            found.append(Family(list(spelled[members[0]][:size]), members, rests))
    if lone:
        found.append(Family([], lone, [list(spelled[at]) for at in lone]))
    return found


def common(rows: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all rows begin with, leaving one to each."""
    first, last = min(map(tuple, rows)), max(map(tuple, rows))  # in lexicographic order the extremes differ earliest
    size = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return min(size, min(map(len, rows)) - 1)


class PrefixReader:
    """Computes hidden states at the ends of prompts with a causal model of transformers.

    Args:
        model: The model; its attention is replaced by one that also reads packs (see `cascade`).
        kept: What was read before, and where what is read is kept: prefixes, and prompts that share nothing.
        token_budget: Tokens of one forward pass at most, apart from a single longer prompt.
    """

    def __init__(self, model: Any, kept: KeptReadings, token_budget: int = 2048) -> None:
        self.model, self.kept = model, kept
        self.token_budget = token_budget
        self.spared = 0
        """Tokens that had been read before, since the reader was made."""
        model.set_attn_implementation(NAME)

    def states(self, family: Family) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield places of prompts and the hidden states at their ends [n, width], pack by pack."""
        fresh = list(range(len(family.rests)))
        if not family.prefix:
            begun = [at for at in fresh if self.kept.common(family.rests[at][:-1]) >= MINIMUM]
            for at in begun:
                yield [family.members[at]], self.read(family.rests[at])[1]
            fresh = [at for at in fresh if at not in begun]
        cache = self.read(family.prefix)[0] if family.prefix else None
        order = sorted(fresh, key=lambda at: len(family.rests[at]))
        for part in _within(order, [len(rest) for rest in family.rests], self.token_budget):
            yield [family.members[at] for at in part], self._pack([family.rests[at] for at in part], cache)

    def read(self, ids: list[int]) -> tuple[DynamicCache, torch.Tensor]:
        """Return the cache of some tokens, and the hidden state at their end [1, width]."""
        cache = self.kept.begin(ids[:-1])
        size = cache.get_seq_length()
        states = self._body(ids[size:], cache, use_cache=True)
        self.spared += size
        self.kept.keep(ids, cache, slice(None))
        return cache, states[0, -1:]

    def _pack(self, rests: list[list[int]], prefix: DynamicCache | None) -> torch.Tensor:
        """Return the hidden states at the ends of prompts [n, width] that go on from a prefix, if there is one."""
        size = 0 if prefix is None else prefix.get_seq_length()
        pack, ids = Pack([len(rest) for rest in rests], size), [token for rest in rests for token in rest]
        cache = DynamicCache() if prefix is None and self.kept.limit else prefix
        states = self._body(ids, cache, position_ids=pack.positions(), pack=pack, use_cache=cache is not None)
        if prefix is not None:
            prefix.crop(-len(ids))
        elif cache is not None:
            for rest, end in zip(rests, (pack.ends + 1).tolist(), strict=True):
                self.kept.keep(rest, cache, slice(end - len(rest), end))
        return states[0, pack.ends.to(states.device)]

    def label_logits(self, states: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
        """Return the scores of some tokens [n, L], from these rows of the vocabulary head alone."""
        head = self.model.get_output_embeddings()
        rows = torch.tensor(list(ids), device=head.weight.device)
        scores = states.to(head.weight.dtype) @ head.weight[rows].T
        if getattr(head, "bias", None) is not None:
            scores = scores + head.bias[rows]
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return torch.tanh(scores / cap) * cap if cap else scores

    def _body(self, ids: list[int], cache: Any, **settings: Any) -> torch.Tensor:
        device = self.model.device
        if "pack" in settings:  # a 4-D mask is taken as it is: none is built, the pack says who sees whom
            settings["attention_mask"] = torch.zeros(1, 1, 1, 1, device=device)
            settings["position_ids"] = settings["position_ids"].to(device)
        found = self.model.base_model(torch.tensor([ids], device=device), past_key_values=cache, **settings)
        states: torch.Tensor = found.last_hidden_state
        return states


def _within(order: Iterable[int], sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield consecutive parts of `order` whose padded size stays within the budget."""
    part: list[int] = []
    for at in order:
        if part and (len(part) + 1) * sizes[at] > budget:
            yield part
            part = []
        part.append(at)
    if part:
        yield part
