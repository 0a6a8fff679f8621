"""`malles align` trains a taste model; `malles consumers evaluate` says how far to trust one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from malles_env.alignment.workflow import Report
    from malles_env.data.occasions import Occasions

Settings = TypeVar("Settings", bound=Any)
consumers_app = typer.Typer(help="Consumers: how well a taste model stands in for households.", no_args_is_help=True)

OccasionsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of choice occasions; by default the Complete Journey, built once into the cache."),
]


@consumers_app.callback()
def _consumers() -> None:
    """Consumers: how well a taste model stands in for households."""


def align_command(
    backbone: Annotated[str, typer.Option(help="embedded, smollm2, a local path or a hub id.")] = "embedded",
    out: Annotated[Path, typer.Option(help="Folder of the run; the model ends in OUT/model.")] = Path("runs/align"),
    occasions: OccasionsOption = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of backbone and heads together, at most (embedded only).")
    ] = None,
    head_steps: Annotated[int | None, typer.Option(help="Steps of the heads alone, at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Occasions per step of the first phase.")] = None,
    per_focus: Annotated[int | None, typer.Option(help="Training occasions per scenario market.")] = None,
    per_other: Annotated[int | None, typer.Option(help="Training occasions per other market.")] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between validations and checkpoints.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and data order.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    resume: Annotated[bool, typer.Option(help="Continue the run found in OUT.")] = True,
    test_limit: Annotated[
        int | None, typer.Option(help="Test occasions for the card; 0 leaves the card without.")
    ] = None,
) -> None:
    """Post-train a language model on choice occasions; a killed run goes on where its last checkpoint was."""
    from malles_env.alignment.workflow import (
        DEFAULT_SAMPLES,
        HEADS_CONFIG,
        WHOLE_CONFIG,
        AlignJob,
        judge,
        run_job,
    )

    frozen = backbone != "embedded"
    train, validation = DEFAULT_SAMPLES["frozen" if frozen else "embedded"]
    common = {"seed": seed, "threads": threads, "validate_every": validate_every}
    job = AlignJob(
        backbone=backbone,
        out=out,
        train=_changed(train, per_focus=per_focus, per_other=per_other, seed=seed),
        validation=replace(
            validation,
            per_focus=min(validation.per_focus, train.per_focus if per_focus is None else per_focus),
            per_other=min(validation.per_other, train.per_other if per_other is None else per_other),
        ),
        whole=_changed(WHOLE_CONFIG, steps=steps, batch_size=batch_size, **common),
        heads=_changed(HEADS_CONFIG, steps=head_steps, **common),
        command=_command_line(),
        resume=resume,
    )
    data = _load(occasions)
    model, progress = run_job(job, data, reading=_reading_progress())
    test_limit = (1500 if frozen else 10_000) if test_limit is None else test_limit
    if test_limit:
        report = judge(model, data, limit=test_limit, reading=_reading_progress())
        model.card["tables"] = report.tables("Test weeks 41-53, categories trained on")
        model.save(out / "model")
        _show(report, f"{backbone} on test occasions")
    _say(f"model {model.weights_hash[:12]} in {out / 'model'} (heads: step {progress.best_step} of {progress.step})")
    _say(f"curves: tensorboard --logdir {out}")
    _say(f"next: malles consumers evaluate --model {out}")


@consumers_app.command("evaluate")
def evaluate_command(
    model: Annotated[str, typer.Option(help="embedded, smollm2 or a folder made by malles align.")] = "embedded",
    occasions: OccasionsOption = None,
    limit: Annotated[int, typer.Option(help="Test occasions at most.")] = 10_000,
    held_out: Annotated[bool, typer.Option(help="Judge on categories never trained on.")] = False,
    scenario_markets: Annotated[
        bool, typer.Option("--scenario-markets", help="Judge on the markets scenarios are made of alone.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draw of test occasions.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print hit rate, top-3, nats, quantity error and elasticities beside three baselines, with errors."""
    import torch

    from malles_env.alignment.model import TasteModel
    from malles_env.alignment.workflow import judge

    torch.set_num_threads(threads)
    taste = TasteModel.load(model)
    reading = None if as_json else _reading_progress()
    report = judge(
        taste,
        _load(occasions),
        limit=limit,
        seed=seed,
        held_out=held_out,
        focus_only=scenario_markets,
        reading=reading,
    )
    if as_json:
        content = {
            "model": model,
            "weights_hash": taste.weights_hash,
            "held_out": held_out,
            **report.as_json(),
        }
        typer.echo(json.dumps(content, indent=2))
    else:
        _show(report, f"{model} on test occasions" + (" of held-out categories" if held_out else ""))


def _load(folder: Path | None) -> Occasions:
    """Return occasions from a folder, or the Complete Journey's."""
    if folder is not None:
        from malles_env.data.occasions import Occasions

        return Occasions.load(folder)
    from malles_env.data.prepare import prepare_complete_journey

    return prepare_complete_journey()


def _show(report: Report, title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, rows in report.tables(title).items():
        # Models side by side, one metric a row: that fits a terminal of 80 columns. Markets stay rows.
        turned = "model" in rows[0]
        cells = _turned(rows) if turned else [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
        table = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(cells[0]):
            table.add_column(column, justify="right" if i else "left", no_wrap=i > 0)
        for row in cells[1:]:
            table.add_row(*row)
        console.print(table)
    gains = ", ".join(f"{name} {value.mean:+.4f} ± {value.se:.4f}" for name, value in report.differences.items())
    console.print(f"taste model minus conditional logit, same occasions: {gains}")
    console.print("hit, top3, nll_purchase: given a purchase; nll: outside option included; ± clusters households")


def _turned(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return a table of models with one metric a row, its header first."""
    metrics = [name for name in rows[0] if name != "model"]
    return [
        ["", *(row["model"] for row in rows)],
        *([name.replace("_", " "), *(str(row[name]) for row in rows)] for name in metrics),
    ]


def _reading_progress() -> Callable[[int, int], None]:
    """Return a callback that shows how far a frozen backbone's readings are."""
    from rich.progress import Progress

    bar = Progress()
    task = bar.add_task("reading texts with the frozen backbone", total=None)

    def told(done: int, whole: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=whole)
        if done >= whole:
            bar.stop()

    return told


def _changed(settings: Settings, **given: int | None) -> Settings:
    """Return dataclass settings with the options that were given."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _command_line() -> str:
    return " ".join(["malles", *sys.argv[1:]])


def _say(text: str) -> None:
    typer.echo(text)
