"""The paper's consistency claim: does a penalty on answers that change with the wording steady them, at what price?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.reproduce.base import Options, Reproduction
from malles_env.evaluation.comparison.study import Judged, Study
from malles_env.evaluation.metrics import Estimate, clustered
from malles_env.preference.data.rewording import reworded
from malles_env.preference.heads.objective import Weights
from malles_env.preference.model import TasteModel
from malles_env.type_aliases import FloatArray
from research.paper.lab import Lab, lab_for, settings
from research.paper.plan import seeds
from research.paper.scores import UNITS, Verdict, bars, gap, in_words, line, panels, plain, report, score

STRENGTHS = (0.0, 0.3, 1.0)
"""Weights of the divergence between two wordings in the training loss."""
MARKETS = 10
"""Markets it is tested on: each wording of each must be read by the language model."""


def consistency(options: Options, lab: Lab | None = None) -> Reproduction:
    """Train with the penalty on one rewording, and judge how far answers move under another one."""
    lab = some_markets(lab_for(options, lab), MARKETS)
    judged = lab.judged(lab.rows("test"), seed=options.seed)
    train, validation = lab.pair(lab.plan.train, options.seed)
    options.say(f"reading {len(lab.products):,} products of {MARKETS} markets in three wordings")
    second, third = (lab.read(reworded(lab.products, seed=options.seed + k)) for k in (0, 1))
    verdicts: dict[float, Verdict] = {}
    moved: dict[float, FloatArray] = {}
    whole = seeds(options)
    for k, strength in enumerate(STRENGTHS):
        models = []
        for seed in whole:
            weights = Weights(consistency=strength)
            models.append(lab.fitted(train, validation, seed, reworded=second if strength else None, weights=weights))
        verdicts[strength] = lab.verdict(models, judged)
        moved[strength] = np.mean([_moved(lab, model, judged, third) for model in models], axis=0)
        options.watch(k + 1, len(STRENGTHS))
    who = judged.data.household
    distance = {s: clustered(values, who) for s, values in moved.items()}
    closer = {s: clustered(values - moved[0.0], who) for s, values in moved.items() if s}
    nats = {s: gap(verdicts[s], verdicts[0.0], "nll") for s in STRENGTHS if s}
    rows = []
    for s in STRENGTHS:
        rows.append(line(f"weight {s:g}: nats", score(verdicts[s], "nll")))
        rows.append(line(f"weight {s:g}: hit rate", score(verdicts[s], "hit")))
        rows.append(line(f"weight {s:g}: total variation between wordings", distance[s]))
    for s in closer:
        rows.append(line(f"weight {s:g} - 0: nats", nats[s]))
        rows.append(line(f"weight {s:g} - 0: total variation", closer[s]))
    parts = [f"weight {s:g}: total variation {in_words(closer[s])}, nats {in_words(nats[s])}" for s in closer]
    return report(
        "paper-consistency",
        f"With and without the consistency penalty, {len(lab.study.occasions.markets)} markets",
        rows,
        f"Against training without the penalty, between wordings of which training saw one: {'; '.join(parts)}.",
        {"distance": {f"{s:g}": plain(e) for s, e in distance.items()}},
        {**settings(lab, options), "markets": lab.study.occasions.markets},
        lambda path: _draw(verdicts, distance, path),
        [
            "Prices, promotions and histories are numbers here, so wording moves tastes only; a model prompted "
            "has more to be inconsistent about."
        ],
    )


def some_markets(lab: Lab, count: int) -> Lab:
    """Return a lab of at most `count` markets trained on, evenly spread over the alphabet."""
    table = lab.study.occasions.occasions
    names = table.filter(~table["held_out"])["market"].unique().sort().to_list()
    kept = [names[k] for k in np.unique(np.linspace(0, len(names) - 1, count).round().astype(int))]
    return replace(lab, study=Study(lab.study.occasions.select(markets=kept), lab.study.rules))


def _moved(lab: Lab, model: TasteModel, judged: Judged, other: Any) -> FloatArray:
    """Return the total variation between a model's answers to two wordings, by visit, nothing bought included [B]."""
    first = lab.predicted(model, judged.data).log_probability()
    second = lab.predicted(model, judged.data, other).log_probability()
    distance: FloatArray = 0.5 * np.abs(np.exp(first) - np.exp(second)).sum(1)
    return distance


def _draw(verdicts: dict[float, Verdict], distance: dict[float, Estimate], path: Path) -> Path:
    names = [f"{s:g}" for s in STRENGTHS]

    def paint(axes: list[Any]) -> None:
        bars(axes[0], names, [distance[s] for s in STRENGTHS])
        axes[0].set_title("answers to two wordings")
        axes[0].set_ylabel("total variation (lower is steadier)", fontsize=8.5)
        axes[0].set_ylim(bottom=0)
        bars(axes[1], names, [score(verdicts[s], "nll") for s in STRENGTHS])
        axes[1].set_title("test purchases")
        axes[1].set_ylabel(UNITS["nll"], fontsize=8.5)
        for axis in axes:
            axis.set_xlabel("weight of the penalty")

    return panels(2, path, paint)
