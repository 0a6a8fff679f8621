"""Fit the word model: the map on purchases, its weights on categories that the map has not seen, in later weeks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.evaluation.baselines.fitting import minimize
from malles_env.evaluation.transfer.word_model.copurchase import taste_vectors, who_bought
from malles_env.evaluation.transfer.word_model.word_features import WordOccasions, between, in_steps
from malles_env.evaluation.transfer.word_model.word_map import WordMap, bought_vectors, name_vectors
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.encoder.backbones import Backbone
from malles_env.type_aliases import BoolArray, Float32Array, FloatArray, IntArray, OnMessage

RIDGE = 3e-4
"""Shrinkage of the logit's weights, in nats per squared spread of a column."""
Vectors = tuple[Float32Array, Float32Array, float]
"""Of products as options and as purchases, and what their inner products are divided by."""


@dataclass(frozen=True)
class WordSettings:
    """Settings of the map.

    Attributes:
        width: Length of a taste vector; 0 fits no map (the frozen model).
        penalties: Shrinkages of the map that are tried; the one that predicts left-out categories best is taken.
        folds: Parts of the trained categories that are left out in turn.
        later: Weeks at the end of training and validation that judge the left-out categories.
        seed: Seed of the folds.
    """

    width: int = 64
    penalties: tuple[float, ...] = (0.05, 0.1, 0.3)
    folds: int = 5
    later: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse counts below their minimum and penalties that are not positive."""
        if self.width < 0:
            raise invalid("width", self.width, "0 or more")
        if self.folds < 2:
            raise invalid("folds", self.folds, "2 or more")
        if not self.penalties or min(self.penalties) <= 0:
            raise invalid("penalties", self.penalties, "numbers above 0")


@dataclass(frozen=True)
class LogWords:
    """A log's names as an encoder reads them.

    Attributes:
        states: Centred states of all layers [P, F].
        frozen: Centred readings of length 1 by the encoder as it was [P, width].
        trend: What sells by its words [P, weeks, 6].
        market: Category of each product [P].
        adapted: Centred readings of length 1 by the encoder with an adapter, if there is one [P, width].
    """

    states: Float32Array
    frozen: Float32Array
    trend: Float32Array
    market: IntArray
    adapted: Float32Array | None = None

    def features(self, data: TasteData, vectors: Vectors | None) -> Float32Array:
        """Return the columns of every option [B, J, F].

        Args:
            data: The occasions.
            vectors: Of products as options and as purchases, and what their products are divided by; None: no map.
        """
        plain = between(self.frozen, self.frozen)
        learned = None if vectors is None else between(vectors[0] / vectors[2], vectors[1])
        found = in_steps(data, lambda part: WordOccasions.of(part, self.trend).features(plain, learned))
        return found if self.adapted is None else np.concatenate([found, self.adapted_columns(data)], axis=2)

    def adapted_columns(self, data: TasteData) -> Float32Array:
        """Return the columns of the adapter's likeness alone [B, J, K].

        Args:
            data: The occasions.

        Raises:
            InvalidInput: No adapter read these names.
        """
        if self.adapted is None:
            raise invalid("adapted", None, "readings by an encoder with an adapter")
        cosines = between(self.adapted, self.adapted)
        return in_steps(data, lambda part: WordOccasions.of(part, self.trend).pooled(cosines))


@dataclass
class FittedWords:
    """A fitted word model in arrays.

    Attributes:
        unseen: Weights of the columns in categories never trained on [F].
        seen: In those trained on [F].
        word_map: The map; None for the frozen model.
        rows: Products trained on [N].
        vectors: Their taste vectors [N, D].
        penalty: Shrinkage of the map.
        adapter: The encoder with its adapter; None without one.
        for_card: Nats on left-out categories by penalty, and other numbers for the card.
    """

    unseen: Float32Array
    seen: Float32Array
    word_map: WordMap | None = None
    rows: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    vectors: Float32Array = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    penalty: float = 0.0
    adapter: Backbone | None = None
    for_card: dict[str, Any] = field(default_factory=dict)


def fit_words(
    train: TasteData,
    words: LogWords,
    barred: frozenset[str],
    settings: WordSettings,
    notify: OnMessage = lambda _: None,
) -> FittedWords:
    """Fit map and weights.

    The weights for categories never trained on are those that predict later weeks of each trained category best by maps
    that were fitted on the other categories' earlier weeks; so they know how far such a map can be trusted.
    Of a single category none can be left out: then its own later weeks judge.

    Args:
        train: Training and validation occasions, cold.
        words: The log's names.
        barred: Categories that nothing may be learned of, by name.
        settings: Settings.
        notify: Called with what is being done, in words.
    """
    allowed = learnable(train, words, barred)
    cut = int(train.period.max()) - settings.later
    late = train.take(np.flatnonzero(train.period > cut))
    if settings.width == 0:
        features = words.features(late, None)
        alike, nats = fit_logit(features, late)
        return FittedWords(alike, alike, for_card={"nats in later weeks": round(nats, 4)})
    early = who_bought(train, cut)
    scores: dict[float, float] = {}
    weights: dict[float, Float32Array] = {}
    outs = left_out(late, settings)
    rows = [np.flatnonzero(np.isin(late.prefix, out)) for out in outs]
    if len(np.unique(late.prefix)) == 1:
        outs = [np.zeros(0, dtype=np.int64)]
    parts = [(out, late.take(part)) for out, part in zip(outs, rows, strict=True)]
    order = np.concatenate(rows)
    for penalty in settings.penalties:
        notify(f"left-out categories, penalty {penalty}")
        maps = (map_vectors(words, early, allowed & ~np.isin(words.market, out), penalty, settings) for out, _ in parts)
        columns = [words.features(part, found[:3]) for (_, part), found in zip(parts, maps, strict=True)]
        weights[penalty], scores[penalty] = fit_logit(np.concatenate(columns), late.take(order))
    best = min(scores, key=lambda penalty: scores[penalty])
    notify("categories trained on")
    seen, nats = fit_logit(words.features(late, map_vectors(words, early, allowed, best, settings)[:3]), late)
    *_, word_map, own, vectors = map_vectors(words, who_bought(train, int(train.period.max())), allowed, best, settings)
    by_penalty = {str(penalty): round(value, 4) for penalty, value in scores.items()}
    report = {"nats on left-out categories by penalty": by_penalty, "nats in later weeks": round(nats, 4)}
    return FittedWords(weights[best], seen, word_map, own, vectors, best, for_card=report)


def map_vectors(
    words: LogWords, bought: BoolArray, allowed: BoolArray, penalty: float, settings: WordSettings
) -> tuple[Float32Array, Float32Array, float, WordMap, IntArray, Float32Array]:
    """Fit a map; return vectors of all products as options and as purchases, their scale, and what made them.

    Args:
        words: The log's names.
        bought: Who bought what, see `malles_env.evaluation.transfer.word_model.copurchase.who_bought`.
        allowed: Products that may be learned of [P].
        penalty: Shrinkage of the map.
        settings: Settings.

    Raises:
        InvalidInput: No product that five customers bought.
    """
    rows, vectors = taste_vectors(bought, words.market, allowed, settings.width)
    if not len(rows):
        raise InvalidInput("train: got no product that five customers bought; allowed: a longer log")
    word_map = WordMap.fit(words.states, rows, vectors, penalty)
    option = name_vectors(word_map, words.states, words.market)
    return option, bought_vectors(option, rows, vectors), word_map.scale, word_map, rows, vectors


def left_out(data: TasteData, settings: WordSettings) -> list[IntArray]:
    """Return the parts of the categories that are left out in turn, as prefixes."""
    there = np.random.default_rng(settings.seed).permutation(np.unique(data.prefix))
    return [out for fold in range(settings.folds) if len(out := there[fold :: settings.folds])]


def left_out_utilities(
    train: TasteData, words: LogWords, barred: frozenset[str], fitted: FittedWords, settings: WordSettings,
    folds: Sequence[tuple[IntArray, LogWords]] = (),
) -> Callable[[TasteData], FloatArray]:  # fmt: skip
    """Return what gives the utilities of occasions, each by what was learned of other categories.

    Args:
        train: Training and validation occasions.
        words: The log's names.
        barred: Categories that nothing may be learned of, by name.
        fitted: Gives penalty and weights.
        settings: Settings.
        folds: Categories, and the names as read by adapters that were not trained on them; none without an adapter.
    """
    parts: list[tuple[IntArray, LogWords, Vectors | None]] = [(np.unique(train.prefix), words, None)]
    if fitted.word_map is not None:
        bought, allowed = who_bought(train, int(train.period.max())), learnable(train, words, barred)
        parts = []
        for out, own in folds or [(out, words) for out in left_out(train, settings)]:
            others = allowed & ~np.isin(words.market, out)
            parts.append((out, own, map_vectors(words, bought, others, fitted.penalty, settings)[:3]))

    def utilities(data: TasteData) -> FloatArray:
        found = np.zeros(data.mask.shape)
        for out, own, vectors in parts:
            rows = np.flatnonzero(np.isin(data.prefix, out))
            if len(rows):
                found[rows] = own.features(data.take(rows), vectors) @ fitted.unseen
        return found

    return utilities


def learnable(data: TasteData, words: LogWords, barred: frozenset[str]) -> BoolArray:
    """Return which products something may be learned of [P].

    Args:
        data: Occasions of the log.
        words: The log's names.
        barred: Categories that nothing may be learned of, by name.
    """
    prefixes = data.products.prefixes
    out = [at for at, text in enumerate(prefixes) if text.removeprefix("market: ").removesuffix(".") in barred]
    return np.asarray(~np.isin(words.market, out))


def fit_logit(features: Float32Array, data: TasteData) -> tuple[Float32Array, float]:
    """Return the weights of highest likelihood given a purchase, and the nats.

    Args:
        features: Of every option [B, J, F].
        data: The occasions, all with a purchase.
    """
    spread = features[data.mask].std(0) + 1e-9
    scaled = (features / spread).astype(np.float32)
    padding = np.where(data.mask, 0.0, -1e9).astype(np.float32)
    at = (np.arange(len(data)), data.chosen - 1)
    bought = scaled[at].mean(0, dtype=np.float64)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        utility = scaled @ weights.astype(np.float32) + padding
        utility -= utility.max(1, keepdims=True)
        mass = np.exp(utility)
        total = mass.sum(1, keepdims=True)
        value = float((np.log(total[:, 0]) - utility[at]).mean())
        slope = np.einsum("bj,bjf->f", mass / total, scaled, dtype=np.float64) / len(data) - bought
        return value + RIDGE * float(weights @ weights), slope + 2 * RIDGE * weights

    weights = minimize(loss, np.zeros(features.shape[2]))
    return (weights / spread).astype(np.float32), loss(weights)[0] - RIDGE * float(weights @ weights)
