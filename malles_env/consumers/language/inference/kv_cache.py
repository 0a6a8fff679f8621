"""Keys and values of what a model read before: a prompt that begins like an earlier one reads only the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values [heads, tokens, width] of each layer."""
MOST = 256
"""Readings kept at most: every prompt is compared with each."""


class KeptReadings:
    """Readings of prompts, those used last kept.

    A discussion asks the same role before the same shelf again and again; what is said comes after it.

    Args:
        limit: Bytes of keys and values at most; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: list[tuple[np.ndarray, Layers]] = []  # least recently used first

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

    def common(self, ids: Sequence[int]) -> int:
        """Return how many of these tokens, from the first, were read before."""
        return self._longest(np.asarray(ids))[0]

    def begin(self, ids: Sequence[int]) -> DynamicCache:
        """Return a cache of the tokens, from the first, that were read before; empty where none was."""
        return self.side_by_side([ids], [self.common(ids)])

    def side_by_side(self, rows: Sequence[Sequence[int]], sizes: Sequence[int]) -> DynamicCache:
        """Return one cache for several rows, each row's first `sizes` tokens at the right end of its part.

        Args:
            rows: Token ids of the rows.
            sizes: Tokens taken of each, at most what `common` says.
        """
        cache, width = DynamicCache(), max(sizes)
        if width == 0:
            return cache
        found = [self._longest(np.asarray(row))[1] if size else None for row, size in zip(rows, sizes, strict=True)]
        layers: Layers = next(entry for entry in found if entry is not None)
        for at, pair in enumerate(layers):
            both = [part.new_zeros(len(rows), part.shape[0], width, part.shape[2]) for part in pair]
            for row, (entry, size) in enumerate(zip(found, sizes, strict=True)):
                for whole, part in zip(both, entry[at] if entry is not None else (), strict=False):
                    whole[row, :, width - size :] = part[:, :size]
            cache.update(both[0], both[1], at)
        return cache

    def keep(self, ids: Sequence[int], cache: Any, columns: torch.Tensor | slice, row: int = 0) -> None:
        """Keep a copy of what was read.

        Args:
            ids: Tokens read, in order.
            cache: A cache of transformers that holds them.
            columns: Their places in it, a slice or a mask.
            row: Their row in it.
        """
        read = np.asarray(ids)
        size, _ = self._longest(read)
        if size == len(read) or sum(map(_bytes_per_token, cache.layers)) * len(read) > self.limit:
            return
        pairs = [(layer.keys[row], layer.values[row]) for layer in cache.layers]
        layers = [(keys[:, columns].clone(), values[:, columns].clone()) for keys, values in pairs]
        self._entries = [entry for entry in self._entries if _alike(entry[0], read) < len(entry[0])]
        self._entries.append((read, layers))
        while len(self._entries) > MOST or sum(_size(layers) for _, layers in self._entries) > self.limit:
            del self._entries[0]

    def _longest(self, ids: np.ndarray) -> tuple[int, Layers | None]:
        """Return the reading with the longest common beginning, which then counts as used last."""
        sizes = [_alike(kept, ids) for kept, _ in self._entries]
        if not sizes or max(sizes) == 0:
            return 0, None
        best = int(np.argmax(sizes))
        self._entries.append(self._entries.pop(best))
        return sizes[best], self._entries[-1][1]


def _alike(one: np.ndarray, other: np.ndarray) -> int:
    size = min(len(one), len(other))
    differs = one[:size] != other[:size]
    return int(differs.argmax()) if differs.any() else size


def _size(layers: Layers) -> int:
    return sum(part.nbytes for pair in layers for part in pair)


def _bytes_per_token(layer: Any) -> int:
    return sum(part.shape[1] * part.shape[3] * part.element_size() for part in (layer.keys, layer.values))
