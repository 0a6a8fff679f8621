"""`malles evaluate`: which sellers, before which consumers, and the tables and JSON that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents.console import make_console
from malles_agents.evaluation.report import as_csv, as_json, draws_table, results_table, title_of
from malles_env.errors import invalid
from malles_env.files import json_plain, read_json, write_json, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from malles_agents.registry import Seller
    from malles_env.envs.spaces.actions import ActionMode
    from malles_env.market import Consumers
    from malles_env.scenarios import Scenario


@dataclass(frozen=True)
class Comparison:
    """Sellers to compare, and the market they meet.

    Attributes:
        scenario: Name or path.
        sellers: Kinds, see `make_seller`.
        policies: Files written by `malles train`; several of one algorithm are seeds of one kind.
        agent: The agent every kind is tried as.
        rivals: Kind of the other sellers.
        episodes: Held-out seeds, one episode each; with draws, as many for each draw as make this number or more.
        search: Whether to add the best stationary action.
        model: Taste model; None takes what the policies were trained with, else the scenario's; ``"all"`` goes through
            the shipped ones.
        tastes: ``"mean"`` or ``"draws"``; None takes what the policies were trained with, else ``"mean"``.
        cost_share: Unit costs as a share of average prices instead of the scenario's; None keeps those.
        trust: Let policy files be unpickled whole, which runs code stored in them.
    """

    scenario: str
    sellers: Sequence[str] = ()
    policies: Sequence[Path] = ()
    agent: str = "seller_0"
    rivals: str = "cost-plus"
    episodes: int = 64
    search: bool = False
    model: str | None = None
    tastes: str | None = None
    cost_share: float | None = None
    trust: bool = False

    @property
    def specs(self) -> list[str]:
        """All sellers by name."""
        return [*self.sellers, *(f"{algorithm_of(path)}:{path}" for path in self.policies)]

    @property
    def history(self) -> int:
        """Periods that observations show: as many as the policies were trained with.

        Raises:
            InvalidInput: They were not all trained with the same.
        """
        found = {path: int(run_of(path).get("history", 1)) for path in self.policies}
        if len(set(found.values())) > 1:
            raise invalid("policies", {str(path): k for path, k in found.items()}, "policies trained with one history")
        return next(iter(found.values()), 1)

    @property
    def mode(self) -> ActionMode:
        """Action mode that all of them share."""
        return "discrete" if any(spec.startswith("dqn:") for spec in self.specs) else "continuous"


def compare_in_console(question: Comparison, json_file: Path | None = None, csv_file: Path | None = None) -> None:
    """Compare sellers, print a table per taste model, write JSON, and episodes as CSV, if asked.

    Raises:
        InvalidInput: No sellers, an unknown agent, or a setting out of range.
    """
    from malles_env.scenarios import load_scenario

    console = make_console()
    market = load_scenario(question.scenario)
    if question.cost_share is not None:
        market = market.with_cost_share(question.cost_share)
    if not question.specs:
        raise invalid("sellers", "", "at least one kind or --policy")
    agents = [f"seller_{n}" for n in range(len(market.seller_names))]
    if question.agent not in agents:
        raise invalid("agent", question.agent, ", ".join(agents))
    model, tastes = _as_trained(console, question, market)
    rows: list[dict[str, Any]] = []
    found = {name: _compared(console, question, market, name, tastes, rows) for name in models_asked(market, model)}
    if json_file is not None:
        one = next(iter(found.values()))
        shared = {key: one[key] for key in ("scenario", "scenario_hash", "agent", "rivals", "tastes", "cost_share")}
        content = one if len(found) == 1 else {**shared, "models": found}
        write_json(json_file, json_plain(content), allow_nan=False)
        console.print(f"written: {json_file}")
    if csv_file is not None:
        write_text(csv_file, as_csv(rows))
        console.print(f"written: {csv_file}")


def models_asked(market: Scenario, model: str | None) -> list[str | None]:
    """Return the taste models to go through; None where tastes stand in the file."""
    from malles_env.consumers.aligned import DRAW_MODELS

    if market.consumers.kind == "logit":
        if model not in (None, "all"):
            raise invalid("model", model, "nothing, as the tastes stand in the scenario (kind: logit)")
        return [None]
    return list(DRAW_MODELS) if model == "all" else [model or market.consumers.model]


def _as_trained(console: Console, question: Comparison, market: Scenario) -> tuple[str | None, str]:
    """Return model and tastes to judge in, and warn where a policy was trained with others."""
    runs = {path: run_of(path) for path in question.policies}
    trained = {name: {str(run.get(name)) for run in runs.values() if run.get(name)} for name in ("model", "tastes")}

    def chosen(name: str, asked: str | None) -> str | None:
        return asked or (next(iter(trained[name])) if len(trained[name]) == 1 else None)

    model, tastes = chosen("model", question.model), chosen("tastes", question.tastes) or "mean"
    if tastes not in ("mean", "draws"):
        raise invalid("tastes", tastes, "'mean' or 'draws'")
    for path, run in runs.items():
        now = {"model": model, "tastes": tastes, "scenario_hash": market.digest()}
        for name, value in now.items():
            was = run.get(name)
            if was is not None and value not in (None, "all", was):
                words = "another version of the scenario" if name == "scenario_hash" else f"{name} {was}"
                console.print(f"[yellow]warning[/yellow]: {path} was trained with {words}, and is judged with {value}")
    return model, tastes


def _compared(
    console: Console, question: Comparison, market: Scenario, model: str | None, tastes: str, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Play all sellers with the tastes of one model, print the table, and return what JSON holds.

    `rows` get one row per episode.
    """
    consumers = market.build_consumers(model, draws=tastes == "draws")
    context: dict[str, Any] = {
        "scenario": market.name, "scenario_hash": market.digest(), "model": model, "tastes": tastes,
        "cost_share": question.cost_share, "agent": question.agent, "rivals": question.rivals,
        "episodes": question.episodes,
    }  # fmt: skip
    play = _over_draws if tastes == "draws" else _in_mean_tastes
    title = title_of(market, model, question.cost_share)
    episodes: list[dict[str, Any]] = []
    results = play(console, question, market, consumers, title, episodes)
    rows += [{"scenario": market.name, "model": model or "", "agent": question.agent, **row} for row in episodes]
    return {**context, **results}


def _built(
    question: Comparison, market: Scenario, consumers: Consumers
) -> tuple[dict[str, list[Seller]], dict[str, Seller]]:
    """Return sellers by kind, and the rivals."""
    from malles_agents.registry import default_rivals, make_seller

    options: dict[str, Any] = {
        "consumers": consumers, "action_mode": question.mode, "history": question.history, "trust": question.trust,
    }  # fmt: skip
    groups: dict[str, list[Seller]] = {}
    for spec in question.specs:
        kind = spec.partition(":")[0] if spec.endswith(".zip") else spec
        groups.setdefault(kind, []).append(make_seller(spec, market, question.agent, **options))
    return groups, default_rivals(market, question.agent, question.rivals, **options)


def _in_mean_tastes(
    console: Console, question: Comparison, market: Scenario, consumers: Consumers, title: str,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    from malles_agents.evaluation.evaluate import MEASURES, compare, summary

    groups, rivals = _built(question, market, consumers)
    if question.search:
        groups["best-stationary"] = [_searched(console, question, market, consumers)]
    with console.status("playing") as status:
        played = compare(
            market, groups, question.agent, rivals, watch=lambda kind: status.update(f"playing {kind}"),
            episodes=question.episodes, consumers=consumers, action_mode=question.mode,
            history=question.history,
        )  # fmt: skip
    rows += [
        {"seller": kind, "run": run, "episode": episode}
        | {measure: float(getattr(one, measure)[episode]) for measure in MEASURES}
        for kind, runs in played.items()
        for run, one in enumerate(runs)
        for episode in range(question.episodes)
    ]
    results = {kind: summary(runs) for kind, runs in played.items()}
    against = f"{question.agent} against {question.rivals}; {question.episodes} held-out seeds"
    note = f"{against}; surplus per consumer and period;\n± one standard error"
    console.print(results_table(results, title=title, currency=market.currency, note=note))
    return as_json(results)


def _over_draws(
    console: Console, question: Comparison, market: Scenario, consumers: Consumers, title: str,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    from malles_agents.evaluation.draws import over_draws

    groups, rivals = _built(question, market, consumers)
    if question.search:  # best at the mean tastes, which is what a seller could know
        groups["best-stationary"] = [_searched(console, question, market, consumers)]
    draws = tuple(getattr(consumers, "draws", ()))
    each = -(-question.episodes // max(len(draws), 1))
    with console.status("playing") as status:
        found = over_draws(
            market, draws, groups, question.agent, rivals, episodes=each, action_mode=question.mode,
            history=question.history,
            watch=lambda words: status.update(words),
        )  # fmt: skip
    rows += [
        {"seller": kind, "draw": draw, "episode": episode, "profit": float(profit)}
        for kind, scores in found.items()
        for draw, episodes in enumerate(scores.episodes)
        for episode, profit in enumerate(episodes)
    ]
    results = {kind: scores.summary() for kind, scores in found.items()}
    note = (
        f"{question.agent} against {question.rivals}; {len(draws)} draws of the tastes, {each} held-out seeds each;\n"
        "± one standard error over draws; worst tenth: mean of the worst tenth of episodes;\n"
        "the best, clairvoyant: best stationary action of each draw"
    )
    console.print(draws_table(results, title=title, currency=market.currency, note=note))
    return {"draws": len(draws), "draw_models": list(getattr(consumers, "draw_models", ())), "sellers": results}


def _searched(console: Console, question: Comparison, market: Scenario, consumers: Consumers) -> Seller:
    """Return the best stationary seller, found in continuous prices and played in the others' mode."""
    from malles_agents.planning.search import search
    from malles_agents.registry import default_rivals
    from malles_agents.seller_view import SellerView

    others = default_rivals(market, question.agent, question.rivals, consumers=consumers, trust=question.trust)
    with console.status("searching for the best stationary prices and assortment"):
        found = search(market, question.agent, others, consumers=consumers)
    console.print(f"best-stationary: {found.words(market.currency)}", markup=False)
    return found.seller(SellerView.of(market, question.agent, consumers=consumers, action_mode=question.mode))


def run_of(policy: Path) -> dict[str, Any]:
    """Return the training run of a policy, from the ``config.json`` beside it; empty where there is none."""
    config = policy.parent / "config.json"
    found = read_json(config) if config.exists() else {}
    return found if isinstance(found, dict) else {}


def algorithm_of(policy: Path) -> str:
    """Return the algorithm that wrote a policy; ppo where nothing says."""
    return str(run_of(policy).get("algo", "ppo"))
