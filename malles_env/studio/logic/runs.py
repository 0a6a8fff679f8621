"""Training runs on disk: what they are and how they learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malles_env.errors import CorruptFile, MallesError
from malles_env.files import read_json

MOST_RUNS = 500


@dataclass(frozen=True)
class RunOnDisk:
    """A run that `malles train`, or a study, left in a folder.

    Attributes:
        name: Its folder, relative to the one that was searched.
        config: What was trained.
        curve: One row per rollout: ``steps``, ``profit``, ``seconds``.
    """

    name: str
    config: dict[str, Any]
    curve: list[dict[str, float]]


def find_runs(folder: Path) -> tuple[list[RunOnDisk], list[str]]:
    """Return the runs below a folder by name, at most MOST_RUNS, and in words what could not be read."""
    if not folder.is_dir():
        return [], []
    found = [_read_or_complain(path, folder) for path in sorted(folder.rglob("curve.json"))[:MOST_RUNS]]
    runs = [run for run in found if isinstance(run, RunOnDisk)]
    return runs, [words for words in found if isinstance(words, str)]


def _read_or_complain(path: Path, folder: Path) -> RunOnDisk | str:
    try:
        return _read(path, folder)
    except (MallesError, OSError) as error:
        return str(error)


def _read(path: Path, folder: Path) -> RunOnDisk:
    config, curve = read_json(path.parent / "config.json"), read_json(path)
    whole = isinstance(curve, list) and all(
        isinstance(row, dict) and {"steps", "profit"} <= row.keys() for row in curve
    )
    if not isinstance(config, dict) or not whole:
        raise CorruptFile(f"{path}: is no learning curve of a run")
    return RunOnDisk(path.parent.relative_to(folder).as_posix(), config, curve)


def run_rows(runs: Sequence[RunOnDisk]) -> list[dict[str, Any]]:
    """Return one row per run: what was trained, how long, and what it earned while exploring, at the end."""
    return [
        {
            "run": run.name,
            "market": str(run.config.get("scenario", "")),
            "algorithm": str(run.config.get("algo", "")),
            "taste model": run.config.get("model"),
            "seed": run.config.get("seed"),
            "steps": run.curve[-1]["steps"] if run.curve else 0,
            "of": run.config.get("steps"),
            "last profit": _last(run.curve),
        }
        for run in runs
    ]


def _last(curve: list[dict[str, float]]) -> float | None:
    """Return the mean profit of the last tenth of the rollouts."""
    known = [row["profit"] for row in curve if row["profit"] == row["profit"]]
    tail = known[-max(1, len(known) // 10) :]
    return sum(tail) / len(tail) if tail else None


def curve_rows(runs: Sequence[RunOnDisk]) -> list[dict[str, Any]]:
    """Return all points of the learning curves; profits that are not known yet are left out."""
    return [
        {"run": run.name, "steps": row["steps"], "profit": row["profit"]}
        for run in runs
        for row in run.curve
        if row["profit"] == row["profit"]
    ]
