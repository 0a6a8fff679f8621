"""Pictures of training and evaluation: learning curves, one episode's prices and shares, profits side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_agents.checkpoints import write_whole
from malles_agents.sellers.sb3.policies import ALGORITHMS
from malles_env.type_aliases import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#22223b", "#9a9aa8"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6a3d", "#555577")


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (8.0, 4.5)) -> tuple[Figure, Any]:
    """Return a figure drawn without a screen, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns)
    for axis in np.atleast_1d(axes).flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e6e6ec", linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, axes


def _with_separators(axis: Any) -> None:
    """Write the numbers of an axis as 200,000."""
    from matplotlib.ticker import StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path."""
    return write_whole(Path(path), lambda buffer: figure.savefig(buffer, dpi=130, format="png"))


def learning_curve(
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    references: Mapping[str, float],
    path: Path,
    *,
    title: str = "",
    currency: str = "money",
) -> Path:
    """Draw profit per episode over training steps, from a little below the lowest reference upwards.

    Args:
        curves: Label -> rows with ``steps`` and ``profit`` (money per episode, while exploring).
        references: Label -> profit per episode, drawn as level lines.
        path: Where the PNG goes.
        title: Above the picture.
        currency: Unit of profit.
    """
    figure, axis = new_figure()
    for (label, rows), colour in zip(curves.items(), COLOURS * 9, strict=False):
        steps = np.array([row["steps"] for row in rows]) / 1000.0
        profit = np.array([row["profit"] for row in rows])
        axis.plot(steps, _smooth(profit), color=colour, linewidth=1.8, label=label)
    ranked = sorted(references.items(), key=lambda pair: -pair[1])
    for (label, value), style in zip(ranked, ("--", ":", "-.") * 3, strict=False):
        axis.axhline(value, color=INK, linewidth=1.3, linestyle=style, label=label)
    if references:
        low, high = ranked[-1][1], ranked[0][1]
        axis.set_ylim(bottom=low - max(2.0 * (high - low), 0.02 * abs(low)))
    axis.set_xlabel("training steps (thousand periods, all markets together)")
    axis.set_ylabel(f"profit per episode ({currency})")
    _with_separators(axis.yaxis)
    axis.set_title(title, loc="left", fontsize=11)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return save_figure(figure, path)


def two_worlds(
    prices: Sequence[FloatArray],
    best: FloatArray,
    robust: float,
    shares: Mapping[str, tuple[float, float]],
    path: Path,
    *,
    title: str = "",
    ylabel: str = "price",
    period: str = "period",
) -> Path:
    """Draw what a learner asks under two hidden draws beside the best constant prices, and every seller's profit.

    Args:
        prices: One path per draw, sensitive consumers first, money, each of shape ``(T,)``.
        best: What is best under each draw, money, shape ``(2,)``.
        robust: The constant price that is best over all draws, money.
        shares: Seller kind -> profit as a share of what knowing the draw earns, and its standard error.
        path: Where the PNG goes.
        title: Above the picture.
        ylabel: Of the prices.
        period: What a step is, e.g. ``"week"``.
    """
    figure, (left, right) = new_figure(1, 2, size=(11.5, 4.6))
    worlds = ("price-sensitive customers", "less sensitive customers")
    for path_of, level, colour, name in zip(prices, best, (COLOURS[0], COLOURS[1]), worlds, strict=True):
        weeks = np.arange(1, len(path_of) + 1)
        left.plot(weeks, path_of, color=colour, linewidth=2.2, label=f"learner, {name}")
        left.axhline(level, color=colour, linewidth=1.2, linestyle="--", label="best there, if one knew")
    left.axhline(robust, color=FAINT, linewidth=1.6, linestyle=":", label="best constant price, not knowing")
    left.set_xlabel(f"{period} of an episode never seen in training")
    left.set_ylabel(ylabel)
    left.set_title("What it asks, under two hidden draws", loc="left", fontsize=10)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    ranked = sorted(shares, key=lambda kind: shares[kind][0])
    means, errors = [100 * shares[kind][0] for kind in ranked], [200 * shares[kind][1] for kind in ranked]
    colours = [COLOURS[0] if kind in ALGORITHMS else INK for kind in ranked]
    for row, (mean, error, colour) in enumerate(zip(means, errors, colours, strict=True)):
        right.errorbar(mean, row, xerr=error, fmt="o", markersize=8, color=colour, ecolor=colour, capsize=3)
        right.annotate(f"{mean:.1f}", (mean, row), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=9)
    right.set_yticks(range(len(ranked)), ranked)
    right.set_ylim(-0.6, len(ranked) - 0.3)
    right.grid(axis="x", color="#e6e6ec", linewidth=0.8)
    right.grid(visible=False, axis="y")
    right.set_xlabel("profit, % of the clairvoyant's; whiskers: 2 standard errors")
    right.set_title("What it earns, over all hidden draws", loc="left", fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return save_figure(figure, path)


def _smooth(values: FloatArray) -> FloatArray:
    """Return the running mean over up to a tenth of the rows, at least 5, up to each."""
    width = max(5, len(values) // 10)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - width, 0)
    return (sums[last] - sums[first]) / (last - first)


def episode(
    prices: FloatArray,
    listed: BoolArray,
    share: FloatArray,
    labels: Sequence[str],
    own: BoolArray,
    path: Path,
    *,
    title: str = "",
    currency: str = "money",
    period: str = "period",
) -> Path:
    """Draw one episode: prices of what was listed, and shares of purchases.

    Args:
        prices: Money, shape ``(T, J)``.
        listed: Shape ``(T, J)``.
        share: Shares of the period's purchases, shape ``(T, J)``.
        labels: J product names.
        own: Which products are the learner's (full lines; the others are dashed), shape ``(J,)``.
        path: Where the PNG goes.
        title: Above the picture.
        currency: Unit of prices.
        period: What a step is, e.g. ``"week"``.
    """
    figure, (top, bottom) = new_figure(2, 1, size=(9.0, 7.0))
    weeks = np.arange(1, len(prices) + 1)
    order = [j for j in np.argsort(~own, kind="stable") if listed[:, j].any()]
    for index, j in enumerate(order):
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linestyle": "-" if own[j] else "--"}
        style["linewidth"] = 2.0 if own[j] else 1.1
        shown = np.where(listed[:, j], prices[:, j], np.nan)
        label = f"{labels[j]}{'' if own[j] else ' (rival)'}"
        top.plot(weeks, shown, marker="." if len(weeks) < 80 else None, markersize=3, label=label, **style)
        bottom.plot(weeks, 100.0 * np.where(listed[:, j], share[:, j], 0.0), **style)
    top.set_ylabel(f"price ({currency} per unit)")
    bottom.set_ylabel("share of purchases (%)")
    bottom.set_xlabel(f"{period} of the episode")
    top.set_title(title, loc="left", fontsize=11)
    figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return save_figure(figure, path)


def comparison(
    profit: Mapping[str, Mapping[str, float]],
    best: float,
    path: Path,
    *,
    title: str = "",
    currency: str = "money",
) -> Path:
    """Draw mean profit per episode of each seller kind with two standard errors, and the best stationary one.

    Args:
        profit: Seller kind -> ``mean`` and ``se`` in money.
        best: Profit of the best stationary prices and assortment.
        path: Where the PNG goes.
        title: Above the picture.
        currency: Unit of profit.
    """
    figure, axis = new_figure(size=(8.0, 0.55 * len(profit) + 1.8))
    ranked = sorted(profit, key=lambda kind: profit[kind]["mean"])
    means = [profit[kind]["mean"] for kind in ranked]
    errors = np.nan_to_num([2.0 * profit[kind]["se"] for kind in ranked]).tolist()  # none of a single run
    colours = [COLOURS[0] if kind in ALGORITHMS else "#c9ccd6" for kind in ranked]
    axis.barh(ranked, means, xerr=errors, color=colours, ecolor=INK, capsize=3, height=0.65)
    axis.axvline(best, color=COLOURS[1], linewidth=1.6, linestyle="--")
    axis.annotate(
        "best stationary", (best, 1.0), xycoords=("data", "axes fraction"), rotation=0, ha="right", va="bottom",
        fontsize=9, color=COLOURS[1],
    )  # fmt: skip
    for row, (mean, error) in enumerate(zip(means, errors, strict=True)):
        _write_value(axis, row, mean, error, best, "white" if ranked[row] in ALGORITHMS else INK)
    axis.grid(axis="x", color="#e6e6ec", linewidth=0.8)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"profit per episode ({currency}); whiskers: 2 standard errors")
    _with_separators(axis.xaxis)
    axis.set_title(title, loc="left", fontsize=11, pad=18)
    return save_figure(figure, path)


def _write_value(axis: Axes, row: int, mean: float, error: float, best: float, colour: str) -> None:
    inside = mean > 0.25 * best
    axis.text(
        mean - error - 0.01 * best if inside else mean + error + 0.01 * best, row, f"{mean:,.0f}",
        va="center", ha="right" if inside else "left", color=colour if inside else INK, fontsize=9,
    )  # fmt: skip
