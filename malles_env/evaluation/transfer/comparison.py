"""Every row on every split and on launches: answers kept on disk as they are finished, then scores and differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.errors import CorruptFile, brief
from malles_env.evaluation.comparison.runner import SLOW, drawn
from malles_env.evaluation.metrics import Estimate, clustered, purchase_values
from malles_env.evaluation.transfer.rows import ENCODERS, PROMPTED, Encoders, WordRows, row_parts
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.files import cache_dir, json_hash, json_plain, replacing, sha256
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import OnMessage

CODE = 2
"""Raised whenever rows give other answers from the same data, so that old answers are not used."""
LAUNCHES = "launches"
COLD_SPLIT = "time_cold"
"""The split whose rows are asked about launches: nobody knows a sale of them."""


@dataclass
class Comparison:
    """All scores.

    Attributes:
        scores: Split -> row -> hit and nll.
        paired: Split -> "row - other row" -> difference in nats and in hit.
        launches: Row -> rank correlation with the sales of the first weeks.
        counts: Split -> purchases and customers judged; for launches, launches and categories.
        asked: Split -> prompted row -> purchases it was asked about; its differences are on these alone.
    """

    scores: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    paired: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    launches: dict[str, Estimate] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: dict[str, dict[str, int]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON; null where a number is not finite."""
        content: dict[str, Any] = {
            split: {row: _flat(values) for row, values in rows.items()} for split, rows in self.scores.items()
        }
        content["paired"] = {
            split: {pair: _difference(values) for pair, values in pairs.items()} for split, pairs in self.paired.items()
        }
        content[LAUNCHES] = {row: {"spearman": e.mean, "se": e.se} for row, e in self.launches.items()}
        content["counts"], content["asked"] = self.counts, self.asked
        plain: dict[str, Any] = json_plain(content)
        return plain


def compare_words(
    study: WordStudy,
    rows: list[str],
    splits: list[str],
    *,
    model: str | Path | None = None,
    prompted: str | Path | None = None,
    unaligned: str | None = None,
    encoders: Encoders = ENCODERS,
    limit: int | None = None,
    slow: int = SLOW,
    notify: OnMessage = lambda _: None,
    done: Callable[[Comparison], None] = lambda _: None,
) -> Comparison:
    """Judge rows on splits and launches.

    Args:
        study: The log.
        rows: Names out of `malles_env.evaluation.transfer.rows.possible_rows`.
        splits: The protocol's splits, and ``launches``.
        model: Folder of the taste model of the row ``aligned``.
        prompted: Folder of the model of the row ``prompted``.
        unaligned: Backbone of the row ``unaligned``.
        encoders: Rows of frozen encoders.
        limit: Test purchases of a split, at most; None means the protocol's number.
        slow: Those put to prompted rows, a draw of them, the same for all; these rows are not asked about launches.
        notify: Called with what is being done, in words.
        done: Called with what there is after each row.
    """
    found, makers = Comparison(), WordRows(study, model, notify, prompted, unaligned, encoders)
    for split in (name for name in splits if name != LAUNCHES):
        notify(f"{split}: drawing occasions")
        data = study.study.judging(split, limit=limit).data
        found.counts[split] = {"purchases": len(data), "customers": len(np.unique(data.household))}
        found.scores[split], found.paired[split], found.asked[split] = {}, {}, {}
        values: dict[str, dict[str, np.ndarray]] = {}
        for row in rows:
            notify(f"{split}: {row}")
            values[row] = _values(makers, row, split, data, slow)
            _add_scores(found, split, row, values, data)
            done(found)
    if LAUNCHES in splits:
        launches = study.launches()
        found.counts[LAUNCHES] = {"launches": len(launches.sales), "categories": len(np.unique(launches.market))}
        for row in (row for row in rows if row_parts(row)[0] not in PROMPTED):
            notify(f"launches: {row}")
            answer = _answered(makers, row, COLD_SPLIT, LAUNCHES, launches.data)
            found.launches[row] = launches.rank_correlation(launches.expected(answer))
            done(found)
    return found


def _add_scores(
    found: Comparison, split: str, row: str, values: dict[str, dict[str, np.ndarray]], data: TasteData
) -> None:
    """Add a row's scores on a split, and its differences from the rows before it."""
    if row_parts(row)[0] in PROMPTED:
        found.asked[split][row] = int((~np.isnan(values[row]["nll"])).sum())
    found.scores[split][row] = {n: _judged(values[row][n], data) for n in ("hit", "nll")}
    for one, other in _pairs(row, values):
        differences = {n: values[one][n] - values[other][n] for n in ("hit", "nll")}
        pair = {n: _judged(difference, data) for n, difference in differences.items()}
        found.paired[split][f"{one} - {other}"] = pair


def _values(makers: WordRows, row: str, split: str, data: TasteData, slow: int) -> dict[str, np.ndarray]:
    """Return hit and nll of each purchase; NaN where a prompted row is not asked."""
    if row_parts(row)[0] not in PROMPTED or slow >= len(data):
        return purchase_values(_answered(makers, row, split, split, data), data)
    places = drawn(len(data), slow)
    few = data.take(places)
    values = purchase_values(_answered(makers, row, split, split, few), few)
    whole = {name: np.full(len(data), np.nan) for name in ("hit", "nll")}
    for name, part in whole.items():
        part[places] = values[name]
    return whole


def _judged(values: np.ndarray, data: TasteData) -> Estimate:
    there = ~np.isnan(values)
    return clustered(values[there], data.household[there])


def _pairs(row: str, values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the differences that a row completes: with itself under other names, with ``aligned``, and from there."""
    there = list(values)
    kin, names = row_parts(row)
    pairs = [(kin, row)] if names != "true" and kin in there else []
    if row == "prompted" and "unaligned" in there:
        pairs.append((row, "unaligned"))
    if row == "aligned":
        pairs += [("aligned", other) for other in there if other != "aligned"]
    elif "aligned" in there and ("aligned", row) not in pairs:
        pairs.append(("aligned", row))
    return pairs


def _answered(makers: WordRows, row: str, split: str, asked: str, data: TasteData) -> Prediction:
    """Return a row's answers, kept on disk from an earlier run where it has them."""
    path = _path(makers, row, asked, data)
    if path.is_file():
        try:
            with np.load(path) as kept:
                return Prediction(kept["utilities"].astype(np.float64))
        except (OSError, ValueError, KeyError) as error:
            raise CorruptFile(f"{path}: holds no answers ({brief(error)}); delete it and run again") from error
    answer = makers.of(row, split).predict(data)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, utilities=answer.utilities.astype(np.float32))
    return Prediction(answer.utilities.astype(np.float32).astype(np.float64))


def _path(makers: WordRows, row: str, asked: str, data: TasteData) -> Path:
    """Return where a row's answers are kept: under all that they depend on."""
    study = makers.study.study
    rules = study.rules.model_dump(mode="json")
    rules = {name: sorted(part) if name.endswith("categories") else part for name, part in rules.items()}
    who = sha256(data.product.tobytes() + data.chosen.tobytes() + data.household.tobytes())
    parts = [CODE, row, asked, makers.weights(row), rules, study.occasions.meta, who, data.known.all().item()]
    key = json_hash(parts, sort_keys=True)[:20]
    return cache_dir() / "answers" / f"{asked}-{row}-{key}.npz"


def _flat(values: dict[str, Estimate]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        flat[name], flat[f"{name}_se"] = value.mean, value.se
    return flat


def _difference(values: dict[str, Estimate]) -> dict[str, float]:
    nats = values["nll"]
    return {"nll": nats.mean, "se": nats.se} | _flat({"hit": values["hit"]})
