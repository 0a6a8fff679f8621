"""Attention over one shared prefix and many packed suffixes, exact, in a few large matrix products.

Suffixes stand one after the other in a single row, so that the linear layers see no padding. A suffix token attends
to the prefix, whose keys are read once for all of them, and causally to its own suffix. (The idea is FlashInfer's
cascade attention, https://flashinfer.ai/2024/02/02/cascade-inference.html, in plain torch.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "malles_cascade"


class Pack:
    """Suffixes in one row.

    Attributes:
        prefix: Tokens of the prefix, 0 or more.
        columns: Column of each suffix's tokens in the row, padding at column 0 [n, L].
        rows: Inverse: place of each column in the flattened padded layout [T].
        hidden: True where a suffix token may not see a token of its suffix [L, L].
        ends: Column of each suffix's last token [n].
    """

    def __init__(self, lengths: Sequence[int], prefix: int) -> None:
        """Lay out suffixes of these lengths behind a prefix of `prefix` tokens."""
        self.prefix = prefix
        sizes = torch.tensor(list(lengths))
        starts = sizes.cumsum(0) - sizes
        longest = int(sizes.max())
        steps = torch.arange(longest)
        real = steps < sizes[:, None]
        self.columns = torch.where(real, starts[:, None] + steps, 0)
        self.rows = real.flatten().nonzero().flatten()
        self.hidden = torch.ones(longest, longest, dtype=torch.bool).triu(1)
        self.ends = starts + sizes - 1

    def positions(self) -> torch.Tensor:
        """Return the position ids of the row [1, T]: each suffix continues the prefix."""
        within = torch.arange(self.columns.shape[1]).expand_as(self.columns).flatten()[self.rows]
        return (within + self.prefix)[None]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, softcap: float | None
    ) -> torch.Tensor:
        """Return the attention's output [1, T, H, d].

        Args:
            query: [1, H, T, d].
            key: Prefix and suffixes [1, K, P + T, d]; H is a multiple of K.
            value: The same shape.
            scaling: Factor of the scores.
            softcap: Scores are softly capped there.
        """
        heads, _, width = query.shape[1:]
        groups, size = key.shape[1], self.prefix
        (n, longest), queries = self.columns.shape, heads // groups
        flat = self.columns.flatten()
        asked = (query[0] * scaling)[:, flat].view(groups, queries, n, longest, width)
        own_key, own_value = (part[0, :, size:][:, flat].view(groups, n, longest, width) for part in (key, value))
        by_suffix = asked.transpose(1, 2).reshape(groups, n, queries * longest, width)
        own = (by_suffix @ own_key.mT).view(groups, n, queries, longest, longest)
        own = own.masked_fill_(self.hidden.to(own.device), -torch.inf)
        rows = groups, n * queries * longest
        shared = by_suffix.reshape(*rows, width) @ key[0, :, :size].mT
        scores = torch.cat([shared, own.view(*rows, longest)], dim=-1)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap  # tanh keeps -inf at -softcap: mask anew
            scores[..., size:].view_as(own).masked_fill_(self.hidden.to(own.device), -torch.inf)
        share = torch.softmax(scores, dim=-1)
        out = share[..., :size] @ value[0, :, :size]
        own_share = share[..., size:].reshape(groups, n, queries * longest, longest)
        out = out.view(groups, n, queries * longest, width) + own_share @ own_value
        padded = out.view(groups, n, queries, longest, width).permute(1, 3, 0, 2, 4).reshape(n * longest, heads, width)
        return padded[self.rows][None]


def cascade_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    pack: Pack | None = None,
    scaling: float | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as `pack` says; without one like transformers' ``sdpa``, which knows no soft cap, or with the cap."""
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling
    if pack is not None:
        return pack.attend(query, key, value, factor, softcap), None
    if softcap is not None:
        return _capped(query, key, value, attention_mask, factor, softcap), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)


def _capped(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor | None, factor: float, cap: float
) -> torch.Tensor:
    """Return plain attention with softly capped scores [N, T, H, d]; `seen` is True where a query may see a key."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, value))
    scores = torch.tanh(query @ key.mT * (factor / cap)) * cap
    if seen is None:
        size, keys = scores.shape[-2:]
        seen = torch.ones(size, keys, dtype=torch.bool, device=scores.device).tril(keys - size)
    scores = scores.masked_fill(~seen, -torch.inf)
    return (torch.softmax(scores, dim=-1) @ value).transpose(1, 2)


AttentionInterface.register(NAME, cascade_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
