"""Sellers that know the market's game: Nash and monopoly prices, and the benchmarks they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import StationarySeller
from malles_env._moved import old_names
from malles_env.market import Consumers
from malles_env.market.solvers.equilibrium import Benchmarks, benchmarks
from malles_env.market.solvers.game import Game
from malles_env.type_aliases import FloatArray

_KNOWN: dict[tuple[str, int], tuple[Consumers, Benchmarks]] = {}


def benchmarks_of(view: SellerView) -> Benchmarks:
    """Return Nash equilibrium and joint monopoly of the seller's market; computed once per scenario and consumers."""
    # the name alone would give a market under a tax or a merger the benchmarks of the market without
    key = (view.scenario.model_dump_json(), id(view.consumers))
    if key not in _KNOWN:
        market = view.scenario.market(consumers=view.consumers, demand="expected")
        # the consumers are kept, so that their id stays theirs
        _KNOWN[key] = (view.consumers, benchmarks(Game.of(market)))
    return _KNOWN[key][1]


def nash_seller(view: SellerView) -> StationarySeller:
    """Return the seller that asks the Bertrand-Nash prices of the steady state for ever."""
    found = benchmarks_of(view).nash
    return StationarySeller(view, found.prices[view.products], found.listed[view.products])


def monopoly_seller(view: SellerView) -> StationarySeller:
    """Return the seller that asks the prices of the joint-profit maximum for ever."""
    found = benchmarks_of(view).monopoly
    return StationarySeller(view, found.prices[view.products], found.listed[view.products])


@dataclass(frozen=True)
class PriceIndex:
    """The line from Nash to monopoly prices: one number, the price index, stands for all prices of a seller.

    Attributes:
        nash, monopoly: Prices of all products, money, shape ``(J,)``.
    """

    nash: FloatArray
    monopoly: FloatArray

    @classmethod
    def of(cls, view: SellerView) -> PriceIndex:
        """Return the line of the seller's market; where it has no length it is given a tenth of the price box."""
        found = benchmarks_of(view)
        span = 0.1 * (view.catalog.price_high - view.catalog.price_low)
        low = found.nash.prices
        return cls(low, np.where(found.monopoly.prices - low < 0.01 * span, low + span, found.monopoly.prices))

    def index(self, prices: FloatArray, listed: FloatArray) -> FloatArray:
        """Return sum (p - p_N) / sum (p_M - p_N) over listed products, shape ``(B,)``; NaN where none is listed."""
        reach = (listed * (self.monopoly - self.nash)).sum(axis=1)
        above = (listed * (prices - self.nash)).sum(axis=1)
        return np.asarray(above / np.where(reach > 0, reach, np.nan))

    def prices(self, index: FloatArray) -> FloatArray:
        """Return the prices at given indices, money, shape ``(B, J)``."""
        return np.asarray(self.nash + index[:, None] * (self.monopoly - self.nash))


__getattr__ = old_names(__name__)
