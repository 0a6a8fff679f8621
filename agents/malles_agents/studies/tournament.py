"""A round robin of sellers on scenarios: every kind as every agent against every kind, on held-out seeds, resumable."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.checkpoints import file_name
from malles_agents.evaluation.evaluate import first_state
from malles_agents.registry import Seller, make_seller
from malles_agents.seller_view import SellerView
from malles_agents.sellers.oracles import benchmarks_of
from malles_agents.studies.deep_rl import dynamic_optimum
from malles_agents.training.train import HELD_OUT, model_of
from malles_env.envs import vec_env
from malles_env.errors import InvalidInput, MissingResource, invalid
from malles_env.files import file_hash, read_json, write_json
from malles_env.jobs import Executor, Processes
from malles_env.jobs.checks import files_check
from malles_env.market import Consumers
from malles_env.preference.store.locate import weights_check
from malles_env.scenarios import Scenario, list_scenarios, load_scenario
from malles_env.type_aliases import OnProgress

KINDS = (
    "regular-price", "cost-plus", "random", "undercut", "tit-for-tat", "grim", "best-response", "nash", "monopoly",
    "epsilon-greedy", "ucb", "thompson", "q-learning", "mnl-bandit",
)  # fmt: skip
FIRST_SEED = HELD_OUT + 500_000_000
MOST_PRODUCTS = 30
"""Scenarios of more products are played when named only: their Nash equilibria over assortments take hours to find."""
LATE = 0.25


@dataclass(frozen=True)
class Tournament:
    """What is played; saved as ``tournament.json``.

    Attributes:
        scenarios: Names or paths; default the bundled ones of at most `MOST_PRODUCTS` products.
        sellers: Specs of `make_seller`, or paths of entry files (see `load_entry`).
        episodes: Held-out seeds of each match, at least 1; with one there are no standard errors.
        cycles: Periods of an episode, at least 2; a scenario with limited stock keeps its own.
        seed: First seed, counted from a range that training and `evaluate` never use.
        trust: Let policy files be unpickled whole, which runs code stored in them: only for files you made.
    """

    scenarios: tuple[str, ...] = field(default_factory=lambda: usual_scenarios())
    sellers: tuple[str, ...] = KINDS
    episodes: int = 16
    cycles: int = 200
    seed: int = 0
    trust: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in {"episodes": 1, "cycles": 2}.items():
            if getattr(self, name) < least:
                raise invalid(name, getattr(self, name), f"a whole number of at least {least}")
        if len(set(map(seller_name, self.sellers))) < len(self.sellers):
            raise invalid("sellers", list(self.sellers), "names used once")

    def matches(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield scenario, the seller that is scored, whom all others are (itself if there are none), and its agent."""
        for scenario in self.scenarios:
            agents = load_scenario(scenario).catalog().num_sellers
            for seller in self.sellers:
                for others in (seller,) if agents == 1 else self.sellers:
                    for n in range(agents):
                        yield scenario, seller, others, f"seller_{n}"


@dataclass(frozen=True)
class Match:
    """How a seller did as one of a scenario's agents, one number per episode; money per period.

    Attributes:
        scenario, seller, others: Who met where.
        agent: Which agent the seller was, ``seller_0``...; all other agents were `others`.
        profit: Of the seller.
        late: The same over the last quarter of the episode.
        rivals: Mean profit of the other agents; empty where there are none.
        surplus: Consumer surplus per consumer, up to a constant.
        nash, monopoly: What the agent earns in the steady state of the two benchmarks; where the exact dynamic
            optimum is known instead, both are its profit per period.
        reach: Mean over agents of monopoly minus Nash profit.
        model: Who read the tastes; None where they stand in the file.
    """

    scenario: str
    seller: str
    others: str
    agent: str
    profit: list[float]
    late: list[float]
    rivals: list[float]
    surplus: list[float]
    nash: float
    monopoly: float
    reach: float
    model: str | None = None


def usual_scenarios() -> tuple[str, ...]:
    """Return the bundled scenarios that a tournament plays by default: those of at most `MOST_PRODUCTS` products."""
    return tuple(name for name in list_scenarios() if len(load_scenario(name).products) <= MOST_PRODUCTS)


def seller_name(spec: str) -> str:
    """Return the name a seller goes by: the spec (of ``fixed``, what it plays), or the stem of an entry file."""
    return Path(spec).stem if spec.endswith(".py") else {"fixed": "regular-price"}.get(spec, spec)


def load_entry(path: str | Path) -> Callable[[SellerView], Seller]:
    """Return the `make_seller(view)` of an entry file. The file is run: enter only code you trust.

    Raises:
        MissingResource: No such file.
        InvalidInput: It defines no callable `make_seller`, or fails while it is read.
    """
    file = Path(path)
    if not os.path.isfile(file):
        raise MissingResource(f"{file}: there is no such entry file")
    spec = importlib.util.spec_from_file_location(f"entry_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{file}: cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidInput(f"{file}: fails while it is read: {type(error).__name__}: {error}") from error
    make = getattr(module, "make_seller", None)
    if not callable(make):
        raise InvalidInput(f"{file}: got no function make_seller(view); allowed: one that returns a seller")
    entry: Callable[[SellerView], Seller] = make
    return entry


def _seller(spec: str, scenario: Scenario, agent: str, consumers: Consumers, trust: bool) -> Seller:
    if spec.endswith(".py"):
        return load_entry(spec)(SellerView.of(scenario, agent, consumers=consumers))
    return make_seller(spec, scenario, agent, consumers=consumers, trust=trust)


_CONSUMERS: dict[str, Consumers] = {}


def play_match(tournament: Tournament, scenario: str, seller: str, others: str, agent: str = "seller_0") -> Match:
    """Play one match on its held-out seeds; the same call gives the same numbers in any process."""
    market = load_scenario(scenario)
    if scenario not in _CONSUMERS:
        _CONSUMERS[scenario] = market.build_consumers()
    consumers, trust = _CONSUMERS[scenario], tournament.trust
    view = SellerView.of(market, agent, consumers=consumers)
    agents = [f"seller_{n}" for n in range(view.catalog.num_sellers)]
    rivals = {rival: _seller(others, market, rival, consumers, trust) for rival in agents if rival != agent}
    limited = bool(np.isfinite(view.catalog.stock).any())
    env = vec_env(
        market, num_markets=tournament.episodes, learner=agent, rivals=rivals, consumers=consumers,
        max_cycles=market.max_cycles if limited else tournament.cycles,
    )  # fmt: skip
    env.seed(FIRST_SEED + tournament.seed)
    profit, surplus = _roll(env, _seller(seller, market, agent, consumers, trust))
    late = max(int(len(profit) * LATE), 1)
    found, optimum, own = benchmarks_of(view), dynamic_optimum(scenario), agents.index(agent)
    nash, monopoly = float(found.nash.profit[own]), float(found.monopoly.profit[own])
    if optimum is not None:  # a stock that must last: the steady state means nothing, the exact optimum does
        nash = monopoly = optimum / len(profit)
    return Match(
        scenario, seller_name(seller), seller_name(others), agent,
        profit[:, :, own].mean(axis=0).tolist(), profit[-late:, :, own].mean(axis=0).tolist(),
        np.delete(profit, own, axis=2).mean(axis=(0, 2)).tolist() if rivals else [],
        (surplus.mean(axis=0) / market.population_size).tolist(),
        nash, monopoly,
        float((found.monopoly.profit - found.nash.profit).mean()), model_of(market),
    )  # fmt: skip


def _roll(env: Any, seller: Seller) -> tuple[np.ndarray, np.ndarray]:
    """Return profits ``(T, M, N)`` and surplus ``(T, M)`` of one episode in every market."""
    observation, start = env.reset(), np.ones(env.num_envs, dtype=bool)
    state = first_state(env, seller)
    profits, surplus = [], []
    for _ in range(env.max_cycles):
        action, state = seller.predict(observation, state, start, deterministic=True)
        observation, _, _, _ = env.step(action)
        profits.append(env.outcome.seller_profit)
        surplus.append(env.outcome.consumer_surplus)
        start = np.zeros(env.num_envs, dtype=bool)
    return np.array(profits), np.array(surplus)


def run_tournament(
    tournament: Tournament,
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    watch: OnProgress | None = None,
) -> list[Match]:
    """Play all matches that `out` does not hold yet, over the cores or a cluster, and return all of them.

    Args:
        tournament: What to play.
        out: Folder of ``tournament.json`` and one file per match; continue in it after a kill or with more sellers.
        workers: Processes, default all cores; with one the matches are played in this process.
        executor: Where matches are played instead, e.g. `malles_env.jobs.RayTasks`; the numbers are the same.
        watch: Called with matches done and all matches.

    Raises:
        InvalidInput: `out` holds matches played with other episodes, cycles or seed.
        MissingResource: A machine of the cluster lacks a file or the weights of a taste model.
    """
    _check_folder(tournament, out)
    wanted = list(tournament.matches())
    todo = [match for match in wanted if not _file(out, *match).exists()]
    done = len(wanted) - len(todo)
    if watch is not None and wanted:
        watch(done, len(wanted))
    readers = [model_of(load_scenario(scenario)) for scenario in tournament.scenarios]
    checks = (files_check((*tournament.scenarios, *tournament.sellers)), weights_check(readers))
    spread = (executor or Processes(workers)).spread
    with spread(play_match, todo, common=(tournament,), checks=checks) as played:
        for match, result in played:
            write_json(_file(out, *match), asdict(result), allow_nan=False)
            done += 1
            if watch is not None:
                watch(done, len(wanted))
    return [Match(**read_json(_file(out, *match))) for match in wanted]


def _file(out: Path, scenario: str, seller: str, others: str, agent: str) -> Path:
    safe = "--".join(_label(spec) for spec in (seller, others))
    folder = out / Path(scenario).stem
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{safe}--{agent}.json"


def _label(spec: str) -> str:
    """Return a seller's name for file names; an entry or policy file adds a hash, so that a changed one plays anew."""
    name = file_name(seller_name(spec))
    file = Path(spec if spec.endswith(".py") else spec.partition(":")[2])
    return f"{name}-{file_hash(file)[:8]}" if os.path.isfile(file) else name


def _check_folder(tournament: Tournament, out: Path) -> None:
    settings = {name: getattr(tournament, name) for name in ("episodes", "cycles", "seed")}
    path = out / "tournament.json"
    out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old = read_json(path)
        for name, value in settings.items():
            if old.get(name) != value:
                raise invalid(name, value, f"{old.get(name)}, as in {path}; or another --out")
    write_json(path, settings, allow_nan=False)


def names(matches: Sequence[Match]) -> list[str]:
    """Return the sellers of matches in the order in which they first appear."""
    return list(dict.fromkeys(match.seller for match in matches))
