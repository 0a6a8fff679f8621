"""What consumers are shown in a period and what they answer: the border between market and consumers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from malles_env.market.arrays import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Offer:
    """The shelves of B markets in one period; all offers are revealed at once.

    Attributes:
        prices: Money, shape ``(B, J)``.
        available: Listed and in stock, shape ``(B, J)``.
        regular_price: Money, shape ``(J,)``.
        mean_field: Purchase shares that consumers see, shape ``(B, J)``.
        loyalty: Share of each segment by last purchase, shape ``(B, S, J + 1)``; index 0 is none.
    """

    prices: FloatArray
    available: BoolArray
    regular_price: FloatArray
    mean_field: FloatArray
    loyalty: FloatArray


@dataclass(frozen=True, slots=True)
class Response:
    """What each segment does with an offer.

    Attributes:
        probability: Choice probability, shape ``(B, S, J + 1)``; index 0 is the outside option. Sums to 1.
        quantity: Mean units per buyer, at least 1, shape ``(B, S, J)``.
        loyalty: Loyalty shares after the period if every buyer is served, shape ``(B, S, J + 1)``.
        surplus: Consumer surplus per consumer in money, up to a constant, shape ``(B, S)``.
    """

    probability: FloatArray
    quantity: FloatArray
    loyalty: FloatArray
    surplus: FloatArray


@runtime_checkable
class Consumers(Protocol):
    """Whoever buys. `Market` asks nothing else of them."""

    @property
    def num_segments(self) -> int:
        """S."""
        ...

    @property
    def num_products(self) -> int:
        """J."""
        ...

    def respond(self, offer: Offer) -> Response:
        """Answer an offer; must not depend on the order of products nor keep state between calls."""
        ...
