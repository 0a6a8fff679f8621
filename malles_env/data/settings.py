"""Settings of the build from transactions to choice occasions."""

from __future__ import annotations

from dataclasses import dataclass, field

from malles_env.data.splits import Splits
from malles_env.errors import invalid


@dataclass(frozen=True)
class BuildSettings:
    """How shelves, prices and histories are built; the defaults are what was measured to work.

    Attributes:
        splits: Periods of training, validation and test, and the held-out categories.
        availability_periods: A line sold anywhere in the chain within this many periods counts as on the
            shelf.
        ranking_periods: Trailing periods whose sales decide which lines survive `max_alternatives`.
        max_alternatives: Largest shelf; only the best sellers stay.
        min_alternatives: Smaller shelves are dropped with their occasion.
        share_periods: Window of the mean field, in periods.
        store_periods: Window of a store's own sales, in periods.
        price_memory: A regular price older than this many periods is not used.
        min_line_purchases: Purchases up to `splits.validation_end` that make a line an alternative.
        min_line_households: Households that must have bought it by then.
        min_market_purchases: Purchases by then that make a market worth building.
        outside_ratio: No-purchase visits kept per purchase, at most.
        seed: Seed of the no-purchase sample and of the order of alternatives.
        markets_per_batch: Markets built at a time; bounds memory, never changes the result.
    """

    splits: Splits = field(default_factory=Splits)
    availability_periods: int = 4
    ranking_periods: int = 12
    max_alternatives: int = 20
    min_alternatives: int = 5
    share_periods: int = 8
    store_periods: int = 26
    price_memory: int = 12
    min_line_purchases: int = 20
    min_line_households: int = 5
    min_market_purchases: int = 1000
    outside_ratio: float = 1.0
    seed: int = 0
    markets_per_batch: int = 25

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name in ("availability_periods", "ranking_periods", "share_periods", "store_periods", "markets_per_batch"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "a whole number, at least 1")
        for name in ("price_memory", "min_line_purchases", "min_line_households", "min_market_purchases"):
            if getattr(self, name) < 0:
                raise invalid(name, getattr(self, name), "a whole number, at least 0")
        if not 1 <= self.min_alternatives <= self.max_alternatives:
            limits = (self.min_alternatives, self.max_alternatives)
            raise invalid("min_alternatives, max_alternatives", limits, "1 <= min <= max")
        if not self.outside_ratio >= 0:
            raise invalid("outside_ratio", self.outside_ratio, "a number, at least 0")
