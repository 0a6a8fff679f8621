"""Deep RL held against known answers: best stationary action, dynamic optimum, and Nash and monopoly in self-play."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap, trim_mean

from malles_agents.training.train import HELD_OUT, model_of
from malles_env.errors import invalid
from malles_env.files import read_json, write_json
from malles_env.jobs import Check, Executor, Processes
from malles_env.jobs.checks import files_check
from malles_env.jobs.folders import spread_into
from malles_env.preference.store.locate import weights_check
from malles_env.scenarios import list_scenarios, load_scenario
from malles_env.type_aliases import OnProgress

EPISODES = 64
SELF_PLAY = "bertrand-duopoly"


@dataclass(frozen=True)
class Study:
    """What is trained and how it is judged.

    Attributes:
        scenarios: Names or paths; default all bundled ones.
        algos: Algorithms of `malles train`.
        seeds: Training seeds of each, at least 1; with one there is no interval.
        steps: Env steps of each run.
        rivals: Kind of the other sellers.
        self_play: Also train one shared policy for both sellers of the textbook duopoly.
    """

    scenarios: tuple[str, ...] = field(default_factory=lambda: tuple(list_scenarios()))
    algos: tuple[str, ...] = ("ppo", "a2c")
    seeds: int = 5
    steps: int = 500_000
    rivals: str = "cost-plus"
    self_play: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.seeds < 1:
            raise invalid("seeds", self.seeds, "a whole number of at least 1")
        if self.steps < 1:
            raise invalid("steps", self.steps, "a whole number of at least 1")

    def jobs(self) -> Iterator[tuple[str, str, int, str]]:
        """Yield scenario, algorithm, seed and learner of each run."""
        for scenario in self.scenarios:
            for algo in self.algos:
                for seed in range(self.seeds):
                    yield scenario, algo, seed, "seller_0"
        for algo in self.algos if self.self_play else ():
            for seed in range(self.seeds):
                yield SELF_PLAY, algo, seed, "all"


@dataclass(frozen=True)
class Score:
    """One trained run on held-out seeds.

    Attributes:
        scenario, algo, seed, learner: Which run.
        profit: Money per episode: of the seller, or in self-play the mean over sellers.
        curve: Rows with ``steps`` and ``profit`` (money per episode, exploring).
        model: Who read the tastes; None where they stand in the file.
    """

    scenario: str
    algo: str
    seed: int
    learner: str
    profit: float
    curve: list[dict[str, float]]
    model: str | None = None


@dataclass(frozen=True)
class Yardstick:
    """What a scenario's runs are compared with, money per episode on the same held-out seeds.

    Attributes:
        stationary: Profit of the best stationary prices and assortment.
        optimum: Expected profit of the exact dynamic optimum; None where it cannot be computed.
    """

    stationary: float
    optimum: float | None


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    watch: OnProgress | None = None,
) -> tuple[list[Score], dict[str, Yardstick]]:
    """Train and judge everything that `out` does not hold yet, over the cores or a cluster.

    Args:
        study: What to do.
        out: Folder of the runs and scores; a second call continues where the first was stopped.
        workers: Processes, default all cores; with one all is done in this process.
        executor: Where runs are done instead, e.g. `malles_env.jobs.RayTasks`.
        watch: Called with parts done and all parts.

    Raises:
        MissingResource: A machine of the cluster lacks a file or the weights of a taste model.
    """
    jobs = list(study.jobs())
    parts: list[tuple[Any, ...]] = [(yardstick, scenario, study.rivals) for scenario in study.scenarios]
    parts += [(train_and_score, study, job) for job in jobs]
    where = executor or Processes(workers)
    with spread_into(out, where, call, parts, lambda part: _known(out, part), _checks(study)) as finished:
        for done, _ in enumerate(finished, start=1):
            if watch is not None:
                watch(done, len(parts))
    scores = [train_and_score(study, job, out) for job in jobs]
    return scores, {scenario: yardstick(scenario, study.rivals, out) for scenario in study.scenarios}


def call(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, itself an argument: so that parts of different kinds are jobs of one kind."""
    return work(*arguments)


def _known(out: Path, part: tuple[Any, ...]) -> list[Path]:
    """Return the files that a part continues from."""
    work, *arguments = part
    if work is yardstick:
        scenario, rivals = arguments
        path = _yardstick_file(out, scenario, rivals)
        return [path] if path.exists() else []
    return [path for path in _run_folder(out, *arguments).rglob("*") if path.is_file()]


def _checks(study: Study) -> list[Check]:
    readers = [model_of(load_scenario(scenario)) for scenario in study.scenarios]
    return [files_check((*study.scenarios, study.rivals)), weights_check(readers)]


def yardstick(scenario: str, rivals: str, out: Path) -> Yardstick:
    """Search the best stationary action, play it on the held-out seeds, and keep the answer in `out`."""
    path = _yardstick_file(out, scenario, rivals)
    if path.exists():
        return Yardstick(**read_json(path))
    from malles_agents.evaluation.evaluate import play
    from malles_agents.planning.search import search
    from malles_agents.registry import default_rivals
    from malles_agents.seller_view import SellerView

    market = load_scenario(scenario)
    consumers = market.build_consumers()
    others = default_rivals(market, "seller_0", rivals, consumers=consumers)
    best = search(market, "seller_0", others, consumers=consumers)
    seller = best.seller(SellerView.of(market, "seller_0", consumers=consumers))
    played = play(market, seller, rivals=others, episodes=EPISODES, consumers=consumers)
    found = Yardstick(float(played.profit.mean()), dynamic_optimum(scenario))
    write_json(path, asdict(found), allow_nan=False)
    return found


def dynamic_optimum(scenario: str) -> float | None:
    """Return the expected profit of the exact optimum, money per episode, where backward induction can find it."""
    from malles_agents.planning.exact_stock import StockProblem

    market = load_scenario(scenario)
    return float(StockProblem.of(market).plan().value[-1, -1]) if StockProblem.fits(market) else None


def train_and_score(study: Study, job: tuple[str, str, int, str], out: Path) -> Score:
    """Train one run, play it on the held-out seeds, and keep the answer in `out`; resumes a run that was killed."""
    scenario, algo, seed, learner = job
    folder = _run_folder(out, study, job)
    path = folder / "score.json"
    if path.exists():
        return Score(**read_json(path))
    from malles_agents.training.train import Run, train

    market = load_scenario(scenario)
    consumers = market.build_consumers()
    run = Run(scenario, algo, study.steps, seed, learner, study.rivals)
    trained = train(run, folder, resume=(folder / "config.json").exists(), consumers=consumers, say=_quiet)
    profit = _held_out_profit(run, trained.model, consumers)
    score = Score(scenario, algo, seed, learner, profit, trained.curve, model_of(market))
    write_json(path, asdict(score), allow_nan=False)
    return score


def _held_out_profit(run: Any, model: Any, consumers: Any) -> float:
    from malles_agents.evaluation.evaluate import play
    from malles_agents.registry import default_rivals
    from malles_env.envs import vec_env

    market = load_scenario(run.scenario)
    if run.learner != "all":
        others = default_rivals(market, run.learner, run.rivals, consumers=consumers)
        return float(play(market, model, run.learner, others, episodes=EPISODES, consumers=consumers).profit.mean())
    env = vec_env(market, num_markets=EPISODES, consumers=consumers)
    env.seed(HELD_OUT)
    seen, total = env.reset(), 0.0
    for _ in range(env.max_cycles):
        action, _ = model.predict(seen, deterministic=True)
        seen, reward, _, _ = env.step(action)
        total += float(reward.mean())
    return total * market.reward_scale


def _quiet(text: str) -> None:
    return None


def _yardstick_file(out: Path, scenario: str, rivals: str) -> Path:
    return _folder(out, scenario) / f"yardstick-{rivals.replace(':', '_')}.json"


def _run_folder(out: Path, study: Study, job: tuple[str, str, int, str]) -> Path:
    scenario, algo, seed, learner = job
    return _folder(out, scenario) / f"{algo}-{learner}-{seed}-{study.steps}"


def _folder(out: Path, scenario: str) -> Path:
    folder = out / Path(scenario).stem
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def iqm(values: ArrayLike) -> float:
    """Return the interquartile mean: the mean of the middle half (Agarwal et al. 2021)."""
    return float(trim_mean(np.asarray(values, dtype=np.float64), 0.25))


def interval(values: ArrayLike, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the interquartile mean over training seeds (Agarwal et al. 2021).

    One seed has no interval: both ends are NaN.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) == 1:
        return float("nan"), float("nan")
    if np.ptp(sample) == 0.0:
        return float(sample[0]), float(sample[0])
    found = bootstrap(
        (sample,), lambda x, axis: trim_mean(x, 0.25, axis=axis), n_resamples=5000, confidence_level=level,
        method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


@dataclass(frozen=True)
class ResultLine:
    """One row of the study's table: interquartile means over seeds with 95% bootstrap intervals.

    Attributes:
        scenario, algo: Of the runs.
        stationary: Profit as a share of the best stationary response's: mean, low, high.
        optimum: The same of the dynamic optimum's; None where unknown.
    """

    scenario: str
    algo: str
    stationary: tuple[float, float, float]
    optimum: tuple[float, float, float] | None


def lines(scores: Sequence[Score], yardsticks: dict[str, Yardstick]) -> list[ResultLine]:
    """Return one line per scenario and algorithm."""
    table = []
    for scenario, known in yardsticks.items():
        for algo in dict.fromkeys(score.algo for score in scores):
            found = [s for s in scores if (s.scenario, s.algo, s.learner) == (scenario, algo, "seller_0")]
            profit = np.array([score.profit for score in found])
            best = None if known.optimum is None else _with_interval(profit / known.optimum)
            table.append(ResultLine(scenario, algo, _with_interval(profit / known.stationary), best))
    return table


def _with_interval(values: np.ndarray) -> tuple[float, float, float]:
    return (iqm(values), *interval(values))


def self_play_gain(profit: ArrayLike, cycles: int | None = None) -> np.ndarray:
    """Return the profit gain of mean profits per episode in the textbook duopoly."""
    from malles_agents.seller_view import SellerView
    from malles_agents.sellers.oracles import benchmarks_of

    view = SellerView.of(SELF_PLAY, "seller_0")
    found, periods = benchmarks_of(view), cycles or view.scenario.max_cycles
    low, high = float(found.nash.profit.mean()), float(found.monopoly.profit.mean())
    return np.asarray((np.asarray(profit, dtype=np.float64) / periods - low) / (high - low))
