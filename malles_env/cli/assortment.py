"""`malles assortment`: which products to list, by words, by sales history, by chance and by knowledge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from malles_env.cli.places import file_option
from malles_env.errors import invalid


def assortment(
    scenario: Annotated[str, typer.Argument(help="A scenario with one seller and beliefs, by name or path.")] = "gifts",
    seeds: Annotated[int, typer.Option(help="Episodes per row, the same demand seeds for all.")] = 64,
    shelf: Annotated[int | None, typer.Option(help="Products on the shelf; default: the scenario's capacity.")] = None,
    beliefs: Annotated[
        Path | None, typer.Option(help="File of `malles scenario beliefs`, instead of the bundled one.")
    ] = None,
    json_file: Annotated[Path | None, file_option("File for the results as JSON.", "--json")] = None,
    plot: Annotated[Path | None, file_option("File for the plot, .png.")] = None,
) -> None:
    """Choose what to list at every launch by what managers may know, and play it: profit with standard errors."""
    from rich.console import Console

    from malles_agents.studies.assortment import as_json, draw, run_assortments
    from malles_env.files import write_json
    from malles_env.scenarios import load_scenario
    from malles_env.scenarios.gifts.beliefs import find_beliefs

    if plot is not None and plot.suffix != ".png":
        raise invalid("--plot", str(plot), "a path that ends in .png")
    loaded, console = load_scenario(scenario), Console()
    with console.status("solving") as status:
        study = run_assortments(
            loaded, beliefs=find_beliefs(loaded, beliefs), seeds=seeds, shelf=shelf, notify=status.update
        )
    found = as_json(study)
    console.print(_table(found, loaded.currency))
    for name, row in found["rows"].items():
        console.print(f"{name}: {row['knows']}")
    pair = found["words_minus_history"]
    console.print(f"words less history: {pair['profit']:+,.0f} ± {pair['se']:,.0f} {loaded.currency}")
    if json_file is not None:
        console.print(f"written: {write_json(json_file, found, allow_nan=False)}", markup=False)
    if plot is not None:
        console.print(f"plot: {draw(found, plot)}", markup=False)


def _table(found: dict[str, Any], currency: str) -> Any:
    from rich import box
    from rich.table import Table

    title = (
        f"{found['scenario']}: {found['capacity']} products on the shelf, {found['seeds']} seeds, periods from "
        f"{found['first_period']} on; no assortment earns more than {found['bound']:,.0f} {currency} at regular prices "
        f"in expectation; best common mark-up {found['markup']:.2f}"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("chosen by", "profit", "below best", "after launches", "right launches"):
        table.add_column(column, justify="left" if column == "chosen by" else "right", no_wrap=True)
    for name, row in found["rows"].items():
        right = row["right_launches"]
        table.add_row(
            name,
            f"{row['profit']:,.0f} ± {row['profit_se']:,.0f}",
            f"{row['below_best']:,.0f} ± {row['below_best_se']:,.0f}",
            f"{row['months_after_launches']:,.0f} ± {row['months_after_launches_se']:,.0f}",
            "" if right is None else f"{right:.0%}",
        )
    return table
