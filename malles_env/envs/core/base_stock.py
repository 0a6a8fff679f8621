"""How sellers that only set prices order: up to a level of stock, at once or in lots."""

from __future__ import annotations

import numpy as np

from malles_env.envs.spaces.observations import Layout
from malles_env.errors import invalid
from malles_env.market import Market
from malles_env.market.solvers.game import Game
from malles_env.market.tastes import tastes_of
from malles_env.type_aliases import BoolArray, FloatArray

SOLD_OUT = 1.5  # of its sales: what a sold-out product is reckoned to have been asked for


class BaseStock:
    """Orders up to a level that covers lead time + 1 periods of a product's rate of sales, on hand and on order.

    The rate is the units sold in the last period, if the product was on the shelf and is not sold out. If it is sold
    out, off the shelf, or no period has been played, the rate is the expected demand at regular prices, or half as much
    again as was sold, if that is more: sales of what is sold out are less than demand. Products that are not to be
    listed are not ordered. An order is at most what there is room for, and rounded to whole units where these are due.
    The rule looks neither at costs nor at the end of the episode.

    With `lots` it waits until less than that level is left, and then orders as much more as one lot of the formula of
    Harris (1913), sqrt(2 K d / h) with fixed cost K, rate d and holding cost h; one period's sales where h is 0.

    Args:
        layout: Of the observations it will see.
        seller: Whose products it orders.
        expected: Units per period at regular prices, see `expected_units`, shape ``(J,)``.
        lots: Whether to order in lots.

    Raises:
        InvalidInput: Products are not ordered in this market.
    """

    def __init__(self, layout: Layout, seller: int, expected: FloatArray, *, lots: bool = False) -> None:
        given = layout.slot_layout.catalog.replenishment
        if given is None:
            raise invalid("orders", "a policy for them", "none, as the scenario has no replenishment")
        self.layout, self.seller, self.given, self.lots = layout, seller, given, lots
        self.own = layout.slot_layout.products(seller)
        self.expected = expected[self.own]
        self.periods = given.of("lead_time")[self.own] + 1.0
        self.fixed, self.holding = given.of("fixed_cost")[self.own], given.of("holding_cost")[self.own]

    def orders(self, observation: FloatArray, listed: BoolArray) -> FloatArray:
        """Return units to order of each own product, shape ``(B, J_n)``.

        Args:
            observation: Flat observations of the seller, shape ``(B, D)``.
            listed: What it will list, shape ``(B, J_n)``.
        """
        said = self.layout.read(observation, self.seller)
        stock, sales, coming = said["stock"][:, self.own], said["sales"][:, self.own], said["on_order"][..., self.own]
        played = said["time"][:, None] > 0.0
        uncensored = (said["listed"][:, self.own] > 0) & (stock > 0.5) & played
        rate = np.where(uncensored, sales, np.maximum(SOLD_OUT * sales, self.expected))
        level, position = self.periods * rate, stock + coming.sum(axis=1)
        wanted = level - position
        if self.lots:
            lot = np.sqrt(2.0 * self.fixed * rate / np.where(self.holding > 0.0, self.holding, 1.0))
            wanted = np.where(wanted > 0.0, wanted + np.where(self.holding > 0.0, lot, rate), 0.0)
        # observations are of single precision: what is a whole number of units is not quite one
        wanted = np.rint(wanted) if self.given.whole_units else wanted
        return np.where(listed, np.clip(wanted, 0.0, self._room(stock, coming)), 0.0)

    def _room(self, stock: FloatArray, coming: FloatArray) -> FloatArray:
        free = self.given.of("storage")[self.own] - stock - coming.sum(axis=1)
        free = np.clip(free, 0.0, self.given.of("largest")[self.own])
        return np.floor(free + 0.01) if self.given.whole_units else free


def expected_units(market: Market) -> FloatArray:
    """Return units per period at regular prices and usual shelves in the steady state, shape ``(J,)``.

    Consumers that must be asked are not: for them it is one unit per consumer, shared equally by all products.
    """
    catalog = market.catalog
    if tastes_of(market.consumers) is None:
        return np.full(catalog.num_products, market.population.size / catalog.num_products)
    from malles_env.envs.spaces.slot_layout import SlotLayout

    prices, listed = SlotLayout(catalog).default_offer
    found: FloatArray = market.population.size * Game.of(market).demand(prices, listed)[0]
    return np.where(listed, found, found[listed].mean())
