"""The paper's input claims: what derived inputs are worth, and a prior of attention on price tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import FAINT
from malles_agents.reproduce.base import Options, Reproduction, ResultRow
from malles_env.evaluation.metrics import Estimate
from malles_env.preference.data.dataset import TasteData
from research.paper.alignment import tests, verdicts
from research.paper.lab import Lab, lab_for, settings
from research.paper.plan import seeds
from research.paper.scores import METRICS, Verdict, bars, gap, in_words, line, panels, plain, report, score

PLACES = {"seen": "categories trained on", "warm": "unseen categories, history shown"}
PRIOR_METRICS = {
    "hit": "hit rate",
    "nll": "nats",
    "elasticity": "own-price elasticity",
    "violations": "law of demand violated",
}
Mask = Callable[[TasteData], TasteData]


def without_prices(data: TasteData) -> TasteData:
    """Drop prices relative to the regular price and to the category, discounts, and those paid before."""
    unknown = np.full_like(data.products.log_regular, np.nan)
    return replace(
        data,
        price=data.regular_price,
        products=replace(data.products, log_regular=unknown),
        past_depth=np.zeros_like(data.past_depth),
        elsewhere_deal=np.zeros_like(data.elsewhere_deal),
    )


def without_promotion(data: TasteData) -> TasteData:
    """Drop displays and leaflets."""
    nothing = np.zeros_like(data.display)
    return replace(data, display=nothing, feature_ad=nothing)


def without_history(data: TasteData) -> TasteData:
    """Drop all that the household bought before, here and in other categories."""
    names: tuple[str, ...] = (
        "bought",
        "last",
        "history_total",
        "past_known",
        "past_ago",
        "past_quantity",
        "past_depth",
    )
    names += ("brand_elsewhere", "elsewhere", "elsewhere_private", "elsewhere_deal")
    blank = {name: np.zeros_like(getattr(data, name)) for name in names}
    return replace(data, **blank, past=np.full_like(data.past, -1))


def without_popularity(data: TasteData) -> TasteData:
    """Drop what others bought: shares, sales of the store, brand shares and usual units."""
    even = (data.mask / data.mask.sum(1, keepdims=True)).astype(np.float32)
    names = ("store_sales", "mean_quantity", "brand_share")
    blank = {name: np.zeros_like(getattr(data, name)) for name in names}
    return replace(data, **blank, share=even, long_share=even, reference_share=even)


def without_any(data: TasteData) -> TasteData:
    """Drop all of it: text and regular prices stay."""
    return without_prices(without_promotion(without_history(without_popularity(data))))


def everything(data: TasteData) -> TasteData:
    """Drop nothing."""
    return data


MASKS: dict[str, Mask] = {
    "with all": everything,
    "without prices": without_prices,
    "without promotion": without_promotion,
    "without history": without_history,
    "without popularity": without_popularity,
    "without any": without_any,
}


def augmentation(options: Options, lab: Lab | None = None) -> Reproduction:
    """Train with all derived inputs and without groups of them."""
    lab = lab_for(options, lab)
    judged = {name: of for name, of in tests(lab, options.seed).items() if name in PLACES}
    train, validation = lab.pair(lab.plan.train, options.seed, held_out=False)
    found: dict[str, dict[str, Verdict]] = {}
    for k, (name, mask) in enumerate(MASKS.items()):
        models = [lab.fitted(mask(train), mask(validation), seed) for seed in seeds(options)]
        shown = {place: replace(of, data=mask(of.data)) for place, of in judged.items()}
        found[name] = verdicts(lab, models, shown)
        options.watch(k + 1, len(MASKS))
    rows = [row for place in PLACES for row in _rows(found, place)]
    worse = {place: {n: gap(of[place], found["with all"][place], "nll") for n, of in found.items()} for place in PLACES}
    return report(
        "paper-augmentation",
        "With and without derived inputs",
        rows,
        _finding(found, worse),
        {"nats_more": {place: {n: plain(e) for n, e in of.items()} for place, of in worse.items()}},
        settings(lab, options),
        lambda path: _draw(worse, path),
        ["A group's inputs are masked in training and in test alike. The attention prior is claim `attention`."],
    )


def _rows(found: dict[str, dict[str, Verdict]], place: str) -> list[ResultRow]:
    rows = []
    for name, of in found.items():
        for metric, words in METRICS.items():
            rows.append(line(f"{PLACES[place]}, {name}: {words}", score(of[place], metric)))
        if name != "with all":
            more = gap(of[place], found["with all"][place], "nll")
            rows.append(line(f"{PLACES[place]}, {name} - with all: nats", more))
    return rows


def _finding(found: dict[str, dict[str, Verdict]], worse: dict[str, dict[str, Estimate]]) -> str:
    parts = []
    for place, words in PLACES.items():
        each = [f"{name} {in_words(of)}" for name, of in worse[place].items() if name != "with all"]
        hit = gap(found["with all"][place], found["without any"][place], "hit")
        parts.append(
            f"{words}: nats {', '.join(each)} than with all; with all the hit rate is {in_words(hit)} than without any"
        )
    return f"{'; '.join(parts)}."


def _draw(worse: dict[str, dict[str, Estimate]], path: Path) -> Path:
    def paint(axes: list[Any]) -> None:
        for axis, (place, words) in zip(axes, PLACES.items(), strict=True):
            names = [name for name in worse[place] if name != "with all"]
            bars(axis, [name.removeprefix("without ") for name in names], [worse[place][name] for name in names])
            axis.axhline(0.0, color=FAINT, linewidth=1.0)
            axis.set_title(words)
            axis.set_ylabel("nats more without the input\n(above 0: it helps)", fontsize=8.5)

    return panels(2, path, paint)


def attention(options: Options, lab: Lab | None = None) -> Reproduction:
    """Compare prompted models trained with and without a prior of attention on price and discount tokens."""
    from malles_env.workflows.align_prompted import SHORT_SHELVES, draw_splits
    from research import attention_prior as study

    lab = lab_for(options, lab)
    steps = options.steps or min(150, lab.plan.steps)
    occasions = lab.study.occasions
    short = tuple(name for name in SHORT_SHELVES if name in occasions.markets) or tuple(occasions.markets[:2])
    sizes = {"validation": min(300, lab.plan.validation), "test": min(1000, lab.plan.test)}
    splits = draw_splits(occasions, min(4000, lab.plan.train), markets=short, seed=options.seed, **sizes)
    home = lab.directory / "attention" / f"{steps}-{options.seed}"
    found = study.run(seeds(options), steps, out=home, data=splits, show=False)
    priors = sorted({row.prior for row in found})
    table: dict[str, dict[float, Estimate]] = {
        name: {prior: _mean([row.scores[name] for row in found if row.prior == prior]) for prior in priors}
        for name in PRIOR_METRICS
    }
    rows = [
        line(f"prior of {prior:g} nats: {PRIOR_METRICS[name]}", estimate)
        for name, of in table.items()
        for prior, estimate in of.items()
    ]
    said = [
        f"{PRIOR_METRICS[name]} {in_words(_apart(of[priors[-1]], of[priors[0]]), digits=3)}"
        for name, of in table.items()
    ]
    return report(
        "paper-attention",
        "With and without a prior of attention on price tokens",
        rows,
        f"With a prior of {priors[-1]:g} nats against none: {', '.join(said)} (errors as of independent samples).",
        {name: {f"{prior:g}": plain(e) for prior, e in of.items()} for name, of in table.items()},
        {"steps": steps, "seeds": seeds(options), "backbone": "embedded"},
        lambda path: study.draw(found, path),
        ["The backbone is the embedded one, trained from nothing: a pre-trained one takes hours on a CPU."],
    )


def _mean(found: list[Estimate]) -> Estimate:
    """Return the mean over training runs; its error covers households and, with several runs, training."""
    values = [of.mean for of in found]
    inside = float(np.mean([of.se for of in found]))
    between = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return Estimate(float(np.mean(values)), float(np.hypot(inside, between)))


def _apart(first: Estimate, second: Estimate) -> Estimate:
    return Estimate(first.mean - second.mean, float(np.hypot(first.se, second.se)))
