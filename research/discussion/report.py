"""Table and plot of the discussion study, errors clustered by household."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import COLOURS
from malles_env.evaluation.metrics import Estimate, clustered, clustered_ratio
from malles_env.files import replacing
from research.discussion.arms import COSTS, HABIT, SINGLE, SUMMARY
from research.paper.scores import curve, panels

_CLOCKS = {"seconds": "seconds", "cpu_seconds": "CPU-seconds"}


@dataclass(frozen=True)
class Cell:
    """What one way of deciding scored at one size of shelf and length of sheets.

    Attributes:
        size, length, arm: Which cell.
        purchases: Purchases decided.
        hit, probability, nats: Of the product bought.
        difference: Nats less those of the single agent before the same shelves; 0 for the single agent, None where it
            has not decided.
        quantity_error: Summed absolute error of the median units over summed units.
        cost: Means of tokens, seconds and CPU-seconds per decision.
    """

    size: int
    length: int
    arm: str
    purchases: int
    hit: Estimate
    probability: Estimate
    nats: Estimate
    difference: Estimate | None
    quantity_error: Estimate
    cost: dict[str, float]


def summarise(records: Sequence[dict[str, Any]]) -> list[Cell]:
    """Return one cell per shelf size, sheet length and way of deciding."""
    keys = sorted({(r["length"], r["size"], _rank(r["arm"]), r["arm"]) for r in records})
    by_cell: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
    for record in records:
        by_cell.setdefault((record["length"], record["size"], record["arm"]), []).append(record)
    cells = []
    for length, size, _, arm in keys:
        alone = {r["occasion"]: r["nats"] for r in by_cell.get((length, size, SINGLE), [])}
        cells.append(_cell(size, length, arm, by_cell[length, size, arm], alone))
    return cells


def everywhere(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of the purchases that are on record in every cell, so that cells can be compared at sight."""
    by_purchase: dict[int, set[tuple[int, int, str]]] = {}
    for record in records:
        by_purchase.setdefault(record["occasion"], set()).add((record["size"], record["length"], record["arm"]))
    every = set().union(*by_purchase.values())
    return [record for record in records if by_purchase[record["occasion"]] == every]


def _rank(arm: str) -> int:
    return {HABIT: 0, SINGLE: 1, SUMMARY: 2}.get(arm, 3)


def _cell(size: int, length: int, arm: str, of: list[dict[str, Any]], alone: dict[int, float]) -> Cell:
    compared = [r for r in of if r["occasion"] in alone]
    _, buyers = np.unique([r["household"] for r in compared], return_inverse=True)
    less = np.array([r["nats"] - alone[r["occasion"]] for r in compared])
    _, who = np.unique([r["household"] for r in of], return_inverse=True)
    column = {name: np.array([float(r[name]) for r in of]) for name in ("hit", "probability", "nats", "miss", "units")}
    hit, probability, nats = (clustered(column[name], who) for name in ("hit", "probability", "nats"))
    return Cell(
        size=size,
        length=length,
        arm=arm,
        purchases=len(of),
        hit=hit,
        probability=probability,
        nats=nats,
        difference=clustered(less, buyers) if compared else None,
        quantity_error=clustered_ratio(column["miss"], column["units"], who),
        cost={name: float(np.mean([r[name] for r in of])) for name in COSTS},
    )


def table(found: Sequence[Cell], command: str, clock: str = "cpu_seconds") -> str:
    """Return the cells as a Markdown table with the command that made it below.

    Args:
        found: The cells.
        command: What made them.
        clock: Which time is reported: ``cpu_seconds``, or ``seconds`` where the work was another process's.
    """
    lines = [
        "| shelf | sheet | decided by | purchases | hit rate | probability | nats (uniform) | nats less single's "
        f"| quantity error | tokens | {_CLOCKS[clock]} |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in found:
        less = "" if c.arm == SINGLE or c.difference is None else str(c.difference)
        lines.append(
            f"| {c.size} | {c.length} | {c.arm} | {c.purchases} | {c.hit} | {c.probability} | {c.nats} "
            f"({np.log(c.size):.2f}) | {less} | {c.quantity_error} | {c.cost['tokens']:,.0f} "
            f"| {c.cost[clock]:.1f} |"
        )
    return "\n".join([*lines, "", f"± one standard error, clustered by household. `{command}`"])


def write_summary(found: Sequence[Cell], page: str, command: str, settings: dict[str, Any], out: Path) -> None:
    """Write ``discussion.md``, the table, and ``discussion.json``, the cells, each whole or not at all."""
    rows = [{**vars(c), **{name: vars(v) for name, v in vars(c).items() if isinstance(v, Estimate)}} for c in found]
    texts = {
        "discussion.md": page,
        "discussion.json": json.dumps({"command": command, "settings": settings, "cells": rows}, indent=2),
    }
    for name, text in texts.items():
        with replacing(out / name) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def draw(found: Sequence[Cell], path: Path) -> Path:
    """Draw the nats of the product bought against shelf size, sheet length and rounds, and what decisions cost."""
    at = {(c.size, c.length, c.arm): c for c in found}
    sizes, lengths = sorted({c.size for c in found}), sorted({c.length for c in found})
    talks = [c for c in found if _rank(c.arm) == 3]
    farthest = max(talks, key=lambda c: _rounds(c.arm), default=None)
    talked = farthest.size if farthest else sizes[0]
    widest = max(sizes, key=lambda size: (len({c.length for c in found if c.size == size}), size == talked))
    arms = [HABIT, SINGLE, SUMMARY, *_common_talk(talks)]
    by_size = [(str(size), (size, lengths[0])) for size in sizes]
    by_length = [(str(length), (widest, length)) for length in lengths]

    def paint(axes: list[Any]) -> None:
        _nats(axes[0], at, by_size, arms)
        axes[0].plot(range(len(sizes)), np.log(sizes), color="#9a9aa8", linestyle="--", linewidth=1.0, label="uniform")
        axes[0].set_xlabel("products on the shelf")
        _nats(axes[1], at, by_length, arms)
        axes[1].axhline(np.log(widest), color="#9a9aa8", linestyle="--", linewidth=1.0)
        axes[1].set_xlabel(f"padding of a sheet, characters (shelf of {widest})")
        if farthest is not None:
            _against_rounds(axes[2], at, farthest)
        _costs(axes[3], {key: cell for key, cell in at.items() if cell.arm != HABIT}, by_size, arms)

    return panels(4, path, paint, height=3.6)


def _rounds(arm: str) -> int:
    return int(arm.split()[1])


def _common_talk(talks: Sequence[Cell]) -> list[str]:
    """Return the longest discussion that was held in every cell where one was held."""
    if not talks:
        return []
    most: dict[tuple[int, int], int] = {}
    for c in talks:
        most[c.size, c.length] = max(most.get((c.size, c.length), 0), _rounds(c.arm))
    return [f"rounds {min(most.values())}"]


def _curves(axis: Any, at: dict[Any, Cell], places: Sequence[Any], arms: Sequence[str], value: Any) -> None:
    """Draw a curve per way of deciding over the places where it decided."""
    for number, arm in enumerate(arms):
        have = [(x + 0.05 * number, name, at[(*key, arm)]) for x, (name, key) in enumerate(places) if (*key, arm) in at]
        if have:
            x, names, cells = zip(*have, strict=True)
            curve(axis, names, [value(cell) for cell in cells], arm, COLOURS[number % len(COLOURS)], x)
    axis.set_xticks(range(len(places)), [name for name, _ in places], fontsize=8.5)


def _nats(axis: Any, at: dict[Any, Cell], places: Sequence[Any], arms: Sequence[str]) -> None:
    _curves(axis, at, places, arms, lambda cell: cell.nats)
    axis.set_title("how well the purchase is predicted")
    axis.set_ylabel("nats of the product bought (lower is better)", fontsize=8.5)
    axis.set_ylim(bottom=0)


def _against_rounds(axis: Any, at: dict[Any, Cell], farthest: Cell) -> None:
    arms = [SINGLE, *(f"rounds {r}" for r in range(1, 21)), SUMMARY]
    have = [arm for arm in arms if (farthest.size, farthest.length, arm) in at]
    names = [arm.removeprefix("rounds ") for arm in have]
    curve(axis, names, [at[farthest.size, farthest.length, arm].nats for arm in have], "", COLOURS[1])
    axis.axhline(np.log(farthest.size), color="#9a9aa8", linestyle="--", linewidth=1.0)
    axis.set_title(f"by rounds, shelf of {farthest.size}")
    axis.set_ylabel("nats of the product bought (lower is better)", fontsize=8.5)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("rounds of discussion")


def _costs(axis: Any, at: dict[Any, Cell], places: Sequence[Any], arms: Sequence[str]) -> None:
    _curves(axis, at, places, arms, lambda cell: Estimate(cell.cost["tokens"], 0.0))
    axis.set_title("what a decision costs")
    axis.set_ylabel("tokens read and written", fontsize=8.5)
    axis.set_xlabel("products on the shelf")
