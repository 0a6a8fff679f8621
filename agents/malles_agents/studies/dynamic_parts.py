"""Parts of the benchmark, each kept on disk as soon as it is done: plans over weeks, hidden draws, learners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from malles_agents.checkpoints import file_name
from malles_agents.planning.exact_stock import StockProblem, forgetful
from malles_agents.planning.hidden_draws import DrawValues, best_of_draws, robust_action, with_draws
from malles_agents.planning.path_search import end_of, search_constant, search_paths
from malles_agents.planning.paths import Paths, PathValue
from malles_agents.planning.search import search
from malles_agents.registry import default_rivals
from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import StationarySeller
from malles_agents.studies.calendar_shape import calendar_shape
from malles_agents.studies.learned_share import learn_and_score
from malles_env import __version__
from malles_env.files import read_json, slug, write_json
from malles_env.market import Consumers
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.blocks.forces import ForcesEntry, PriceMemoryEntry

AGENT = "seller_0"
ADAPTIVE = ("iterated-least-squares", "thompson-draws")
"""Sellers that learn within the episode without training."""
LOSS, MEMORY = 0.5, 0.8
"""Of the reference prices assumed by ``what_if``."""

Block = dict[str, Any]
World = tuple[str, str | None, str]
"""Scenario, taste model (None where tastes stand in the file), kind of rivals."""


class Learning(Protocol):
    """How long learners train, and what they see."""

    @property
    def steps(self) -> int:
        """Env steps of each training run."""
        ...

    @property
    def history(self) -> int:
        """Periods that trained policies see."""
        ...


def _kept(out: Path, world: World, name: str, question: Mapping[str, Any], work: Callable[[], Block]) -> Block:
    """Return what the part's file says if it answers this very question, else do the work and write it."""
    scenario, model, rivals = world
    market = load_scenario(scenario)
    asked = {"version": __version__, "scenario_hash": market.digest(), "model": model, "rivals": rivals, **question}
    folder = _part_folder(out, world)
    path = folder / f"{name}.json"
    if path.exists():
        old = read_json(path)
        if isinstance(old, dict) and old.get("question") == asked:
            return dict(old["answer"])
    answer = work()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"question": asked, "answer": answer}, allow_nan=False)
    return answer


def market_folder(out: Path, name: str) -> Path:
    """Return where a market's parts are kept: a folder in `out`, whatever name a scenario file gives itself."""
    return out / (slug(name) or "market")


def _part_folder(out: Path, world: World) -> Path:
    scenario, model, rivals = world
    return market_folder(out, load_scenario(scenario).name) / file_name(rivals) / Path(model or "scenario").name


def known_files(out: Path, study: Learning, world: World, job: Any) -> list[Path]:
    """Return the files in `out` that a part continues from: the parts of its world and, of a learner, its run."""
    found = list(_part_folder(out, world).glob("*.json"))
    if isinstance(job, tuple):
        found += [path for path in _run_folder(out, study, world, job).rglob("*") if path.is_file()]
    return found


# -- plans over weeks -----------------------------------------------------------------------------------------------


def plan_part(study: Learning, world: World, gain: float | None, out: Path) -> Block:
    """Return the best constant action and the best plan with an assumed gain of reference prices where one is given."""
    name = "plans" if gain is None else f"plans-gain-{gain:g}"
    question = {"gain": gain, "loss": LOSS, "memory": MEMORY} if gain is not None else {}
    return _kept(out, world, name, question, lambda: _plans(world, gain))


def comparing(market: Scenario, gain: float) -> Scenario:
    """Return a copy whose consumers compare with a remembered price: an assumption, not an estimate."""
    forces = market.forces or ForcesEntry()
    memory = PriceMemoryEntry(gain=float(gain), loss=LOSS, memory=MEMORY)
    return market.model_copy(update={"forces": forces.model_copy(update={"reference_price": memory})})


def _plans(world: World, gain: float | None) -> Block:
    scenario, model, kind = world
    market = load_scenario(scenario)
    if gain is not None:
        market = comparing(market, gain)
    consumers = market.build_consumers(model)
    if StockProblem.fits(market, consumers):
        return _exact_plans(market, consumers)
    rivals = default_rivals(market, AGENT, kind, consumers=consumers)
    stationary = search(market, AGENT, rivals, consumers=consumers, finalists=4)
    value = PathValue(market, AGENT, rivals, consumers=consumers)
    still = all(isinstance(rival, StationarySeller) for rival in rivals.values())
    unruled = value.view.catalog.price_rules is None
    if still and unruled and forgetful(market, consumers) and np.isinf(value.view.catalog.stock).all():
        best = search_constant(value, stationary)
        method, bound = "no memory: a constant action is best", 1.0
    else:
        best = search_paths(value, stationary)
        method, bound = "path search, expected demand, common random numbers", None
    prices, listed = value.asked(best.without_end)
    whole, whole_listed = value.asked(best.free)
    last = value.weeks - best.end
    return {
        "method": method, "upper_bound": bound, "weeks": value.weeks, "end": best.end, "plans_played": best.played,
        "best_constant": _plan_block(value.view.product_ids, best.constant, best.constant_profit.sum()),
        "best_dynamic": _plan_block(value.view.product_ids, best.free, best.free_profit.sum()),
        "best_without_end": _plan_block(value.view.product_ids, best.without_end, best.without_end_profit.sum()),
        "dynamic_ratio": best.ratio, "dynamic_ratio_without_end": best.ratio_without_end,
        "shape": calendar_shape(prices[:last], listed[:last]), "shape_with_end": calendar_shape(whole, whole_listed),
    }  # fmt: skip


def _plan_block(products: tuple[str, ...], plan: Paths, profit: float) -> Block:
    """Return a single plan for JSON: profit, and per product prices and what is listed and promoted in each week."""
    found: Block = {"profit": float(profit)}
    tables = {"prices": plan.prices[0], "listed": plan.listed[0], "display": plan.promoted[0, 0],
              "feature": plan.promoted[1, 0]}  # fmt: skip
    for name, table in tables.items():
        if name not in ("display", "feature") or table.any():
            found[name] = {product: table[:, j].tolist() for j, product in enumerate(products)}
    return found


def _exact_plans(market: Scenario, consumers: Consumers) -> Block:
    """Return the same where backward induction over the stock can."""
    problem = StockProblem.of(market, consumers)
    plan, (number, constant) = problem.plan(), problem.constant()
    end, price = end_of(problem.periods), float(problem.prices[number])
    last = problem.periods - end
    tail = problem.plan(only=number, periods=end).value[-1]
    calm = problem.plan(periods=last, terminal=tail)
    earned = float(problem.plan(only=number, periods=last).value[-1, -1])
    product, optimum = market.product_ids[0], float(plan.value[-1, -1])
    path = problem.played(market, plan)
    always = np.ones_like(path, dtype=bool)
    return {
        "method": "backward induction over the stock, exact", "upper_bound": optimum / constant,
        "weeks": problem.periods, "end": end, "plans_played": 0,
        "best_constant": {"profit": constant, "prices": {product: [price]}, "listed": {product: [True]}},
        "best_dynamic": {"profit": optimum},
        "best_without_end": {"profit": float(calm.value[-1, -1])},
        "dynamic_ratio": optimum / constant,
        "dynamic_ratio_without_end": 1.0 + (float(calm.value[-1, -1]) - constant) / earned,
        "shape": calendar_shape(path[:last], always[:last]), "shape_with_end": calendar_shape(path, always),
    }  # fmt: skip


# -- hidden draws of the tastes -------------------------------------------------------------------------------------


def draws_part(study: Learning, world: World, _: None, out: Path) -> Block:
    """Return the robust constant action and what each draw allows."""
    return _kept(out, world, "draws", {}, lambda: _draws(world))


def _draws(world: World) -> Block:
    view = drawn_view(world)
    table = best_of_draws(view, world[2])
    values = DrawValues(view, table, world[2])
    prices, listed = robust_action(view, values)
    profit = values(np.arange(1), prices[None], listed[None])[:, 0]
    models = list(getattr(view.consumers, "draw_models", ()))
    within = {}
    for name in dict.fromkeys(models):
        part = table.take(np.flatnonzero([drawn == name for drawn in models]))
        own = DrawValues(view, part, world[2])
        chosen = robust_action(view, own)
        earned = own(np.arange(1), chosen[0][None], chosen[1][None])[:, 0]
        within[name] = float((part.value - earned).mean() / part.value.mean())
    return {
        "draws": len(table.draws), "draw_models": models,
        "robust": {"prices": prices.tolist(), "listed": listed.tolist(), "profit": profit.tolist()},
        "best": {"prices": table.prices.tolist(), "listed": table.listed.tolist(), "profit": table.value.tolist()},
        "within": within,
    }  # fmt: skip


def drawn_view(world: World) -> SellerView:
    """Return the view whose consumers carry the draws."""
    scenario, model, _ = world
    market = load_scenario(scenario)
    view = SellerView.of(market, AGENT, consumers=market.build_consumers(model, draws=True))
    return replace(view, given=with_draws(view))


def learned_part(study: Learning, world: World, job: tuple[str, int], out: Path) -> Block:
    """Return what one replicate of one learner earns under every draw, and constant actions on the same seeds."""
    algo, seed = job
    trained = _training(study, algo)
    known = draws_part(study, world, None, out)
    name, folder = _run_name(study, job), _run_folder(out, study, world, job)

    def work() -> Block:
        return learn_and_score(drawn_view(world), world, algo, seed, known, folder, **trained)

    return _kept(out, world, name, trained, work)


def _training(study: Learning, algo: str) -> dict[str, int]:
    return {} if algo in ADAPTIVE else {"steps": study.steps, "history": study.history}


def _run_name(study: Learning, job: tuple[str, int]) -> str:
    return "-".join(map(str, (*job, *_training(study, job[0]).values())))


def _run_folder(out: Path, study: Learning, world: World, job: tuple[str, int]) -> Path:
    market = load_scenario(world[0])
    return market_folder(out, market.name) / "runs" / file_name(f"{_run_name(study, job)}-{world[2]}-{market.digest()}")
