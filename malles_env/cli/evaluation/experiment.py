"""`malles experiment`: a price test run on a simulated market, beside the effect that the market really has."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malles_env.cli.places import file_option
from malles_env.cli.progress import plain_console, progress_words
from malles_env.cli.tables import cell_table, fitting
from malles_env.errors import InvalidInput, invalid

if TYPE_CHECKING:
    from rich.console import Console

    from malles_env.evaluation.experiments import Design, Report

_OPTIONS = {
    "switchback": {"block": "--block", "washout": "--washout"},
    "user-split": {"share": "--share"},
    "store-split": {
        "stores": "--stores",
        "before": "--before",
        "size_sd": "--size-sd",
        "spillover": "--spillover",
        "one_stock": "--one-stock",
    },
}
"""Settings of each design and the options that set them."""


def experiment_command(
    scenario: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")],
    design: Annotated[str, typer.Option(help="switchback, user-split, store-split, comma-separated, or all.")] = "all",
    change: Annotated[str, typer.Option(help="Change of the tested prices, e.g. -10%.")] = "-10%",
    seller: Annotated[str | None, typer.Option(help="Whose profit is measured; default the first seller.")] = None,
    product: Annotated[
        list[str] | None, typer.Option(help="Product whose price changes; may be repeated; default all it lists.")
    ] = None,
    prices: Annotated[str, typer.Option(help="Control prices: average (as paid in the data) or regular.")] = "average",
    price: Annotated[list[str] | None, typer.Option(help="PRODUCT=MONEY, another control price; repeatable.")] = None,
    horizon: Annotated[int, typer.Option(help="Weeks of the experiment.")] = 24,
    block: Annotated[int | None, typer.Option(help="switchback: weeks of a block.  [default: 2]")] = None,
    washout: Annotated[
        int | None, typer.Option(help="switchback: weeks dropped at the start of each block.  [default: 0]")
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="user-split: share of the consumers treated.  [default: 0.5]")
    ] = None,
    stores: Annotated[int | None, typer.Option(help="store-split: stores.  [default: 20]")] = None,
    before: Annotated[
        int | None,
        typer.Option(help="store-split: weeks before, for differences in differences; 0: none.  [default: 12]"),
    ] = None,
    size_sd: Annotated[
        float | None, typer.Option(help="store-split: standard deviation of the log size of stores.  [default: 0.3]")
    ] = None,
    spillover: Annotated[
        float | None, typer.Option(help="store-split: share of the mean field common to all stores.  [default: 0]")
    ] = None,
    one_stock: Annotated[
        bool, typer.Option("--one-stock", help="store-split: all stores sell from one warehouse.")
    ] = False,
    replications: Annotated[int, typer.Option(help="Times the experiment is run, at least 2.")] = 400,
    warmup: Annotated[int, typer.Option(help="Weeks at control prices before the experiment.")] = 104,
    seed: Annotated[int, typer.Option(help="Seed of assignments, store sizes and purchases.")] = 0,
    model: Annotated[str | None, typer.Option(help="Taste model instead of the scenario's own.")] = None,
    json_file: Annotated[Path | None, file_option("File for all numbers as JSON.", "--json")] = None,
    plot: Annotated[Path | None, file_option("File for a picture, .png.", "--plot")] = None,
) -> None:
    """Run a price test on a simulated market: its estimate and interval beside the true effect, and its bias by cause.

    The truth is known because the market is: everybody treated against nobody, in the same weeks.
    """
    from malles_env.evaluation.experiments import ExperimentSettings
    from malles_env.workflows.price_test import run_experiment

    given = {
        "block": block, "washout": washout, "share": share, "stores": stores, "before": before, "size_sd": size_sd,
        "spillover": spillover, "one_stock": one_stock or None,
    }  # fmt: skip
    designs = _designs(design, {name: value for name, value in given.items() if value is not None})
    settings = ExperimentSettings(horizon, replications, warmup, seed)
    relative, others = _change(change), _prices(price or [])
    if plot is not None and plot.suffix != ".png":
        raise invalid("plot", str(plot), "a path that ends in .png")
    console = plain_console()
    with progress_words(console) as notify:
        report = run_experiment(
            scenario, designs, change=relative, seller=seller, products=product or [], level=prices,  # type: ignore[arg-type]
            prices=others, settings=settings, model=model, notify=notify,
        )  # fmt: skip
    show(console, report)
    _write(console, report, scenario, json_file, plot)


def show(console: Console, report: Report) -> None:
    """Print the tables and what they say."""
    from malles_env.evaluation.experiments.report import remarks, tables, title

    console.print(title(report), markup=False)
    for head, cells in tables(report):
        shown = head
        for part in fitting(cells, console.width):
            console.print(cell_table(part, shown))
            shown = ""
    for line in remarks(report):
        console.print(line, markup=False)


def _write(console: Console, report: Report, scenario: str, json_file: Path | None, plot: Path | None) -> None:
    from malles_env.evaluation.experiments.plots import draw
    from malles_env.evaluation.experiments.report import as_json
    from malles_env.files import write_json

    if json_file is not None:
        content = {"scenario": scenario, "command": " ".join(["malles", *sys.argv[1:]])} | as_json(report)
        console.print(f"written: {write_json(json_file, content, allow_nan=False)}", markup=False)
    if plot is not None:
        console.print(f"plot: {draw(report, plot)}", markup=False)


def _designs(names: str, given: dict[str, Any]) -> list[Design]:
    """Return the designs that were asked for.

    Raises:
        InvalidInput: No such design, or a setting that none of them has or that is out of range.
    """
    from malles_env.evaluation.experiments.designs import DESIGNS

    wanted = list(DESIGNS) if names.strip() == "all" else [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted or [names]:
        if name not in DESIGNS:
            raise invalid("design", name, ", ".join(DESIGNS) + ", several with commas, or all")
    for setting, value in given.items():
        owner = next(name for name, options in _OPTIONS.items() if setting in options)
        if owner not in wanted:
            raise InvalidInput(f"{_OPTIONS[owner][setting]}: got {value}; allowed: nothing without --design {owner}")
    return [
        DESIGNS[name](**{setting: given[setting] for setting in _OPTIONS[name] if setting in given})
        for name in dict.fromkeys(wanted)
    ]


def _change(text: str) -> float:
    found = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)%", text.strip())
    if found is None:
        raise invalid("change", text, "a percentage such as -10% or 5%")
    return float(found[1]) / 100.0


def _prices(texts: list[str]) -> dict[str, float]:
    given: dict[str, float] = {}
    for text in texts:
        name, _, money = text.partition("=")
        try:
            value = float(money)
        except ValueError:
            raise invalid("price", text, "PRODUCT=MONEY, e.g. cola=2.99") from None
        if name in given:
            raise invalid("price", name, "one price per product")
        given[name] = value
    return given
