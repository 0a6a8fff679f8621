"""The benchmark: what planning over weeks, or learning within an episode, earns more than the best constant action."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.evaluation.comparison import models_asked
from malles_agents.studies.calendar_shape import alike, calendar_shape
from malles_agents.studies.deep_rl import call
from malles_agents.studies.dynamic_parts import (
    ADAPTIVE,
    AGENT,
    LOSS,
    MEMORY,
    Block,
    World,
    draws_part,
    known_files,
    learned_part,
    plan_part,
)
from malles_agents.training.train import MOST_SEEDS
from malles_env.errors import InvalidInput, invalid
from malles_env.jobs import Executor, Processes
from malles_env.jobs.checks import files_check
from malles_env.jobs.folders import spread_into
from malles_env.preference.store.locate import weights_check
from malles_env.scenarios import Scenario, list_scenarios, load_scenario
from malles_env.scenarios.calendar import find_calendar, list_calendars
from malles_env.type_aliases import OnProgress

TRAINED = ("ppo", "recurrent-ppo")
RATIO_AIM, REGRET_AIM, SHARE_AIM = 1.03, 0.05, 0.6


@dataclass(frozen=True)
class DynamicStudy:
    """What is asked.

    Attributes:
        scenarios: Names or paths; default all bundled ones.
        model: Taste model, ``"all"`` for the shipped ones; of no matter where tastes stand in the file.
        rivals: Kinds of the other sellers.
        algos: Of TRAINED and ADAPTIVE, or other algorithms of `malles train`; may be empty.
        seeds: Replicates of each, 1 to 1000; with one there is no interval.
        steps: Env steps of each training run; 0 trains nothing.
        history: Periods that trained policies see.
        gains: Strengths of an assumed reference price to try, utils; empty: none.
    """

    scenarios: tuple[str, ...] = field(default_factory=lambda: tuple(list_scenarios()))
    model: str = "all"
    rivals: tuple[str, ...] = ("cost-plus",)
    algos: tuple[str, ...] = (*TRAINED, *ADAPTIVE)
    seeds: int = 5
    steps: int = 500_000
    history: int = 8
    gains: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check all that can be checked before anything runs."""
        from malles_agents.registry import check_name
        from malles_agents.sellers.sb3.policies import ALGORITHMS

        if not 1 <= self.seeds <= MOST_SEEDS:
            raise invalid("seeds", self.seeds, f"a whole number from 1 to {MOST_SEEDS}")
        if self.steps < 0:
            raise invalid("steps", self.steps, "a whole number of at least 0; 0 trains nothing")
        for name in self.algos:
            if name not in (*ALGORITHMS, *ADAPTIVE) or name == "dqn":
                allowed = [known for known in ALGORITHMS if known != "dqn"]
                raise invalid("algos", name, ", ".join((*allowed, *ADAPTIVE, "none")))
        if not self.rivals:
            raise invalid("rivals", "", "at least one kind of seller")
        for kind in self.rivals:
            check_name(kind)
        for gain in self.gains:
            if not np.isfinite(gain) or gain < 0.0:
                raise invalid("what_if", gain, "strengths of gains, utils of at least 0")
        self._check_markets()

    def _check_markets(self) -> None:
        """Refuse markets whose tastes are not known, rivals without a calendar, and names that stand twice."""
        markets = [load_scenario(scenario) for scenario in self.scenarios]
        names = [market.name for market in markets]
        if len(set(names)) < len(names):
            raise invalid("scenarios", names, "scenarios with different names")
        for market in markets:
            if market.consumers.kind not in ("logit", "aligned"):
                raise invalid("scenario", market.name, "one whose tastes are known (kind: logit or aligned)")
            if "calendar" in self.rivals:
                find_calendar(market)

    @property
    def learners(self) -> tuple[str, ...]:
        """The algorithms that are run."""
        return tuple(name for name in self.algos if self.steps or name in ADAPTIVE)

    def worlds(self) -> Iterator[tuple[str, str | None, str]]:
        """Yield scenario, taste model and rivals of each result; the default of each scenario comes first."""
        for scenario in self.scenarios:
            market = load_scenario(scenario)
            asked = None if market.consumers.kind == "logit" else self.model
            models = models_asked(market, asked)
            own = getattr(market.consumers, "model", None)
            for model in sorted(models, key=lambda name: name != own):
                for rivals in self.rivals:
                    yield scenario, model, rivals

    def parts(self) -> list[list[tuple[Any, ...]]]:
        """Return the parts of the work in stages; those of a stage need the stages before it only."""
        worlds = list(self.worlds())
        paths: list[tuple[Any, ...]] = [(plan_part, world, None) for world in worlds]
        paths += [(plan_part, world, gain) for world in worlds if takes_gains(world[0]) for gain in self.gains]
        hidden = list(dict.fromkeys((scenario, drawn_by(model), rivals) for scenario, model, rivals in worlds))
        learned = [(learned_part, world, (algo, seed)) for world in hidden for algo in self.learners
                   for seed in range(self.seeds)]  # fmt: skip
        return [[*paths, *((draws_part, world, None) for world in hidden)], learned]


def drawn_by(model: str | None) -> str | None:
    """Return who stands for a model's draws: the shipped models share theirs."""
    from malles_env.consumers.aligned import DRAW_MODELS

    return DRAW_MODELS[0] if model in DRAW_MODELS else model


def takes_gains(scenario: str) -> bool:
    """Return whether gains and losses of a reference price can be assumed: demand reads log prices from a log."""
    return bool(load_scenario(scenario).consumers.kind == "aligned")


def run_dynamic_study(
    study: DynamicStudy,
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    watch: OnProgress | None = None,
) -> dict[str, Block]:
    """Do all parts that `out` does not hold yet, over the cores or a cluster, and put the results together.

    Args:
        study: What to do.
        out: Folder of the parts; a second call continues where the first was stopped.
        workers: Processes, default all cores; with one all is done in this process.
        executor: Where parts are done instead, e.g. `malles_env.jobs.RayTasks`.
        watch: Called with parts done and all parts.

    Returns:
        Scenario -> its default block (see `block_of`) and, under ``models`` -> model -> ``rivals`` -> kind, all blocks.
    """
    stages, done = study.parts(), 0
    total = sum(map(len, stages))
    where = executor or Processes(workers)
    checks = (files_check((*study.scenarios, *study.rivals)), weights_check(model for _, model, _ in study.worlds()))
    with where.session():
        for stage in stages:
            parts = [(work, study, world, more) for work, world, more in stage]
            with spread_into(out, where, call, parts, lambda part: known_files(out, *part[1:]), checks) as finished:
                for _ in finished:
                    done += 1
                    if watch is not None:
                        watch(done, total)
    found: dict[str, Block] = {}
    for world in study.worlds():
        scenario, model, rivals = world
        block = block_of(study, world, out)
        entry = found.setdefault(load_scenario(scenario).name, {**block, "models": {}})
        of_model = entry["models"].setdefault(model or "scenario", {"rivals": {}})
        of_model["rivals"][rivals] = block
    return found


def block_of(study: DynamicStudy, world: World, out: Path) -> Block:
    """Return the result of one scenario, taste model and kind of rivals.

    Keys: ``model``, ``against`` (rivals), ``dynamic_ratio``, ``dynamic_ratio_without_end``, ``upper_bound`` of the
    first (None: none known), ``method``, ``best_constant``, ``best_dynamic``, ``best_without_end``, ``calendar`` ->
    ``model``, ``real`` (see `calendar_shape`), ``alike``; ``robust_regret`` and more in ``hidden``; ``learned`` ->
    algorithm -> ``share_of_gap``, ``of_clairvoyant`` -> ``iqm``, ``low``, ``high``; ``what_if`` where it was asked.
    """
    from malles_agents.studies.learned_share import shares

    scenario, model, rivals = world
    market, plans = load_scenario(scenario), plan_part(study, world, None, out)
    drawn: World = (scenario, drawn_by(model), rivals)
    hidden = draws_part(study, drawn, None, out)
    profit, best = np.array(hidden["robust"]["profit"]), np.array(hidden["best"]["profit"])
    real = real_shape(market)
    shape = plans.pop("shape")
    with_end = plans.pop("shape_with_end")
    learned = {
        algo: shares([learned_part(study, drawn, (algo, seed), out) for seed in range(study.seeds)])
        for algo in study.learners
    }
    block: Block = {
        "model": model, "agent": AGENT, "against": rivals, "currency": market.currency,
        "scenario_hash": market.digest(),
        **plans,
        "calendar": {"model": shape, "model_with_end": with_end, "real": real, "alike": alike(shape, real)},
        "robust_regret": float((best - profit).mean() / best.mean()),
        "hidden": {
            "draws": hidden["draws"],
            "source": sorted(set(hidden["draw_models"])) or "assumed multiples of the price sensitivity",
            "robust": float(profit.mean()), "clairvoyant": float(best.mean()),
            "least_of_best": float((profit / best).min()),
            "regret_within": hidden["within"].get(model),
        },
        "learned": learned,
    }  # fmt: skip
    if study.gains and takes_gains(scenario):
        block["what_if"] = what_if(study, world, real, out)
    return block


def real_shape(market: Scenario) -> dict[str, float] | None:
    """Return the measures of the real sellers' calendar, median over all lines; None where none is bundled."""
    if market.name not in list_calendars():
        return None
    try:
        calendar = find_calendar(market)
    except InvalidInput:  # a scenario of the user's that has the name of a bundled one
        return None
    return calendar_shape(calendar.prices, calendar.listed)


def what_if(study: DynamicStudy, world: World, real: dict[str, float] | None, out: Path) -> Block:
    """Return ratios and calendars by the assumed gain, the gain at which the ratio passes the aim, and which match."""
    rows = []
    for gain in sorted(study.gains):
        plans = plan_part(study, world, gain, out)
        rows.append({
            "gain": gain, "dynamic_ratio": plans["dynamic_ratio"],
            "dynamic_ratio_without_end": plans["dynamic_ratio_without_end"], "calendar": plans["shape"],
            "alike": alike(plans["shape"], real), "prices": plans["best_without_end"]["prices"],
        })  # fmt: skip
    return {
        "assumption": f"reference price in logs with this gain, loss {LOSS:g}, memory {MEMORY:g}; not in the data",
        "rows": rows,
        "gain_at_aim": crossing([(row["gain"], row["dynamic_ratio_without_end"]) for row in rows], RATIO_AIM),
        "gains_alike": [row["gain"] for row in rows if row["alike"]],
    }  # fmt: skip


def crossing(points: list[tuple[float, float]], level: float) -> float | None:
    """Return where values first reach a level, between points on a straight line; None where they never do."""
    before: tuple[float, float] | None = None
    for x, y in points:
        if y >= level:
            if before is None:
                return x
            return before[0] + (level - before[1]) / (y - before[1]) * (x - before[0])
        before = (x, y)
    return None
