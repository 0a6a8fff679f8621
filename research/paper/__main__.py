"""`python -m research.paper [CLAIM]`: the paper's claims beside what this package measures; no name lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malles_agents.reproduce.base import Options
from malles_agents.reproduce.console import list_in_console, reproduce_in_console
from malles_env.cli.places import file_option, folder_option
from research.command import run
from research.paper import CLAIMS


def main(
    claim: Annotated[str | None, typer.Argument(help="The claim; none lists them.")] = None,
    sessions: Annotated[int | None, typer.Option(help="Training runs instead of the claim's own number.")] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of each training run.")] = None,
    json_file: Annotated[Path | None, file_option("Write all figures to this file.", "--json")] = None,
    out: Annotated[Path, folder_option("Folder of the picture.")] = Path("runs/paper"),
) -> None:
    """Test a claim of the paper: a table with standard errors and a picture."""
    if claim is None:
        list_in_console(CLAIMS)
        return
    reproduce_in_console(claim, Options(sessions, seed, steps=steps), out, json_file, CLAIMS)


if __name__ == "__main__":
    run(main)
