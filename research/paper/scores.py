"""Scores of the paper's claims: per occasion, over training runs, paired, with errors clustered by household."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from malles_agents.plots import COLOURS, INK, new_figure, save_figure
from malles_agents.reproduce.base import Reproduction, ResultRow
from malles_env.evaluation.comparison.study import Judged
from malles_env.evaluation.metrics import Estimate, clustered, clustered_ratio, purchase_values
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import FloatArray, IntArray

METRICS = {"hit": "hit rate", "nll": "nats", "quantity": "quantity error"}
"""Names and words; nats and hits are of a purchase's product, the error is summed absolute over summed units."""
UNITS = {
    "hit": "share of purchases hit\n(higher is better)",
    "nll": "nats given a purchase\n(lower is better)",
    "quantity": "error of units / units\n(lower is better)",
}
"""What the axes of pictures say."""


@dataclass(frozen=True)
class Verdict:
    """What R training runs of one model score on N test purchases.

    Attributes:
        hit: [R, N].
        nll: In nats [R, N].
        miss: Absolute error of the median units [R, N]; None without quantities.
        units: Units bought [N].
        household: [N].
    """

    hit: FloatArray
    nll: FloatArray
    miss: FloatArray | None
    units: FloatArray
    household: IntArray

    def values(self, metric: str) -> FloatArray:
        """Return the numbers a metric averages [R, N]."""
        found = {"hit": self.hit, "nll": self.nll, "quantity": self.miss}[metric]
        if found is None:
            raise KeyError(metric)
        return found

    def take(self, rows: NDArray[Any]) -> Verdict:
        """Return the verdict on some of the purchases."""
        miss = None if self.miss is None else self.miss[:, rows]
        return Verdict(self.hit[:, rows], self.nll[:, rows], miss, self.units[rows], self.household[rows])


def judge(predictions: Sequence[Prediction], judged: Judged) -> Verdict:
    """Return the verdict on one prediction per training run."""
    data = judged.data
    rows = np.flatnonzero(data.chosen > 0)
    found = [purchase_values(prediction, data) for prediction in predictions]
    miss = np.stack([f["quantity_miss"] for f in found]) if "quantity_miss" in found[0] else None
    return Verdict(
        np.stack([f["hit"] for f in found]).astype(np.float64),
        np.stack([f["nll"] for f in found]),
        miss,
        data.quantity[rows].astype(np.float64),
        data.household[rows],
    )


def score(verdict: Verdict, metric: str) -> Estimate:
    """Return a metric, mean over training runs; its error covers households and, with several runs, training."""
    return _estimate(verdict.values(metric), verdict, metric)


def gap(first: Verdict, second: Verdict, metric: str) -> Estimate:
    """Return first minus second on the same purchases, run by run where both have as many."""
    ours, theirs = first.values(metric), second.values(metric)
    if len(ours) != len(theirs):
        ours, theirs = ours.mean(0, keepdims=True), theirs.mean(0, keepdims=True)
    return _estimate(ours - theirs, first, metric)


def _estimate(values: FloatArray, verdict: Verdict, metric: str) -> Estimate:
    who, mean = verdict.household, values.mean(0)
    found = clustered_ratio(mean, verdict.units, who) if metric == "quantity" else clustered(mean, who)
    if len(values) == 1:
        return found
    below = verdict.units.sum() if metric == "quantity" else values.shape[1]
    runs = values.sum(1) / below
    return replace(found, se=hypot(found.se, float(runs.std(ddof=1)) / sqrt(len(runs))))


def in_words(of: Estimate, unit: str = "", *, digits: int = 4) -> str:
    """Return a difference in words: higher or lower by how much, or statistically indistinguishable from none."""
    size = f"{abs(of.mean):.{digits}f} ± {of.se:.{digits}f}{unit and ' ' + unit}"
    if not abs(of.mean) > 2 * of.se:
        return f"statistically indistinguishable ({of.mean:+.{digits}f} ± {of.se:.{digits}f}{unit and ' ' + unit})"
    return f"{'higher' if of.mean > 0 else 'lower'} by {size}"


def line(quantity: str, of: Estimate, note: str = "") -> ResultRow:
    """Return the table's row of an estimate."""
    return ResultRow(quantity, of.mean, of.se, sample="households", note=note)


def plain(of: Estimate) -> dict[str, float]:
    """Return an estimate for a JSON file."""
    return {"mean": of.mean, "se": of.se}


def report(
    name: str,
    title: str,
    rows: Sequence[ResultRow],
    finding: str,
    data: dict[str, Any],
    settings: dict[str, Any],
    draw: Any,
    notes: Sequence[str] = (),
) -> Reproduction:
    """Return the reproduction of a claim; the finding is its first note."""
    return Reproduction(name, title, tuple(rows), data, settings, (finding, *notes), draw)


def bars(axis: Any, names: Sequence[str], found: Sequence[Estimate], *, colour: str = COLOURS[0]) -> None:
    """Draw estimates with two standard errors, one tick each."""
    at = np.arange(len(names))
    axis.errorbar(at, [e.mean for e in found], [2 * e.se for e in found], fmt="o", color=colour, capsize=3)
    axis.set_xticks(at, names, fontsize=8.5)
    axis.margins(x=0.08)


def curve(
    axis: Any,
    names: Sequence[str],
    found: Sequence[Estimate],
    label: str,
    colour: str,
    at: Sequence[float] | None = None,
) -> None:
    """Draw estimates with two standard errors, joined by a line, at places of their own or one after the other."""
    at = range(len(names)) if at is None else at
    axis.errorbar(
        at, [e.mean for e in found], [2 * e.se for e in found], fmt="-o", color=colour, capsize=3, label=label,
        markersize=4, linewidth=1.4,
    )  # fmt: skip
    axis.set_xticks(at, names, fontsize=8.5)


def metric_curves(found: Mapping[str, Sequence[Verdict]], ticks: Sequence[str], x_label: str, path: Path) -> Path:
    """Draw a panel per metric with a curve per name through its verdicts, one per tick."""

    def paint(axes: list[Any]) -> None:
        for axis, (metric, words) in zip(axes, METRICS.items(), strict=True):
            for k, (name, verdicts) in enumerate(found.items()):
                curve(axis, ticks, [score(verdict, metric) for verdict in verdicts], name, COLOURS[k])
            axis.set_title(words)
            axis.set_ylabel(UNITS[metric], fontsize=8.5)
            axis.set_xlabel(x_label)

    return panels(len(METRICS), path, paint)


def panels(count: int, path: Path, paint: Any, height: float = 3.2) -> Path:
    """Make a row of panels, two rows of more than three, let `paint` fill them, and save the picture.

    What the first panel's curves are called stands below them all.
    """
    rows = 1 if count <= 3 else 2
    columns = -(-count // rows)
    figure, grid = new_figure(rows, columns, size=(3.6 * columns, height * rows))
    axes = list(np.atleast_1d(grid).flat)[:count]
    paint(axes)
    for axis in axes:
        axis.title.set_color(INK)
        axis.title.set_fontsize(10)
    handles, labels = axes[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8.5)
    return save_figure(figure, path)
