"""`malles audit injection`: what sellers gain by what they write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.cli.places import file_option
from malles_env.cli.progress import progress_words

if TYPE_CHECKING:
    from malles_env.consumers.injection import Uplift

audit_app = typer.Typer(no_args_is_help=True, help="Attack consumers and see what it brings.")


@audit_app.callback()
def audit_root() -> None:
    """Attack consumers and see what it brings."""


@audit_app.command("injection")
def injection_command(
    scenario: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")] = "ice-cream",
    kinds: Annotated[
        str, typer.Option(help="Kinds of consumers, comma-separated.")
    ] = "logit,aligned,prompted,prompted_unfenced",
    model: Annotated[str, typer.Option(help="Language model of prompted consumers: smollm2, a path or a hub id.")] = (
        "smollm2"
    ),
    attacks: Annotated[str, typer.Option(help="Attacks, comma-separated, or all.")] = "all",
    states: Annotated[int, typer.Option(min=1, help="Market states per attacked product.")] = 2,
    products: Annotated[int, typer.Option(min=1, help="Attacked products, the most bought first.")] = 3,
    segments: Annotated[int, typer.Option(min=1, help="Segments that prompted consumers answer for.")] = 2,
    orders: Annotated[int, typer.Option(min=1, help="Orders of the shelf that prompted consumers average.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of prices and orders.")] = 0,
    json_file: Annotated[Path | None, file_option("File for all numbers as JSON.", "--json")] = None,
) -> None:
    """Measure how much demand product texts such as "ignore the other products" draw, by kind of consumers."""
    from malles_env.consumers.injection import chosen_attacks
    from malles_env.scenarios import load_scenario
    from malles_env.workflows.injection import Cases, injection_audit

    wanted = [] if attacks.strip() == "all" else _names(attacks)
    cases = Cases(states, products, segments, orders, seed)
    with progress_words() as notify:
        found = injection_audit(
            load_scenario(scenario), _names(kinds), chosen_attacks(wanted), cases, model=model, notify=notify
        )
    show(found, f"Injection into the consumers of {scenario}")
    if json_file is not None:
        write(found, json_file)
        typer.echo(f"written: {json_file}")


def show(found: Mapping[str, Mapping[str, Uplift]], title: str) -> None:
    """Print the uplift of every attack against every kind, in percentage points of all consumers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("attack", no_wrap=True)
    for kind in found:
        table.add_column(kind, justify="right")
    names = list(next(iter(found.values()), {}))
    table.add_row("(share without attack)", *(_clean(rows) for rows in found.values()), style="dim")
    for name in names:
        table.add_row(name, *(_cell(rows[name]) for rows in found.values()))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "Change of the attacker's share of consumers in percentage points, ± one standard error over products; bold: "
        "more than two above none."
    )


def write(found: Mapping[str, Mapping[str, Uplift]], path: Path) -> None:
    """Write kind -> attack -> uplift, se, clean share and number of cases as JSON; a missing error is null.

    Raises:
        InvalidInput: The file cannot be written.
    """
    from malles_env.errors import InvalidInput
    from malles_env.files import json_plain, write_json

    content = {kind: {name: asdict(part) for name, part in rows.items()} for kind, rows in found.items()}
    try:
        write_json(path, json_plain(content), allow_nan=False)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written ({error.strerror})") from None


def _clean(rows: Mapping[str, Uplift]) -> str:
    first = next(iter(rows.values()))
    return f"{100 * first.clean:.2f} (n={first.cases})"


def _cell(part: Uplift) -> str:
    words = f"{100 * part.uplift:+.2f}" + ("" if isnan(part.se) else f" ± {100 * part.se:.2f}")
    return f"[bold red]{words}[/]" if part.uplift > 2 * part.se else words


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
