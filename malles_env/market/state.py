"""What a batch of markets carries from period to period, and what one period leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from malles_env.market.arrays import BoolArray, FloatArray, IntArray

Demand = Literal["multinomial", "gaussian", "expected", "exact"]
DEMANDS: tuple[Demand, ...] = ("multinomial", "gaussian", "expected", "exact")
BOOKS = 8
"""Arrays from `Outcome.demand` to `Outcome.share`, in that order."""


class Outcome(NamedTuple):
    """What happened in one period, fresh arrays. B markets, J products, N sellers; money unless stated.

    Attributes:
        prices, listed: The actions as played, shape ``(B, J)``.
        demand: Units that consumers wanted; ``units`` those they got; ``lost_sales`` the difference, ``(B, J)``.
        revenue, cost, fees, profit: Per product, ``(B, J)``; profit = revenue - cost - fees.
        share: Purchase shares of the period as the mean field counts them, ``(B, J)``.
        seller_profit: Sum over each seller's products, ``(B, N)``.
        consumer_surplus: Sum over all consumers, up to a constant, ``(B,)``.
        outside: Share of consumers who chose to buy nothing (probability), ``(B,)``.
        mean_field: The shares that consumers felt in this period, ``(B, J)``.
        residual, iterations: Of the equilibrium coupling's fixed point, ``(B,)``; 0 when lagged.
    """

    prices: FloatArray
    listed: BoolArray
    demand: FloatArray
    units: FloatArray
    lost_sales: FloatArray
    revenue: FloatArray
    cost: FloatArray
    fees: FloatArray
    profit: FloatArray
    share: FloatArray
    seller_profit: FloatArray
    consumer_surplus: FloatArray
    outside: FloatArray
    mean_field: FloatArray
    residual: FloatArray
    iterations: FloatArray


@dataclass(slots=True)
class MarketState:
    """Everything a batch of markets carries from period to period; copy it to take a snapshot.

    Attributes:
        stock: Units on hand, ``(B, J)``.
        mean_field: The shares consumers will see next, ``(B, J)``.
        window: The shares of the last W periods, ``(B, W, J)``.
        period: Periods since the last reset, ``(B,)``.
        streams: Random stream of each market, ``(B, 4)``.
        loyalty: In blocks of markets, ``(blocks, S, J + 1, lanes)``; read it through `Market.loyalty`.
    """

    stock: FloatArray
    mean_field: FloatArray
    window: FloatArray
    period: IntArray
    streams: np.ndarray
    loyalty: FloatArray

    def copy(self) -> MarketState:
        """Return an independent copy."""
        return MarketState(
            self.stock.copy(), self.mean_field.copy(), self.window.copy(), self.period.copy(),
            self.streams.copy(), self.loyalty.copy(),
        )  # fmt: skip
