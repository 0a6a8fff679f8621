"""Sellers and saved policies in the same place, against the same rivals, on the same held-out seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.evaluation.comparison import algorithm_of, run_of
from malles_agents.evaluation.evaluate import Played, play, summary
from malles_agents.planning.search import search
from malles_agents.registry import default_rivals, make_seller
from malles_agents.seller_view import SellerView
from malles_env.errors import invalid
from malles_env.studio.logic.market import World
from malles_env.type_aliases import OnMessage

MOST_EPISODES = 512
MOST_POLICIES = 200
BEST = "best constant"


@dataclass(frozen=True)
class Question:
    """What is compared.

    Attributes:
        agent: The place every seller is tried at.
        sellers: Kinds, see `make_seller`, e.g. ``"cost-plus:0.5"``; none that read files.
        policies: Files written by `malles train`.
        rivals: Kind of the other sellers.
        episodes: Held-out seeds, one episode each.
        best: Whether to add the best constant prices.
    """

    agent: str
    sellers: tuple[str, ...]
    policies: tuple[Path, ...] = ()
    rivals: str = "cost-plus"
    episodes: int = 32
    best: bool = True


def compared(world: World, question: Question, watch: OnMessage = str) -> dict[str, Played]:
    """Play every seller.

    Args:
        world: The market.
        question: What is compared.
        watch: Called with the name of each seller before it plays.

    Raises:
        InvalidInput: Nothing to compare, too many episodes, an unknown kind, or a policy of another market.
        CorruptFile: A policy file that cannot be read.
    """
    if not 1 <= question.episodes <= MOST_EPISODES:
        raise invalid("episodes", question.episodes, f"a whole number from 1 to {MOST_EPISODES}")
    if not (question.sellers or question.policies or question.best):
        raise invalid("sellers", "", "at least one seller or policy")
    found: dict[str, Played] = {}
    for name, spec, history in _specs(question):
        watch(name)
        options: dict[str, Any] = {"consumers": world.consumers, "history": history}
        options["action_mode"] = "discrete" if spec.startswith("dqn:") else "continuous"
        seller = make_seller(spec, world.scenario, question.agent, **options)
        found[name] = _played(world, question, seller, options)
    if question.best:
        watch(BEST)
        options = {"consumers": world.consumers}
        rivals = default_rivals(world.scenario, question.agent, question.rivals, **options)
        best = search(world.scenario, question.agent, rivals, consumers=world.consumers)
        found[BEST] = _played(
            world, question, best.seller(SellerView.of(world.scenario, question.agent, **options)), options
        )
    return found


def _specs(question: Question) -> list[tuple[str, str, int]]:
    """Return name, kind and length of history of every seller."""
    rules = [(spec, spec, 1) for spec in question.sellers]
    folders = [path.parent.name for path in question.policies]
    files = [
        (name if folders.count(name) == 1 else str(path.parent), f"{algorithm_of(path)}:{path}", _history(path))
        for name, path in zip(folders, question.policies, strict=True)
    ]
    return [*rules, *files]


def _history(policy: Path) -> int:
    return int(run_of(policy).get("history", 1))


def _played(world: World, question: Question, seller: Any, options: dict[str, Any]) -> Played:
    rivals = default_rivals(world.scenario, question.agent, question.rivals, **options)
    return play(world.scenario, seller, question.agent, rivals, episodes=question.episodes, **options)


def score_rows(found: dict[str, Played]) -> list[dict[str, Any]]:
    """Return one row per seller with means and standard errors over episodes, the highest profit first."""
    rows = []
    for name, played in found.items():
        scores = summary([played])
        rows.append({"seller": name} | {
            key: value
            for measure in ("profit", "share", "surplus")
            for key, value in ((measure, scores[measure]["mean"]), (f"{measure} s.e.", scores[measure]["se"]))
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row["profit"])


def price_curves(world: World, question: Question, found: dict[str, Played]) -> list[dict[str, Any]]:
    """Return what each seller asked and sold in each period of the first episode, over its listed products.

    The price is the mean over its listed products, as a multiple of their regular prices.
    """
    own = world.products(question.agent)
    regular = world.catalog.regular_price[own]
    rows = []
    for name, played in found.items():
        listed = played.listed[:, own]
        ratio = np.where(listed, played.prices[:, own] / regular, 0.0).sum(axis=1) / np.maximum(listed.sum(axis=1), 1)
        share = played.period_share[:, own].sum(axis=1)
        rows += [
            {"seller": name, "period": t + 1, "price": float(ratio[t]), "share": float(share[t])}
            for t in range(len(ratio))
            if listed[t].any()
        ]
    return rows


def saved_policies(runs: Path) -> list[Path]:
    """Return the policies below a folder, the newest first, at most MOST_POLICIES."""
    found = [path for path in runs.rglob("policy.zip") if path.is_file()] if runs.is_dir() else []
    return sorted(found, key=lambda path: -path.stat().st_mtime)[:MOST_POLICIES]


def mismatch(world: World, policies: Sequence[Path]) -> list[str]:
    """Return in words where policies were trained in another market, or with another taste model."""
    said = []
    for path in policies:
        run = run_of(path)
        now = {"model": world.model, "scenario_hash": world.scenario.digest()}
        for name, value in now.items():
            was = run.get(name)
            if was is not None and was != value:
                what = "another version of the market, or another market" if name != "model" else f"taste model {was}"
                said.append(f"{path.parent} was trained with {what}")
    return said
