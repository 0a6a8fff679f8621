"""How a study ends that is run from the command line: a user's mistake is one line and exit code 2."""

from __future__ import annotations

from collections.abc import Callable

import typer

from malles_env.errors import MallesError


def run(main: Callable[..., None]) -> None:
    """Run a function with typed options as a command."""
    try:
        typer.run(main)
    except MallesError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
