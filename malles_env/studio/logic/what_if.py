"""What would happen at other prices, under other taste models and under other rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from malles_env.consumers.aligned import DRAW_MODELS
from malles_env.errors import invalid
from malles_env.market import Offer, Tastes
from malles_env.market.demand.choice import respond
from malles_env.market.solvers.equilibrium import Equilibrium, nash
from malles_env.market.solvers.game import Game
from malles_env.market.tastes import tastes_of
from malles_env.scenarios import Scenario
from malles_env.scenarios.consumer_kinds.prompted import opening_offer
from malles_env.studio.logic.market import World
from malles_env.type_aliases import FloatArray

POINTS = 41
BAND = (0.1, 0.9)
"""Quantiles of the draws between which the band lies."""


@dataclass(frozen=True)
class Rules:
    """Rules of the game that a public authority or the owners of sellers may change.

    Attributes:
        sales_tax: Share of the price before tax.
        unit_tax: Money per unit sold.
        price_cap: Highest price, money; None: no cap.
        merged: Names of sellers that merge; none or at least two.
    """

    sales_tax: float = 0.0
    unit_tax: float = 0.0
    price_cap: float | None = None
    merged: tuple[str, ...] = ()

    def on(self, scenario: Scenario) -> Scenario:
        """Return the scenario under these rules.

        Raises:
            InvalidInput: A rule that this scenario cannot have, or a merger of one.
        """
        if len(self.merged) == 1:
            raise invalid("merger", list(self.merged), "two or more sellers")
        mergers = [list(self.merged)] if self.merged else []
        return scenario.with_policy(
            sales_tax=self.sales_tax, unit_tax=self.unit_tax, price_cap=self.price_cap, mergers=mergers
        )


@dataclass(frozen=True)
class Outcome:
    """Where competition ends under some rules: Bertrand-Nash prices of the usual shelves.

    Attributes:
        prices: Money, shape ``(J,)``; NaN where not listed.
        profit: By name of the sellers before any merger, money per period.
        surplus: Consumer surplus, money per period, up to a constant that rules do not change.
        tax: Tax paid, money per period.
    """

    prices: FloatArray
    profit: dict[str, float]
    surplus: float
    tax: float


def competition(world: World, rules: Rules) -> Outcome:
    """Return where competition ends when every seller keeps its usual shelf."""
    scenario = rules.on(world.scenario)
    game = Game.of(scenario.market(consumers=world.consumers))
    return _outcome(world, game, nash(game, listed=world.usual_shelf, starts=1, tolerance=1e-5))


def _outcome(world: World, game: Game, found: Equilibrium) -> Outcome:
    catalog, shelf = game.catalog, found.listed
    units = game.population.size * game.demand(found.prices, shelf)[0]
    profit = game.product_profit(found.prices, shelf)[0]
    surplus = game.steady(found.prices, shelf).surplus[0] @ game.population.weights * game.population.size
    tax = units @ (found.prices * (1.0 - catalog.net_of_tax) + catalog.unit_tax)
    of = world.catalog.seller_of
    return Outcome(
        np.where(shelf, found.prices, np.nan),
        {name: float(profit[of == n].sum()) for n, name in enumerate(world.catalog.sellers)},
        float(surplus),
        float(tax),
    )


def price_rows(world: World, before: Outcome, after: Outcome) -> list[dict[str, Any]]:
    """Return one row per listed product: its price before and after."""
    return [
        {
            "product": title,
            "seller": product.seller,
            "price now": round(float(before.prices[j]), 2),
            "price then": round(float(after.prices[j]), 2),
            "change %": round(100.0 * float(after.prices[j] / before.prices[j] - 1.0), 1),
        }
        for j, (title, product) in enumerate(zip(world.product_titles(), world.scenario.products, strict=True))
        if np.isfinite(before.prices[j])
    ]


@dataclass(frozen=True)
class Curve:
    """How one product sells over a range of its own price, all other prices kept.

    Attributes:
        prices: Money, shape ``(P,)``.
        units: By taste model, units per period, shape ``(P,)``; one entry called "tastes" where they stand in the file.
        profit: Of the product's seller over all its products, likewise, money per period.
        band: Quantiles BAND of the profit over the draws of the tastes, shape ``(2, P)``; None without draws.
        draws: How many draws there are.
    """

    prices: FloatArray
    units: dict[str, FloatArray]
    profit: dict[str, FloatArray]
    band: FloatArray | None
    draws: int


def has_draws(world: World) -> bool:
    """Return whether a market's tastes are read by models that come with draws."""
    return world.model in DRAW_MODELS


def drawn_tastes(world: World) -> tuple[Tastes, ...]:
    """Return the draws of a market's tastes: what the data leave open; it takes seconds.

    Raises:
        MissingResource: A taste model that is not there.
    """
    if not has_draws(world):
        return ()
    return tuple(getattr(world.scenario.build_consumers(world.model, draws=True), "draws", ()))


def curve(world: World, product: int, prices: FloatArray, drawn: Sequence[Tastes] = ()) -> Curve:
    """Return how a product sells over a range of its price in the first period, everything on the shelf.

    Args:
        world: The market.
        product: Whose price varies.
        prices: Those of all products, money, shape ``(J,)``.
        drawn: Tastes for the band; none: no band.

    Raises:
        MissingResource: A taste model that is not there.
    """
    catalog = world.catalog
    grid = np.linspace(catalog.price_low[product], catalog.price_high[product], POINTS)
    offer = _over(world.scenario, prices, product, grid)
    units, profit = {}, {}
    for name, tastes in _tastes(world):
        units[name], profit[name] = _sold(world, tastes, offer, product)
    sold = [_sold(world, tastes, offer, product)[1] for tastes in drawn]
    return Curve(grid, units, profit, np.quantile(sold, BAND, axis=0) if sold else None, len(sold))


def _tastes(world: World) -> Iterator[tuple[str, Tastes]]:
    """Yield the tastes of both shipped models, or those of the file."""
    own = tastes_of(world.consumers)
    if not has_draws(world):
        assert own is not None
        yield world.model or "tastes", own
        return
    for name in DRAW_MODELS:
        found = own if name == world.model else tastes_of(world.scenario.build_consumers(name))
        assert found is not None
        yield name, found


def _over(scenario: Scenario, prices: FloatArray, product: int, grid: FloatArray) -> Offer:
    """Return one market per price of the grid."""
    offer = opening_offer(scenario).take(np.zeros(len(grid), dtype=np.int64))
    money = np.tile(np.asarray(prices, dtype=np.float64), (len(grid), 1))
    money[:, product] = grid
    return replace(offer, prices=money)


def _sold(world: World, tastes: Tastes, offer: Offer, product: int) -> tuple[FloatArray, FloatArray]:
    """Return units of the product and profit of its seller, shape ``(P,)`` each."""
    scenario, catalog = world.scenario, world.catalog
    response = respond(tastes, offer)
    weights = scenario.population().weights
    taken = np.einsum("s,bsj->bj", weights, response.probability[:, :, 1:] * response.quantity)
    units = scenario.population_size * taken
    own = catalog.seller_of == catalog.seller_of[product]
    margin = offer.prices * catalog.net_of_tax - catalog.unit_cost
    return units[:, product], np.asarray((units * margin)[:, own].sum(axis=1) - catalog.listing_fee[own].sum())
