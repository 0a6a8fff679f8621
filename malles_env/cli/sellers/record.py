"""`malles record`: logged play with propensities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import folder_or_file_option
from malles_env.cli.sellers.train import RivalsOption, ScenarioArgument
from malles_env.errors import invalid

FORMATS = ("parquet", "minari")
MODES = ("continuous", "discrete")


def record_command(
    scenario: ScenarioArgument,
    sellers: Annotated[
        str,
        typer.Option(
            help="Sellers that draw at random, separated by commas: one per agent, or one for all of them. "
            "gaussian:0.2:SELLER, epsilon:0.1:SELLER, random, ppo:PATH (also a2c, sac, recurrent-ppo)."
        ),
    ],
    out: Annotated[Path, folder_or_file_option("A .parquet file, or the folder of the Minari data sets.", "--out")],
    format: Annotated[str | None, typer.Option(help="parquet or minari; default by the name of --out.")] = None,
    episodes: Annotated[int, typer.Option(help="Episodes to play.")] = 100,
    agent: Annotated[str | None, typer.Option(help="The only seller to log; the others are rivals.")] = None,
    rivals: RivalsOption = "cost-plus",
    cycles: Annotated[int | None, typer.Option(help="Periods of an episode; default the scenario's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first episode, and of the sellers' draws.")] = 0,
    action_mode: Annotated[str, typer.Option(help="continuous, or discrete: prices on a grid.")] = "continuous",
    price_levels: Annotated[int, typer.Option(help="Prices of the grid.")] = 15,
    history: Annotated[int, typer.Option(help="Periods that an observation shows.")] = 1,
    model: Annotated[str | None, typer.Option(help="Taste model instead of the scenario's own.")] = None,
) -> None:
    """Play sellers and log what each saw, did and earned, and the propensity of what it did."""
    from rich.progress import Progress

    from malles_agents.console import make_console
    from malles_agents.logged.recorder import Plan, record
    from malles_env.scenarios import load_scenario

    kind = format or ("parquet" if out.suffix == ".parquet" else "minari")
    if kind not in FORMATS:
        raise invalid("format", kind, ", ".join(FORMATS))
    if action_mode not in MODES:
        raise invalid("action_mode", action_mode, ", ".join(MODES))
    if kind == "parquet" and (out.suffix != ".parquet" or out.is_dir()):
        raise invalid("out", str(out), "a path that ends in .parquet")
    if kind == "minari" and out.is_file():
        raise invalid("out", str(out), "a folder, not a file")
    names = tuple(name.strip() for name in sellers.split(",") if name.strip())
    if not names:
        raise invalid("sellers", sellers, "at least one seller, e.g. gaussian:0.2:cost-plus")
    plan = Plan(
        scenario, names, agent, rivals, episodes, cycles, seed, action_mode, price_levels, history, model,  # type: ignore[arg-type]
    )  # fmt: skip
    console = make_console()
    if kind == "minari":
        from malles_agents.logged.minari_sets import check_place, write_minari

        check_place(out)
    else:
        from malles_agents.logged.parquet import check_polars, write_parquet

        check_polars()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("episodes", total=episodes)
        logs = record(plan, lambda done, _: bar.update(task, completed=done))
    for log in logs:
        world = log.world
        mean = log.profit.sum(axis=1).mean()
        console.print(
            f"{log.agent}: {world.sellers[log.agent]}, {mean:,.0f} {world.currency} per episode", markup=False
        )
    if kind == "parquet":
        console.print(f"written: {write_parquet(logs, out, load_scenario(scenario))}", markup=False)
        return
    for name in write_minari(logs, out):
        console.print(f"written: {name}; read it with MINARI_DATASETS_PATH={out}", markup=False)
