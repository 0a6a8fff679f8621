"""Fit a word model with an adapter in its encoder: how long it trains, and what its likeness weighs.

Both are chosen on categories that were left out of its training, in later weeks, as for the map. The adapter's likeness
stands beside that of the encoder as it was, and of the map, if there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malles_env.evaluation.transfer.word_model.adapter_training import AdapterSettings, AdapterTraining, without
from malles_env.evaluation.transfer.word_model.copurchase import who_bought
from malles_env.evaluation.transfer.word_model.word_fit import (
    FittedWords,
    LogWords,
    Vectors,
    WordSettings,
    fit_logit,
    left_out,
    map_vectors,
)
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.encoder.adapters import trainable, with_adapter
from malles_env.preference.encoder.backbones import Backbone, load_backbone
from malles_env.preference.heads.kinship import meanings
from malles_env.type_aliases import BoolArray, Float32Array, IntArray, OnMessage

FOLDS = 3
"""Parts of the trained categories that are left out in turn; each costs a training."""


@dataclass(frozen=True)
class AdaptedFit:
    """What came of it.

    Attributes:
        fitted: Weights, the map and the adapter.
        encoder: With the adapter, as it is saved.
        words: The log's names as the adapter reads them.
        folds: Categories, and the names as read by an adapter that was trained on the others.
        report: Steps, and nats on left-out categories by kind of model and by step.
    """

    fitted: FittedWords
    encoder: Backbone
    words: LogWords
    folds: tuple[tuple[IntArray, LogWords], ...]
    report: dict[str, Any]


@dataclass
class AdapterFit:
    """Fits adapters on one log's names, true or shuffled.

    Attributes:
        learn: Training and validation occasions, cold.
        log: The log's names.
        texts: What the products are called [P].
        allowed: Products that the map may learn of [P].
        settings: Of the map and of what judges.
        adapter: Of a training.
        steps: Steps of a training, at most.
        backbone: Name of the encoder.
        folder: Where trainings are kept, each a file; one that was stopped is taken up.
        notify: Called with what is being done, in words.
    """

    learn: TasteData
    log: LogWords
    texts: tuple[str, ...]
    allowed: BoolArray
    settings: WordSettings
    adapter: AdapterSettings
    steps: int
    backbone: str
    folder: Path
    notify: OnMessage = lambda _: None

    def __post_init__(self) -> None:
        """Split what is learned from what judges."""
        self.seen = np.unique(self.learn.prefix)
        self.last = int(self.learn.period.max())
        self.cut = self.last - self.settings.later
        self.late = self.learn.take(np.flatnonzero(self.learn.period > self.cut))

    def fit(self, fitted: FittedWords) -> AdaptedFit:
        """Train adapters, and fit weights for them beside a fitted map, or alone.

        Args:
            fitted: With a map, or the model of the encoder as it was.
        """
        folds = left_out(self.late, replace(self.settings, folds=min(FOLDS, len(self.seen))))
        folds[0] = np.concatenate([folds[0], np.setdiff1d(self.seen, np.concatenate(folds))])
        trained = [self._train(f"fold{at}", out, self.cut, self.steps)[0] for at, out in enumerate(folds)]
        alone = fitted.word_map is None
        maps = [None if alone else self._vectors(out, self.cut, fitted.penalty) for out in folds]
        rows = [np.flatnonzero(np.isin(self.late.prefix, out)) for out in folds]
        judging = [self.late.take(at) for at in rows]
        plain = np.concatenate([self.log.features(own, at) for own, at in zip(judging, maps, strict=True)])
        order = self.late.take(np.concatenate(rows))

        def judge(step: int) -> tuple[Float32Array, float]:
            """Return the weights that predict left-out categories in later weeks best, and the nats."""
            words = [self._named(own[step]) for own in trained]
            more = [own.adapted_columns(part) for own, part in zip(words, judging, strict=True)]
            return fit_logit(np.concatenate([plain, np.concatenate(more)], axis=2), order)

        judged = {step: judge(step) for step in trained[0]}
        best = min((step for step in judged if step), key=lambda step: judged[step][1])
        parts = tuple((out, self._named(own[best])) for out, own in zip(folds, trained, strict=True))
        nothing = np.zeros(0, dtype=np.int64)
        early, _ = self._train(f"early-{best}", nothing, self.cut, best)
        before = None if alone else self._vectors(nothing, self.cut, fitted.penalty)
        seen, _ = fit_logit(self._named(early[best]).features(self.late, before), self.late)
        final, encoder = self._train(f"final-{best}", nothing, self.last, best)
        with torch.no_grad():  # an adapter is saved in bfloat16
            for weights in trainable(encoder.model).values():
                weights.copy_(weights.bfloat16())
        report = {
            "steps of the adapter": best,
            "nats on left-out categories": {
                "without adapter": round(fit_logit(plain, order)[1], 4),
                "by steps": {str(step): round(value, 4) for step, (_, value) in judged.items()},
            },
        }
        found = replace(fitted, unseen=judged[best][0], seen=seen, adapter=encoder)
        return AdaptedFit(found, encoder, self._named(final[best]), parts, report)

    def _train(self, part: str, out: IntArray, until: int, steps: int) -> tuple[dict[int, Float32Array], Backbone]:
        """Train an adapter; return centred readings of length 1 by step, and the encoder.

        Args:
            part: Name of its file.
            out: Categories that nothing is learned of, besides those that are not trained on at all.
            until: Last week of what is learned from.
            steps: Steps.
        """
        inside = np.setdiff1d(self.seen, out)
        rows = np.flatnonzero((self.learn.period <= until) & np.isin(self.learn.prefix, inside))
        train = without(self.learn.take(rows), ~np.isin(self.log.market, inside))
        own = self.adapter
        plain = load_backbone(self.backbone, pooling="alone")
        fresh = with_adapter(plain, rank=own.rank, layers=own.layers, seed=own.seed)
        training = AdapterTraining(fresh, self.texts, train, self.log, own, self.folder / f"{part}.pt")
        kept = training.run(steps, lambda words: self.notify(f"adapter, {part}, {words}"))
        market = torch.as_tensor(self.log.market)
        return {step: meanings(readings.float(), market).numpy() for step, readings in kept.items()}, fresh

    def _vectors(self, out: IntArray, until: int, penalty: float) -> Vectors:
        """Return what a map says that is fitted up to a week on categories that are not left out."""
        allowed = self.allowed & ~np.isin(self.log.market, out)
        return map_vectors(self.log, who_bought(self.learn, until), allowed, penalty, self.settings)[:3]

    def _named(self, adapted: Float32Array) -> LogWords:
        return replace(self.log, adapted=adapted)
