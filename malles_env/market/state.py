"""What a batch of markets carries from period to period, and what one period leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np

from malles_env.type_aliases import BoolArray, FloatArray, IntArray

Demand = Literal["multinomial", "gaussian", "expected", "exact"]
DEMANDS: tuple[Demand, ...] = ("multinomial", "gaussian", "expected", "exact")
LEDGER = 8
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
        cost: Of the units sold; where products are ordered only the unit tax, as units are paid when ordered.
        fees: For being listed and, where sellers pay for promotion, displayed and advertised.
        profit: revenue - cost - fees, and - ordering - holding + salvage where products are ordered.
        share: Purchase shares of the period as the mean field counts them, shape ``(B, J)``.
        seller_profit: Sum over each seller's products, shape ``(B, N)``.
        consumer_surplus: Sum over all consumers, up to a constant, shape ``(B,)``.
        outside: Share of consumers who choose to buy nothing (a probability), shape ``(B,)``.
        mean_field: The shares that consumers perceived in this period, shape ``(B, J)``.
        residual: Of the equilibrium coupling's fixed point, shape ``(B,)``; 0 when lagged.
        iterations: That the fixed point took, shape ``(B,)``; 0 when lagged.
        promoted: What was displayed (row 0) and advertised (row 1), shape ``(2, B, J)``; None: nothing was.
        tier_prices: Money per unit of orders that reach the threshold, shape ``(B, J)``; None: no tiers.
        tier_units: Units sold at a tier price below the list price, shape ``(B, J)``; None: no tiers.
        ordered: Units ordered, shape ``(B, J)``; this and what follows are None where products are not ordered.
        ordering: Fixed and unit costs of the orders placed, shape ``(B, J)``.
        holding: Cost of the stock on hand at the end of the period, shape ``(B, J)``.
        salvage: What that stock brought, shape ``(B, J)``; 0 but in the last period of an episode.
        stock: Units on hand at the end of the period, before any salvage, shape ``(B, J)``.
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
    promoted: BoolArray | None = None
    tier_prices: FloatArray | None = None
    tier_units: FloatArray | None = None
    ordered: FloatArray | None = None
    ordering: FloatArray | None = None
    holding: FloatArray | None = None
    salvage: FloatArray | None = None
    stock: FloatArray | None = None


class Blocks(NamedTuple):
    """Markets in blocks that the kernel walks together; all of a block have the same draw of the tastes.

    Attributes:
        order: The B markets, block by block, shape ``(B,)``.
        first: Where each block begins in `order`, shape ``(blocks + 1,)``.
        draw: The draw of each block, shape ``(blocks,)``.
    """

    order: IntArray
    first: IntArray
    draw: IntArray

    @property
    def number(self) -> int:
        """How many blocks."""
        return len(self.draw)

    @property
    def lanes(self) -> int:
        """Markets in the largest block."""
        return int(np.diff(self.first).max())

    def place(self) -> tuple[IntArray, IntArray]:
        """Return the block of each market and its place in there, shape ``(B,)`` each."""
        sizes = np.diff(self.first)
        block, lane = np.empty_like(self.order), np.empty_like(self.order)
        block[self.order] = np.repeat(np.arange(self.number), sizes)
        lane[self.order] = np.arange(len(self.order)) - np.repeat(self.first[:-1], sizes)
        return block, lane


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
        reference: Reference prices, money, ``(B, J)``; they move only with linear prices and `ReferencePrice`.
        log_reference: Log of reference over regular price, ``(B, J)``; moves only where tastes have gain or loss.
        centre: Shares at which the mean field has no effect, ``(B, J)``.
        season: Log traffic, ``(B,)``, see `Dynamics`.
        pantry: Stock of each segment at home, ``(B, S)``; moves only where tastes have a pantry, see
            `malles_env.market.demand.pantry`. Hidden from sellers.
        draw: Which draw of the tastes each market has, ``(B,)``; 0 without draws. Hidden from sellers.
        blocks: Which markets the kernel walks together.
        pipeline: Units on order: what arrives in the coming period, in the one after, ..., ``(B, L, J)``, L being the
            longest lead time; ``(B, 0, J)`` where products are not ordered.
    """

    stock: FloatArray
    mean_field: FloatArray
    window: FloatArray
    period: IntArray
    streams: np.ndarray
    loyalty: FloatArray
    reference: FloatArray
    log_reference: FloatArray
    centre: FloatArray
    season: FloatArray
    pantry: FloatArray
    draw: IntArray
    blocks: Blocks
    pipeline: FloatArray

    def copy(self) -> MarketState:
        """Return an independent copy."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        blocks = parts.pop("blocks")  # never changed in place
        return MarketState(**{name: part.copy() for name, part in parts.items()}, blocks=blocks)
