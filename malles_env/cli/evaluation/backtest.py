"""`malles consumers backtest`: digital twins of real households before the real prices of the test weeks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malles_env.cli.places import file_option, folder_option
from malles_env.cli.progress import plain_console, progress_words

if TYPE_CHECKING:
    from rich.console import Console

    from malles_env.workflows.backtest.runner import Backtest


def backtest_command(
    market: Annotated[
        str, typer.Argument(help="A market of the log, or a scenario built from one (name or .yaml file).")
    ],
    log: Annotated[str | None, typer.Option("--log", help="Folder of a log; default: the Complete Journey.")] = None,
    build: Annotated[
        Path | None, typer.Option("--settings", help="Build settings; default: settings.yaml in the log's folder.")
    ] = None,
    model: Annotated[str, typer.Option(help="Taste model: embedded, smollm2 or a folder.")] = "embedded",
    max_lines: Annotated[
        int, typer.Option("--max-products", min=2, max=20, help="Most products of a market that is no scenario.")
    ] = 12,
    json_file: Annotated[Path | None, file_option("File for all numbers as JSON.", "--json")] = None,
    out: Annotated[Path | None, folder_option("Folder for backtest.md and backtest.png.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of bootstrap, noise floor and the logit's sample.")] = 0,
    draws: Annotated[int, typer.Option(min=1, help="Bootstrap draws of weeks.")] = 2000,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the language model.")] = 1,
) -> None:
    """Simulate the test weeks with every household its own segment, and compare with what was really bought."""
    import torch

    from malles_env.workflows.backtest.runner import BacktestSettings, backtest

    torch.set_num_threads(threads)
    console = plain_console()
    settings = BacktestSettings(draws=draws, seed=seed)
    with progress_words(console) as notify:
        found = backtest(
            market, model=model, max_lines=max_lines, settings=settings, notify=notify, **own_log(log, build)
        )
    show(console, found)
    _write(console, found, model, out, json_file)


def own_log(folder: str | None, build: Path | None) -> dict[str, Any]:
    """Return a log with its build settings and origin as arguments; without a folder the settings alone, if given."""
    from malles_env.cli.data import log_settings, read_log
    from malles_env.scenarios.from_log.provenance import log_origin

    if folder is None:
        return {} if build is None else {"build": log_settings("", build)}
    return {"tables": read_log(folder), "build": log_settings(folder, build), "origin": log_origin(folder)}


def show(console: Console, found: Backtest) -> None:
    """Print the tables of a back-test."""
    from rich import box
    from rich.table import Table

    from malles_env.workflows.backtest.report import paired_cells, response_cells, score_cells

    weeks = found.real.periods
    console.print(f"{found.market}: {found.households:,} households, {len(found.titles)} products", markup=False)
    parts = {
        f"Forecast of weeks {weeks[0]} to {weeks[-1]} (lower is better; biases nearer to 0)": score_cells(found),
        "Errs more than twins by": paired_cells(found),
        "Price response": response_cells(found),
    }
    for title, (head, *rows) in parts.items():
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for i, name in enumerate(head):
            table.add_column(name.replace("_", " "), justify="right" if i else "left", no_wrap=not i)
        for row in rows:
            table.add_row(row[0], *(cell.replace(" [", "\n[").replace(", ", ",\n") for cell in row[1:]))
        console.print(table)


def _write(console: Console, found: Backtest, model: str, out: Path | None, json_file: Path | None) -> None:
    from malles_env.files import write_json, write_text
    from malles_env.workflows.backtest.report import as_json, draw, markdown

    command = " ".join(["malles", *sys.argv[1:]])
    if out is not None:
        write_text(out / "backtest.md", markdown(found, command, model))
        console.print(f"report: {out / 'backtest.md'}", markup=False)
        console.print(f"plot: {draw(found, out / 'backtest.png')}", markup=False)
    if json_file is not None:
        write_json(json_file, as_json(found) | {"command": command, "model": model}, sort_keys=True)
        console.print(f"written: {json_file}", markup=False)
