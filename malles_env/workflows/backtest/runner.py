"""Back-test: consumers made from the past meet the real prices of the test weeks, beside simpler forecasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from malles_env.data.settings import BuildSettings
from malles_env.errors import invalid
from malles_env.market import Population, Tastes
from malles_env.scenarios.blocks.entries import ProductEntry
from malles_env.scenarios.from_log.household_segments import (
    TwinDataset,
    cluster_tastes,
    find_ground,
    loaded,
    twin_tastes,
)
from malles_env.scenarios.from_log.panel import Panel, read_panel
from malles_env.scenarios.from_log.provenance import COMPLETE_JOURNEY, Origin
from malles_env.type_aliases import FloatArray, OnMessage
from malles_env.workflows.backtest.playback import WINDOW, Forecast, level_to, naive, play, sampled
from malles_env.workflows.backtest.scores import (
    Interval,
    Response,
    differences,
    price_response,
    scores,
    week_draws,
)

if TYPE_CHECKING:
    from malles_env.data.log.tables import Tables
    from malles_env.data.occasions import Occasions
    from malles_env.preference.model import TasteModel

ROWS = {
    "twins": "every household its own segment, tastes read by the model, level fitted to the past",
    "twins_as_read": "the same, tastes left as the model read them",
    "clusters": "households clustered into segments, tastes read by the model, level fitted to the past",
    "clusters_as_read": "the same, tastes left as the model read them",
    "logit": "every household its own segment, conditional logit with the same facts, level fitted to the past",
    "logit_as_read": "the same, tastes left as the logit has them",
    "naive": "every shopper goes on as in the last four known weeks",
}
"""Forecasts and what each is. The past is all weeks up to the end of validation; test weeks are never fitted to."""
BLIND = 4
"""Weeks that the naive forecast averages."""
Consumers = tuple[Tastes, Population]


@dataclass(frozen=True)
class BacktestSettings:
    """How a back-test is judged.

    Attributes:
        draws: Bootstrap draws of weeks.
        panels: Simulated panels for the noise floor.
        seed: Seed of both, and of the sample that the logit is fitted on.
    """

    draws: int = 2000
    panels: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        for name in ("draws", "panels"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "a whole number of at least 1")


@dataclass(frozen=True)
class Backtest:
    """What came out.

    Attributes:
        market: Name of the market.
        titles: The products in words [J].
        households: Number of twins.
        past: The weeks that levels were fitted to.
        real: The weeks forecast.
        forecasts: By row name.
        scores: Row -> measure -> value and interval; row ``floor`` is what a perfect forecast would score, sampling
            noise of the panel alone.
        worse: Row -> measure -> by how much it errs more than ``twins``, with interval.
        responses: Row -> price response; row ``real`` is the data's.
        weights: Hash of the taste model's weights; empty for one that was never saved.
    """

    market: str
    titles: tuple[str, ...]
    households: int
    past: Panel
    real: Panel
    forecasts: dict[str, Forecast]
    scores: dict[str, dict[str, Interval]]
    worse: dict[str, dict[str, Interval]]
    responses: dict[str, Response]
    weights: str = ""


def backtest(
    market: str,
    *,
    model: str | TasteModel = "embedded",
    max_lines: int = 12,
    tables: Tables | None = None,
    build: BuildSettings | None = None,
    origin: Origin = COMPLETE_JOURNEY,
    settings: BacktestSettings | None = None,
    notify: OnMessage = lambda words: None,
) -> Backtest:
    """Simulate a market's test weeks with its digital twins and compare with what was bought.

    Args:
        market: A market of the log, or a scenario built from one (its name or path).
        model: Shipped name or directory of a taste model, or a loaded one.
        max_lines: Most products where `market` is not a scenario.
        tables: The log; default the Complete Journey.
        build: Windows and splits; default those the shipped models were trained with.
        origin: What the log is.
        settings: Bootstrap draws and seed.
        notify: Called with what is being done, in words.

    Raises:
        MissingResource: The data or the model is not installed.
        InvalidInput: No such market, or a log without test weeks.
    """
    from malles_env.data.building.build import build_occasions

    settings, taste_model = settings or BacktestSettings(), loaded(model)
    notify("reading the log")
    ground = find_ground(market, max_lines=max_lines, tables=tables, settings=build, origin=origin)
    end = ground.settings.splits.validation_end
    if end < WINDOW:
        raise invalid("splits.validation_end", end, f"at least {WINDOW}, weeks of which the forecast knows the sales: "
                      "a longer log, or later splits in its settings")  # fmt: skip
    notify("building choice occasions")
    occasions = build_occasions(ground.tables, ground.settings, [ground.market])
    panel = panel_of(ground, occasions)
    notify("reading tastes")
    twins = (twin_tastes(ground, taste_model), ground.population())
    notify("fitting the logit")
    rows = {"twins": twins, "clusters": cluster_tastes(ground, taste_model)}
    rows["logit"] = (logit_tastes(ground, occasions, settings.seed), ground.population())
    notify("playing the test weeks")
    return run(ground, panel, rows, settings, weights=taste_model.weights_hash)


def panel_of(ground: TwinDataset, occasions: Occasions) -> Panel:
    """Return the real weeks of the ground's households."""
    catalog = ground.scenario.catalog()
    ids = ground.shelves.household_ids
    return read_panel(
        ground.tables, occasions, ground.market, ground.lines, ids, catalog.product_ids, catalog.regular_price
    )


def logit_tastes(ground: TwinDataset, occasions: Occasions, seed: int = 0) -> Tastes:
    """Return every household's tastes under a conditional logit fitted on the market's weeks up to the test."""
    from malles_env.preference.data.dataset import from_occasions
    from malles_env.workflows.backtest.logit_twins import LogitTwins

    known = occasions.select(split=["train", "validation"], markets=[ground.market])
    fitted = LogitTwins.fit(from_occasions(known), seed)
    return ground.shelves.tastes(fitted.read(ground.shelves.data))


def run(
    ground: TwinDataset,
    panel: Panel,
    consumers: dict[str, Consumers],
    settings: BacktestSettings | None = None,
    *,
    weights: str = "",
) -> Backtest:
    """Play the test weeks with consumers and judge them.

    Args:
        ground: Products and households.
        panel: The real weeks.
        consumers: Name (``twins`` and others of `ROWS`) -> tastes as read, and whose they are. Each is played with its
            level fitted here and as read.
        settings: Bootstrap draws and seed.
        weights: Hash of the taste model's weights.
    """
    settings, splits = settings or BacktestSettings(), ground.settings.splits
    end = splits.validation_end
    past, real = panel.weeks(splits.burn_in_end + 1, end), panel.weeks(end + 1, int(panel.periods[-1]))
    start, catalog = panel.weeks(end + 1 - WINDOW, end).shares, ground.catalog()
    forecasts = {}
    for name, (tastes, population) in consumers.items():
        level = level_to(tastes, population, catalog.regular_price, past)
        for row, used in ((name, level), (f"{name}_as_read", tastes)):
            forecasts[row] = play(row, catalog, used, population, real, start)
    forecasts["naive"] = naive(panel.weeks(end + 1 - BLIND, end), real)
    forecasts = {name: forecasts[name] for name in ROWS if name in forecasts}
    drawn = week_draws(len(real.periods), settings.draws, settings.seed)
    mirror = Forecast("real", real.purchases, real.units)
    found = {name: scores(forecast, real, drawn) for name, forecast in forecasts.items()}
    return Backtest(
        market=ground.market,
        titles=tuple(_title(product) for product in ground.scenario.products),
        households=len(ground.shelves.household_ids),
        past=past,
        real=real,
        forecasts=forecasts,
        scores=found | {"floor": floor(forecasts["twins"], real, settings)},
        worse={
            name: differences(forecasts["twins"], forecast, real, drawn)
            for name, forecast in forecasts.items()
            if name != "twins"
        },
        responses={name: price_response(f, real) for name, f in {"real": mirror, **forecasts}.items()},
        weights=weights,
    )


def _title(product: ProductEntry) -> str:
    """Return the product's title and, beside it, what the log calls it."""
    title = product.title or product.product_id
    return title if product.source_title in ("", title) else f"{title} ({product.source_title})"


def floor(truth: Forecast, real: Panel, settings: BacktestSettings) -> dict[str, Interval]:
    """Return what a forecast would score if it were the truth: mean and 95% range over simulated panels."""
    whole = np.arange(len(real.periods))[None]
    values: dict[str, list[float]] = {}
    for drawn in sampled(truth, real, settings.panels, settings.seed):
        mirror = replace(real, purchases=drawn.purchases, units=drawn.units)
        for name, interval in scores(truth, mirror, whole).items():
            values.setdefault(name, []).append(interval.value)
    return {name: _range(np.array(found)) for name, found in values.items()}


def _range(values: FloatArray) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
