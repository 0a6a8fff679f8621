"""What a logit weighs of every option: prices, what sells by its words, likeness to what was bought before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.transfer.word_logit import customer_level
from malles_env.evaluation.transfer.word_model import trends
from malles_env.preference.data.dataset import TasteData
from malles_env.type_aliases import BoolArray, Float32Array, IntArray

Likeness = Callable[[IntArray, IntArray], Float32Array]
"""Gives the similarity of options [B, J] with purchases [B, E] as [B, J, E]."""
NUMBERS = ("price level", "price level squared", "price level x customer's")
FORGETTING = 0.03
"""Rate at which a purchase counts less, per week."""
PLAIN, LEARNED = (0.05, 0.1, 0.2), (0.1, 0.3)
"""Distances of the soft maxima over what was bought, of the frozen and of the learned similarities."""
POOLED = 2 + len(LEARNED)
"""Columns of a learned similarity: mean, largest, and soft maxima."""
_STEP = 512
_TABLE = 6000
"""Products whose similarities are all worked out at once, which is three times as fast, at most."""


def columns(learned: bool, adapted: bool = False) -> tuple[str, ...]:
    """Return the names of the columns, with those of a map and of an adapter or without."""
    kinds = [("frozen", PLAIN), *[("learned", LEARNED)] * learned, *[("adapted", LEARNED)] * adapted]
    like = [f"{kind} {what}" for kind, soft in kinds for what in ("mean", "largest", *(f"soft {at}" for at in soft))]
    return (*NUMBERS, *trends.COLUMNS, *like)


@dataclass(frozen=True)
class WordOccasions:
    """B occasions with J options and E earlier purchases in other categories.

    Attributes:
        product: Rows of the options [B, J].
        mask: True where an option exists [B, J].
        other: Rows of what was bought, -1 in the padding [B, E].
        ago: Weeks since [B, E].
        level: Log price less the shelf's mean [B, J].
        usual: How dear the customer buys [B].
        trend: What sells by its words [B, J, 6].
    """

    product: IntArray
    mask: BoolArray
    other: IntArray
    ago: Float32Array
    level: Float32Array
    usual: Float32Array
    trend: Float32Array

    @classmethod
    def of(cls, data: TasteData, trend: Float32Array) -> WordOccasions:
        """Return occasions of a log.

        Args:
            data: The occasions.
            trend: Trends by product and week [P, weeks, 6].
        """
        other, ago = data.other, data.other_ago
        if other is None or ago is None:
            other, ago = np.full((len(data), 1), -1), np.zeros((len(data), 1), dtype=np.int64)
        price = data.products.log_regular[data.product]
        mean = (price * data.mask).sum(1, keepdims=True) / data.mask.sum(1, keepdims=True)
        return cls(
            data.product,
            data.mask,
            other,
            ago.astype(np.float32),
            np.where(data.mask, price - mean, 0.0).astype(np.float32),
            customer_level(data).astype(np.float32),
            trend[data.product, data.period[:, None]],
        )

    def weight(self) -> Float32Array:
        """Return how much each purchase counts, 1 in sum; 0 where nothing was bought [B, E]."""
        mass = np.exp(-FORGETTING * self.ago) * (self.other >= 0)
        weight: Float32Array = (mass / np.maximum(mass.sum(1, keepdims=True), 1e-9)).astype(np.float32)
        return weight

    def features(
        self, frozen: Likeness, learned: Likeness | None = None, adapted: Likeness | None = None
    ) -> Float32Array:
        """Return `columns` of every option, 0 in the padding [B, J, F].

        Args:
            frozen: Cosines by the encoder as it was.
            learned: Similarity by a map of its states.
            adapted: Cosines by the encoder with an adapter.
        """
        level = self.level
        parts = [np.stack([level, level**2, level * self.usual[:, None]], axis=2), self.trend]
        found: Float32Array = (np.concatenate(parts, axis=2) * self.mask[:, :, None]).astype(np.float32)
        pooled = [self.pooled(like) for like in (learned, adapted) if like is not None]
        return np.concatenate([found, self.pooled(frozen, PLAIN), *pooled], axis=2)

    def pooled(self, like: Likeness, distances: tuple[float, ...] = LEARNED) -> Float32Array:
        """Return mean, largest and soft maxima of a similarity over what was bought, 0 in the padding [B, J, K].

        Args:
            like: The similarity.
            distances: Of the soft maxima.
        """
        found = _pooled(like(self.product, np.maximum(self.other, 0)), self.weight(), distances)
        return np.asarray(found * self.mask[:, :, None], dtype=np.float32)


def _pooled(similarity: Float32Array, weight: Float32Array, distances: tuple[float, ...]) -> Float32Array:
    """Return mean, largest and soft maxima over what was bought [B, J, K]; all 0 where nothing was."""
    wide = weight[:, None, :]
    some = weight.sum(1) > 0
    found = [np.einsum("bje,be->bj", similarity, weight), np.where(wide > 0, similarity, -9.0).max(2)]
    for distance in distances:
        kin = np.einsum("bje,be->bj", np.exp(similarity / distance), weight)
        found.append(distance * np.log(kin + 1e-12))
    return np.stack(found, axis=2) * some[:, None, None]


def in_steps(data: TasteData, make: Callable[[TasteData], Float32Array]) -> Float32Array:
    """Return what `make` gives for a few occasions at a time, put together."""
    cuts = np.split(np.arange(len(data)), range(_STEP, len(data), _STEP))
    return np.concatenate([make(data.take(rows)) for rows in cuts])


def between(option: Float32Array, bought: Float32Array) -> Likeness:
    """Return inner products of vectors as a similarity.

    Args:
        option: Vectors of products as options [P, D].
        bought: As purchases [P, D].
    """
    if len(option) <= _TABLE:
        table = option @ bought.T
        return lambda product, other: np.asarray(table[product[:, :, None], other[:, None, :]])
    return lambda product, other: np.asarray(option[product] @ bought[other].transpose(0, 2, 1))
