"""Draws a price test: the true effect over weeks, what each design says of it, and where its bias comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from malles_env.evaluation.audit.plots import COLOURS, FAINT
from malles_env.evaluation.experiments.price_test import OUTCOMES
from malles_env.evaluation.experiments.report import title
from malles_env.evaluation.experiments.runner import Report
from malles_env.files import replacing


def draw(report: Report, path: Path, *, outcome: str = "profit") -> Path:
    """Draw an outcome's findings as PNG, whole or not at all, and return the path.

    Args:
        report: The findings.
        path: Where the picture shall stand.
        outcome: One of `OUTCOMES`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    k, panels = OUTCOMES.index(outcome), 3 if report.channels else 2
    figure = Figure(figsize=(4.6 * panels, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(1, panels)
    for place in places:
        place.spines[["top", "right"]].set_visible(False)
        place.tick_params(labelsize=8)
    _weeks(places[0], report, k, outcome)
    _estimates(places[1], report, k, outcome)
    if report.channels:
        _parts(places[2], report, k, outcome)
    figure.suptitle(title(report), fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")
    return path


def _weeks(place: Any, report: Report, k: int, outcome: str) -> None:
    truth = report.truth
    weeks = np.arange(1, len(truth.by_week) + 1)
    place.plot(weeks, truth.by_week[:, k], "o-", color=COLOURS[0], markersize=3, linewidth=1.2, label="week by week")
    place.axhline(truth.effect[k], color="black", linewidth=1.0, label="mean, the truth")
    if truth.steady is not None:
        place.axhline(truth.steady[k], color="black", linewidth=1.0, linestyle=":", label="settled")
    place.set_xlabel("weeks since everybody sees the changed price", fontsize=8)
    place.set_ylabel(f"true effect on {outcome} per week", fontsize=8)
    place.legend(fontsize=7, frameon=False)
    place.set_title("What the change does", loc="left", fontsize=9)


def _estimates(place: Any, report: Report, k: int, outcome: str) -> None:
    rows = list(report.designs.items())
    for at, (name, found) in enumerate(rows):
        y, colour, values = len(rows) - at, COLOURS[at % len(COLOURS)], found.estimates.value[:, k]
        low, high = np.quantile(values, [0.025, 0.975])
        place.plot([low, high], [y, y], color=colour, linewidth=7, alpha=0.3, solid_capstyle="butt")
        place.plot(values.mean(), y, "o", color=colour, markersize=6)
        ends = [float(end[0, k]) for end in found.estimates.interval]
        place.plot(ends, [y - 0.25, y - 0.25], color="black", linewidth=1.0)
        place.plot(found.estimates.value[0, k], y - 0.25, "|", color="black", markersize=7)
        place.text(low, y + 0.14, name, fontsize=8, color=colour)
    place.axvline(report.truth.effect[k], color="black", linewidth=1.0)
    place.axvline(0.0, color=FAINT, linewidth=0.8, linestyle="--")
    place.set_ylim(0.5, len(rows) + 0.5)
    place.set_yticks([])
    place.set_xlabel(
        f"effect on {outcome} per week\n"
        "dot and bar: mean and middle 95% of the estimates; black: one experiment",
        fontsize=8,
    )  # fmt: skip
    place.set_title("What experiments say (line: the truth)", loc="left", fontsize=9)


def _parts(place: Any, report: Report, k: int, outcome: str) -> None:
    names = list(report.designs)
    width = 0.8 / (len(report.channels) + 1)
    at = np.arange(len(names))
    bias = [report.designs[name].expected_bias[k] for name in names]
    place.bar(at, bias, width, color="black", label="bias")
    for c, channel in enumerate(report.channels):
        parts = [report.designs[name].parts[channel].part[k] for name in names]
        place.bar(at + (c + 1) * width, parts, width, color=COLOURS[(c + 3) % len(COLOURS)], label=channel)
    place.axhline(0.0, color=FAINT, linewidth=0.8)
    place.set_xticks(at + width * len(report.channels) / 2, labels=names)
    place.set_ylabel(f"bias of {outcome} per week", fontsize=8)
    place.legend(fontsize=7, frameon=False)
    place.set_title("Where the bias comes from", loc="left", fontsize=9)
