"""The paper's transfer claim: a category alone, with similar ones, or with all, at several sizes of its own data."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from malles_agents.reproduce.base import Options, Reproduction, ResultRow
from malles_env.preference.data.dataset import SHARED_FIELDS, TasteData
from malles_env.preference.model import TasteModel
from research.paper.lab import Lab, lab_for, settings
from research.paper.plan import seeds
from research.paper.scores import METRICS, Verdict, gap, in_words, line, metric_curves, plain, report, score

SIZES: tuple[int | None, ...] = (0, 100, 300, 1000, None)
"""Occasions of the target category that are trained on; None takes all."""
TARGETS, SIMILAR = 2, 6
"""Target categories, and how many others count as similar to one."""
PASSES = 8
"""Passes through the training occasions, at most; large mixtures take three fifths of the plan's steps."""
REGIMES = ("one", "similar", "all")

Verdicts = dict[tuple[str, int | None], Verdict]


def targets(lab: Lab, count: int = TARGETS) -> list[str]:
    """Return the held-out categories with the most test purchases, largest first."""
    table = lab.study.occasions.occasions.filter(
        (pl.col("split") == "test") & pl.col("held_out") & (pl.col("chosen") > 0)
    )
    found: list[str] = (
        table["category"].value_counts().sort(["count", "category"], descending=[True, False])["category"].to_list()
    )
    return found[:count]


def similar(lab: Lab, target: str, count: int = SIMILAR) -> list[str]:
    """Return the categories trained on whose texts read most alike: cosine of mean readings, less the mean of all."""
    category = lab.study.occasions.products["category"].to_numpy()
    held = set(lab.study.occasions.occasions.filter(pl.col("held_out"))["category"].unique())
    names = sorted(set(category))
    states = lab.readings.product.numpy()
    mean = np.stack([states[category == name].mean(0) for name in names])
    mean = mean - mean.mean(0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    near = mean @ mean[names.index(target)]
    ranked = [names[k] for k in np.argsort(-near, kind="stable")]
    return [name for name in ranked if name != target and name not in held][:count]


def joined(parts: list[TasteData]) -> TasteData:
    """Return the occasions of several data sets of one lab; their market names count for nothing here."""
    wide = max(part.mask.shape[1] for part in parts)
    padded = [_wider(part, wide) for part in parts]
    rows: dict[str, Any] = {
        f.name: np.concatenate([getattr(part, f.name) for part in padded])
        for f in fields(TasteData)
        if f.name not in SHARED_FIELDS and not f.name.startswith("other")  # these logs keep no other categories
    }
    return replace(parts[0], **rows)


def _wider(data: TasteData, wide: int) -> TasteData:
    """Pad shelves to `wide` options."""
    more = wide - data.mask.shape[1]
    if not more:
        return data
    ones = ("price", "regular_price")
    padded: dict[str, Any] = {
        f.name: np.pad(value, ((0, 0), (0, more)), constant_values=1 if f.name in ones else 0)
        for f in fields(data)
        if f.name not in SHARED_FIELDS and not f.name.startswith(("past", "other"))
        for value in [getattr(data, f.name)]
        if value.ndim == 2
    }
    return replace(data, **padded)


def transfer(options: Options, lab: Lab | None = None) -> Reproduction:
    """Train on one category, on similar ones too, or on all, with none to all of the target's own occasions."""
    lab = lab_for(options, lab)
    names = targets(lab)
    judged = {name: lab.judged(lab.rows("test", categories=(name,)), limit=lab.plan.test // 2) for name in names}
    own = {name: _pair(lab, (name,), None, options.seed) for name in names}
    kin = {name: _pair(lab, tuple(similar(lab, name)), lab.plan.train // 4, options.seed) for name in names}
    every = _pair(lab, None, lab.plan.train // 2, options.seed)
    found: Verdicts = {}
    done, whole = 0, len(SIZES) * (1 + 2 * len(names))
    for size in SIZES:
        models: dict[tuple[str, str], list[TasteModel]] = {}
        some = {name: _few(own[name], size, options.seed) for name in names}
        options.watch(done := done + 1, whole)
        for name in names:
            models["one", name] = _fit(lab, options, [some[name]] if size != 0 else [], kin[name])
            models["similar", name] = _fit(lab, options, [kin[name], some[name]], kin[name])
            options.watch(done := done + 2, whole)
        shared = _fit(lab, options, [every, *some.values()], every)
        models |= {("all", name): shared for name in names}
        for regime in REGIMES:
            found[regime, size] = _pooled([lab.verdict(models[regime, name], judged[name]) for name in names])
    rows = [row for size in SIZES for row in _rows(found, size)]
    return report(
        "paper-transfer",
        f"One category, similar ones, or all ({', '.join(name.lower() for name in names)})",
        rows,
        _finding(found),
        {
            "nats": {f"{r}, {_label(s)}": plain(score(v, "nll")) for (r, s), v in found.items()},
            "similar": {name: similar(lab, name) for name in names},
            "occasions": {name: len(own[name][0]) for name in names},
        },
        settings(lab, options),
        lambda path: _draw(found, path),
        ["Sales and histories of the target category are shown in every case; only what was trained on differs."],
    )


Pair = tuple[TasteData, TasteData]


def _pair(lab: Lab, categories: tuple[str, ...] | None, limit: int | None, seed: int) -> Pair:
    """Return training and validation occasions of categories; None means all but the held-out ones."""
    held = False if categories is None else None
    return lab.pair(limit, seed, held_out=held, categories=categories)


def _few(pair: Pair, size: int | None, seed: int) -> Pair:
    """Return `size` training occasions, and a quarter as many for validation."""
    if size is None:
        return pair
    order = [np.random.default_rng([seed, 7]).permutation(len(part)) for part in pair]
    kept = (np.sort(order[0][:size]), np.sort(order[1][: size // 4]))
    return pair[0].take(kept[0]), pair[1].take(kept[1])


def _fit(lab: Lab, options: Options, pairs: list[Pair], like: Pair) -> list[TasteModel]:
    """Return one model per training run; heads at their start where there is nothing to train on."""
    pairs = [pair for pair in pairs if len(pair[0])]
    if not pairs:
        return [lab.untrained(like[0], seed) for seed in seeds(options)]
    train, validation = joined([pair[0] for pair in pairs]), joined([pair[1] for pair in pairs])
    batch = min(lab.plan.batch, len(train))
    steps = max(10, min(3 * lab.plan.steps // 5, PASSES * len(train) // batch))
    return [lab.fitted(train, validation, s, steps=steps, batch_size=batch) for s in seeds(options)]


def _pooled(parts: list[Verdict]) -> Verdict:
    """Return the verdict on all targets' purchases."""
    miss = [part.values("quantity") for part in parts]
    return Verdict(
        np.concatenate([part.hit for part in parts], axis=1),
        np.concatenate([part.nll for part in parts], axis=1),
        np.concatenate(miss, axis=1),
        np.concatenate([part.units for part in parts]),
        np.concatenate([part.household for part in parts]),
    )


def _label(size: int | None) -> str:
    return {0: "none", None: "all"}.get(size, f"{size:,}" if size else "")


def _rows(found: Verdicts, size: int | None) -> list[ResultRow]:
    head = f"{_label(size)} of its own occasions"
    rows = []
    for regime in REGIMES:
        for metric, words in METRICS.items():
            rows.append(line(f"{head}, {regime}: {words}", score(found[regime, size], metric)))
    return rows + [
        line(f"{head}, all - {other}: nats", gap(found["all", size], found[other, size], "nll"))
        for other in REGIMES[:2]
    ]


def _finding(found: Verdicts) -> str:
    parts = []
    for size in SIZES:
        best, second = sorted(REGIMES, key=lambda regime: score(found[regime, size], "nll").mean)[:2]
        apart = gap(found[best, size], found[second, size], "nll")
        parts.append(f"with {_label(size)}, {best}: nats {in_words(apart)} against {second}")
    won = [_label(size) for size in SIZES if _wins(found, size)]
    where = f"All-category training beats training on the category alone at {', '.join(won) or 'no size'}"
    return f"Fewest nats by size of the target's own occasions: {'; '.join(parts)}. {where} (by two standard errors)."


def _wins(found: Verdicts, size: int | None) -> bool:
    apart = gap(found["all", size], found["one", size], "nll")
    return apart.mean < -2 * apart.se


def _draw(found: Verdicts, path: Path) -> Path:
    curves = {regime: [found[regime, size] for size in SIZES] for regime in REGIMES}
    return metric_curves(curves, [_label(size) for size in SIZES], "the category's own occasions", path)
