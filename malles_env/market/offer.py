"""What consumers are shown in a period and what they answer: the border between market and consumers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

from malles_env.type_aliases import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Offer:
    """The shelves of B markets in one period; all offers are revealed at once.

    Attributes:
        prices: Money, shape ``(B, J)``.
        available: Listed and in stock, shape ``(B, J)``.
        regular_price: Money, shape ``(J,)``.
        mean_field: Purchase shares that consumers see, shape ``(B, J)``.
        loyalty: Share of each segment by last purchase, shape ``(B, S, J + 1)``; index 0 is none.
        display: Displayed in the shop, shape ``(B, J)``; None: nothing is.
        feature_ad: Advertised in the leaflet, shape ``(B, J)``; None: nothing is.
        reference: Log of the price that consumers expect, shape ``(B, J)``; None: the one they see.
        centre: Shares at which the mean field has no effect, shape ``(B, J)``; None: 1/J each.
        pantry: Stock that each segment has at home above its usual one, in periods of usual use, shape ``(B, S)``;
            None: the usual one.
        tier_prices: Money per unit of orders that reach the threshold, at most the list price, shape ``(B, J)``; None:
            no quantity discounts.
        thresholds: Units of such orders, shape ``(J,)``, 0 where a product carries no tier; given with `tier_prices`.
    """

    prices: FloatArray
    available: BoolArray
    regular_price: FloatArray
    mean_field: FloatArray
    loyalty: FloatArray
    display: BoolArray | None = None
    feature_ad: BoolArray | None = None
    reference: FloatArray | None = None
    centre: FloatArray | None = None
    pantry: FloatArray | None = None
    tier_prices: FloatArray | None = None
    thresholds: IntArray | None = None

    def take(self, markets: IntArray) -> Offer:
        """Return the shelves of some markets (whole numbers, repeats allowed)."""
        shared = ("regular_price", "thresholds")
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in shared}
        rows: dict[str, Any] = {name: part if part is None else part[markets] for name, part in parts.items()}
        return replace(self, **rows)


@dataclass(frozen=True, slots=True)
class Response:
    """What each segment does with an offer.

    Attributes:
        probability: Choice probability, shape ``(B, S, J + 1)``; index 0 is the outside option. Sums to 1.
        quantity: Mean units per buyer, at least 1, shape ``(B, S, J)``.
        loyalty: Loyalty shares after the period if every buyer is served, shape ``(B, S, J + 1)``.
        surplus: Consumer surplus per consumer in money, up to a constant, shape ``(B, S)``.
        tier: Of a buyer, where quantity discounts are posted: chance that the order reaches the threshold, mean units
            at the tier price, and mean units added to reach it, shape ``(B, 3, S, J)``; None: there are none.
    """

    probability: FloatArray
    quantity: FloatArray
    loyalty: FloatArray
    surplus: FloatArray
    tier: FloatArray | None = None


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
