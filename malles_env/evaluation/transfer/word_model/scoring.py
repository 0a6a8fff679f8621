"""A word model's answers on the occasions of a log: cold starts by words alone, known categories with all facts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from malles_env.evaluation.baselines.base import in_chunks
from malles_env.evaluation.baselines.set_network import SetNetwork
from malles_env.evaluation.transfer.word_model.copurchase import category_means
from malles_env.evaluation.transfer.word_model.model import TransferModel, last_layer
from malles_env.evaluation.transfer.word_model.trends import sales_before, word_trends
from malles_env.evaluation.transfer.word_model.word_fit import FittedWords, LogWords
from malles_env.evaluation.transfer.word_model.word_map import bought_vectors, centred_states, name_vectors
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import Names, renamed
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.data.text import market_text
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.heads.kinship import meanings
from malles_env.preference.prediction import Prediction, log_softmax
from malles_env.type_aliases import Float32Array, FloatArray, IntArray, OnProgress


def log_readings(
    backbone: Backbone, products: ProductTable, names: Names = "true", progress: OnProgress | None = None
) -> Float32Array:
    """Return the encoder's readings of a log's names, kept in the user's cache [P, F].

    Args:
        backbone: The encoder.
        products: The products with their true names.
        names: What they are called; names that only went to others are not read again.
        progress: Called with how far the readings are.
    """
    if names == "anonymous":
        return np.asarray(make_readings(backbone, renamed(products, names), progress=progress).product.numpy())
    true = make_readings(backbone, products, progress=progress).product.numpy()
    return np.asarray(true[same_text(products, renamed(products, names))])


def same_text(products: ProductTable, other: ProductTable) -> IntArray:
    """Return the row of `products` that has each text of `other` in the same market [P]."""
    place = {key: at for at, key in enumerate(zip(products.prefix.tolist(), products.texts, strict=True))}
    return np.array([place[key] for key in zip(other.prefix.tolist(), other.texts, strict=True)])


def log_words(readings: Float32Array, parts: int, products: ProductTable, sales: Float32Array) -> LogWords:
    """Return what of a log's names does not depend on training.

    Args:
        readings: Of all names [P, F].
        parts: Layers of a reading.
        products: The products.
        sales: Everybody's purchases by product and week [P, weeks].
    """
    states = centred_states(readings, category_means(readings, products.prefix)[products.prefix], parts)
    frozen = last_layer(states, parts)
    recent, total = sales_before(sales)
    return LogWords(states, frozen, word_trends(frozen, products.prefix, recent, total), products.prefix)


@dataclass
class WordScorer:
    """A word model before the products of a log.

    Attributes:
        fitted: What training learned.
        words: The log's names.
        seen: Prefixes of the categories trained on.
        known: For known categories; None takes all as cold starts.
        known_words: What words say to `known`; None: what this scorer says.
    """

    fitted: FittedWords
    words: LogWords
    seen: IntArray
    known: SetNetwork | None = None
    known_words: WordScorer | None = None

    def __post_init__(self) -> None:
        """Read every name's taste vector once."""
        self._vectors: tuple[Float32Array, Float32Array, float] | None = None
        word_map = self.fitted.word_map
        if word_map is not None:
            option = name_vectors(word_map, self.words.states, self.words.market)
            self._vectors = option, bought_vectors(option, self.fitted.rows, self.fitted.vectors), word_map.scale

    def predict(self, data: TasteData) -> Prediction:
        """Return choices among the options, all cold or all known."""
        if self.known is not None and data.known.all():
            return replace(self.known, more=self.columns).predict(data)
        return in_chunks(data, self._cold)

    def _cold(self, data: TasteData) -> Prediction:
        inside = log_softmax(self.utilities(data))
        return Prediction(np.concatenate([data.log_sampling[:, None].astype(np.float64), inside], axis=1))

    def utilities(self, data: TasteData) -> FloatArray:
        """Return utilities of the options, -inf in the padding [B, J]."""
        features = self.words.features(data, self._vectors)
        known = np.isin(data.prefix, self.seen)[:, None]
        found = np.where(known, features @ self.fitted.seen, features @ self.fitted.unseen)
        return np.where(data.mask, found.astype(np.float64), -np.inf)

    def columns(self, data: TasteData) -> FloatArray:
        """Return what words say of each option, for a network of all facts [N, 1]."""
        return as_column((self.known_words or self).utilities(data), data)


def as_column(utilities: FloatArray, data: TasteData) -> FloatArray:
    """Return utilities less their shelf's mean, in the order of a table [N, 1].

    Args:
        utilities: Of the options [B, J].
        data: The occasions.
    """
    found = np.where(data.mask, utilities, 0.0)
    mean = found.sum(1, keepdims=True) / data.mask.sum(1, keepdims=True)
    column: FloatArray = (found - mean)[data.mask][:, None]
    return column


def scorer_of(model: TransferModel, products: ProductTable, sales: Float32Array, names: Names = "true") -> WordScorer:
    """Return a saved model before the products of a log.

    Args:
        model: The model.
        products: The products with their true names.
        sales: Everybody's purchases by product and week [P, weeks].
        names: What they are called.
    """
    words = log_words(log_readings(model.backbone, products, names), model.backbone.parts, products, sales)
    place = {code: at for at, code in enumerate(products.names)}
    rows = np.array([place[code] for code, *_ in model.catalogue.products], dtype=np.int64)
    kinds = {text: at for at, text in enumerate(products.prefixes)}
    seen = np.array([kinds[market_text(kind, kind)] for kind in sorted(model.catalogue.trained)], dtype=np.int64)
    fitted, known_words = replace(model.fitted, rows=rows), None
    if fitted.adapter is not None:
        if model.known_fitted is not None and model.known_fitted.adapter is None:
            known_words = WordScorer(replace(model.known_fitted, rows=rows), words, seen)
        readings = torch.as_tensor(log_readings(fitted.adapter, products, names))
        words = replace(words, adapted=meanings(readings, torch.as_tensor(words.market)).numpy())
    return WordScorer(fitted, words, seen, model.known, known_words)
