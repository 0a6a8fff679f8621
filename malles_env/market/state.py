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
        prices: As played, shape ``(B, J)``.
        listed: As played, shape ``(B, J)``.
        demand: Units that consumers wanted, shape ``(B, J)``.
        units: Units that they got, shape ``(B, J)``.
        lost_sales: The difference, shape ``(B, J)``.
        revenue: Of each product, shape ``(B, J)``; so are the next three.
        cost: Of the units sold.
        fees: For being listed.
        profit: revenue - cost - fees.
        share: Purchase shares of the period as the mean field counts them, shape ``(B, J)``.
        seller_profit: Sum over each seller's products, shape ``(B, N)``.
        consumer_surplus: Sum over all consumers, up to a constant, shape ``(B,)``.
        outside: Share of consumers who choose to buy nothing (a probability), shape ``(B,)``.
        mean_field: The shares that consumers felt in this period, shape ``(B, J)``.
        residual: Of the equilibrium coupling's fixed point, shape ``(B,)``; 0 when lagged.
        iterations: That the fixed point took, shape ``(B,)``; 0 when lagged.
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
        reference: Reference prices, money, ``(B, J)``; they move only in a market with `ReferencePrice`.
    """

    stock: FloatArray
    mean_field: FloatArray
    window: FloatArray
    period: IntArray
    streams: np.ndarray
    loyalty: FloatArray
    reference: FloatArray

    def copy(self) -> MarketState:
        """Return an independent copy."""
        return MarketState(
            self.stock.copy(), self.mean_field.copy(), self.window.copy(), self.period.copy(),
            self.streams.copy(), self.loyalty.copy(), self.reference.copy(),
        )  # fmt: skip
