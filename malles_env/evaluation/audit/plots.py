"""Draws findings: one picture per test, without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.evaluation.audit.finding import Chart, Finding, Series
from malles_env.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#22223b", "#9a9aa8"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6a3d", "#555577")
VERDICT_COLOURS = {"pass": "#1b7f4b", "warn": "#b86e00", "fail": "#b3261e"}


def file_name(finding: Finding) -> str:
    """Return the name of a finding's picture, e.g. ``law-of-demand.png``."""
    return finding.name.replace(" ", "-") + ".png"


def draw_findings(findings: Sequence[Finding], folder: Path) -> list[Path]:
    """Draw every finding that has a chart into `folder` and return the paths."""
    return [draw(finding, folder / file_name(finding)) for finding in findings if finding.chart is not None]


def draw(finding: Finding, path: Path) -> Path:
    """Draw one finding as PNG, whole or not at all, and return its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chart = finding.chart
    if chart is None:
        raise ValueError(f"{finding.name} has no chart")
    figure = Figure(figsize=(8.0, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _decorate(axes, chart)
    bars = [series for series in chart.series if series.style == "bars"]
    for series in chart.series:
        bold = [other for other in chart.series if other.style != "faint"]
        place = bold.index(series) if series in bold else 0
        _draw_series(axes, series, COLOURS[place % len(COLOURS)], bars)
    for label, level in chart.levels.items():
        axes.axhline(level, color=FAINT, linewidth=1.0, linestyle="--" if label else "-", zorder=1)
        if label:
            axes.annotate(
                f"{label} {level:.3g}", (1.0, level), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=8, color=INK,
            )  # fmt: skip
    if chart.diagonal:
        low, high = _span(chart)
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1.0, zorder=1)
    if any(series.label for series in chart.series) and len(chart.series) > 1:
        above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": len(bars)} if bars else {}
        axes.legend(frameon=False, fontsize=8, **above)
    _head(axes, finding, chart)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return path


def _decorate(axes: Axes, chart: Chart) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    if chart.least_y is not None:
        axes.update_datalim([(0.0, -chart.least_y), (0.0, chart.least_y)], updatex=False)
    if chart.log_x:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if chart.ticks:
        axes.set_xticks(range(len(chart.ticks)), labels=chart.ticks)
        if len(chart.ticks) > 3 and max(len(tick) for tick in chart.ticks) > 4:
            axes.tick_params(axis="x", labelrotation=60 if len(chart.ticks) > 8 else 30, labelsize=8)


def _head(axes: Any, finding: Finding, chart: Chart) -> None:
    axes.set_title(chart.title, loc="left", fontsize=11, color=INK, pad=22)
    axes.annotate(
        f"{finding.name}: {finding.verdict}", (0.0, 1.0), xycoords="axes fraction", xytext=(0, 7),
        textcoords="offset points", fontsize=9, color=VERDICT_COLOURS.get(finding.verdict, INK),
    )  # fmt: skip


def _draw_series(axes: Axes, series: Series, colour: str, bars: Sequence[Series]) -> None:
    label = series.label or None
    if series.style == "bars":
        width = 0.8 / len(bars)
        place = np.asarray(series.x) + (bars.index(series) - (len(bars) - 1) / 2) * width
        axes.bar(place, series.y, width=width, color=colour, label=label)
    elif series.style == "points":
        axes.plot(series.x, series.y, ".", color=colour, alpha=0.35, markersize=4, label=label)
    elif series.style == "faint":
        axes.plot(series.x, series.y, color=FAINT, alpha=0.6, linewidth=0.9)
    else:
        axes.plot(series.x, series.y, color=colour, linewidth=1.8, marker="o", markersize=3.5, label=label)


def _span(chart: Chart) -> tuple[float, float]:
    values = [value for series in chart.series for value in (*series.x, *series.y)]
    return (min(values), max(values)) if values else (0.0, 1.0)
