"""`malles consumers validate`: causal checks of the price response of a log, and of taste models beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.cli.fitting.occasions import OccasionsOption, load_occasions
from malles_env.cli.places import file_option, picture_option
from malles_env.cli.progress import plain_console, progress_words
from malles_env.cli.tables import cell_table, fitting
from malles_env.errors import InvalidInput, invalid

if TYPE_CHECKING:
    from rich.console import Console

    from malles_env.evaluation.validate.runner import Report
    from malles_env.evaluation.validate.tastes import Predict


def validate_command(
    markets: Annotated[
        list[str], typer.Argument(help="Markets of the log, or all: each with --min-purchases or more.")
    ],
    occasions: OccasionsOption = None,
    checks: Annotated[str, typer.Option(help="instruments, events, regimes, comma-separated, or all.")] = "all",
    model: Annotated[
        list[str] | None,
        typer.Option(help="Taste model to put beside the data, a shipped name or a folder; may be repeated; or none."),
    ] = None,
    json_file: Annotated[Path | None, file_option("File for all numbers as JSON.", "--json")] = None,
    plot: Annotated[Path | None, picture_option("A .png file for one market, or a folder for several.")] = None,
    docs_file: Annotated[Path | None, file_option("Write the tables as Markdown to this file.", "--docs")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Purchases on which a model's prices are moved, at most.")] = 1000,
    min_purchases: Annotated[int, typer.Option(min=1, help="Purchases of a market that counts among all.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw of these purchases.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the language model.")] = 1,
) -> None:
    """Ask the data whether prices cause what they seem to: other stores' prices, weeks around deals, deep discounts."""
    import torch

    from malles_env.evaluation.validate.runner import CHECKS, ValidateSettings, validate

    torch.set_num_threads(threads)
    everything = markets == ["all"]
    if plot is not None and plot.suffix == ".png" and (everything or len(markets) > 1):
        raise invalid("plot", str(plot), "a folder, for several markets")
    wanted = CHECKS if checks.strip() == "all" else tuple(name.strip() for name in checks.split(",") if name.strip())
    settings = ValidateSettings(wanted, limit, seed, min_purchases)
    models = _models(["embedded"] if model is None else model)
    console = plain_console()
    with progress_words(console) as notify:
        report = validate(load_occasions(occasions), None if everything else markets, models, settings, notify)
    show(console, report)
    _write(console, report, json_file, plot, docs_file)


def show(console: Console, report: Report) -> None:
    """Print the tables of all markets."""
    from malles_env.evaluation.validate.report import remarks, tables

    for found in report.found:
        console.print(f"{found.market}: {found.purchases:,} purchases", markup=False)
        for title, cells in tables(found):
            shown = title
            for part in fitting(cells, console.width):
                console.print(cell_table(part, shown))
                shown = ""
        for line in remarks(found):
            console.print(line, markup=False)
    for market, why in report.left_out.items():
        console.print(f"left out: {market}: {why}", markup=False)


def _write(console: Console, report: Report, json_file: Path | None, plot: Path | None, docs_file: Path | None) -> None:
    from malles_env.evaluation.validate.plots import draw, file_name
    from malles_env.evaluation.validate.report import as_json, markdown
    from malles_env.files import replacing, write_json

    command = " ".join(["malles", *(f"'{word}'" if " " in word else word for word in sys.argv[1:])])
    if json_file is not None:
        content = as_json(report) | {"command": command}
        console.print(f"written: {write_json(json_file, content, allow_nan=False)}", markup=False)
    if docs_file is not None:
        with replacing(docs_file) as temporary:
            temporary.write_text(markdown(report, command), encoding="utf-8")
        console.print(f"written: {docs_file}", markup=False)
    if plot is not None:
        for found in report.found:
            path = plot if plot.suffix == ".png" else plot / file_name(found.market)
            console.print(f"plot: {draw(found, path)}", markup=False)


def _models(names: list[str]) -> dict[str, Predict]:
    """Return the predictions of taste models by name; ``none`` alone means no model.

    Raises:
        MissingResource: No such model.
        InvalidInput: ``none`` beside a model.
    """
    from malles_env.evaluation.comparison.registry import TasteRow
    from malles_env.preference.model import TasteModel

    if "none" in names:
        if names != ["none"]:
            raise InvalidInput("model: got none beside others; allowed: none alone, or names of taste models")
        return {}
    return {name: TasteRow(TasteModel.load(name)).predict for name in names}
