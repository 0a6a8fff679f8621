"""Sellers that learn, over hidden draws: the share of the gap from the robust constant action to clairvoyance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.evaluation.evaluate import play
from malles_agents.planning.hidden_draws import BestOfDraws, draws_of, know_best_of_draws
from malles_agents.registry import Seller, default_rivals, make_seller
from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import StationarySeller
from malles_agents.studies.deep_rl import interval, iqm
from malles_env.consumers import LogitConsumers
from malles_env.market import Consumers, Tastes
from malles_env.type_aliases import FloatArray

EPISODES = 4
"""Held-out seeds under each draw; every replicate has its own."""
SMALLEST_GAP = 0.005
"""A gap below this share of the clairvoyant's profit is too small for shares of it."""


def learn_and_score(
    view: SellerView, world: tuple[str, str | None, str], algo: str, seed: int, known: dict[str, Any], folder: Path,
    steps: int = 0, history: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Train a seller over the draws (or make one that learns by itself), and play it under every draw.

    Args:
        view: Whose consumers carry the draws.
        world: Scenario, taste model and rivals.
        algo: Algorithm of `malles train`, or the name of a seller.
        seed: Number of the replicate: of training, and of the held-out seeds.
        known: What `malles_agents.studies.dynamic_parts.draws_part` returned.
        folder: Of the training run, which continues where it was stopped.
        steps: Env steps of training.
        history: Periods that a trained policy sees.

    Returns:
        ``learner``, ``robust``, ``clairvoyant``: mean profit under each draw, money per episode, D numbers each.
    """
    draws = draws_of(view)
    best = {name: np.array(known["best"][name]) for name in ("prices", "listed", "profit")}
    constant = np.array(known["robust"]["prices"]), np.array(known["robust"]["listed"])
    know_best_of_draws(view, BestOfDraws(draws, best["prices"], best["listed"], best["profit"]), robust=constant)
    robust = StationarySeller(view, *constant)
    learner = (
        _trained(world, algo, seed, view.consumers, folder, steps, history) if steps
        else make_seller(algo if algo == "iterated-least-squares" else f"{algo}:{seed}", view.scenario, view.agent,
                         consumers=view.consumers)
    )  # fmt: skip
    found: dict[str, list[float]] = {"learner": [], "robust": [], "clairvoyant": []}
    for d, draw in enumerate(draws):
        sellers = {
            "learner": learner, "robust": robust,
            "clairvoyant": StationarySeller(view, best["prices"][d], best["listed"][d]),
        }  # fmt: skip
        for name, seller in sellers.items():
            profit = _played(view, seller, draw, world[2], seed, history if name == "learner" else 1)
            found[name].append(float(profit.mean()))
    return found


def _trained(
    world: tuple[str, str | None, str], algo: str, seed: int, consumers: Consumers, folder: Path, steps: int,
    history: int,
) -> Seller:  # fmt: skip
    from malles_agents.training.train import GAUSSIAN, Run, train

    start = "robust-stationary" if algo in GAUSSIAN else None
    run = Run(world[0], algo, steps, seed, "seller_0", world[2], world[1], tastes="draws", history=history, start=start)
    resume = (folder / "config.json").exists()  # without a checkpoint yet it begins anew
    return train(run, folder, resume=resume, consumers=consumers, say=lambda _: None).model


def _played(view: SellerView, seller: Seller, draw: Tastes, rivals: str, seed: int, history: int) -> FloatArray:
    """Return the profit of each held-out episode under a draw, money, shape ``(EPISODES,)``."""
    consumers = LogitConsumers(draw)
    others = default_rivals(view.scenario, view.agent, rivals, consumers=consumers, history=history)
    options: dict[str, Any] = {"episodes": EPISODES, "seed": seed * EPISODES, "history": history}
    return play(view.scenario, seller, view.agent, others, consumers=consumers, **options).profit


def shares(replicates: Sequence[dict[str, list[float]]]) -> dict[str, Any]:
    """Return how far replicates of one learner get, interquartile mean and 95% bootstrap interval over them.

    ``share_of_gap``: (learner - robust) / (clairvoyant - robust), each the mean over draws and held-out seeds; None
    where the gap is below half a percent of the clairvoyant's profit. ``of_clairvoyant``: learner / clairvoyant.
    """
    means = {name: np.array([np.mean(one[name]) for one in replicates]) for name in replicates[0]}
    gap = means["clairvoyant"] - means["robust"]
    wide = bool((gap > SMALLEST_GAP * means["clairvoyant"]).all())
    return {
        "share_of_gap": _summary((means["learner"] - means["robust"]) / gap) if wide else None,
        "of_clairvoyant": _summary(means["learner"] / means["clairvoyant"]),
        "gap": float(gap.mean() / means["clairvoyant"].mean()),
        "replicates": len(replicates),
    }


def _summary(values: FloatArray) -> dict[str, float | None]:
    low, high = interval(values) if len(values) > 1 else (None, None)
    return {"iqm": iqm(values), "low": low, "high": high}
