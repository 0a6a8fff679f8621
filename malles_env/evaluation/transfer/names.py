"""Names of products read by a frozen encoder, and how like a history of purchases each of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from malles_env.preference.data.shelves import product_table
from malles_env.preference.data.text import ProductText
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.heads.kinship import FEATURES, likeness
from malles_env.type_aliases import FloatArray


def read_names(names: Sequence[str], model: str = "minilm") -> FloatArray:
    """Return an encoder's readings of names; kept on disk for the next time.

    Args:
        names: The names [n]; case does not matter.
        model: The encoder, see `malles_env.preference.encoder.backbones.load_backbone`.

    Returns:
        Readings [n, width].

    Raises:
        MissingResource: The encoder is not installed; the message names its package.
    """
    products = [ProductText("", words=" ".join(name.split())) for name in names]
    table = product_table(("gifts",), np.zeros(len(names), dtype=np.int64), products, np.ones(len(names)))
    return make_readings(load_backbone(model), table).product.numpy().astype(np.float64)


def centred(readings: FloatArray, middle: FloatArray) -> FloatArray:
    """Return readings less `middle`, of length 1 [n, width]."""
    away = readings - middle
    return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12)


def kinship(meaning: FloatArray, histories: Sequence[FloatArray]) -> FloatArray:
    """Return how like each history the products read [S, J, F], F being `malles_env.preference.heads.kinship.FEATURES`.

    Args:
        meaning: Centred readings of the products [J, width].
        histories: Centred readings of what was bought, one array [n, width] per history.
    """
    options = torch.as_tensor(meaning)
    found = np.zeros((len(histories), len(meaning), len(FEATURES)))
    for row, history in enumerate(histories):
        if not len(history):
            continue
        table = torch.cat([options, torch.as_tensor(history)])
        option = torch.arange(len(meaning))[None]
        bought = torch.arange(len(meaning), len(table))[None]
        found[row] = likeness(table, option, bought)[0].numpy()
    return found


@dataclass(frozen=True)
class Likeness:
    """Compares products with segments' histories, known from nothing but names.

    Attributes:
        known: Readings of the products there are, which others are centred on [J, width].
        histories: Readings of the names in each segment's history [n, width].
    """

    known: FloatArray
    histories: tuple[FloatArray, ...]

    @classmethod
    def of_names(cls, known: Sequence[str], histories: Sequence[Sequence[str]], model: str = "minilm") -> Likeness:
        """Return it for names; arguments and errors as in `read_names`."""
        names = list(dict.fromkeys(name for history in histories for name in history))
        readings = read_names([*known, *names], model)
        row = {name: len(known) + at for at, name in enumerate(names)}
        parts = tuple(readings[[row[name] for name in history]] for history in histories)
        return cls(readings[: len(known)], parts)

    def meaning(self, readings: FloatArray) -> FloatArray:
        """Return readings of products centred on the known ones [n, width]."""
        return centred(readings, self.known.mean(axis=0))

    def features(self, readings: FloatArray) -> FloatArray:
        """Return how like each history products read, less the mean over segments [S, n, F].

        Histories are centred on the mean of all names in them.
        """
        whole = np.unique(np.concatenate(self.histories), axis=0).mean(axis=0)
        found = kinship(self.meaning(readings), [centred(part, whole) for part in self.histories])
        return np.asarray(found - found.mean(axis=0))
