"""Reference prices: consumers compare what they see with what they remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from malles_env.errors import invalid
from malles_env.market.demand.mean_field import MeanField
from malles_env.market.tastes import Tastes
from malles_env.type_aliases import FloatArray

SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class ReferencePrice:
    """How remembered prices colour what consumers feel.

    A price p next to a reference price r feels like p + strength (p - r); in linear utility that adds
    beta strength (r - p). The reference follows r' = memory r + (1 - memory) p for products on the shelf (Popescu and
    Wu 2007). Discount depths are measured with the perceived price too.

    Attributes:
        strength: At least 0; 0 switches the effect off.
        memory: In [0, 1).

    Raises:
        InvalidInput: A setting out of range.
    """

    strength: float
    memory: float = 0.8

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0.0 <= self.strength < float("inf"):
            raise invalid("reference_price.strength", self.strength, "a number of at least 0")
        if not 0.0 <= self.memory < 1.0:
            raise invalid("reference_price.memory", self.memory, "at least 0 and less than 1")

    def perceived(self, prices: FloatArray, reference: FloatArray) -> FloatArray:
        """Return what prices feel like, money, at least 1e-6; same shape."""
        perceived: FloatArray = (prices + self.strength * (prices - reference)).clip(min=SMALLEST)
        return perceived

    def moved(self, prices: FloatArray, reference: FloatArray) -> FloatArray:
        """Return the next reference prices, money, same shape."""
        return self.memory * reference + (1.0 - self.memory) * prices


def with_reference(draws: Sequence[Tastes], settings: ReferencePrice | None) -> tuple[Tastes, ...]:
    """Return tastes in log prices with a reference price as gain and loss of their own; linear ones as they are."""
    if settings is None or not draws or draws[0].price_transform == "linear":
        return tuple(draws)
    return tuple(tastes.comparing(settings.strength) for tastes in draws)


def slow_states(draws: Sequence[Tastes], settings: ReferencePrice | None, mean_field: MeanField) -> tuple[str, ...]:
    """Return which slow states a market has that a seller can know: ``"long_share"``, ``"reference"``.

    Args:
        draws: What `with_reference` returned; empty where consumers must be asked.
        settings: Reference prices.
        mean_field: Its centre decides about long-run shares, which asked consumers do not use.
    """
    perceived = settings is not None and (not draws or draws[0].price_transform == "linear")
    compares = perceived or any(tastes.compares_prices for tastes in draws)
    coupled = mean_field.centre == "long_run" and bool(draws)
    return (*(("long_share",) if coupled else ()), *(("reference",) if compares else ()))
