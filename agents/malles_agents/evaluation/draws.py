"""Sellers judged over draws of the consumers' tastes: mean, tail, worst case, and regret against knowing the draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from malles_agents.evaluation.evaluate import play
from malles_agents.planning.hidden_draws import FINALISTS, BestOfDraws
from malles_agents.planning.search import search
from malles_agents.registry import Seller
from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import StationarySeller
from malles_agents.standard_errors import mean_se
from malles_env.consumers import LogitConsumers
from malles_env.errors import invalid
from malles_env.market import Tastes
from malles_env.scenarios import Scenario
from malles_env.type_aliases import FloatArray, OnMessage

TAIL = 0.1


@dataclass(frozen=True)
class OverDraws:
    """One seller over D draws of the tastes; money per episode.

    Attributes:
        profit: Mean profit under each draw, shape ``(D,)``.
        episodes: Profit of every episode, shape ``(D, E)``.
        best: Profit of the best stationary action of each draw, on the same seeds, shape ``(D,)``.
        each: Mean profit of each of the N sellers of the kind, shape ``(N,)``.
    """

    profit: FloatArray
    episodes: FloatArray
    best: FloatArray
    each: FloatArray

    def summary(self) -> dict[str, Any]:
        """Return the measures by name.

        ``profit``: mean over draws and its standard error, draws being the sample; ``cvar10``: mean of the worst tenth
        of all episodes (conditional value at risk, Rockafellar and Uryasev 2000); ``worst``: profit under the worst
        draw; ``regret``, ``regret_se``: mean over draws of what the best stationary action of the draw earns more,
        and its standard error; ``of_best``, ``of_best_se``, ``least_of_best``: mean share of that action's profit, its
        standard error, and the least. Errors are NaN with a single draw.
        """
        lost, share = self.best - self.profit, self.profit / self.best
        ordered = np.sort(self.episodes, axis=None)
        return {
            "profit": mean_se(self.profit)._asdict(),
            "cvar10": float(ordered[: ceil(TAIL * ordered.size)].mean()),
            "worst": float(self.profit.min()),
            "regret": float(lost.mean()),
            "regret_se": mean_se(lost).se,
            "of_best": float(share.mean()),
            "of_best_se": mean_se(share).se,
            "least_of_best": float(share.min()),
        }


def over_draws(
    scenario: Scenario,
    draws: Sequence[Tastes],
    sellers: Mapping[str, Sequence[Seller]],
    agent: str = "seller_0",
    rivals: dict[str, Seller] | None = None,
    *,
    episodes: int = 8,
    best: BestOfDraws | None = None,
    watch: OnMessage | None = None,
    **options: Any,
) -> dict[str, OverDraws]:
    """Play every seller under every draw on the same held-out seeds, and the best stationary action of each draw.

    Sellers and rivals were built before and do not know the draw; what a market with ``tastes="draws"`` picks at
    random is gone through one by one here, so that no seller is lucky in its draws.

    Args:
        scenario: The market.
        draws: D tastes, see `AlignedConsumers.draws`.
        sellers: Kind -> sellers of that kind (several when trained with several seeds).
        agent: Whose products it sells.
        rivals: Seller per other agent.
        episodes: Held-out seeds per draw, E.
        best: The best stationary action of each of these draws against these rivals; searched for where not given.
        watch: Called with words before each draw.
        options: Passed on to `play`.

    Returns:
        Kind -> its scores, and ``"clairvoyant"``: the best stationary action of each draw.

    Raises:
        InvalidInput: No draws.
    """
    if not draws:
        raise invalid("tastes", "draws", "'mean': these consumers carry no draws of their tastes")
    profit: dict[str, list[FloatArray]] = {kind: [] for kind in (*sellers, "clairvoyant")}
    for d, tastes in enumerate(draws):
        if watch is not None:
            watch(f"draw {d + 1} of {len(draws)}")
        consumers = LogitConsumers(tastes)
        asked = {"consumers": consumers, "episodes": episodes, **options}
        view = SellerView.of(scenario, agent, consumers=consumers, action_mode=options.get("action_mode", "continuous"))
        if best is None:
            knowing = search(scenario, agent, rivals, consumers=consumers, finalists=FINALISTS).seller(view)
        else:
            knowing = StationarySeller(view, best.prices[d], best.listed[d])
        groups = {**sellers, "clairvoyant": [knowing]}
        for kind, group in groups.items():
            profit[kind].append(np.array([play(scenario, seller, agent, rivals, **asked).profit for seller in group]))
    top = np.mean(profit["clairvoyant"], axis=(1, 2))
    found = {kind: np.array(rows) for kind, rows in profit.items()}
    return {
        kind: OverDraws(rows.mean(axis=(1, 2)), rows.mean(axis=1), top, rows.mean(axis=(0, 2)))
        for kind, rows in found.items()
    }
