"""`malles study`: deep RL sellers held against known answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import folder_option


def study(
    scenario: Annotated[list[str] | None, typer.Option(help="A scenario; repeatable; default all bundled.")] = None,
    algo: Annotated[str, typer.Option(help="Algorithms, separated by commas.")] = "ppo,a2c",
    seeds: Annotated[int, typer.Option(help="Training seeds of each.")] = 5,
    steps: Annotated[int, typer.Option(help="Env steps of each run.")] = 500_000,
    rivals: Annotated[str, typer.Option(help="Kind of the other sellers.")] = "cost-plus",
    self_play: Annotated[bool, typer.Option(help="Also train one policy for all seats of the duopoly.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default all cores.")] = None,
    out: Annotated[Path, folder_option("Folder of the runs; a second call goes on in it.")] = Path("runs/study"),
) -> None:
    """Train sellers with several seeds; print profit as a share of the best stationary response and of the optimum."""
    from rich.progress import Progress

    from malles_agents.console import make_console
    from malles_agents.policies import ALGORITHMS, algorithm_class
    from malles_agents.study import Study, run_study
    from malles_agents.study_report import as_markdown, draw
    from malles_env.errors import invalid
    from malles_env.files import write_text
    from malles_env.scenarios import list_scenarios, load_scenario

    algos = tuple(name.strip() for name in algo.split(",") if name.strip())
    if not algos:
        raise invalid("--algo", algo, f"names of {', '.join(ALGORITHMS)}, separated by commas")
    for name in algos:
        algorithm_class(name)
    for name in scenario or []:
        load_scenario(name)
    what = Study(tuple(scenario or list_scenarios()), algos, seeds, steps, rivals, self_play)
    console = make_console()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=None)
        scores, yardsticks = run_study(
            what, out, workers=workers, watch=lambda done, whole: bar.update(task, completed=done, total=whole)
        )
    text = as_markdown(scores, yardsticks, " ".join(["malles", *sys.argv[1:]]))
    typer.echo(text)
    write_text(out / "study.md", text + "\n")
    for picture in draw(scores, yardsticks, out):
        typer.echo(f"picture: {picture}")
