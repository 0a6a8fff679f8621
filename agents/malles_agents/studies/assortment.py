"""Assortments chosen by words, by sales history, by chance and by knowledge, played in the market on the same seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.seller_view import SellerView
from malles_agents.sellers.assortment import BestAssortment, RevenueOrdered, mixture_of
from malles_agents.standard_errors import mean_se
from malles_agents.training.train import HELD_OUT
from malles_env.errors import invalid
from malles_env.files import json_plain, replacing
from malles_env.market.solvers.assortment import capacity
from malles_env.scenarios import Scenario
from malles_env.scenarios.gifts.beliefs import KINDS, Beliefs, find_beliefs
from malles_env.type_aliases import BoolArray, FloatArray, OnMessage

WORDS = {
    "best": "knows the segments: the best assortment, exactly",
    "best, best mark-up": "the same at the best common mark-up",
    "revenue-ordered": "knows the segments: the largest margins, the best number of them",
    "words": "own sales so far; launches by their names",
    "names_only": "every product by its name and price alone",
    "shuffled": "own sales so far; launches by names that went to others",
    "history": "own sales so far; launches as the average launch before",
    "no launches": "own sales so far; never lists what has no sales",
    "chance": "a full shelf at random",
}
"""Rows and what they know, in the order of the table."""
MARKUPS = np.linspace(0.6, 1.6, 21)


@dataclass(frozen=True)
class AssortmentStudy:
    """What was compared.

    Attributes:
        scenario: Which one.
        capacity: Products on the shelf, at most.
        first: Period from which profits count: that of the first decision.
        markup: The best common one.
        profit: Row -> money per seed, over all periods that count [M].
        month: The same over the first four periods after each launch.
        launches: Row -> share of what the best assortment lists of the just launched that the row lists too.
        bound: What no assortment exceeds in expectation, money.
    """

    scenario: str
    capacity: int
    first: int
    markup: float
    profit: dict[str, FloatArray]
    month: dict[str, FloatArray]
    launches: dict[str, float]
    bound: float


def run_assortments(
    scenario: Scenario,
    *,
    beliefs: Beliefs | None = None,
    seeds: int = 64,
    shelf: int | None = None,
    notify: OnMessage = lambda words: None,
) -> AssortmentStudy:
    """Let every row choose what to list at each launch, and play it at regular prices.

    Args:
        scenario: With one seller.
        beliefs: What was known at launches; None: the bundled ones.
        seeds: Episodes, with the same demand seeds for all rows.
        shelf: Capacity instead of the scenario's.
        notify: Called with each row before it plays.

    Raises:
        InvalidInput: Several sellers, a number below its minimum.
        MissingResource: No beliefs.
    """
    if len(scenario.sellers) != 1:
        raise invalid("scenario", scenario.name, "one with a single seller")
    if seeds < 2:
        raise invalid("seeds", seeds, "a whole number of at least 2")
    if shelf is not None:
        if not 1 <= shelf <= len(scenario.products):
            raise invalid("shelf", shelf, f"1 to {len(scenario.products)}")
        seller = scenario.sellers[0].model_copy(update={"capacity": shelf})
        scenario = scenario.model_copy(update={"sellers": (seller,)})
    known = beliefs or find_beliefs(scenario)
    known.check_fits(scenario)
    view = SellerView.of(scenario, "seller_0")
    chooser = _Chooser(view, known)
    plans = {name: (chooser.plan(name), view.regular_price) for name in WORDS if not name.startswith("best,")}
    markup = chooser.best_markup(plans["best"][0])
    again = BestAssortment(view, markup)
    best = np.stack([again.shelf(period) for period in range(scenario.max_cycles)])
    plans["best, best mark-up"] = (best, again.prices)
    profit, month = {}, {}
    after = chooser.after_launches()
    for name in WORDS:
        notify(name)
        listed, prices = plans[name]
        every = chooser.chances(seeds) if name == "chance" else np.repeat(listed[None], seeds, axis=0)
        money = _played(scenario, every, prices, seeds)
        profit[name] = money[:, chooser.first :].sum(axis=1)
        month[name] = money[:, after].sum(axis=1)
    found = {name: chooser.agreement(plans[name][0], plans["best"][0]) for name in WORDS}
    return AssortmentStudy(scenario.name, view.capacity, chooser.first, markup, profit, month, found, chooser.bound())


@dataclass
class _Chooser:
    """Turns what is believed into shelves by period."""

    view: SellerView
    beliefs: Beliefs

    def __post_init__(self) -> None:
        self.first = int(self.beliefs.period[0])
        self.periods = self.view.scenario.max_cycles
        self.enters = self.view.catalog.enters
        self.margin = self.view.catalog.net_of_tax * self.view.regular_price - self.view.unit_cost
        self.mixture = mixture_of(self.view, self.view.regular_price)
        self._best = BestAssortment(self.view)

    def plan(self, name: str) -> BoolArray:
        """Return what a row lists, shape ``(T, J)``; before the first decision all list the best of what is there."""
        listed = np.stack([self._best.shelf(period) for period in range(self.periods)])
        if name == "best":
            return listed
        if name == "revenue-ordered":
            seller = RevenueOrdered(self.view)
            listed[self.first :] = [seller.shelf(period) for period in range(self.first, self.periods)]
            return listed
        if name == "chance":
            return self.chances(1)[0]
        for d, start in enumerate(self.beliefs.period):
            listed[start:] = self._chosen(name, d)
        return listed

    def _chosen(self, name: str, d: int) -> BoolArray:
        kind = "history" if name == "no launches" else name
        attraction = self.beliefs.attraction[kind][d].copy()
        if name == "no launches":
            attraction[self.beliefs.new[d]] = 0.0
        there = np.flatnonzero(attraction > 0)
        size, fee = self.beliefs.size[kind][d][there], np.asarray(self.mixture.fee)[there]
        share = attraction[there] / (1.0 + np.sort(attraction)[-self.view.capacity :].sum())
        found = capacity(
            size * self.margin[there] - fee / np.maximum(share, 1e-12), attraction[there], self.view.capacity
        )
        listed = np.zeros(len(attraction), dtype=bool)
        listed[there[found.products]] = True
        return listed

    def chances(self, seeds: int) -> BoolArray:
        """Return random full shelves drawn anew at each decision, shape ``(M, T, J)``."""
        rng = np.random.default_rng(0)
        before = np.stack([self._best.shelf(period) for period in range(self.periods)])
        listed = np.repeat(before[None], seeds, axis=0)
        for start in self.beliefs.period:
            there = np.flatnonzero(self.enters <= start)
            for seed in range(seeds):
                drawn = np.zeros(len(self.enters), dtype=bool)
                drawn[rng.permutation(there)[: self.view.capacity]] = True
                listed[seed, start:] = drawn
        return listed

    def best_markup(self, listed: BoolArray) -> float:
        """Return the common factor on regular prices that earns most with its own best assortment, everything there."""
        there, size = listed[-1], self.view.scenario.population_size
        value = []
        for factor in MARKUPS:
            prices = np.clip(factor * self.view.regular_price, self.view.price_low, self.view.price_high)
            mixture = mixture_of(self.view, prices)
            value.append(size * float(mixture.profit(mixture.improved(there, self.view.capacity))))
        return float(MARKUPS[int(np.argmax(value))])

    def after_launches(self) -> BoolArray:
        """Return whether a period is one of the first four after a launch, shape ``(T,)``."""
        found = np.zeros(self.periods, dtype=bool)
        for start in self.beliefs.period:
            found[start : start + 4] = True
        return found

    def agreement(self, listed: BoolArray, best: BoolArray) -> float:
        """Return which share of the just launched that the best assortment lists is listed too."""
        hits = wanted = 0
        for d, start in enumerate(self.beliefs.period):
            new = self.beliefs.new[d] & (self.enters == start) & best[start]
            wanted += int(new.sum())
            hits += int((new & listed[start]).sum())
        return hits / wanted if wanted else float("nan")

    def bound(self) -> float:
        """Return what no assortment exceeds in expectation over the periods that count, money."""
        bounds = [self._best.bound(period) for period in range(self.first, self.periods)]
        return self.view.scenario.population_size * float(np.sum(bounds))


def _played(scenario: Scenario, listed: BoolArray, prices: FloatArray, seeds: int) -> FloatArray:
    """Return the seller's profit by seed and period, shape ``(M, T)``."""
    market = scenario.market(seeds)
    market.reset(HELD_OUT)
    asked = np.tile(prices, (seeds, 1))
    return np.stack(
        [market.step(asked, listed[:, period]).seller_profit[:, 0] for period in range(listed.shape[1])], axis=1
    )


def as_json(study: AssortmentStudy) -> dict[str, Any]:
    """Return the results as plain values."""
    rows = {}
    for name in WORDS:
        profit, month = study.profit[name], study.month[name]
        gap = study.profit["best"] - profit
        rows[name] = {
            "knows": WORDS[name],
            "profit": float(profit.mean()), "profit_se": mean_se(profit).se,
            "below_best": float(gap.mean()), "below_best_se": mean_se(gap).se,
            "months_after_launches": float(month.mean()), "months_after_launches_se": mean_se(month).se,
            "right_launches": study.launches[name],
        }  # fmt: skip
    pair = study.profit["words"] - study.profit["history"]
    return json_plain({
        "scenario": study.scenario, "capacity": study.capacity, "first_period": study.first, "markup": study.markup,
        "seeds": len(study.profit["best"]), "bound": study.bound,
        "words_minus_history": {"profit": float(pair.mean()), "se": mean_se(pair).se}, "rows": rows,
    })  # fmt: skip


def draw(found: dict[str, Any], path: Path) -> Path:
    """Draw profits with two standard errors either side (PNG), whole or not at all, and return the path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = found["rows"]
    names = list(rows)[::-1]
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    top = rows["best"]["profit"]
    share = [100 * rows[name]["profit"] / top for name in names]
    error = [200 * rows[name]["profit_se"] / top for name in names]
    axes.barh(names, share, xerr=error, color=["#4878a8" if name in KINDS else "#a0a0a0" for name in names])
    axes.set_xlabel("profit, % of the best assortment at regular prices")
    axes.set_xlim(left=max(0.0, min(share) - 15))
    axes.set_title(f"{found['scenario']}: what to list, {found['capacity']} of the products")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return path
