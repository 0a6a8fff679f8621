"""`malles train`, `malles evaluate` and `malles demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScenarioArgument = Annotated[str, typer.Argument(help="Name of a bundled scenario, or a .yaml file.")]
RivalsOption = Annotated[str, typer.Option(help="Kind of the other sellers, e.g. cost-plus:0.3.")]
ModelOption = Annotated[
    str | None, typer.Option(help="Language model that reads the tastes instead of the scenario's own.")
]


def train(
    scenario: ScenarioArgument,
    algo: Annotated[str, typer.Option(help="ppo, a2c, sac, td3, or dqn (one product, discrete).")] = "ppo",
    steps: Annotated[int, typer.Option(help="Periods to train for, over all markets together.")] = 500_000,
    seed: Annotated[int, typer.Option(help="Of weights, exploration and demand; 0 to 999.")] = 0,
    learner: Annotated[str, typer.Option(help="The seat that learns, or 'all': one shared policy.")] = "seller_0",
    rivals: RivalsOption = "cost-plus",
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/SCENARIO-ALGO-SEED.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest good checkpoint.")] = False,
    model: ModelOption = None,
    checkpoint_every: Annotated[int, typer.Option(help="Periods between checkpoints.")] = 100_000,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
) -> None:
    """Train a Stable-Baselines3 seller."""
    from malles_agents.console import train_in_console
    from malles_agents.train import Run

    folder = out or Path("runs") / f"{Path(scenario).stem}-{algo}-{seed}"
    run = Run(scenario, algo, steps, seed, learner, rivals, model, checkpoint_every, threads)
    train_in_console(run, folder, resume=resume)


def evaluate(
    scenario: ScenarioArgument,
    sellers: Annotated[
        str,
        typer.Option(help="Kinds separated by commas: regular-price, cost-plus:0.5, random, best-response, ppo:PATH."),
    ] = "regular-price,cost-plus,random,best-response",
    policy: Annotated[
        list[Path] | None, typer.Option(help="A policy.zip to add; several are seeds of one kind.")
    ] = None,
    seat: Annotated[str, typer.Option(help="The seat every kind is tried in.")] = "seller_0",
    rivals: RivalsOption = "cost-plus",
    episodes: Annotated[int, typer.Option("--episodes", "--seeds", help="Held-out seeds, one episode each.")] = 64,
    search: Annotated[bool, typer.Option("--search", help="Add the best stationary prices and assortment.")] = False,
    model: ModelOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file too.")] = None,
) -> None:
    """Play sellers on held-out seeds: profit, share and surplus with standard errors."""
    from malles_agents.console import evaluate_in_console

    evaluate_in_console(
        scenario, [name.strip() for name in sellers.split(",") if name.strip()], policy or [], seat, rivals,
        episodes=episodes, search=search, model=model, json_file=json_file,
    )  # fmt: skip


def demo(
    model: Annotated[str, typer.Option(help="Language model that reads the tastes: smollm2 or embedded.")] = "smollm2",
    scenario: Annotated[str, typer.Option(help="A scenario whose tastes a language model reads.")] = "soft-drinks",
    seeds: Annotated[int, typer.Option(help="PPO runs, each with its own seed.")] = 3,
    steps: Annotated[int, typer.Option(help="Periods per run, over all markets together.")] = 500_000,
    rivals: RivalsOption = "cost-plus",
    out: Annotated[Path, typer.Option(help="Folder of results and pictures.")] = Path("runs/demo"),
) -> None:
    """Read tastes, train PPO sellers, compare them with simple rules and draw the outcome."""
    from malles_agents.demo import Demo

    Demo(scenario=scenario, model=model, seeds=seeds, steps=steps, rivals=rivals, out=out).run()
