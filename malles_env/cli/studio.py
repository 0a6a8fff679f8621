"""`malles studio`: play the market by hand, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import folder_option


def studio(
    scenario: Annotated[str, typer.Argument(help="Market shown first: a bundled scenario, or a .yaml file.")] = (
        "ice-cream"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of 127.0.0.1; 0 takes a free one.")] = 8501,
    runs: Annotated[Path, typer.Option(help="Folder of runs, policies and transcripts to show; only read.")] = (
        Path("runs")
    ),
    out: Annotated[Path, folder_option("Folder for uploads and what is built from them.")] = Path("runs/studio"),
    upload: Annotated[int, typer.Option(min=1, max=1000, help="Largest upload, megabytes.")] = 50,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser, too.")] = False,
) -> None:
    """Play the market by hand in the browser: sell, ask what if, compare sellers, look at consumers, bring a log.

    The page is served on this machine only (127.0.0.1) and asks nothing of any other. Needs malles-env[studio].
    """
    from malles_env.studio.launch import serve
    from malles_env.studio.settings import Settings

    def ready(address: str) -> None:
        typer.echo(f"studio: {address} (Ctrl-C ends it)")
        if open_page:
            typer.launch(address)

    serve(Settings(scenario, runs, out, upload), port, ready=ready)
