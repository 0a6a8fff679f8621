"""Table and plot of the discussion study, errors clustered by household."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import COLOURS
from malles_agents.reproduce.paper_scores import curve, panels
from malles_env.alignment.evaluation import Estimate, clustered, clustered_ratio
from malles_env.files import replacing

COSTS = ("tokens", "seconds", "cpu_seconds")


@dataclass(frozen=True)
class Cell:
    """What one way of deciding scored at one size of shelf and length of sheets.

    Attributes:
        size, length, arm: Which cell.
        purchases: Purchases decided.
        hit, probability, nats: Of the product bought.
        difference: Nats less those of the single agent before the same shelves; 0 for the single agent.
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
    difference: Estimate
    quantity_error: Estimate
    cost: dict[str, float]


def summarise(records: Sequence[dict[str, Any]]) -> list[Cell]:
    """Return one cell per shelf size, sheet length and way of deciding."""
    keys = sorted({(r["length"], r["size"], _rank(r["arm"]), r["arm"]) for r in records})
    cells = []
    for length, size, _, arm in keys:
        here = [r for r in records if (r["length"], r["size"]) == (length, size)]
        alone = {r["occasion"]: r["nats"] for r in here if r["arm"] == "single"}
        cells.append(_cell(size, length, arm, [r for r in here if r["arm"] == arm], alone))
    return cells


def _rank(arm: str) -> int:
    return {"single": 0, "summary": 1}.get(arm, 2)


def _cell(size: int, length: int, arm: str, of: list[dict[str, Any]], alone: dict[int, float]) -> Cell:
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
        difference=clustered(column["nats"] - np.array([alone[r["occasion"]] for r in of]), who),
        quantity_error=clustered_ratio(column["miss"], column["units"], who),
        cost={name: float(np.mean([r[name] for r in of])) for name in COSTS},
    )


def table(found: Sequence[Cell], command: str) -> str:
    """Return the cells as a Markdown table with the command that made it below."""
    lines = [
        "| shelf | sheet | decided by | purchases | hit rate | probability | nats (uniform) | nats less single's "
        "| quantity error | tokens | CPU-seconds |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in found:
        less = "" if c.arm == "single" else str(c.difference)
        lines.append(
            f"| {c.size} | {c.length} | {c.arm} | {c.purchases} | {c.hit} | {c.probability} | {c.nats} "
            f"({np.log(c.size):.2f}) | {less} | {c.quantity_error} | {c.cost['tokens']:,.0f} "
            f"| {c.cost['cpu_seconds']:.1f} |"
        )
    return "\n".join([*lines, "", f"± one standard error, clustered by household. `{command}`"])


def write_summary(found: Sequence[Cell], command: str, settings: dict[str, Any], out: Path) -> None:
    """Write ``discussion.md`` and ``discussion.json`` into a folder, each whole or not at all."""
    rows = [{**vars(c), **{name: vars(v) for name, v in vars(c).items() if isinstance(v, Estimate)}} for c in found]
    texts = {
        "discussion.md": table(found, command),
        "discussion.json": json.dumps({"command": command, "settings": settings, "cells": rows}, indent=2),
    }
    for name, text in texts.items():
        with replacing(out / name) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def draw(found: Sequence[Cell], path: Path) -> Path:
    """Draw the probability of the product bought, against shelf size and rounds, and what decisions cost."""
    sizes = sorted({c.size for c in found})
    lengths = sorted({c.length for c in found})
    at = {(c.size, c.length, c.arm): c for c in found}
    farthest = max((c for c in found if _rank(c.arm) == 2), key=lambda c: int(c.arm.split()[1]), default=None)

    def paint(axes: list[Any]) -> None:
        _against_size(axes[0], at, sizes, lengths)
        if farthest is not None:
            _against_rounds(axes[1], at, farthest)
        _costs(axes[2], at, sizes, lengths[0])

    return panels(3, path, paint, height=3.6)


def _against_size(axis: Any, at: dict[Any, Cell], sizes: list[int], lengths: list[int]) -> None:
    number = 0
    for length in lengths:
        for arm in ("single", "summary", "rounds 3"):
            have = [size for size in sizes if (size, length, arm) in at]
            if have:
                name = f"{arm}{f', sheets of {length}' if length else ''}"
                points = [at[size, length, arm].nats for size in have]
                curve(axis, [str(size) for size in have], points, name, COLOURS[number % len(COLOURS)])
            number += 1
    axis.plot(range(len(sizes)), np.log(sizes), color="#9a9aa8", linestyle="--", linewidth=1.0, label="uniform")
    axis.set_title("nats of the product bought")
    axis.set_xlabel("products on the shelf")
    axis.legend(frameon=False, fontsize=6.5)


def _against_rounds(axis: Any, at: dict[Any, Cell], farthest: Cell) -> None:
    arms = ["single", *(f"rounds {r}" for r in range(1, 21)), "summary"]
    have = [arm for arm in arms if (farthest.size, farthest.length, arm) in at]
    names = [arm.removeprefix("rounds ") for arm in have]
    curve(axis, names, [at[farthest.size, farthest.length, arm].nats for arm in have], "", COLOURS[0])
    axis.axhline(np.log(farthest.size), color="#9a9aa8", linestyle="--", linewidth=1.0)
    axis.set_title(f"nats by rounds, shelf of {farthest.size}")
    axis.set_xlabel("rounds of discussion")


def _costs(axis: Any, at: dict[Any, Cell], sizes: list[int], length: int) -> None:
    for number, arm in enumerate(("single", "summary", "rounds 3")):
        have = [size for size in sizes if (size, length, arm) in at]
        if have:
            values = [Estimate(at[size, length, arm].cost["tokens"], 0.0) for size in have]
            curve(axis, [str(size) for size in have], values, arm, COLOURS[number])
    axis.set_title("tokens per decision")
    axis.set_xlabel("products on the shelf")
    axis.legend(frameon=False, fontsize=8)
