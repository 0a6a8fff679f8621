"""The demo: sellers who learn hidden tastes, held against the best constant prices, in a few minutes."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents.console import make_console, watched
from malles_agents.demo_report import Report, World, head_product
from malles_agents.registry import Seller, default_rivals, make_seller
from malles_agents.seller_view import SellerView
from malles_env.errors import invalid
from malles_env.files import check_replaceable
from malles_env.scenarios import Scenario, load_scenario

if TYPE_CHECKING:
    from rich.console import Console

    from malles_agents.training.train import Trained

RULES = ("regular-price", "cost-plus", "random", "best-response")
AGENT = "seller_0"
EPISODES = 64
"""Held-out episodes of each seller; with draws, as many under each as make this number or more."""
HISTORY = 8
"""Periods that learners of hidden tastes see: what they asked, and what they sold at it."""
MOST_SEEDS = 100


@dataclass
class Demo:
    """One run of ``malles demo``.

    Attributes:
        scenario: Name or path.
        model: Language model that reads the tastes; scenarios whose tastes stand in their file ignore it.
        tastes: ``"draws"``: each market has tastes of its own, which no seller knows; ``"mean"``: all have the same.
            None: draws where a language model reads the tastes.
        seeds: PPO runs.
        steps: Periods per run, over all markets together; None: a million with draws, else half of it.
        rivals: Kind of the other sellers.
        out: Folder of results and pictures. What an earlier demo finished in it is replaced; one that was stopped is
            continued.
    """

    scenario: str = "ice-cream"
    model: str = "embedded"
    tastes: str | None = None
    seeds: int = 3
    steps: int | None = None
    rivals: str = "cost-plus"
    out: Path = Path("runs/demo")
    console: Console = field(default_factory=make_console)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise invalid("seeds", self.seeds, f"a whole number from 1 to {MOST_SEEDS}")
        if self.steps is not None and self.steps < 1:
            raise invalid("steps", self.steps, "a whole number of at least 1")
        if self.tastes not in (None, "mean", "draws"):
            raise invalid("tastes", self.tastes, "'mean' or 'draws'")

    def run(self) -> dict[str, Any]:
        """Do everything and return what ``results.json`` holds."""
        began = time.monotonic()
        for seed in range(self.seeds):
            check_replaceable(self._folder(seed), "config.json")
        if (self.out / "results.json").is_file():  # that demo came to its end: this is another one
            (self.out / "results.json").unlink()
            for seed in range(self.seeds):
                shutil.rmtree(self._folder(seed), ignore_errors=True)
        market = load_scenario(self.scenario)
        self.console.rule(market.title or market.name, align="left")
        world = self._read_tastes(market)
        constant = self._search(world)
        trained = [self._train(seed, world) for seed in range(self.seeds)]
        report = self._evaluate(world, constant, trained)
        self._say(5, "results")
        return report.write(self.out, self.console, began)

    def _folder(self, seed: int) -> Path:
        return self.out / f"ppo-{seed}"

    def _say(self, stage: int, text: str) -> None:
        self.console.print(f"[bold]{stage}/5[/bold] {text}")

    def _read_tastes(self, market: Scenario) -> World:
        named = self.model if market.consumers.kind == "aligned" else None
        tastes = self.tastes or ("mean" if named is None else "draws")
        if named is None and tastes == "draws":
            raise invalid("tastes", tastes, f"'mean': the tastes of {market.name} stand in its file, without draws")
        self._say(1, f"consumers: {named or 'tastes from the scenario file'} "
                     f"({len(market.segments)} personas x {len(market.products)} products)")  # fmt: skip
        began = time.monotonic()
        with self.console.status(f"{named or 'building'} reads the personas and products"):
            consumers: Any = market.build_consumers(named, draws=tastes == "draws")
        draws = tuple(consumers.draws) if tastes == "draws" else ()
        self.console.print(f"  done in {time.monotonic() - began:.1f} s (kept on disk for the next time)")
        if draws:
            self.console.print(f"  {len(draws)} plausible tastes; every market has one of them, which no seller knows")
        view = SellerView.of(market, AGENT, consumers=consumers)
        return World(view, named, draws, self.rivals, HISTORY if draws else 1)

    def _search(self, world: World) -> dict[str, Seller]:
        """Return the best constant actions by name."""
        from malles_agents.planning.hidden_draws import best_of_draws, robust_stationary
        from malles_agents.planning.search import search

        self._say(2, f"search for the best constant prices and assortment of {AGENT} against {self.rivals} rivals")
        began = time.monotonic()
        with self.console.status("searching"):
            rivals = default_rivals(world.market, AGENT, self.rivals, consumers=world.consumers)
            found = search(world.market, AGENT, rivals, consumers=world.consumers)
            best = found.seller(world.view)
            constant: dict[str, Seller] = {"best-stationary": best}
            if world.draws:
                world.best = best_of_draws(world.view, self.rivals)
                robust = robust_stationary(world.view, rivals=self.rivals)
                constant["robust-stationary"] = robust
        chosen = [f"{name} {price:.2f}" for name, price, on in
                  zip(found.product_ids, found.prices, found.listed, strict=True) if on]  # fmt: skip
        self.console.print(f"  at the mean tastes: {', '.join(chosen)}")
        if world.best is not None:
            j = head_product(best)
            each = world.best.prices[:, j]
            self.console.print(
                f"  over the draws the best price of {found.product_ids[j]} runs from {each.min():.2f} to "
                f"{each.max():.2f} {world.market.currency}; best on average: {robust.prices[j]:.2f}"
            )
        self.console.print(f"  {time.monotonic() - began:.1f} s")
        return constant

    def _train(self, seed: int, world: World) -> Trained:
        from malles_agents.training.train import Run, holds_part_of, train

        steps = self.steps or (1_000_000 if world.draws else 500_000)
        if seed == 0:
            seen = f", which sees its last {HISTORY} {world.market.period}s" if world.draws else ""
            self._say(3, f"train PPO{seen}: {self.seeds} seeds of {steps:,} periods")
        out = self._folder(seed)
        run = Run(
            self.scenario, "ppo", steps, seed, AGENT, self.rivals, world.model,
            tastes="draws" if world.draws else "mean", history=world.history,
            start="robust-stationary" if world.draws else None,
        )  # fmt: skip
        resume = holds_part_of(run, out)
        if not resume:
            shutil.rmtree(out, ignore_errors=True)
        with watched(self.console, f"seed {seed}", steps, world.market.currency) as watch:
            return train(run, out, resume=resume, consumers=world.consumers, watch=watch, say=self.console.print)

    def _evaluate(self, world: World, constant: dict[str, Seller], trained: list[Trained]) -> Report:
        from malles_agents.evaluation.draws import over_draws
        from malles_agents.evaluation.evaluate import compare

        options: dict[str, Any] = {"consumers": world.consumers, "history": world.history}
        sellers = {kind: [make_seller(kind, world.market, AGENT, **options)] for kind in RULES}
        sellers |= {kind: [seller] for kind, seller in constant.items()} | {"ppo": [run.model for run in trained]}
        rivals = default_rivals(world.market, AGENT, self.rivals, **options)
        report = Report(world, sellers, trained)
        if not world.draws:
            self._say(4, f"play every seller on {EPISODES} held-out seeds")
            with self.console.status("playing") as status:
                report.played = compare(
                    world.market, sellers, AGENT, rivals, watch=lambda kind: status.update(f"playing {kind}"),
                    episodes=EPISODES, **options,
                )  # fmt: skip
            return report
        each = -(-EPISODES // len(world.draws))
        self._say(4, f"play every seller under each of {len(world.draws)} draws on {each} held-out seeds")
        with self.console.status("playing") as status:
            report.over = over_draws(
                world.market, world.draws, sellers, AGENT, rivals, episodes=each, best=world.best,
                watch=lambda words: status.update(f"playing {words}"), history=world.history,
            )  # fmt: skip
        return report
