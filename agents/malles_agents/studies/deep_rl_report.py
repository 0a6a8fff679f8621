"""A study for people: the table as Markdown and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.evaluation.report import label_of
from malles_agents.plots import COLOURS, FAINT, INK, new_figure, save_figure
from malles_agents.studies.deep_rl import ResultLine, Score, Yardstick, interval, iqm, lines, self_play_gain
from malles_env.files import json_plain


def as_markdown(scores: Sequence[Score], yardsticks: dict[str, Yardstick], command: str) -> str:
    """Return the tables with the command that made them below."""
    seeds = len({score.seed for score in scores})
    text = ["| scenario | algorithm | of best stationary | of dynamic optimum |", "|---|---|---:|---:|"]
    text += [
        f"| {label_of(line.scenario)} | {line.algo} | {_cell(line.stationary)} | {_cell(line.optimum)} |"
        for line in lines(scores, yardsticks)
    ]
    shared = [score for score in scores if score.learner == "all"]
    if shared:
        text += ["", "| self-play in the textbook duopoly | profit gain |", "|---|---:|"]
        for algo in dict.fromkeys(score.algo for score in shared):
            gains = self_play_gain([score.profit for score in shared if score.algo == algo])
            text.append(f"| {algo}, one policy for both sellers | {_cell((iqm(gains), *interval(gains)))} |")
    many = f"Interquartile mean over {seeds} training seeds, 95% bootstrap interval"
    over = many if seeds > 1 else "One training seed"
    text += ["", f"{over}. Made by `{command}`."]
    return "\n".join(text)


def as_json(scores: Sequence[Score], yardsticks: dict[str, Yardstick]) -> dict[str, Any]:
    """Return scenario -> algorithm -> ``of_stationary`` and ``of_optimum``: ``iqm``, ``low``, ``high``, or None."""
    found: dict[str, Any] = {}
    for line in lines(scores, yardsticks):
        parts = {"of_stationary": line.stationary, "of_optimum": line.optimum}
        found.setdefault(line.scenario, {})[line.algo] = {
            name: None if value is None else dict(zip(("iqm", "low", "high"), value, strict=True))
            for name, value in parts.items()
        }
    return json_plain(found)


def _cell(value: tuple[float, float, float] | None) -> str:
    if value is None:
        return ""
    return f"{value[0]:.3f}" if np.isnan(value[1]) else f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def draw(scores: Sequence[Score], yardsticks: dict[str, Yardstick], out: Path) -> list[Path]:
    """Draw the shares with their intervals, the learning curves, and the profit gain over self-play."""
    pictures = [_draw_shares(lines(scores, yardsticks), out / "shares.png")]
    pictures += [
        _draw_curves(scores, scenario, known, out / f"curve-{Path(scenario).stem}.png")
        for scenario, known in yardsticks.items()
    ]
    shared = [score for score in scores if score.learner == "all"]
    return pictures + ([_draw_self_play(shared, out / "self-play.png")] if shared else [])


def _draw_shares(table: Sequence[ResultLine], path: Path) -> Path:
    figure, axis = new_figure(size=(8.0, 1.2 + 0.35 * len(table)))
    algos = list(dict.fromkeys(line.algo for line in table))
    for row, line in enumerate(table):
        middle, low, high = line.stationary
        colour = COLOURS[algos.index(line.algo)]
        axis.plot([low, high], [row, row], color=colour, linewidth=3, alpha=0.5)
        axis.plot(middle, row, "o", color=colour)
    axis.axvline(1.0, color=FAINT, linestyle="--")
    axis.set_yticks(range(len(table)), [f"{Path(line.scenario).stem}, {line.algo}" for line in table])
    axis.invert_yaxis()
    axis.set_xlabel("profit as a share of the best stationary response (right is better; bars: 95%)")
    axis.set_title("What deep RL earns beside the best constant answer", loc="left")
    return save_figure(figure, path)


def _band(group: Sequence[Score]) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and profits ``(seeds, points)`` of runs on common steps."""
    grid = np.linspace(
        max(score.curve[0]["steps"] for score in group), min(score.curve[-1]["steps"] for score in group), 60
    )
    rows = [np.interp(grid, [r["steps"] for r in score.curve], [r["profit"] for r in score.curve]) for score in group]
    return grid, np.array(rows)


def _draw_curves(scores: Sequence[Score], scenario: str, known: Yardstick, path: Path) -> Path:
    figure, axis = new_figure()
    mine = [score for score in scores if score.scenario == scenario and score.learner == "seller_0"]
    for k, algo in enumerate(dict.fromkeys(score.algo for score in mine)):
        grid, rows = _band([score for score in mine if score.algo == algo])
        share = rows / known.stationary
        axis.plot(grid, [iqm(column) for column in share.T], color=COLOURS[k], label=f"{algo}, exploring")
        axis.fill_between(grid, share.min(axis=0), share.max(axis=0), color=COLOURS[k], alpha=0.2)
    axis.axhline(1.0, color=INK, linestyle="--", label="best stationary response")
    if known.optimum is not None:
        axis.axhline(known.optimum / known.stationary, color=FAINT, linestyle=":", label="dynamic optimum")
    axis.set_xlabel("training steps (periods, all markets together)")
    axis.set_ylabel("profit, share of best stationary (more is better)")
    axis.set_title(Path(scenario).stem, loc="left")
    axis.legend(frameon=False, loc="lower right")
    return save_figure(figure, path)


def _draw_self_play(shared: Sequence[Score], path: Path) -> Path:
    figure, axis = new_figure()
    for k, algo in enumerate(dict.fromkeys(score.algo for score in shared)):
        grid, rows = _band([score for score in shared if score.algo == algo])
        gains = self_play_gain(rows)
        axis.plot(grid, [iqm(column) for column in gains.T], color=COLOURS[k], label=f"{algo}, exploring")
        axis.fill_between(grid, gains.min(axis=0), gains.max(axis=0), color=COLOURS[k], alpha=0.2)
    axis.axhline(0.0, color=FAINT, linestyle=":", label="Bertrand-Nash")
    axis.axhline(1.0, color=FAINT, linestyle="--", label="joint optimum")
    axis.set_xlabel("training steps (periods, all markets together)")
    axis.set_ylabel("profit gain (0: Nash, 1: joint optimum)")
    axis.set_title("Self-play in the duopoly: mean of the middle half of the seeds, band: all", loc="left")
    axis.legend(frameon=False)
    return save_figure(figure, path)
