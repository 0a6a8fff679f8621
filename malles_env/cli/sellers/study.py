"""`malles study`: deep RL sellers held against known answers, and what planning and learning could earn at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from malles_env.cli.places import AddressOption, EngineOption, WorkersOption, file_option, folder_option
from malles_env.errors import invalid
from malles_env.jobs import Executor, make_executor


def study(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Scenarios; default all bundled.")
    ] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="One more scenario; repeatable.")] = None,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="What plans over weeks and learning within an episode earn more than the best constant action.",
        ),
    ] = False,
    algo: Annotated[
        str | None,
        typer.Option(
            "--algo",
            "--algos",
            help="Algorithms, separated by commas, or none; default ppo,a2c; with --dynamic "
            "ppo,recurrent-ppo,iterated-least-squares,thompson-draws.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Training seeds of each, 1 to 1000; with 1 no interval.")] = 5,
    steps: Annotated[
        int, typer.Option(help="Env steps of each run, at least 1; with --dynamic 0 trains nothing.")
    ] = 500_000,
    rivals: Annotated[
        str, typer.Option(help="Kind of the other sellers; with --dynamic several, separated by commas.")
    ] = "cost-plus",
    model: Annotated[
        str | None, typer.Option(help="With --dynamic: taste model, embedded, smollm2, a folder or all; default all.")
    ] = None,
    history: Annotated[
        int | None, typer.Option(help="With --dynamic: periods that trained policies see; default 8.")
    ] = None,
    what_if: Annotated[
        str | None,
        typer.Option(
            help="With --dynamic: gains of an assumed reference price, separated by commas, e.g. 0.5,1,1.5,2 (loss "
            "0.5, memory 0.8), tried in scenarios whose tastes a model reads."
        ),
    ] = None,
    json_file: Annotated[Path | None, file_option("Write all numbers to this file.", "--json")] = None,
    self_play: Annotated[bool, typer.Option(help="Also train one policy for both sellers of the duopoly.")] = True,
    workers: WorkersOption = None,
    engine: EngineOption = "processes",
    address: AddressOption = None,
    out: Annotated[
        Path | None,
        folder_option("Folder of the runs; a second call continues in it. Default runs/study, or runs/dynamic."),
    ] = None,
) -> None:
    """Train sellers with several seeds; print profit as a share of the best stationary response and of the optimum.

    With --dynamic: the best constant action, the best plan over weeks, its calendar beside the real sellers', what
    hidden tastes cost a constant action, and how much of that learning wins back.
    """
    from malles_agents.sellers.sb3.policies import ALGORITHMS, algorithm_class
    from malles_env.scenarios import list_scenarios, load_scenario

    executor = make_executor(engine, workers, address)
    names = tuple([*(scenarios or []), *(scenario or [])] or list_scenarios())
    for name in names:
        load_scenario(name)
    if dynamic:
        asked: dict[str, Any] = {"seeds": seeds, "steps": steps, "rivals": _listed(rivals), "gains": _numbers(what_if)}
        asked |= {} if algo is None else {"algos": () if algo == "none" else _listed(algo)}
        asked |= {} if model is None else {"model": model}
        asked |= {} if history is None else {"history": history}
        _dynamic(names, asked, executor, out or Path("runs/dynamic"), json_file)
        return
    only = {"--what-if": what_if, "--model": model, "--history": history}
    for option, value in only.items():
        if value is not None:
            raise invalid(option, value, "only with --dynamic")
    algos = _listed("ppo,a2c" if algo is None else algo)
    if not algos:
        raise invalid("--algo", algo, f"names of {', '.join(ALGORITHMS)}, separated by commas")
    for name in algos:
        algorithm_class(name)
    _trained(names, algos, seeds, steps, rivals, self_play, executor, out or Path("runs/study"), json_file)


def _listed(words: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))


def _numbers(words: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _listed(words or ""))
    except ValueError:
        raise invalid("what_if", words, "numbers separated by commas, e.g. 0.5,1,1.5,2") from None


def _trained(
    names: tuple[str, ...], algos: tuple[str, ...], seeds: int, steps: int, rivals: str, self_play: bool,
    executor: Executor, out: Path, json_file: Path | None,
) -> None:  # fmt: skip
    from rich.progress import Progress

    from malles_agents.console import make_console
    from malles_agents.studies.deep_rl import Study, run_study
    from malles_agents.studies.deep_rl_report import as_json, as_markdown, draw
    from malles_env.files import write_json, write_text

    what = Study(names, algos, seeds, steps, rivals, self_play)
    console = make_console()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=None)
        scores, yardsticks = run_study(
            what, out, executor=executor, watch=lambda done, whole: bar.update(task, completed=done, total=whole)
        )
    text = as_markdown(scores, yardsticks, " ".join(["malles", *sys.argv[1:]]))
    typer.echo(text)
    write_text(out / "study.md", text + "\n")
    for picture in draw(scores, yardsticks, out):
        typer.echo(f"picture: {picture}")
    if json_file is not None:
        typer.echo(f"written: {write_json(json_file, as_json(scores, yardsticks))}")


def _dynamic(
    names: tuple[str, ...], asked: dict[str, Any], executor: Executor, out: Path, json_file: Path | None
) -> None:
    from rich.progress import Progress

    from malles_agents.console import make_console
    from malles_agents.studies.dynamic import DynamicStudy, run_dynamic_study
    from malles_agents.studies.dynamic_report import as_markdown, draw
    from malles_env.files import write_json, write_text

    what = DynamicStudy(names, **asked)
    console = make_console()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("parts", total=None)
        found = run_dynamic_study(
            what, out, executor=executor, watch=lambda done, whole: bar.update(task, completed=done, total=whole)
        )
    text = as_markdown(found, " ".join(["malles", *sys.argv[1:]]))
    typer.echo(text)
    write_text(out / "dynamic.md", text + "\n")
    picture = draw(found, out / "dynamic.png")
    if picture is not None:
        typer.echo(f"picture: {picture}")
    if json_file is not None:
        typer.echo(f"written: {write_json(json_file, found, allow_nan=False)}")
