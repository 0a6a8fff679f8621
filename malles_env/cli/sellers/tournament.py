"""`malles tournament`: every seller against every seller, and the leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import AddressOption, EngineOption, WorkersOption, file_option, folder_option
from malles_env.cli.sellers.train import TrustOption


def tournament(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO]...", help="Default: bundled scenarios of up to 30 products."),
    ] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="One more scenario; repeatable.")] = None,
    seller: Annotated[
        list[str] | None,
        typer.Option(
            "--sellers", "--seller", help="Kinds instead of the usual field, separated by commas; repeatable."
        ),
    ] = None,
    entry: Annotated[
        list[str] | None,
        typer.Option(
            help="A seller to add to the field: a .py file with make_seller(view), or a name such as "
            "language:MODEL or language:MODEL@URL; repeatable."
        ),
    ] = None,
    episodes: Annotated[
        int, typer.Option(help="Held-out seeds of each match, at least 1; with 1 no standard errors.")
    ] = 16,
    cycles: Annotated[int, typer.Option(help="Periods of an episode, at least 2.")] = 200,
    seed: Annotated[int, typer.Option(help="First held-out seed.")] = 0,
    workers: WorkersOption = None,
    engine: EngineOption = "processes",
    address: AddressOption = None,
    out: Annotated[
        Path,
        folder_option("Folder of the matches; going on in it plays only what is missing."),
    ] = Path("runs/tournament"),
    json_file: Annotated[Path | None, file_option("Write ranks and measures to this file.", "--json")] = None,
    readme: Annotated[Path | None, file_option("Markdown file whose leaderboard is rewritten.")] = None,
    trust_policy: TrustOption = False,
) -> None:
    """Play a round robin of sellers on held-out seeds and print the leaderboard."""
    from rich.markdown import Markdown
    from rich.progress import Progress

    from malles_agents.console import make_console
    from malles_agents.registry import check_name
    from malles_agents.studies.leaderboard import as_json, as_markdown, check_readme, write_leaderboard
    from malles_agents.studies.tournament import KINDS, Tournament, load_entry, run_tournament, usual_scenarios
    from malles_env.files import write_json
    from malles_env.jobs import make_executor
    from malles_env.scenarios import load_scenario

    executor = make_executor(engine, workers, address)
    kinds = [name.strip() for names in seller or () for name in names.split(",") if name.strip()]
    sellers, named = (*(kinds or KINDS), *(entry or [])), [*(scenarios or []), *(scenario or [])]
    for name in sellers:  # a broken file or a wrong name should say so before anything is played
        if name.endswith(".py"):
            load_entry(name)
        else:
            check_name(name)
    for name in named:
        load_scenario(name)
    if readme is not None:
        check_readme(readme)
    what = Tournament(tuple(named) or usual_scenarios(), sellers, episodes, cycles, seed, trust_policy)
    console = make_console()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("matches", total=None)
        matches = run_tournament(
            what, out, executor=executor, watch=lambda done, whole: bar.update(task, completed=done, total=whole)
        )
    text = as_markdown(matches, " ".join(["malles", *sys.argv[1:]]))
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        typer.echo(text)
    if json_file is not None:
        typer.echo(f"written: {write_json(json_file, as_json(matches))}")
    if readme is not None:
        typer.echo(f"leaderboard: {write_leaderboard(text, readme)}")
