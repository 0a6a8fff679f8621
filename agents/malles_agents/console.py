"""Training and evaluation as a person sees them in a terminal: bars, tables, where things were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from malles_env.files import write_json

if TYPE_CHECKING:
    from malles_agents.training.train import Run, Trained

Watch = Callable[[int, float], None]
PARTS = 5


def make_console() -> Console:
    """Return a console that writes to standard output."""
    return Console(highlight=False, soft_wrap=True)


@contextmanager
def watched(console: Console, label: str, total: int, currency: str, start: int = 0) -> Iterator[Watch]:
    """Show progress of a training run: a bar in a terminal, a few lines elsewhere.

    Args:
        console: Where to.
        label: What runs.
        total: Steps at the end.
        currency: Unit of profit.
        start: Steps done before.
    """
    if not console.is_terminal:
        yield _line_by_line(console, label, total, currency)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[profit]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, completed=start, profit="")

        def watch(steps: int, profit: float) -> None:
            bar.update(task, completed=min(steps, total))
            if not isnan(profit):
                bar.update(task, profit=f"{profit:,.0f} {currency} per episode")

        yield watch


def _line_by_line(console: Console, label: str, total: int, currency: str) -> Watch:
    reported, last = 0, float("nan")

    def watch(steps: int, profit: float) -> None:
        nonlocal reported, last
        last = last if isnan(profit) else profit
        if steps * PARTS // total > reported and not isnan(last):
            reported = steps * PARTS // total
            console.print(f"  {label}: {min(steps, total):,} of {total:,} steps, {last:,.0f} {currency} per episode")

    return watch


def train_in_console(
    run: Run, out: Path, *, resume: bool, trust: bool = False, json_file: Path | None = None, address: str | None = None
) -> Trained:
    """Train with a progress bar, say where the policy is, write the run and its curve as JSON if asked."""
    from malles_agents.sellers.sb3.policies import algorithm_class
    from malles_agents.training.rllib.train import train as train_with_rllib
    from malles_agents.training.train import train
    from malles_env.scenarios import load_scenario

    console = make_console()
    algorithm_class(run.algo)  # a wrong name, or a package not installed, before anything is announced
    currency = load_scenario(run.scenario).currency
    console.print(f"training {run.algo} on {run.scenario} as {run.learner}, {run.steps:,} steps, into {out}")
    with watched(console, run.algo, run.steps, currency) as watch:
        how: dict[str, Any] = {"resume": resume, "trust": trust, "watch": watch, "say": console.print}
        if run.engine == "rllib":
            trained = train_with_rllib(run, out, address=address, **how)
        else:
            trained = train(run, out, **how)
    console.print(f"policy: {trained.policy}")
    console.print(f"curves: tensorboard --logdir {out / 'tensorboard'}")
    if run.learner != "all":
        named = f" --model {run.model}" if run.model else ""
        console.print(f"next:   malles evaluate {run.scenario}{named} --policy {trained.policy} --agent {run.learner}")
    if json_file is not None:
        result = {"run": asdict(run), "policy": str(trained.policy), "curve": trained.curve}
        console.print(f"written: {write_json(json_file, result)}")
    return trained
