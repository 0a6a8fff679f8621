"""Experiments by name; each module is imported only when its experiment runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module

from malles_agents.reproduce.base import Experiment, Options, Reproduction
from malles_env.errors import invalid


@dataclass(frozen=True)
class Entry:
    """Where an experiment is and what it shows.

    Attributes:
        module: Its module.
        function: Its function there.
        summary: One line for people.
        sessions: Sessions of each cell by default.
    """

    module: str
    function: str
    summary: str
    sessions: int


_HERE = "malles_agents.reproduce"
EXPERIMENTS = {
    "calvano": Entry(f"{_HERE}.calvano", "representative", "Calvano et al. 2020: profit gain of two Q-learners", 1000),
    "calvano-sellers": Entry(f"{_HERE}.calvano", "sellers", "the same with 2, 3 and 4 sellers", 100),
    "calvano-grid": Entry(f"{_HERE}.calvano", "learning_grid", "the same over learning rate and exploration", 20),
    "calvano-asymmetry": Entry(f"{_HERE}.calvano", "asymmetry", "the same with one seller's cost falling", 200),
    "calvano-patience": Entry(f"{_HERE}.calvano", "patience", "the same over the discount factor", 60),
    "calvano-impulse": Entry(f"{_HERE}.calvano_play", "impulse", "response to a one-period deviation", 300),
    "calvano-equilibrium": Entry(
        f"{_HERE}.calvano_play", "equilibrium", "grid Nash equilibria, one-shot check, exact best-response gap", 1000
    ),
    "klein": Entry(f"{_HERE}.sequential", "klein", "Klein 2021: Q-learners that set prices in turns", 200),
    "asker": Entry(f"{_HERE}.sequential", "asker", "Asker et al. 2022: synchronous against asynchronous learning", 40),
    "mnl-bandit": Entry(
        f"{_HERE}.mnl_bandit", "mnl_bandit", "Agrawal et al. 2019: regret of learning an assortment", 8
    ),
    "cereal": Entry(f"{_HERE}.cereal", "cereal", "Nevo 2000 in pyblp: Nash, merger and joint-profit prices", 1),
    "stock": Entry(f"{_HERE}.dynamics", "stock", "Gallego and van Ryzin 1994; capped-stock Nash prices", 2000),
    "reference-price": Entry(f"{_HERE}.dynamics", "reference_price", "steady price with remembered prices", 1),
    "mean-field": Entry(f"{_HERE}.mean_field", "mean_field", "Brock and Durlauf 2001: equilibria against coupling", 1),
}


def run_experiment(
    name: str, options: Options | None = None, experiments: Mapping[str, Entry] = EXPERIMENTS
) -> Reproduction:
    """Run an experiment.

    Args:
        name: One of the experiments.
        options: How; the defaults are the experiment's own.
        experiments: Those there are, by name.

    Raises:
        InvalidInput: There is no such experiment, or fewer than one session was asked for.
    """
    if name not in experiments:
        raise invalid("experiment", name, ", ".join(experiments))
    entry, given = experiments[name], options or Options()
    if given.sessions is not None and given.sessions < 1:
        raise invalid("sessions", given.sessions, "a whole number of at least 1")
    if given.workers is not None and given.workers < 1:
        raise invalid("workers", given.workers, "a whole number of at least 1")
    if given.seed < 0:
        raise invalid("seed", given.seed, "a whole number of at least 0")
    if given.steps is not None and given.steps < 1:
        raise invalid("steps", given.steps, "a whole number of at least 1")
    chosen = replace(given, sessions=given.sessions or entry.sessions)
    function: Experiment = getattr(import_module(entry.module), entry.function)
    return function(chosen)
