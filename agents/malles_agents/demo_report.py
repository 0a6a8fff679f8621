"""What the demo prints, writes and draws."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_agents import plots
from malles_agents.evaluation.report import draws_table, results_table, title_of
from malles_agents.standard_errors import mean_se, plus_minus
from malles_env.files import json_plain, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from malles_agents.evaluation.draws import OverDraws
    from malles_agents.evaluation.evaluate import Played
    from malles_agents.planning.hidden_draws import BestOfDraws
    from malles_agents.registry import Seller
    from malles_agents.seller_view import SellerView
    from malles_agents.sellers.rules import StationarySeller
    from malles_agents.training.train import Trained
    from malles_env.market import Tastes
    from malles_env.scenarios import Scenario

LOW_AND_HIGH = (0.1, 0.9)
"""The two hidden draws of the picture, at these quantiles of the best price."""


@dataclass
class World:
    """Whom the demo's sellers meet.

    Attributes:
        view: The agent they are tried as.
        model: Language model that read the tastes; None where they stand in the scenario's file.
        draws: The tastes that a market may have, hidden; empty where all markets have the mean ones.
        rivals: Kind of the other sellers.
        history: Periods that learners see.
        best: The best stationary action under each draw.
    """

    view: SellerView
    model: str | None
    draws: tuple[Tastes, ...]
    rivals: str
    history: int
    best: BestOfDraws | None = None

    @property
    def market(self) -> Scenario:
        """The scenario."""
        return self.view.scenario

    @property
    def consumers(self) -> Any:
        """Who buys."""
        return self.view.consumers

    @property
    def title(self) -> str:
        """The market's title."""
        return self.market.title or self.market.name


def head_product(seller: StationarySeller) -> int:
    """Return which of a seller's listed products has sold most, by its place among the seller's."""
    return int(np.argmax(np.where(seller.listed, seller.view.past_share, -1.0)))


@dataclass
class Report:
    """Results of one demo.

    Attributes:
        world: Whom the sellers met.
        sellers: Kind -> sellers.
        trained: The PPO runs.
        played: Their episodes, kind by kind, where all markets have the mean tastes.
        over: Their scores over the draws, where there are some.
    """

    world: World
    sellers: dict[str, list[Seller]]
    trained: list[Trained]
    played: dict[str, list[Played]] = field(default_factory=dict)
    over: dict[str, OverDraws] = field(default_factory=dict)

    def write(self, out: Path, console: Console, began: float) -> dict[str, Any]:
        """Print the table, draw the pictures, write ``results.json`` and ``details.json``, and return the former.

        Args:
            out: Folder.
            console: Where to print.
            began: `time.monotonic` when the demo began.
        """
        measures = self._measures()
        profit = {kind: dict(found["profit"]) for kind, found in measures.items()}
        pictures = self._draw(out, measures)
        world = self.world
        results: dict[str, Any] = {
            "scenario": world.market.name,
            "tastes": "draws" if world.draws else "mean",
            "seeds": len(self.trained),
            "profit": json_plain(profit),
            "best_stationary": profit["best-stationary"]["mean"],
            "robust_stationary": profit["robust-stationary"]["mean"] if world.draws else None,
            "clairvoyant": profit["clairvoyant"]["mean"] if world.draws else None,
            "ratio": profit["ppo"]["mean"] / profit["best-stationary"]["mean"],
            "consumers": describe_consumers(world.market, world.consumers, world.model),
            "wall_seconds": round(time.monotonic() - began, 1),
        }
        write_json(out / "results.json", results, allow_nan=False)
        ratios = [value / results["best_stationary"] for value in self._by_seed()]
        details = {"ratios": ratios, "measures": measures, "draws": len(world.draws)}
        write_json(out / "details.json", json_plain(details), allow_nan=False)
        console.print(self._table(measures))
        for line in self._conclusions(results):
            console.print(line)
        console.print("pictures: " + ", ".join(str(path) for path in pictures))
        console.print(f"results:  {out / 'results.json'} ({results['wall_seconds']:.0f} s in all)")
        named = f" --model {world.model}" if world.model else ""
        more = "--sellers robust-stationary,best-response" if world.draws else "--rivals best-response"
        console.print(f"next:     malles evaluate {world.market.name}{named} --policy {self.trained[0].policy} {more}")
        return results

    def _by_seed(self) -> list[float]:
        """Return the mean profit of each PPO run."""
        if self.over:
            return [float(value) for value in self.over["ppo"].each]
        return [float(run.profit.mean()) for run in self.played["ppo"]]

    def _measures(self) -> dict[str, dict[str, Any]]:
        from malles_agents.evaluation.evaluate import summary

        if self.over:
            return {kind: scores.summary() for kind, scores in self.over.items()}
        return {kind: dict(summary(runs)) for kind, runs in self.played.items()}

    def _table(self, measures: Mapping[str, Mapping[str, Any]]) -> Any:
        world, currency = self.world, self.world.market.currency
        title = title_of(world.market, world.model)
        against = f"seller_0 against {world.rivals}"
        if not self.over:
            note = (
                f"{against}; {len(self.played['ppo'][0].profit)} held-out seeds; surplus per consumer and period;\n"
                "± one standard error (ppo: over its training seeds)"
            )
            best = measures["best-stationary"]["profit"]["mean"]
            return results_table(measures, title=title, currency=currency, best=best, note=note)
        episodes = self.over["ppo"].episodes.shape[1]
        note = (
            f"{against}; {len(world.draws)} hidden draws of the tastes, {episodes} held-out seeds each\n"
            f"(ppo: mean of {len(self.trained)} training seeds); ± one standard error over draws; clairvoyant: best\n"
            "constant action of each draw, for who knows it; robust-stationary: best constant action on average"
        )
        return draws_table(measures, title=title, currency=currency, note=note)

    def _conclusions(self, results: Mapping[str, Any]) -> list[str]:
        if not self.over:
            seeds = ", ".join(f"{value / results['best_stationary']:.3f}" for value in self._by_seed())
            return [f"ppo earns {results['ratio']:.3f} of the best stationary prices and assortment (by seed: {seeds})"]
        ppo, robust = self.over["ppo"].profit, self.over["robust-stationary"].profit
        top = self.over["clairvoyant"].profit
        gained = ppo - robust
        return [
            f"ppo earns {plus_minus(*mean_se(gained))} {self.world.market.currency} per episode more than the "
            f"best constant action on average, and more than it in {int((gained > 0).sum())} of {len(gained)} draws",
            f"it closes {gained.mean() / (top - robust).mean():.0%} of the gap between that action "
            f"({(robust / top).mean():.3f} of clairvoyant) and the clairvoyant",
        ]

    def _draw(self, out: Path, measures: Mapping[str, Mapping[str, Any]]) -> list[Path]:
        market, title, currency = self.world.market, self.world.title, self.world.market.currency
        curves = {f"ppo, seed {seed}": run.curve for seed, run in enumerate(self.trained)}
        profit = {kind: found["profit"] for kind, found in measures.items()}
        kinds = ("clairvoyant", "robust-stationary") if self.over else ("best-stationary", "cost-plus")
        references = {kind: profit[kind]["mean"] for kind in kinds}
        pictures = [
            plots.learning_curve(
                curves, references, out / "learning.png", title=f"{title}: PPO learns", currency=currency
            )
        ]
        if self.over:
            return [self._draw_worlds(measures, out / "worlds.png"), *pictures]
        first = self.played["ppo"][0]
        labels = [product.title or product.product_id for product in self.world.view.catalog.products]
        top = profit["best-stationary"]["mean"]
        return [
            *pictures,
            plots.episode(
                first.prices, first.listed, first.period_share, labels, self.world.view.catalog.seller_of == 0,
                out / "episode.png", title=f"{title}: one held-out episode of PPO (seed 0)",
                currency=currency, period=market.period,
            ),
            plots.comparison(
                profit, top, out / "profit.png", title=f"{title}: seller_0 on held-out seeds", currency=currency
            ),
        ]  # fmt: skip

    def _draw_worlds(self, measures: Mapping[str, Mapping[str, Any]], path: Path) -> Path:
        """Draw the learner's prices under a draw of sensitive and one of less sensitive consumers, and all profits."""
        from malles_agents.evaluation.evaluate import play
        from malles_agents.registry import default_rivals
        from malles_env.consumers import LogitConsumers

        world, best = self.world, self.world.best
        assert best is not None
        robust: Any = self.sellers["robust-stationary"][0]
        own = head_product(robust)
        order = np.argsort(best.prices[:, own], kind="stable")
        chosen = [int(order[round(at * (len(order) - 1))]) for at in LOW_AND_HIGH]
        options: dict[str, Any] = {"consumers": world.consumers, "history": world.history}
        rivals = default_rivals(world.market, world.view.agent, world.rivals, **options)
        paths = []
        for d in chosen:
            options["consumers"] = LogitConsumers(world.draws[d])
            played = play(
                world.market, self.trained[0].model, world.view.agent, rivals, episodes=1, **options
            )  # fmt: skip
            paths.append(played.prices[:, world.view.products[own]])
        product = world.view.catalog.products[int(world.view.products[own])]
        return plots.two_worlds(
            paths, best.prices[chosen, own], float(robust.prices[own]),
            {kind: (row["of_best"], row["of_best_se"]) for kind, row in measures.items()},
            path, title=f"{world.title}: a seller that learns what its customers are like",
            ylabel=f"price of {product.title or product.product_id} ({world.market.currency})",
            period=world.market.period,
        )  # fmt: skip


def describe_consumers(market: Scenario, consumers: Any, model: str | None) -> dict[str, str | None]:
    """Return who bought: ``kind``, ``model`` and ``weights_hash`` (both None for tastes given in the scenario)."""
    if market.consumers.kind != "aligned":
        return {"kind": market.consumers.kind, "model": None, "weights_hash": None}
    return {"kind": "aligned", "model": model, "weights_hash": getattr(consumers, "weights_hash", None)}
