"""Conditional logit on numbers and on how like earlier purchases a name reads to a frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from malles_env.errors import InvalidInput
from malles_env.evaluation.baselines.base import in_chunks
from malles_env.evaluation.baselines.logit import fit_choice
from malles_env.evaluation.baselines.table import AT, Table, purchases, table
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.heads.kinship import FEATURES, Kin, kin_features, meanings
from malles_env.preference.prediction import Prediction, log_softmax
from malles_env.type_aliases import FloatArray, IntArray

SAMPLE = 20_000
"""Purchases the coefficients are fitted on, at most."""
_LEVEL = AT["price level on shelf"]


@dataclass(frozen=True)
class WordLogit:
    """A conditional logit: one coefficient per column.

    Attributes:
        weights: Coefficients.
        meaning: Centred readings of the products by a frozen encoder [P, width]; None leaves words out.
        facts: Whether all facts of the options count, or their price levels only.
    """

    weights: FloatArray
    meaning: torch.Tensor | None = None
    facts: bool = True

    @classmethod
    def fit(
        cls, train: TasteData, readings: torch.Tensor | None = None, *, facts: bool = True, seed: int = 0
    ) -> WordLogit:
        """Fit by maximum likelihood.

        Args:
            train: Occasions to learn from.
            readings: Of `train.products`, as `malles_env.preference.encoder.embeddings` makes them [P, width].
            facts: Whether all facts count.
            seed: Seed of the draw of occasions.

        Raises:
            InvalidInput: Readings, but no purchases of other categories to compare with.
        """
        if train.other is None:
            raise InvalidInput(
                "train: got occasions without purchases of other categories; allowed: those of a log that keeps them"
            )
        meaning = None if readings is None else meanings(readings, torch.as_tensor(train.products.prefix))
        empty = cls(np.zeros(0), meaning, facts)
        bought = purchases(train, SAMPLE, seed)
        parts = [empty.columns(bought.take(rows))[0].options for rows in _cuts(len(bought))]
        return replace(empty, weights=fit_choice(replace(table(bought), options=np.concatenate(parts))))

    def predict(self, data: TasteData) -> Prediction:
        """Return choices among the options; whether anything is bought is left open."""
        return in_chunks(data, self._part, size=512)

    def _part(self, data: TasteData) -> Prediction:
        rows, _ = self.columns(data)
        inside = log_softmax(rows.wide(rows.options @ self.weights))
        return Prediction(np.concatenate([data.log_sampling[:, None].astype(np.float64), inside], axis=1))

    def columns(self, data: TasteData) -> tuple[Table, tuple[str, ...]]:
        """Return the table of some occasions with this row's columns, and their names."""
        rows = table(data)
        level = rows.options[:, _LEVEL].astype(np.float64)
        usual = customer_level(data)[rows.row]
        names = ["price level", "price level squared", "price level x customer's"]
        parts = [np.stack([level, level**2, level * usual], axis=1)]
        if self.facts:
            names += [name for name in AT if AT[name] != _LEVEL]
            parts.append(np.delete(rows.options, _LEVEL, axis=1))
        if self.meaning is not None and data.other is not None:
            names += [f"{feature}, {where}" for where in ("other categories", "own category") for feature in FEATURES]
            kin = Kin(*(torch.as_tensor(values) for values in (data.products.prefix, data.other, data.past)))
            found = kin_features(self.meaning, torch.as_tensor(data.product), kin)
            parts.append(found.numpy()[data.mask])
        return replace(rows, options=np.concatenate(parts, axis=1)), tuple(names)


def customer_level(data: TasteData) -> FloatArray:
    """Return how dear a customer buys in other categories [B]: the mean log price less the category's, 0 if unknown."""
    level, market = data.products.log_regular.astype(np.float64), data.products.prefix
    counts = np.bincount(market)
    centred = level - (np.bincount(market, weights=level) / np.maximum(counts, 1))[market]
    other = np.zeros((len(data), 0), dtype=np.int64) if data.other is None else data.other
    there = other >= 0
    sums: FloatArray = np.where(there, centred[np.maximum(other, 0)], 0.0).sum(1)
    return sums / np.maximum(there.sum(1), 1)


def _cuts(size: int, step: int = 1024) -> list[IntArray]:
    return np.split(np.arange(size), range(step, size, step))
