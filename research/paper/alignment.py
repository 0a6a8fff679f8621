"""The paper's first claims: alignment to real purchases, and how it grows with passes through them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import COLOURS
from malles_agents.reproduce.base import Options, Reproduction, ResultRow
from malles_env.evaluation.comparison.study import Judged
from malles_env.evaluation.metrics import Estimate
from malles_env.preference.model import TasteModel
from research.paper.lab import Lab, lab_for, settings
from research.paper.plan import seeds
from research.paper.scores import (
    METRICS,
    UNITS,
    Verdict,
    bars,
    gap,
    in_words,
    judge,
    line,
    metric_curves,
    panels,
    plain,
    report,
    score,
)

PLACES = {
    "seen": "categories trained on",
    "warm": "unseen categories, history shown",
    "cold": "unseen categories, cold",
}
PASSES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LEARNERS = 12_800
"""Occasions that the epochs are passes through: few enough that several passes end in minutes."""


def tests(lab: Lab, seed: int) -> dict[str, Judged]:
    """Return test occasions of the categories trained on, and of unseen ones, warm and cold."""
    warm = lab.judged(lab.rows("test", held_out=True), seed=seed)
    return {
        "seen": lab.judged(lab.rows("test", held_out=False), seed=seed),
        "warm": warm,
        "cold": Judged(warm.data.cold(), warm.buyer),
    }


def verdicts(lab: Lab, models: list[TasteModel], judged: dict[str, Judged]) -> dict[str, Verdict]:
    """Return what models (one per training run) score on each set of test occasions."""
    return {name: lab.verdict(models, of) for name, of in judged.items()}


def alignment(options: Options, lab: Lab | None = None) -> Reproduction:
    """Compare heads trained on purchases with the same heads at their start, and with the model prompted."""
    lab = lab_for(options, lab)
    judged = tests(lab, options.seed)
    train, validation = lab.pair(lab.plan.train, options.seed, held_out=False)
    options.say(
        f"{len(train):,} training occasions, {len(judged['seen'].data):,} and {len(judged['warm'].data):,} test"
    )
    whole = seeds(options)
    trained = []
    for k, seed in enumerate(whole):
        trained.append(lab.fitted(train, validation, seed, cold=True))
        options.watch(k + 1, len(whole))
    found = {
        "unaligned": verdicts(lab, [lab.untrained(train, seed) for seed in whole], judged),
        "aligned": verdicts(lab, trained, judged),
    }
    rows = [row for place in PLACES for metric in METRICS for row in _rows(found, place, metric)]
    gaps = {p: {m: gap(found["aligned"][p], found["unaligned"][p], m) for m in METRICS} for p in PLACES}
    asked, words = _asked(lab, trained, judged["seen"], options)
    return report(
        "paper-alignment",
        "Aligned against unaligned",
        [*rows, *asked],
        _finding(gaps) + words,
        {"gaps": {p: {m: plain(e) for m, e in of.items()} for p, of in gaps.items()}},
        {**settings(lab, options), "training occasions": len(train)},
        lambda path: _draw(found, path),
        [
            "Unaligned: heads at their start on the same readings, with usual price and loyalty coefficients and no "
            "tastes; all numbers of units are alike to them, so that their quantity error says little.",
        ],
    )


def _rows(found: dict[str, dict[str, Verdict]], place: str, metric: str) -> list[ResultRow]:
    head = f"{PLACES[place]}: {METRICS[metric]}"
    rows = [line(f"{head}, {name}", score(found[name][place], metric)) for name in ("unaligned", "aligned")]
    if metric == "quantity":
        rows.append(line(f"{head}, always one unit", always_one(found["aligned"][place])))
    difference = gap(found["aligned"][place], found["unaligned"][place], metric)
    return [*rows, line(f"{head}, aligned - unaligned", difference)]


def always_one(verdict: Verdict) -> Estimate:
    """Return the quantity error of answering one unit to everything."""
    return score(replace(verdict, miss=np.abs(verdict.units - 1.0)[None]), "quantity")


def _finding(gaps: dict[str, dict[str, Estimate]]) -> str:
    parts = [
        f"{PLACES[place]}: hit rate {in_words(of['hit'])}, nats {in_words(of['nll'])}, "
        f"quantity error {in_words(of['quantity'])}"
        for place, of in gaps.items()
    ]
    return f"Aligned against unaligned, {'; '.join(parts)}."


def _asked(lab: Lab, trained: list[TasteModel], judged: Judged, options: Options) -> tuple[list[ResultRow], str]:
    """Prompt the language model about a few purchases, and the aligned model about the same ones."""
    if lab.prompted is None:
        return [], " The language model was not prompted."
    size = judged.data.mask.sum(1)
    bought = np.flatnonzero((judged.data.chosen > 0) & (size <= np.median(size)))
    drawn = np.random.default_rng([options.seed, 6]).permutation(bought)[: lab.plan.asked]
    few = Judged(judged.data.take(np.sort(drawn)), judged.buyer[np.sort(drawn)])
    options.say(f"prompting the language model about {len(few.data)} purchases")
    prompted = judge([lab.prompted().predict(few.data, orders=1, units=False)], few)
    aligned = lab.verdict(trained, few)
    rows = []
    for metric in ("hit", "nll"):
        head = f"{len(few.data)} purchases from short shelves: {METRICS[metric]}"
        rows.append(line(f"{head}, prompted, unaligned", score(prompted, metric)))
        rows.append(line(f"{head}, aligned", score(aligned, metric)))
        rows.append(line(f"{head}, aligned - prompted", gap(aligned, prompted, metric)))
    return (
        rows,
        f" Against the same language model prompted, unaligned: hit rate {in_words(gap(aligned, prompted, 'hit'))}.",
    )


def _draw(found: dict[str, dict[str, Verdict]], path: Path) -> Path:
    def paint(axes: list[Any]) -> None:
        for axis, (metric, words) in zip(axes, METRICS.items(), strict=True):
            for k, (name, of) in enumerate(found.items()):
                bars(axis, list(PLACES), [score(of[place], metric) for place in PLACES], colour=COLOURS[1 - k])
                axis.plot([], [], "o", color=COLOURS[1 - k], label=name)
            axis.set_title(words)
            axis.set_ylabel(UNITS[metric], fontsize=8.5)

    return panels(len(METRICS), path, paint)


def epochs(options: Options, lab: Lab | None = None) -> Reproduction:
    """Train for 0 to 8 passes through one and the same sample, and judge each."""
    lab = lab_for(options, lab)
    judged = tests(lab, options.seed)
    train, validation = lab.pair(min(LEARNERS, lab.plan.train), options.seed, held_out=False)
    one = len(train) / lab.plan.batch
    found: dict[float, dict[str, Verdict]] = {}
    for k, passes in enumerate(PASSES):
        steps = round(passes * one)
        models = [
            lab.fitted(train, validation, seed, cold=True, steps=steps) if steps else lab.untrained(train, seed)
            for seed in seeds(options)
        ]
        found[passes] = verdicts(lab, models, judged)
        options.watch(k + 1, len(PASSES))
    rows = []
    for place, words in PLACES.items():
        for metric in METRICS:
            head = f"{words}: {METRICS[metric]}"
            rows += [line(f"{head}, {n:g} epochs", score(found[n][place], metric)) for n in PASSES]
    return report(
        "paper-epochs",
        f"Epochs through the same {len(train):,} occasions",
        rows,
        _growth(found),
        {
            "scores": {
                f"{k:g}": {p: {m: plain(score(v[p], m)) for m in METRICS} for p in PLACES} for k, v in found.items()
            }
        },
        {**settings(lab, options), "training occasions": len(train), "steps": [round(p * one) for p in PASSES]},
        lambda path: _draw_epochs(found, path),
        ["Each number of epochs is a run of its own, whose learning rate falls to zero over it."],
    )


def _growth(found: dict[float, dict[str, Verdict]]) -> str:
    parts = []
    for place, words in PLACES.items():
        best = min(PASSES, key=lambda p: score(found[p][place], "nll").mean)
        first = gap(found[1.0][place], found[0.0][place], "hit")
        last = gap(found[PASSES[-1]][place], found[1.0][place], "nll")
        parts.append(
            f"{words}: after one epoch the hit rate is {in_words(first)} against none, and {PASSES[-1]:g} epochs' nats "
            f"are {in_words(last)} against one epoch's (fewest nats after {best:g})"
        )
    return f"{'; '.join(parts)}."


def _draw_epochs(found: dict[float, dict[str, Verdict]], path: Path) -> Path:
    curves = {place: [found[passes][place] for passes in PASSES] for place in PLACES}
    return metric_curves(curves, [f"{passes:g}" for passes in PASSES], "epochs", path)
