"""The comparison: every row on every split's test occasions, with paired differences and elasticities."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.evaluation.baselines.base import Row, TooSmallLog
from malles_env.evaluation.baselines.table import purchases
from malles_env.evaluation.comparison.answers import KeptAnswers, Scores, answers_path, kept_answers, save_answers
from malles_env.evaluation.comparison.breakdown import by_history, by_shelf, market_average
from malles_env.evaluation.comparison.language_rows import LanguageRows
from malles_env.evaluation.comparison.registry import NUMBER_ROWS, SLOW_ROWS, Factory, Predictor, seeded
from malles_env.evaluation.comparison.stability import order_variation, repeat_variance
from malles_env.evaluation.comparison.store import CODE as FITTED_BY
from malles_env.evaluation.comparison.store import kept_row, row_path, save_row
from malles_env.evaluation.comparison.study import Judged, Study
from malles_env.evaluation.metrics import QUANTITY_METRICS, Estimate, Values, elasticities, fidelity, paired_values
from malles_env.jobs import Executor
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from malles_env.preference.store.locate import weights_check
from malles_env.type_aliases import IntArray, OnMessage

REFERENCE = "aligned"
"""The row the others are compared with, pair by pair."""
REORDERED = 200
"""Purchases whose shelves are listed again in two other orders, for `order_variation`."""
SLOW = 60
"""Visits, a fresh draw from the split's, put to a row that reads a whole prompt for each; as many per row."""
SLOW_REORDERED = 10


@dataclass
class Comparison:
    """All scores.

    Attributes:
        scores: Split -> row.
        paired: Split -> row -> the reference minus that row.
        counts: Split -> purchases and visits judged.
        judged: Split -> row -> occasions it was asked about; paired differences are on these alone.
        left_out: Split -> row -> why it could not be fitted.
    """

    scores: dict[str, dict[str, Scores]] = field(default_factory=dict)
    paired: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    judged: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Elsewhere:
    """Where rows are asked if not here.

    Attributes:
        executor: Who does it.
        language: The language models, to be made there.
    """

    executor: Executor
    language: LanguageRows


def compare(
    study: Study,
    rows: list[str],
    splits: list[str],
    *,
    language: Mapping[str, Factory] | None = None,
    limit: int | None = None,
    seed: int | None = None,
    slow: int = SLOW,
    notify: OnMessage = lambda _: None,
    weights: Callable[[str, str], str] | None = None,
    elsewhere: Elsewhere | None = None,
) -> Comparison:
    """Judge rows on the test occasions of splits.

    Answers are kept on disk as each row is finished, and asked for once. A row that the log is too small for is left
    out, and `Comparison.left_out` says why.

    Args:
        study: Occasions and protocol.
        rows: Names out of `ROW_NAMES`.
        splits: Names out of `SPLITS`.
        language: The language models that can be asked, by row name.
        limit: Test purchases of each split, at most; None means the protocol's number.
        seed: Seed of the draw of test occasions; None means the protocol's.
        slow: Occasions of each split put to the rows of `SLOW_ROWS`.
        notify: Called with what is being done, in words.
        weights: Gives what identifies the weights of a language model, from row and split; its answers are kept under
            it. None, or an empty text, means that they are not kept.
        elsewhere: Where the rows are fitted and asked, e.g. on a cluster; the scores are the same, but for seconds.
            Rows whose answers are not kept are asked here.
    """
    found = Comparison()
    drawn_of = _Drawn(study, limit, seed, notify)
    too_small: dict[tuple[str, str], str] = {}
    if elsewhere is not None:
        too_small = _ask_elsewhere(elsewhere, drawn_of, rows, splits, slow, weights or _unknown)
    for split in splits:
        judged = drawn_of.last(split)
        bought = int((judged.data.chosen > 0).sum())
        found.counts[split] = {"purchases": bought, "visits": int(judged.buyer.sum())}
        makers = Makers(study, split, language or {}, notify)
        known = {name: reason for (place, name), reason in too_small.items() if place == split}
        asked, found.left_out[split] = _ask_all(makers, rows, judged, slow, weights or _unknown, known)
        found.scores[split] = {name: answer.scores for name, answer in asked.items()}
        found.judged[split] = {
            name: len(judged.data) if answer.places is None else len(answer.places) for name, answer in asked.items()
        }
        found.paired[split] = differences(asked, judged)
    return found


def _ask_all(
    makers: Makers,
    rows: list[str],
    judged: Judged,
    slow: int,
    weights: Callable[[str, str], str],
    too_small: Mapping[str, str],
) -> tuple[dict[str, KeptAnswers], dict[str, str]]:
    """Return the answers of the rows on a split, and why others are left out: those `too_small` has, or found here."""
    asked: dict[str, KeptAnswers] = {}
    left_out: dict[str, str] = {}
    for at, name in enumerate(rows, 1):
        places = _places(name, judged, slow)
        try:
            if name in too_small:
                raise TooSmallLog(too_small[name])
            asked[name] = answers(makers, name, judged, places, weights(name, makers.split))
        except TooSmallLog as error:
            left_out[name] = str(error)
            makers.notify(f"{makers.split}: {name} left out ({error})")
            continue
        makers.notify(f"{makers.split}: {name} done ({at} of {len(rows)})")
    return asked, left_out


def answers(makers: Makers, name: str, judged: Judged, places: IntArray | None, weights: str = "") -> KeptAnswers:
    """Return a row's answers, kept on disk from an earlier run where it has them.

    Args:
        makers: Gives the row.
        name: Its name.
        judged: The occasions of the split.
        places: Those it is asked about; None means all.
        weights: What identifies the weights of a language model; empty means that its answers are not kept.

    Raises:
        TooSmallLog: The row cannot be fitted on this log.
    """
    path = _path(makers, name, judged, places, weights)
    if path is not None:
        kept = kept_answers(path, places)
        if kept is not None:
            makers.notify(f"{makers.split}: {name} kept from an earlier run")
            return kept
    predictor = makers.of(name)
    makers.notify(f"{makers.split}: asking {name}")
    answer = ask_row(name, predictor, judged, places)
    if path is not None:
        save_answers(answer, path)
    return answer


def _path(makers: Makers, name: str, judged: Judged, places: IntArray | None, weights: str) -> Path | None:
    """Return where a row's answers are kept; None where they are not."""
    if not weights and name not in NUMBER_ROWS:
        return None
    asked = judged.data if places is None else judged.data.take(places)
    key = {"row": makers.key(), "fitted_by": FITTED_BY, "weights": weights, "cold": not judged.data.known.all()}
    return answers_path(name, makers.split, key | {"buyers": int(judged.buyer.sum())}, asked)


class _Drawn:
    """Draws the occasions of each split, once, and keeps them until they are asked for the last time."""

    def __init__(self, study: Study, limit: int | None, seed: int | None, notify: OnMessage) -> None:
        self.study, self.limit, self.seed, self.notify = study, limit, seed, notify
        self._kept: dict[str, Judged] = {}

    def __call__(self, split: str) -> Judged:
        if split not in self._kept:
            self.notify(f"{split}: drawing occasions")
            self._kept[split] = self.study.judging(split, limit=self.limit, seed=self.seed)
        return self._kept[split]

    def last(self, split: str) -> Judged:
        """Return the occasions of a split, and keep them no longer: those of all splits are gigabytes."""
        judged = self(split)
        del self._kept[split]
        return judged


def _places(name: str, judged: Judged, slow: int) -> IntArray | None:
    few = name in SLOW_ROWS and slow < len(judged.data)
    return drawn(len(judged.data), slow) if few else None


def _ask_elsewhere(
    elsewhere: Elsewhere, drawn_of: _Drawn, rows: list[str], splits: list[str], slow: int,
    weights: Callable[[str, str], str],
) -> dict[tuple[str, str], str]:  # fmt: skip
    """Let every row that has no kept answers be asked elsewhere, and keep its answers here as they come.

    Returns:
        Split and row -> why the log is too small for it.
    """
    study, notify, paths = drawn_of.study, drawn_of.notify, {}
    for split in splits:
        judged, makers = drawn_of(split), Makers(study, split, {}, notify)
        for name in rows:
            places = _places(name, judged, slow)
            path = _path(makers, name, judged, places, weights(name, split))
            if path is not None and kept_answers(path, places) is None:
                paths[split, name] = path
    notify(f"asking {len(paths)} rows elsewhere")
    common = (study, elsewhere.language, drawn_of.limit, drawn_of.seed, slow)
    checks = [weights_check(elsewhere.language.taste_models)]
    too_small = {}
    with elsewhere.executor.spread(_ask_there, list(paths), common=common, checks=checks) as found:
        for done, ((split, name), answer) in enumerate(found, 1):
            if isinstance(answer, str):
                too_small[split, name] = answer
            else:
                save_answers(answer, paths[split, name])
            notify(f"{split}: {name} done elsewhere ({done} of {len(paths)})")
    return too_small


def _ask_there(
    study: Study, language: LanguageRows, limit: int | None, seed: int | None, slow: int, split: str, name: str
) -> KeptAnswers | str:
    """Fit and ask a row in this process; return its answers, or why the log is too small for it."""
    judged = study.judging(split, limit=limit, seed=seed)
    makers = Makers(study, split, language.factories(), lambda _: None)
    try:
        return ask_row(name, makers.of(name), judged, _places(name, judged, slow))
    except TooSmallLog as error:
        return str(error)


def _unknown(name: str, split: str) -> str:
    return ""


def drawn(size: int, limit: int) -> IntArray:
    """Return `limit` of `size` places in order, the same ones for every row."""
    return np.sort(np.random.default_rng(0).permutation(size)[:limit])


def ask_row(name: str, predictor: Predictor, judged: Judged, places: IntArray | None) -> KeptAnswers:
    """Ask a row about the occasions at `places` (all where None) and score it."""
    if places is not None:
        judged = Judged(judged.data.take(places), judged.buyer[places])
    started = time.perf_counter()
    prediction = predictor.predict(judged.data)
    scores = scored(name, prediction, judged, 1000 * (time.perf_counter() - started) / len(judged.data))
    if "hit" in scores.metrics:
        few = purchases(judged.data, REORDERED if places is None else SLOW_REORDERED)
        scores.metrics["order_variation"] = order_variation(predictor.predict, few, orders=2)
        scores.metrics["repeat_variance"] = repeat_variance(seeded(predictor), few, repeats=2)
    return KeptAnswers(Values.of(prediction, judged.data), scores, places)


class Makers:
    """Gives the fitted rows of one split, from the cache where it has them.

    Args:
        study: Occasions and protocol.
        split: The split.
        language: Language models by row name.
        notify: Called with what is being done, in words.
    """

    def __init__(self, study: Study, split: str, language: Mapping[str, Factory], notify: OnMessage) -> None:
        """Load nothing yet: training occasions are only needed for a row that was never fitted."""
        self.study, self.split, self.language, self.notify = study, split, language, notify
        self._training: tuple[TasteData, TasteData] | None = None

    def of(self, name: str) -> Predictor:
        """Return a row ready to be asked."""
        if name in self.language:
            return self.language[name](self.split)
        path = row_path(name, self.key())
        row = kept_row(path, NUMBER_ROWS[name])
        if row is None:
            self.notify(f"{self.split}: fitting {name}")
            row = self.fit(NUMBER_ROWS[name])
            save_row(row, path)
        return row

    def key(self) -> dict[str, Any]:
        """Return what a fitted row depends on: data, protocol, and what the split trains on."""
        rule, rules = self.study.rules.rule(self.split), self.study.rules
        return {
            "data": self.study.occasions.meta,
            "content": self.study.digest,
            "occasions": len(self.study.occasions),
            "protocol": rules.model_dump(mode="json", exclude={"splits", "stopping_categories"})
            | {"held_out_categories": []},
            "trained_on": rule.trained_on,
            "cold": rule.cold,
        }

    def fit(self, kind: type[Row]) -> Row:
        """Return a row fitted on the split's training occasions."""
        if self._training is None:
            self._training = self.study.training(self.split)
        train, validation = self._training
        everything = self.study.rules.rule(self.split).trained_on == "all"
        return kind.fit(train, validation, self.study.rules.draw_seed, identities=everything)


def scored(name: str, prediction: Prediction, judged: Judged, seconds: float) -> Scores:
    """Return the scores of one row's predictions."""
    data = judged.data
    metrics = fidelity(prediction, data, judged.buyer)
    if name in NUMBER_ROWS and not NUMBER_ROWS[name].chooses:
        kept = {metric: metrics[metric] for metric in QUANTITY_METRICS}
        return Scores(kept, seconds)
    return Scores(
        metrics,
        seconds,
        by_history(prediction, data),
        by_shelf(prediction, data),
        market_average(prediction, data),
        elasticities(prediction, data, data.markets),
    )


def differences(asked: dict[str, KeptAnswers], judged: Judged) -> dict[str, dict[str, Estimate]]:
    """Return the reference row minus each other row, on what that one was asked; empty without a reference row."""
    if REFERENCE not in asked:
        return {}
    pairs = {}
    for name, theirs in asked.items():
        if name == REFERENCE:
            continue
        ours, data, buyer = asked[REFERENCE].values, judged.data, judged.buyer
        if theirs.places is not None:
            ours = ours.take(theirs.places, data.chosen > 0)
            data, buyer = data.take(theirs.places), buyer[theirs.places]
        pairs[name] = paired_values(ours, theirs.values, data, buyer)
        if name in NUMBER_ROWS and not NUMBER_ROWS[name].chooses:
            pairs[name] = {"quantity_error": pairs[name]["quantity_error"]} if "quantity_error" in pairs[name] else {}
    return pairs
