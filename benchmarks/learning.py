"""Learning periods per CPU-second of two tabular Q-learners with 15 prices, beside public implementations.

Run it as ``python -m benchmarks.learning [--peer NAME=FOLDER ...] [--json FILE]``. econgym comes from PyPI (``make
bench`` installs it); the other peers are clones of their public repositories, named by --peer:

    courthoud        github.com/matteocourthoud/Algorithmic-Collusion-Replication
    price_simulator  github.com/mesjou/price_simulator
    qpricesim        github.com/ToFeWe/qpricesim

Everybody learns with memory one, 15 prices and beta 4e-6 (econgym and qpricesim on homogeneous Bertrand, the only
market of theirs with a table learner), with exploration as at the start of a session. The runs take turns, several
rounds each, in one process; compilation and set-up are done before the clock starts. The table gives the median with
the lowest and highest round, and how many times slower than ours that is.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its threads

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

ROUNDS = 5
Run = Callable[[], int]


def ours(periods: int) -> Run:
    """Return a function that plays `periods` in our kernel and returns them."""
    from malles_agents.sellers.tabular import GridMarket, QSettings, learn

    market, settings = GridMarket(), QSettings(most=periods, stable=periods)
    return lambda: int(learn(market, settings, sessions=1, workers=1).periods.sum())


def econgym_peer(_: Path | None) -> Run:
    """Return a run of econgym's QLearner on its homogeneous Bertrand market."""
    import econgym
    from econgym.agents.qlearning import QLearner
    from econgym.runner import run_episode

    def run(periods: int = 40_000) -> int:
        env = econgym.make("Bertrand-v0", n=2, K=15)
        run_episode(env, [QLearner(env, epsilon=1.0, eps_decay=4e-6) for _ in range(2)], periods, 0)
        return periods

    return run


def courthoud_peer(folder: Path | None) -> Run:
    """Return a run of the clone's simulate_game, stopped by its own cap."""
    sys.path.insert(0, str(folder))
    from input.init import model
    from input.qlearning import simulate_game

    def run(periods: int = 20_000) -> int:
        game = model()
        game.tmax = periods
        simulate_game(game)
        return periods

    return run


def price_simulator_peer(folder: Path | None) -> Run:
    """Return a run of the clone's DiscreteSynchronEnvironment with two Qlearning agents.

    Its search for equilibrium prices fails on NumPy 2 and is not part of learning: the known prices are put in place.
    """
    sys.path.insert(0, str(folder))
    from price_simulator.src.algorithm.agents.tabular import Qlearning
    from price_simulator.src.algorithm.demand import LogitDemand
    from price_simulator.src.algorithm.environment import DiscreteSynchronEnvironment
    from price_simulator.src.algorithm.equilibrium import EquilibriumCalculator
    from price_simulator.src.algorithm.policies import DecreasingEpsilonGreedy

    EquilibriumCalculator.get_monopoly_outcome = lambda *_: np.full(2, 1.924981)
    EquilibriumCalculator.get_nash_equilibrium = lambda *_: np.full(2, 1.472927)

    def run(periods: int = 10_000) -> int:
        decision = DecreasingEpsilonGreedy(beta=4e-6)
        settings = {"discount": 0.95, "learning_rate": 0.15, "marginal_cost": 1.0, "quality": 2.0}
        agents = [Qlearning(decision=decision, **settings) for _ in range(2)]
        demand = LogitDemand(outside_quality=0.0, price_sensitivity=0.25)
        DiscreteSynchronEnvironment(
            markup=0.1, n_periods=periods, n_prices=15, demand=demand, agents=agents
        ).play_game()
        return periods

    return run


def qpricesim_peer(folder: Path | None) -> Run:
    """Return a run of the clone's compiled training on homogeneous Bertrand."""
    sys.path.insert(0, str(folder))
    from qpricesim.simulations.agents_simulation import train_agents

    def run(periods: int = 300_000) -> int:
        train_agents(
            {
                "n_agent": 2, "k_memory": 1, "min_price": 0, "max_price": 14, "step": 1, "reservation_price": 12,
                "m_consumer": 60, "learning_rate": 0.15, "discount_rate": 0.95, "exploration_rate": 1.0,
                "beta_decay": 4e-6, "learning_iterations": periods, "rounds_convergence": periods,
                "Q_star_threshold": 1e-9, "avg_price_rounds": 1000,
            },
            0,
        )  # fmt: skip
        return periods

    return run


PEERS: dict[str, Callable[[Path | None], Run]] = {
    "econgym": econgym_peer,
    "courthoud": courthoud_peer,
    "price_simulator": price_simulator_peer,
    "qpricesim": qpricesim_peer,
}


def measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Return periods per CPU-second of each run, `rounds` of them in turns, after one to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for lap in range(rounds + 1):
        for name, run in runs.items():
            with contextlib.redirect_stdout(io.StringIO()):
                began = time.process_time()
                periods = run()
                spent = time.process_time() - began
            if lap:
                rates[name].append(periods / spent)
    return rates


def main(
    peer: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of a clone; may be repeated.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rates to this file.")] = None,
) -> None:
    """Measure and print."""
    runs: dict[str, Run] = {"ours": ours(4_000_000)}
    for pair in peer or []:
        if pair.partition("=")[0] not in PEERS or "=" not in pair:
            raise typer.BadParameter(f"got {pair!r}; allowed: NAME=FOLDER with a name of {', '.join(PEERS)}")
    given: dict[str, Any] = {"econgym": None} | dict(pair.split("=", 1) for pair in peer or [])
    for name, folder in given.items():
        with contextlib.suppress(ImportError):
            runs[name] = PEERS[name](Path(folder) if folder else None)
        if name not in runs:
            typer.echo(f"{name}: left out, as it cannot be imported from {folder or 'the installed packages'}")
    rates = measure(runs, ROUNDS)
    base = float(np.median(rates["ours"]))
    table = Table(
        "two tabular Q-learners, 15 prices",
        "periods per CPU-second, median",
        "lowest to highest round",
        "ours / this row",
    )
    for name, found in rates.items():
        rate = float(np.median(found))
        table.add_row(name, f"{rate:,.0f}", f"{min(found):,.0f} to {max(found):,.0f}", f"{base / rate:,.0f}")
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(rates, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
