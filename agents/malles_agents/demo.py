"""The demo: language-model tastes, PPO sellers, simple rules and the best stationary action, in a few minutes."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents import plots
from malles_agents.checkpoints import write_json
from malles_agents.console import make_console, watched
from malles_agents.registry import Seller, default_rivals, make_seller
from malles_env.errors import invalid
from malles_env.files import check_replaceable
from malles_env.scenarios import Scenario, load_scenario

if TYPE_CHECKING:
    from rich.console import Console

    from malles_agents.evaluate import Played
    from malles_agents.search import Stationary
    from malles_agents.train import Trained

RULES = ("regular-price", "cost-plus", "random", "best-response")
SEAT = "seller_0"
EPISODES = 64
MOST_SEEDS = 100


@dataclass
class Demo:
    """One run of ``malles demo``.

    Attributes:
        scenario: Name or path.
        model: Language model that reads the tastes; scenarios whose tastes stand in their file ignore it.
        seeds: PPO runs.
        steps: Periods per run, over all markets together.
        rivals: Kind of the other sellers.
        out: Folder of results and pictures; runs of an earlier demo in it are replaced.
    """

    scenario: str = "soft-drinks"
    model: str = "embedded"
    seeds: int = 3
    steps: int = 500_000
    rivals: str = "cost-plus"
    out: Path = Path("runs/demo")
    console: Console = field(default_factory=make_console)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise invalid("seeds", self.seeds, f"a whole number from 1 to {MOST_SEEDS}")
        if self.steps < 1:
            raise invalid("steps", self.steps, "a whole number of at least 1")

    def run(self) -> dict[str, Any]:
        """Do everything and return what ``results.json`` holds."""
        began = time.monotonic()
        for seed in range(self.seeds):
            check_replaceable(self._folder(seed), "config.json")
        market = load_scenario(self.scenario)
        self.console.rule(market.title or market.name, align="left")
        consumers = self._read_tastes(market)
        rivals = default_rivals(market, SEAT, self.rivals, consumers=consumers)
        best = self._search(market, consumers, rivals)
        trained = [self._train(seed, market, consumers) for seed in range(self.seeds)]
        played = self._evaluate(market, consumers, rivals, best, trained)
        return self._report(market, consumers, best, trained, played, began)

    def _folder(self, seed: int) -> Path:
        return self.out / f"ppo-{seed}"

    def _say(self, stage: int, text: str) -> None:
        self.console.print(f"[bold]{stage}/5[/bold] {text}")

    def _read_tastes(self, market: Scenario) -> Any:
        entry = market.consumers
        named = self.model if entry.kind == "aligned" else None
        self._say(1, f"consumers: {named or 'tastes from the scenario file'} "
                     f"({len(market.segments)} personas x {len(market.products)} products)")  # fmt: skip
        began = time.monotonic()
        with self.console.status(f"{named or 'building'} reads the personas and products"):
            consumers = market.build_consumers(named)
        self.console.print(f"  done in {time.monotonic() - began:.1f} s (kept on disk for the next time)")
        return consumers

    def _search(self, market: Scenario, consumers: Any, rivals: dict[str, Seller]) -> Stationary:
        from malles_agents.search import search

        self._say(2, f"search for the best stationary prices and assortment of {SEAT} against {self.rivals} rivals")
        began = time.monotonic()
        with self.console.status("searching"):
            found = search(market, SEAT, rivals, consumers=consumers)
        chosen = [
            f"{product} {price:.2f}"
            for product, price, on in zip(found.product_ids, found.prices, found.listed, strict=True)
            if on
        ]
        self.console.print(
            f"  {found.value:,.0f} {market.currency} expected per episode with {', '.join(chosen)} "
            f"({found.evaluations:,} episodes, {time.monotonic() - began:.1f} s)"
        )
        return found

    def _train(self, seed: int, market: Scenario, consumers: Any) -> Trained:
        from malles_agents.train import Run, train

        if seed == 0:
            self._say(3, f"train PPO, {self.seeds} seeds of {self.steps:,} periods")
        out = self._folder(seed)
        shutil.rmtree(out, ignore_errors=True)
        named = self.model if market.consumers.kind == "aligned" else None
        run = Run(self.scenario, "ppo", self.steps, seed, SEAT, self.rivals, named)
        with watched(self.console, f"seed {seed}", self.steps, market.currency) as watch:
            return train(run, out, consumers=consumers, watch=watch, say=self.console.print)

    def _evaluate(
        self,
        market: Scenario,
        consumers: Any,
        rivals: dict[str, Seller],
        best: Stationary,
        trained: list[Trained],
    ) -> dict[str, list[Played]]:
        from malles_agents.evaluate import compare
        from malles_agents.seat import Seat

        self._say(4, f"play every seller on {EPISODES} held-out seeds")
        sellers: dict[str, list[Seller]] = {
            kind: [make_seller(kind, market, SEAT, consumers=consumers)] for kind in RULES
        }
        sellers["best-stationary"] = [best.seller(Seat.of(market, SEAT, consumers=consumers))]
        sellers["ppo"] = [run.model for run in trained]
        with self.console.status("playing") as status:
            return compare(
                market, sellers, SEAT, rivals, watch=lambda kind: status.update(f"playing {kind}"),
                episodes=EPISODES, consumers=consumers,
            )  # fmt: skip

    def _report(
        self,
        market: Scenario,
        consumers: Any,
        best: Stationary,
        trained: list[Trained],
        played: dict[str, list[Played]],
        began: float,
    ) -> dict[str, Any]:
        from malles_agents.evaluate import summary
        from malles_agents.report import results_table, title_of

        self._say(5, "results")
        table = {kind: summary(runs) for kind, runs in played.items()}
        top = table["best-stationary"]["profit"]["mean"]
        ratios = [float(run.profit.mean()) / top for run in played["ppo"]]
        pictures = self._draw(market, table, top, trained, played)
        results = {
            "scenario": market.name,
            "seeds": self.seeds,
            "profit": {kind: dict(measures["profit"]) for kind, measures in table.items()},
            "best_stationary": top,
            "ratio": table["ppo"]["profit"]["mean"] / top,
            "wall_seconds": round(time.monotonic() - began, 1),
            "consumers": describe_consumers(market, consumers, self.model),
        }
        write_json(self.out / "results.json", results)
        write_json(self.out / "details.json", {"ratios": ratios, "measures": table, "stationary": _as_plain(best)})
        head = title_of(market, self.model if market.consumers.kind == "aligned" else None)
        note = (
            f"{SEAT} against {self.rivals}; {EPISODES} held-out seeds; surplus per consumer and period;\n"
            "± one standard error (ppo: over its training seeds)"
        )
        self.console.print(results_table(table, title=head, currency=market.currency, best=top, note=note))
        per_seed = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        self.console.print(
            f"ppo earns {results['ratio']:.3f} of the best stationary prices and assortment (by seed: {per_seed})"
        )
        self._say_goodbye(results, pictures, trained[0])
        return results

    def _draw(
        self, market: Scenario, table: Any, top: float, trained: list[Trained], played: dict[str, list[Played]]
    ) -> list[Path]:
        catalog, first = market.catalog(), played["ppo"][0]
        labels = [product.title or product.product_id for product in catalog.products]
        unit = market.currency
        references = {"best stationary": top, "cost-plus": table["cost-plus"]["profit"]["mean"]}
        title = market.title or market.name
        curves = {f"ppo, seed {seed}": run.curve for seed, run in enumerate(trained)}
        profit = {kind: measures["profit"] for kind, measures in table.items()}
        return [
            plots.learning_curve(
                curves, references, self.out / "learning.png", title=f"{title}: PPO learns", currency=unit
            ),
            plots.episode(
                first.prices, first.listed, first.period_share, labels, catalog.seller_of == 0,
                self.out / "episode.png", title=f"{title}: one held-out episode of PPO (seed 0)",
                currency=unit, period=market.period,
            ),
            plots.comparison(
                profit, top, self.out / "profit.png", title=f"{title}: {SEAT} on held-out seeds", currency=unit
            ),
        ]  # fmt: skip

    def _say_goodbye(self, results: dict[str, Any], pictures: list[Path], first: Trained) -> None:
        self.console.print("pictures: " + ", ".join(str(path) for path in pictures))
        self.console.print(f"results:  {self.out / 'results.json'} ({results['wall_seconds']:.0f} s in all)")
        model = results["consumers"]["model"]
        named = f" --model {model}" if model else ""
        self.console.print(
            f"next:     malles evaluate {self.scenario}{named} --policy {first.policy} --rivals best-response"
        )


def describe_consumers(market: Scenario, consumers: Any, model: str) -> dict[str, str | None]:
    """Return who bought: ``kind``, ``model`` and ``weights_hash`` (both None for tastes given in the scenario)."""
    if market.consumers.kind != "aligned":
        return {"kind": market.consumers.kind, "model": None, "weights_hash": None}
    return {"kind": "aligned", "model": model, "weights_hash": getattr(consumers, "weights_hash", None)}


def _as_plain(best: Stationary) -> dict[str, Any]:
    return {
        "agent": best.agent,
        "product_ids": list(best.product_ids),
        "prices": best.prices.tolist(),
        "listed": best.listed.tolist(),
        "value": best.value,
        "evaluations": best.evaluations,
    }
