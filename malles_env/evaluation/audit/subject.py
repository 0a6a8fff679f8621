"""Who is audited and how they are asked: the market around the consumers, and a counter of questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from malles_env.errors import invalid
from malles_env.market import Consumers, Offer
from malles_env.market.arrays import as_floats
from malles_env.type_aliases import FloatArray

Watch = Callable[[str, int, int], None]
"""Called with the test's name, the offers put so far and the offers of the test."""


@dataclass(frozen=True)
class Subject:
    """Consumers and the market they are asked about: J products, S segments.

    Attributes:
        consumers: Who answers.
        weights: Share of the population in each segment, shape ``(S,)``, sum 1.
        regular_price, price_low, price_high: Money, shape ``(J,)``; random prices lie between the last two.
        prices: Prices of the base state, e.g. the average ones paid, money, shape ``(J,)``.
        mean_field: Purchase shares consumers see in the base state, shape ``(J,)``, sum 1.
        loyalty: Shares of each segment by last purchase, shape ``(S, J + 1)``.
        products, segments: Their names.
        market: Name of the market in the source data, for reference elasticities; empty when there is none.
        currency: Of all money.

    Raises:
        InvalidInput: An array has the wrong shape or is out of range.
    """

    consumers: Consumers
    weights: FloatArray
    regular_price: FloatArray
    price_low: FloatArray
    price_high: FloatArray
    prices: FloatArray
    mean_field: FloatArray
    loyalty: FloatArray
    products: tuple[str, ...]
    segments: tuple[str, ...]
    market: str = ""
    currency: str = "money"

    def __post_init__(self) -> None:
        """Check shapes and ranges."""
        segments, products = self.consumers.num_segments, self.consumers.num_products
        for name in ("regular_price", "price_low", "price_high", "prices"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name), (products,), low=1e-9))
        for name, shape in (
            ("weights", (segments,)),
            ("mean_field", (products,)),
            ("loyalty", (segments, products + 1)),
        ):
            object.__setattr__(self, name, as_floats(name, getattr(self, name), shape, low=0.0, high=1.0))
        if (self.price_high < self.price_low).any():
            raise invalid("price_high", self.price_high.tolist(), "at least price_low for every product")
        for name, wanted in (("products", products), ("segments", segments)):
            if len(getattr(self, name)) != wanted:
                raise invalid(name, getattr(self, name), f"{wanted} names")

    @property
    def num_products(self) -> int:
        """J."""
        return len(self.products)

    @property
    def num_segments(self) -> int:
        """S."""
        return len(self.segments)

    def base(self, copies: int = 1) -> Offer:
        """Return the base state `copies` times: base prices, everything listed."""
        return Offer(
            np.tile(self.prices, (copies, 1)),
            np.ones((copies, self.num_products), dtype=bool),
            self.regular_price,
            np.tile(self.mean_field, (copies, 1)),
            np.tile(self.loyalty, (copies, 1, 1)),
        )

    def answered_by(self, consumers: Consumers) -> Subject:
        """Return the same market with other consumers, e.g. a twin."""
        return replace(self, consumers=consumers)

    def tell_prices(self, prices: FloatArray, available: np.ndarray | None = None) -> str:
        """Return prices of the listed products in words."""
        listed = np.ones(len(prices), dtype=bool) if available is None else available
        shown = [f"{self.products[j]} {prices[j]:.4g}" for j in np.flatnonzero(listed)]
        more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
        return ", ".join(shown[:6]) + more


@dataclass(frozen=True)
class Answers:
    """What consumers answered to B offers.

    Attributes:
        probability: Choice probabilities, shape ``(B, S, J + 1)``; index 0 buys nothing.
        quantity: Mean units per buyer, shape ``(B, S, J)``.
    """

    probability: FloatArray
    quantity: FloatArray

    @property
    def units(self) -> FloatArray:
        """Expected units per consumer, shape ``(B, S, J)``."""
        return self.probability[..., 1:] * self.quantity


class Asker:
    """Puts offers to consumers in batches and counts them.

    Args:
        batch: Most offers per call of `respond`.
        watch: Called with the progress.
    """

    def __init__(self, batch: int = 64, watch: Watch | None = None) -> None:
        self.batch = batch
        self.watch = watch
        self.label = ""
        self.asked = 0

    def ask(self, consumers: Consumers, offer: Offer) -> Answers:
        """Return the answers to all offers.

        Raises:
            InvalidInput: An answer has the wrong shape, or is negative or not a number.
        """
        total = len(offer.prices)
        parts = []
        for start in range(0, total, self.batch):
            piece = take(offer, np.arange(start, min(start + self.batch, total)))
            response = consumers.respond(piece)
            parts.append(Answers(*_checked(consumers, len(piece.prices), response.probability, response.quantity)))
            self.asked += len(piece.prices)
            if self.watch is not None:
                self.watch(self.label, start + len(piece.prices), total)
        return Answers(
            np.concatenate([part.probability for part in parts]), np.concatenate([part.quantity for part in parts])
        )


def take(offer: Offer, rows: np.ndarray) -> Offer:
    """Return the offers at `rows`."""
    return Offer(
        offer.prices[rows], offer.available[rows], offer.regular_price, offer.mean_field[rows], offer.loyalty[rows]
    )


def _checked(
    consumers: Consumers, size: int, probability: FloatArray, quantity: FloatArray
) -> tuple[FloatArray, FloatArray]:
    shape = (size, consumers.num_segments, consumers.num_products)
    return (
        as_floats("response.probability", probability, (*shape[:2], shape[2] + 1), low=-1e-9),
        as_floats("response.quantity", quantity, shape, low=0.0),
    )
