"""Training and evaluation as a person sees them in a terminal: bars, tables, where things were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from malles_agents.checkpoints import write_json
from malles_env.errors import invalid
from malles_env.files import read_json

if TYPE_CHECKING:
    from malles_agents.registry import Seller
    from malles_agents.rules import StationarySeller
    from malles_agents.train import Run, Trained
    from malles_env.envs.actions import ActionMode
    from malles_env.scenarios import Scenario

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
    told, last = 0, float("nan")

    def watch(steps: int, profit: float) -> None:
        nonlocal told, last
        last = last if isnan(profit) else profit
        if steps * PARTS // total > told and not isnan(last):
            told = steps * PARTS // total
            console.print(f"  {label}: {min(steps, total):,} of {total:,} steps, {last:,.0f} {currency} per episode")

    return watch


def train_in_console(run: Run, out: Path, *, resume: bool, trust: bool = False) -> Trained:
    """Train with a progress bar and say where the policy is."""
    from malles_agents.train import train
    from malles_env.scenarios import load_scenario

    console = make_console()
    currency = load_scenario(run.scenario).currency
    console.print(f"training {run.algo} on {run.scenario} as {run.learner}, {run.steps:,} steps, into {out}")
    with watched(console, run.algo, run.steps, currency) as watch:
        trained = train(run, out, resume=resume, trust=trust, watch=watch, say=console.print)
    console.print(f"policy: {trained.policy}")
    console.print(f"curves: tensorboard --logdir {out / 'tensorboard'}")
    if run.learner != "all":
        named = f" --model {run.model}" if run.model else ""
        console.print(f"next:   malles evaluate {run.scenario}{named} --policy {trained.policy} --seat {run.learner}")
    return trained


def evaluate_in_console(
    scenario: str,
    sellers: Sequence[str],
    policies: Sequence[Path],
    seat: str,
    rivals: str,
    *,
    episodes: int,
    search: bool,
    model: str | None,
    json_file: Path | None,
    trust: bool = False,
) -> None:
    """Compare sellers, print the table, write JSON if asked."""
    from malles_agents.evaluate import compare, summary
    from malles_agents.registry import default_rivals, make_seller
    from malles_agents.report import as_json, results_table
    from malles_env.scenarios import load_scenario

    console = make_console()
    loaded = load_scenario(scenario)
    specs = [*sellers, *(f"{algorithm_of(path)}:{path}" for path in policies)]
    if not specs:
        raise invalid("sellers", "", "at least one kind or --policy")
    _check_seat(seat, len(loaded.seller_names))
    mode: ActionMode = "discrete" if any(spec.startswith("dqn:") for spec in specs) else "continuous"
    consumers = loaded.build_consumers(model)
    options: dict[str, Any] = {"consumers": consumers, "action_mode": mode, "trust": trust}
    others = default_rivals(loaded, seat, rivals, **options)
    groups: dict[str, list[Seller]] = {}
    for spec in specs:
        kind = spec.partition(":")[0] if spec.endswith(".zip") else spec
        groups.setdefault(kind, []).append(make_seller(spec, loaded, seat, **options))
    if search:
        groups["best-stationary"] = [_searched(console, loaded, seat, rivals, consumers, mode, trust)]
    with console.status("playing") as status:
        played = compare(
            loaded, groups, seat, others, watch=lambda kind: status.update(f"playing {kind}"), episodes=episodes,
            consumers=consumers, action_mode=mode,
        )  # fmt: skip
    results = {kind: summary(runs) for kind, runs in played.items()}
    note = f"{seat} against {rivals}; {episodes} held-out seeds; surplus per consumer and period;\n± one standard error"
    console.print(results_table(results, title=loaded.title or loaded.name, currency=loaded.currency, note=note))
    if json_file is not None:
        write_json(json_file, as_json(results, scenario=loaded.name, seat=seat, rivals=rivals, episodes=episodes))
        console.print(f"written: {json_file}")


def _searched(
    console: Console, scenario: Scenario, seat: str, rivals: str, consumers: Any, mode: ActionMode, trust: bool
) -> StationarySeller:
    """Return the best stationary seller, found in continuous prices and played in `mode`."""
    from malles_agents.registry import default_rivals
    from malles_agents.search import search
    from malles_agents.seat import Seat

    others = default_rivals(scenario, seat, rivals, consumers=consumers, trust=trust)
    with console.status("searching for the best stationary prices and assortment"):
        found = search(scenario, seat, others, consumers=consumers)
    return found.seller(Seat.of(scenario, seat, consumers=consumers, action_mode=mode))


def _check_seat(seat: str, sellers: int) -> None:
    names = [f"seller_{n}" for n in range(sellers)]
    if seat not in names:
        raise invalid("seat", seat, ", ".join(names))


def algorithm_of(policy: Path) -> str:
    """Return the algorithm that wrote a policy, from the ``config.json`` beside it; ppo when there is none."""
    config = policy.parent / "config.json"
    return str(read_json(config).get("algo", "ppo")) if config.exists() else "ppo"
