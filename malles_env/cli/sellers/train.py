"""`malles train`, `malles evaluate` and `malles demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import AddressOption, file_option, folder_option

ScenarioArgument = Annotated[str, typer.Argument(help="Name of a bundled scenario, or a .yaml file.")]
RivalsOption = Annotated[str, typer.Option(help="Kind of the other sellers, e.g. cost-plus:0.3.")]
ModelOption = Annotated[
    str | None, typer.Option(help="Language model that reads the tastes instead of the scenario's own.")
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-policy",
        help="Read policy files whole, as Stable-Baselines3 does: runs code stored in the file; only for files you "
        "made. Not needed for what `malles train` writes.",
    ),
]


def train(
    scenario: ScenarioArgument,
    algo: Annotated[
        str,
        typer.Option(
            help="ppo, a2c, sac, td3, recurrent-ppo (with a memory; needs malles-env[contrib]), or dqn (one product, "
            "discrete)."
        ),
    ] = "ppo",
    steps: Annotated[int, typer.Option(help="Periods to train for, over all markets together.")] = 500_000,
    seed: Annotated[int, typer.Option(help="Of weights, exploration and demand; 0 to 999.")] = 0,
    learner: Annotated[
        str, typer.Option("--agent", "--learner", help="The seller that learns, or 'all': one policy for all.")
    ] = "seller_0",
    rivals: RivalsOption = "cost-plus",
    out: Annotated[Path | None, folder_option("Folder of the run; default runs/SCENARIO-ALGO-SEED.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest good checkpoint.")] = False,
    model: ModelOption = None,
    checkpoint_every: Annotated[int, typer.Option(help="Periods between checkpoints.")] = 100_000,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    tastes: Annotated[str, typer.Option(help="mean, or draws: each market has hidden tastes of its own.")] = "mean",
    history: Annotated[int, typer.Option(help="Periods that an observation shows.")] = 1,
    start: Annotated[
        str | None, typer.Option(help="A seller from whose first action the policy starts, e.g. robust-stationary.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="sb3: Stable-Baselines3 in this process; rllib: RLlib's PPO on a Ray cluster.")
    ] = "sb3",
    env_runners: Annotated[
        int, typer.Option("--num-env-runners", help="With --engine rllib: workers that play, a CPU each.")
    ] = 2,
    address: AddressOption = None,
    json_file: Annotated[Path | None, file_option("Write run and learning curve to this file.", "--json")] = None,
    trust_policy: TrustOption = False,
) -> None:
    """Train a seller with Stable-Baselines3, or with RLlib on one machine or many."""
    from malles_agents.console import train_in_console
    from malles_agents.training.train import Run
    from malles_env.errors import invalid

    if address is not None and engine != "rllib":
        raise invalid("address", address, "nothing without --engine rllib")
    folder = out or Path("runs") / f"{Path(scenario).stem}-{algo}-{seed}"
    run = Run(
        scenario, algo, steps, seed, learner, rivals, model, checkpoint_every, threads, tastes=tastes, history=history,
        start=start, engine=engine, env_runners=env_runners,
    )  # fmt: skip
    train_in_console(run, folder, resume=resume, trust=trust_policy, json_file=json_file, address=address)


def evaluate(
    scenario: ScenarioArgument,
    sellers: Annotated[
        str,
        typer.Option(help="Kinds separated by commas: regular-price, cost-plus:0.5, random, best-response, ppo:PATH."),
    ] = "regular-price,cost-plus,random,best-response",
    policy: Annotated[
        list[Path] | None, typer.Option(help="A policy.zip to add; several are seeds of one kind.")
    ] = None,
    agent: Annotated[str, typer.Option(help="The seller that every kind plays.")] = "seller_0",
    rivals: RivalsOption = "cost-plus",
    episodes: Annotated[int, typer.Option("--episodes", "--seeds", help="Held-out seeds, one episode each.")] = 64,
    search: Annotated[bool, typer.Option("--search", help="Add the best stationary prices and assortment.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Taste model: embedded, smollm2, a folder, or all: one table each. "
            "Default: the policies' own, else the scenario's."
        ),
    ] = None,
    tastes: Annotated[
        str | None,
        typer.Option(
            help="mean, or draws: over plausible tastes, with tail, worst draw and regret. Default: as trained."
        ),
    ] = None,
    cost_share: Annotated[
        float | None, typer.Option(help="Unit costs as a share of average prices, instead of the scenario's.")
    ] = None,
    json_file: Annotated[Path | None, file_option("Write the results to this file too.", "--json")] = None,
    csv_file: Annotated[Path | None, file_option("Write one row per episode to this .csv file.", "--csv")] = None,
    trust_policy: TrustOption = False,
) -> None:
    """Play sellers on held-out seeds: profit, share and surplus with standard errors."""
    from malles_agents.evaluation.comparison import Comparison, compare_in_console

    kinds = [name.strip() for name in sellers.split(",") if name.strip()]
    question = Comparison(
        scenario, kinds, policy or [], agent, rivals, episodes, search, model, tastes, cost_share, trust_policy
    )
    compare_in_console(question, json_file, csv_file)


def demo(
    model: Annotated[str, typer.Option(help="Taste model: embedded, smollm2 or a folder.")] = "embedded",
    scenario: Annotated[str, typer.Option(help="A bundled scenario, or a .yaml file.")] = "ice-cream",
    tastes: Annotated[
        str | None,
        typer.Option(help="draws: each market has hidden tastes of its own; mean. Default: draws where a model reads."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="PPO runs, each with its own seed.")] = 3,
    steps: Annotated[
        int | None,
        typer.Option(help="Periods per run, over all markets together; default a million with draws, else half of it."),
    ] = None,
    rivals: RivalsOption = "cost-plus",
    out: Annotated[Path, folder_option("Folder of results and pictures.")] = Path("runs/demo"),
) -> None:
    """Read tastes, train PPO sellers that learn what is hidden, compare them with constant prices, draw the outcome."""
    from malles_agents.demo import Demo

    Demo(scenario=scenario, model=model, tastes=tastes, seeds=seeds, steps=steps, rivals=rivals, out=out).run()
