"""Digital twins: every household of a market its own segment, with tastes read from its own purchases.

Nothing of a single household is kept in the repository: twins are made at run time from the installed data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env._moved import old_names
from malles_env.consumers.logit import LogitConsumers
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput, MissingResource, invalid
from malles_env.market import Catalog, Demand, Market, MeanField, Population, Tastes
from malles_env.scenarios.blocks.entries import AlignedEntry
from malles_env.scenarios.from_log.build import scenario_from
from malles_env.scenarios.from_log.choices import BuildChoices
from malles_env.scenarios.from_log.household_shelves import TwinShelves, known_until, twin_shelves
from malles_env.scenarios.from_log.panel import matched_lines
from malles_env.scenarios.from_log.provenance import COMPLETE_JOURNEY, Origin
from malles_env.scenarios.loader import load_scenario
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray

if TYPE_CHECKING:
    from malles_env.data.log.tables import Tables
    from malles_env.data.statistics import MarketStatistics
    from malles_env.preference.model import TasteModel


@dataclass(frozen=True)
class TwinDataset:
    """What all consumers of a back-test have in common: a market's log, its products and its households.

    Attributes:
        tables: The log.
        settings: Splits; tastes know the periods up to `settings.splits.validation_end`.
        scenario: Products, and the clustered segments.
        lines: The log's lines that the products stand for [J].
        shelves: What is known of every household.
    """

    tables: Tables
    settings: BuildSettings
    scenario: Scenario
    lines: tuple[str, ...]
    shelves: TwinShelves

    @property
    def market(self) -> str:
        """Name of the market."""
        entry = self.scenario.consumers
        assert isinstance(entry, AlignedEntry)
        return entry.market

    def population(self) -> Population:
        """Return the households, weighed by the weeks in which they shopped, each loyal to what it bought last."""
        weeks = self.shelves.data.weeks_seen.astype(np.float64)
        size = weeks.sum() / self.settings.splits.validation_end
        return Population(max(size, 1.0), weeks, self.shelves.loyalty)

    def catalog(self) -> Catalog:
        """Return the scenario's products; any of them may stand on the shelf at once."""
        return replace(self.scenario.catalog(), capacity={})

    def first_mean_field(self) -> FloatArray:
        """Return the products' shares of the trailing weeks, sum 1 [J]."""
        share = self.shelves.data.share[0, : self.shelves.num_products].astype(np.float64)
        return share / share.sum() if share.sum() > 0 else np.full(len(share), 1.0 / len(share))


@dataclass(frozen=True)
class TwinMarket:
    """A market whose segments are single households.

    Attributes:
        catalog: J products.
        population: S households, weighed by their shopping weeks; `size` of them shop in a week.
        consumers: Their tastes.
        household_ids: Who they are in the log [S].
        mean_field: Shares perceived at the start [J].
    """

    catalog: Catalog
    population: Population
    consumers: LogitConsumers
    household_ids: tuple[str, ...]
    mean_field: FloatArray

    def market(self, num_markets: int = 1, demand: Demand = "multinomial", settings: MeanField | None = None) -> Market:
        """Return `num_markets` independent markets of these twins, reset; see `malles_env.market.Market`.

        The mean field is centred at long-run shares by default, as the models were trained.
        """
        return Market(
            self.catalog,
            self.population,
            self.consumers,
            num_markets=num_markets,
            demand=demand,
            mean_field=settings or MeanField(centre="long_run"),
            initial_mean_field=self.mean_field,
        )


def twin_market(
    market: str,
    *,
    model: str | TasteModel = "embedded",
    max_lines: int = 12,
    tables: Tables | None = None,
    settings: BuildSettings | None = None,
) -> TwinMarket:
    """Return a market in which every household that ever bought is a segment of its own.

    A household's tastes are read from all it did up to the end of validation: the sequence of its purchases, their
    counts, the weeks it shopped, what it bought in other categories. It starts loyal to its last purchase.

    Args:
        market: A market of the log, or a scenario built from one (its name or path).
        model: Shipped name or directory of a taste model, or a loaded one.
        max_lines: Most products where `market` is not a scenario.
        tables: The log; default the Complete Journey.
        settings: Windows and splits; default those the shipped models were trained with.

    Raises:
        MissingResource: The data or the model is not installed.
        InvalidInput: No such market.
    """
    ground = find_ground(market, max_lines=max_lines, tables=tables, settings=settings)
    consumers = LogitConsumers(twin_tastes(ground, loaded(model)))
    return TwinMarket(
        ground.catalog(), ground.population(), consumers, ground.shelves.household_ids, ground.first_mean_field()
    )


def find_ground(
    market: str,
    *,
    max_lines: int = 12,
    tables: Tables | None = None,
    settings: BuildSettings | None = None,
    origin: Origin = COMPLETE_JOURNEY,
) -> TwinDataset:
    """Return a market's products and households; see `twin_market` for the arguments.

    Args:
        market: A market of the log, or a scenario built from one (its name or path).
        max_lines: Most products where `market` is not a scenario.
        tables: The log; default the Complete Journey.
        settings: Windows and splits.
        origin: What the log is.
    """
    from malles_env.data.sources.complete_journey import load_complete_journey
    from malles_env.data.statistics import market_statistics

    settings = settings or BuildSettings()
    of_log = " | " in market if tables is None else bool((tables.products["market"] == market).any())
    scenario = None if of_log else _scenario_of(market, tables)
    name = market if scenario is None else _market_of(scenario)
    log = tables or load_complete_journey([name], splits=settings.splits)
    known = known_until(log, settings.splits.validation_end)
    # A scenario may have been built with other limits than the usual ones: look for its products among all lines.
    limits: dict[str, Any] = {"max_lines": max_lines} if scenario is None else {"max_lines": 1000, "min_share": 0.0}
    statistics = market_statistics(known, name, settings=settings, **limits)
    if scenario is None:
        scenario = _scenario(statistics, max_lines, origin)
    rows = matched_lines(scenario, statistics)
    lines = tuple(statistics.lines["product_id"].gather(rows).to_list())
    return TwinDataset(log, settings, scenario, lines, twin_shelves(log, name, lines, settings))


def twin_tastes(ground: TwinDataset, model: TasteModel) -> Tastes:
    """Return the tastes that a model reads of every household."""
    import torch

    data = ground.shelves.data
    with torch.no_grad():  # thousands of households share a few dozen lines: read their texts once
        readings = model.reader.of(data.products, np.arange(len(data.products)))
    return ground.shelves.tastes(model.read_shelves(data, readings))


def cluster_tastes(ground: TwinDataset, model: TasteModel) -> tuple[Tastes, Population]:
    """Return the tastes that a model reads of the scenario's segments, as they are, and these segments."""
    from malles_env.preference.data.text import Persona, ProductText

    scenario, catalog = ground.scenario, ground.catalog()
    entry = scenario.consumers
    assert isinstance(entry, AlignedEntry)
    personas = [
        Persona(entry.market, entry.category, part.history_total or 0, part.weeks_seen or 0, part.note)
        for part in scenario.segments
    ]
    products = [ProductText(p.brand, p.private_label, p.size_value, p.size_unit) for p in scenario.products]
    quantity = [product.mean_quantity for product in scenario.products]
    reading = model.read(
        personas,
        products,
        scenario.bought().astype(np.int64),
        np.array([product.reference_share or 0.0 for product in scenario.products]),
        regular_price=catalog.regular_price,
        mean_quantity=None if None in quantity else np.array(quantity, dtype=np.float64),
    )
    return Tastes(**vars(reading)), scenario.population()


def loaded(model: str | TasteModel) -> TasteModel:
    """Return a taste model, loaded where only its name is given."""
    if not isinstance(model, str):
        return model
    from malles_env.preference.model import TasteModel

    return TasteModel.load(model)


def _market_of(scenario: Scenario) -> str:
    if not isinstance(scenario.consumers, AlignedEntry):
        raise InvalidInput(
            f"market: got the scenario {scenario.name!r}, whose tastes stand in its file; allowed: a market of the "
            "log, or a scenario built from one"
        )
    return scenario.consumers.market


def _scenario_of(market: str, tables: Tables | None) -> Scenario:
    """Return a scenario by its name or path; where there is none either, the log's markets are named."""
    try:
        return load_scenario(market)
    except MissingResource:
        if tables is None:
            raise
        known = tables.products["market"].unique().sort().to_list()
        raise invalid("market", market, f"a scenario, or a market of the log: {', '.join(known[:12])}") from None


def _scenario(statistics: MarketStatistics, max_lines: int, origin: Origin) -> Scenario:
    title = statistics.market.rsplit("|", 1)[-1].strip().capitalize()
    return scenario_from(statistics, BuildChoices(name="twins", title=title, max_lines=max_lines), origin=origin)


__getattr__ = old_names(__name__)
