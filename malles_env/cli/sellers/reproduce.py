"""`malles reproduce`: published results beside what this package gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import file_option, folder_option


def reproduce(
    name: Annotated[str | None, typer.Argument(help="The experiment; none, or list, lists them.")] = None,
    sessions: Annotated[int | None, typer.Option(help="Sessions of each cell instead of the experiment's own.")] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    threads: Annotated[int | None, typer.Option("--threads", "--workers", min=1, help="Default all cores.")] = None,
    json_file: Annotated[Path | None, file_option("Write all figures to this file.", "--json")] = None,
    out: Annotated[Path, folder_option("Folder of the picture.")] = Path("runs/reproduce"),
) -> None:
    """Reproduce a published result: a table beside the published figures, standard errors and a picture.

    The claims of the MALLES paper itself are run from a clone of the repository: `python -m research.paper`.
    """
    from malles_agents.reproduce.base import Options
    from malles_agents.reproduce.console import list_in_console, reproduce_in_console

    if name is None or name == "list":
        list_in_console()
        return
    reproduce_in_console(name, Options(sessions, seed, threads), out, json_file)
