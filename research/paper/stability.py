"""The paper's stability claim: spread over repeated sampling with and without the mean field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from malles_agents.plots import COLOURS, FAINT
from malles_agents.reproduce.base import Options, Reproduction
from malles_env.consumers.logit import LogitConsumers
from malles_env.evaluation.comparison.study import Judged
from malles_env.evaluation.metrics import Estimate, clustered
from malles_env.market import Catalog, Market, MeanField, Population, Product, Tastes
from malles_env.preference.data.shelves import product_words
from malles_env.preference.data.text import Persona
from malles_env.preference.model import TasteModel
from malles_env.preference.prediction import Prediction
from malles_env.preference.training.market_terms import fit_market_prices
from malles_env.type_aliases import FloatArray, IntArray
from research.paper.lab import Lab, lab_for, settings
from research.paper.scores import curve, in_words, line, panels, plain, report
from research.paper.window import window_runs, with_window

MARKET_WINDOWS = (1, 2, 5, 10, 20)
CONSUMERS = (50, 200, 1000)
SHOPPERS, SHELF = 24, 10
"""Households that make the segments, and lines on the shelf, of the simulated market."""
SEEDS, WARM_UP, PERIODS = 400, 30, 26
"""Simulated markets of each cell, and the periods before and of the measurement."""


def stability(options: Options, lab: Lab | None = None) -> Reproduction:
    """Measure how much sampled answers and sampled markets vary with and without the mean field."""
    lab = lab_for(options, lab)
    predictions, rho, judged = window_runs(lab, options, (0, 10))
    answers = {w: _answers(found, judged) for w, found in predictions.items()}
    who = judged.data.household[judged.data.chosen > 0]
    rows = []
    for name in answers[0]:
        for w, found in answers.items():
            rows.append(
                line(f"answers: variance of the sampled {name}, window {w or 'none'}", clustered(found[name], who))
            )
        rows.append(
            line(f"answers: the same, window 10 - none, {name}", clustered(answers[10][name] - answers[0][name], who))
        )
    options.say("simulating markets")
    tastes, regular, home = _tastes(lab, options)
    spread = {n: _spreads(tastes, regular, n, options.seed) for n in CONSUMERS}
    ratio = {n: {w: _ratio(of[w], of[0]) for w in MARKET_WINDOWS} for n, of in spread.items()}
    for n, of in ratio.items():
        rows += [
            line(f"market, {n:,} consumers, window {w}: share spread against no mean field", of[w])
            for w in MARKET_WINDOWS
        ]
    strong = replace(tastes, rho=np.full_like(tastes.rho, 1.5))
    more = _spreads(strong, regular, CONSUMERS[0], options.seed)
    strong_ratio = {w: _ratio(more[w], more[0]) for w in MARKET_WINDOWS}
    rows += [
        line(f"market, {CONSUMERS[0]:,} consumers, rho set to 1.5, window {w}: the same", strong_ratio[w])
        for w in MARKET_WINDOWS
    ]
    return report(
        "paper-stability",
        f"Spread over repeated sampling with and without the mean field ({home})",
        rows,
        _finding(answers, who, ratio, strong_ratio),
        {
            "share_spread": {f"{n}": {f"{w}": plain(e) for w, e in of.items()} for n, of in ratio.items()},
            "trained_rho": {f"{w}": value for w, value in rho.items()},
            "market_rho": float(tastes.rho.mean()),
        },
        {**settings(lab, options), "market": home, "simulations": SEEDS, "periods": PERIODS},
        lambda path: _draw(ratio, strong_ratio, path),
        [
            f"Markets: standard deviation over simulations of a line's share, averaged over {PERIODS} periods, as a "
            "ratio to that of the same market whose consumers see constant shares; both have the same steady shares. "
            "The error is over simulations.",
        ],
    )


def _answers(found: list[Prediction], judged: Judged) -> dict[str, FloatArray]:
    """Return the variance of one sampled answer to each test purchase: product (1 - sum p^2), units, and of runs."""
    rows = np.flatnonzero(judged.data.chosen > 0)
    choice, units = [], []
    for prediction in found:
        choice.append(1.0 - (np.exp(prediction.inside()[rows]) ** 2).sum(1))
        if prediction.quantity is not None:
            share = np.exp(prediction.quantity[rows])
            number = np.arange(1, share.shape[1] + 1)
            units.append(share @ number**2 - (share @ number) ** 2)
    values = {"choice": np.mean(choice, axis=0), "units": np.mean(units, axis=0)}
    if len(found) > 1:
        inside = np.stack([np.exp(prediction.inside()[rows]) for prediction in found])
        values["choice probabilities over training runs"] = inside.var(0, ddof=1).sum(1)
    return values


def _tastes(lab: Lab, options: Options) -> tuple[Tastes, FloatArray, str]:
    """Return tastes of real households before a real shelf, the shelf's regular prices, and the market's name."""
    train, check = (with_window(d, lab.study.occasions, 10) for d in lab.pair(lab.plan.train, options.seed))
    model = lab.fitted(train, check, options.seed)
    fit_market_prices(model, train, lab.readings, draws=0, refuse=False)
    table = lab.study.occasions.occasions.filter((pl.col("split") == "test") & (pl.col("chosen") > 0) & pl.col("buyer"))
    home = str(table["market"].value_counts().sort(["count", "market"], descending=[True, False])["market"][0])
    visits = table.filter(pl.col("market") == home).unique("household_id", maintain_order=True)
    drawn = np.random.default_rng([options.seed, 8]).permutation(len(visits))[:SHOPPERS]
    return (*_read(lab, model, visits[np.sort(drawn)], home), home)


def _read(lab: Lab, model: TasteModel, visits: pl.DataFrame, home: str) -> tuple[Tastes, FloatArray]:
    shelf = lab.study.occasions.alternatives.filter(pl.col("occasion_id").is_in(visits["occasion_id"].implode()))
    lines = (
        shelf.group_by("product_id")
        .agg(pl.col("long_share", "regular_price").mean())
        .sort(["long_share", "product_id"], descending=[True, False])[:SHELF]
    )
    names = lines["product_id"].to_list()
    described = {row["product_id"]: row for row in lab.study.occasions.products.iter_rows(named=True)}
    counts = shelf.pivot("product_id", index="occasion_id", values="bought").fill_null(0)
    counts = (
        visits.select("occasion_id").join(counts, on="occasion_id", how="left", maintain_order="left").select(names)
    )
    category = str(described[names[0]]["category"])
    personas = [
        Persona(home, category, int(row["history_total"]), int(row["weeks_seen"]))
        for row in visits.iter_rows(named=True)
    ]
    share = lines["long_share"].to_numpy()
    regular = lines["regular_price"].to_numpy()
    read = model.read(
        personas,
        [product_words(described[name]) for name in names],
        counts.to_numpy().astype(np.int64),
        share / share.sum(),
        regular_price=regular,
    )
    tastes = {name: getattr(read, name) for name in ("alpha", "beta", "gamma", "rho", "lambda_", "kappa", "delta")}
    return Tastes(**tastes), regular


def _spreads(tastes: Tastes, regular: FloatArray, consumers: int, seed: int) -> dict[int, FloatArray]:
    """Return each simulation's mean shares [SEEDS, J] at regular prices, by window; window 0 sees constant shares."""
    steady = _play(tastes, regular, MeanField(window=1), 1, consumers, seed, demand="expected")[0]
    centre = 1.0 / len(regular)
    still = replace(tastes.shifted(tastes.rho[:, None] * (steady - centre)), rho=np.zeros_like(tastes.rho))
    found = {0: _play(still, regular, MeanField(window=1), SEEDS, consumers, seed)}
    for w in MARKET_WINDOWS:
        found[w] = _play(tastes, regular, MeanField(window=w), SEEDS, consumers, seed, start=steady)
    return found


def _play(
    tastes: Tastes,
    regular: FloatArray,
    mean_field: MeanField,
    markets: int,
    consumers: int,
    seed: int,
    *,
    demand: Any = "multinomial",
    start: FloatArray | None = None,
) -> FloatArray:
    """Return shares averaged over the measured periods [markets, J]."""
    products = tuple(Product(f"p{j}", "seller", 0.5 * price, float(price)) for j, price in enumerate(regular))
    population = Population.uniform(len(regular), size=consumers, weights=np.ones(tastes.num_segments))
    market = Market(
        Catalog(products),
        population,
        LogitConsumers(tastes),
        num_markets=markets,
        demand=demand,
        mean_field=mean_field,
        initial_mean_field=start,
    )
    market.reset(seed)
    prices = np.broadcast_to(regular, (markets, len(regular)))
    shares = [market.step(prices, True).share for _ in range(WARM_UP + PERIODS)][WARM_UP:]
    return np.asarray(np.mean(shares, axis=0))


def _ratio(first: FloatArray, second: FloatArray, resamples: int = 200) -> Estimate:
    """Return how much more shares spread over simulations in the first than in the second, its error by bootstrap."""

    def spread(values: FloatArray) -> float:
        return float(np.sqrt(values.var(0, ddof=1).mean()))

    rng = np.random.default_rng(0)
    again = []
    for _ in range(resamples):
        rows, others = rng.integers(len(first), size=len(first)), rng.integers(len(second), size=len(second))
        again.append(spread(first[rows]) / spread(second[others]))
    return Estimate(spread(first) / spread(second), float(np.std(again, ddof=1)))


def _finding(
    answers: dict[int, dict[str, FloatArray]],
    who: IntArray,
    ratio: dict[int, dict[int, Estimate]],
    strong: dict[int, Estimate],
) -> str:
    parts = [
        f"{name} {in_words(clustered(answers[10][name] - answers[0][name], who), digits=5)}" for name in answers[0]
    ]
    few = CONSUMERS[0]
    shifts = [f"window {w} {in_words(Estimate(of.mean - 1.0, of.se), digits=3)}" for w, of in ratio[few].items()]
    forced = [f"window {w} {in_words(Estimate(of.mean - 1.0, of.se), digits=3)}" for w, of in strong.items()]
    return (
        f"Variance of sampled answers with a window of 10 against none: {'; '.join(parts)}. Spread of market shares "
        f"over simulations with {few} consumers, relative to consumers who see constant shares, less 1: "
        f"{'; '.join(shifts)}; with rho set to 1.5: {'; '.join(forced)}."
    )


def _draw(ratio: dict[int, dict[int, Estimate]], strong: dict[int, Estimate], path: Path) -> Path:
    names = [str(w) for w in MARKET_WINDOWS]

    def paint(axes: list[Any]) -> None:
        for k, (n, of) in enumerate(ratio.items()):
            curve(axes[0], names, [of[w] for w in MARKET_WINDOWS], f"{n:,} consumers", COLOURS[k])
        curve(axes[1], names, [strong[w] for w in MARKET_WINDOWS], "rho 1.5", COLOURS[3])
        for axis, title in zip(
            axes, ("spread of shares, learned rho", f"rho 1.5, {CONSUMERS[0]} consumers"), strict=True
        ):
            axis.axhline(1.0, color=FAINT, linewidth=1.0)
            axis.set_title(title)
            axis.set_ylabel("spread with over without mean field\n(below 1: steadier)", fontsize=8.5)
            axis.set_xlabel("window (periods)")

    return panels(2, path, paint)
