"""`malles consumers forces`: which forces over time a log of purchases shows, and how strong they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.cli.fitting.occasions import OccasionsOption, load_occasions
from malles_env.cli.places import file_option
from malles_env.cli.progress import plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from malles_env.evaluation.forces import ForceEstimate

BUNDLED = ("soft-drinks", "ice-cream")
"""Bundled scenarios whose markets are looked at by default."""


def forces_command(
    markets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MARKET]...",
            help="Markets by their names in the occasions; by default those of the bundled retail scenarios, with "
            "--occasions all.",
        ),
    ] = None,
    occasions: OccasionsOption = None,
    json_file: Annotated[Path | None, file_option("Write all numbers to this file.", "--json")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the splits of households.")] = 0,
) -> None:
    """Estimate what moves demand over time, and keep what predicts unseen households and later weeks."""
    from malles_env.evaluation.forces import estimate_forces
    from malles_env.evaluation.forces.log import check_market
    from malles_env.evaluation.forces.report import as_json
    from malles_env.files import write_json

    loaded, console = load_occasions(occasions), plain_console()
    names = markets or (loaded.markets if occasions is not None else _bundled())
    for name in names:
        check_market(loaded, name)
    found: dict[str, list[ForceEstimate]] = {}
    for name in names:
        with console.status(name):
            found[name] = estimate_forces(loaded, name, seed)
        show(console, name, found[name])
    if json_file is not None:
        write_json(json_file, {"command": " ".join(["malles", *sys.argv[1:]]), "seed": seed, "markets": as_json(found)})
        console.print(f"written: {json_file}", markup=False)


def show(console: Console, market: str, found: list[ForceEstimate]) -> None:
    """Print a market's forces and the block they make."""
    import yaml
    from rich import box
    from rich.table import Table

    from malles_env.evaluation.forces import as_block
    from malles_env.evaluation.forces.report import cells

    table = Table(title=market, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    head, *rows = cells(found)
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if 2 <= i <= 3 else "left", no_wrap=i == 1)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    block = as_block(found)
    words = yaml.safe_dump({"forces": block}, sort_keys=False) if block else "forces: none\n"
    console.print(words, markup=False)


def _bundled() -> list[str]:
    from malles_env.scenarios import load_scenario
    from malles_env.workflows.calibration import market_of

    return [market_of(load_scenario(name)) for name in BUNDLED]
