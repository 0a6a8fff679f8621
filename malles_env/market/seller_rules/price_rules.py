"""Rules that prices in real shops obey: endings, least steps, largest changes and least margins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.type_aliases import FloatArray

RULES = ("ladder", "step", "change", "margin")
"""Names of the rules, in the order in which infos count what breaks them."""
WIDEST = 100_000.0
"""Money between lowest and highest price over which a ladder is laid."""
CLOSE = 1e-9  # money: prices this near are the same one


@dataclass(frozen=True)
class PriceRules:
    """What prices have to obey beside their bounds; a rule that is not given does nothing.

    Attributes:
        endings: Prices end in one of these, money in [0, 1): a price is a whole number plus an ending.
        step: A price that changes from one period to the next changes by at least this, money.
        change: It changes by at most this, money.
        change_share: It changes by at most this share of the last price.
        margin: A price is at least (1 + margin) unit costs, after sales tax.
        counted: Names of the rules that do not bind: breaking them is counted as a cost, and the price stays.

    Raises:
        InvalidInput: A number outside its range, two largest changes, or a step above the largest change.
    """

    endings: tuple[float, ...] = ()
    step: float | None = None
    change: float | None = None
    change_share: float | None = None
    margin: float | None = None
    counted: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for ending in self.endings:
            if not 0.0 <= ending < 1.0:
                raise invalid("price_rules.ladder.endings", ending, "at least 0 and less than 1, e.g. 0.99")
        for field, value in (
            ("step.least", self.step),
            ("change.money", self.change),
            ("change.share", self.change_share),
        ):
            if value is not None and not 0.0 < value < np.inf:
                raise invalid(f"price_rules.{field}", value, "a finite number of more than 0")
        if self.margin is not None and not 0.0 <= self.margin < np.inf:
            raise invalid("price_rules.margin.least", self.margin, "a finite number of at least 0")
        if self.change is not None and self.change_share is not None:
            raise invalid("price_rules.change", "share and money", "one of them")
        if self.step is not None and self.change is not None and self.step > self.change:
            raise invalid("price_rules.step.least", self.step, f"at most change.money = {self.change:g}")
        for name in self.counted:
            if name not in RULES:
                raise invalid("price_rules.counted", name, ", ".join(RULES))

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the rules there are."""
        changes = self.change is not None or self.change_share is not None
        there = (bool(self.endings), self.step is not None, changes, self.margin is not None)
        return tuple(name for name, given in zip(RULES, there, strict=True) if given)

    @property
    def bound(self) -> tuple[str, ...]:
        """Names of the rules that move prices."""
        return tuple(name for name in self.given if name not in self.counted)

    def floor(self, unit_cost: float, net_of_tax: float) -> float:
        """Return the lowest price with the least margin, money; `net_of_tax` is the share left after sales tax."""
        return 0.0 if self.margin is None else unit_cost * (1.0 + self.margin) / net_of_tax

    def ladder(self, low: float, high: float) -> FloatArray:
        """Return the prices from `low` to `high` that have one of the endings, ascending, money."""
        wholes = np.arange(floor(low) - 1, ceil(high) + 1, dtype=np.float64)
        rungs = np.unique(np.round(wholes[:, None] + np.array(self.endings), 9))
        return rungs[(rungs >= low - CLOSE) & (rungs <= high + CLOSE)].clip(low, high)

    def problems(
        self, product: int, low: float, high: float, unit_cost: float, net_of_tax: float
    ) -> Iterator[InvalidInput]:
        """Yield one error per rule that no price of a product can obey.

        Args:
            product: Its index, for the message.
            low: Its lowest price, money.
            high: Its highest price, money.
            unit_cost: Money.
            net_of_tax: Share of the price left after sales tax.
        """
        least = self.floor(unit_cost, net_of_tax)
        if least > high + CLOSE:
            most = high * net_of_tax / unit_cost - 1.0
            allowed = f"at most {most:.4g}, or no price of products[{product}] up to {high:g} reaches it"
            yield invalid("price_rules.margin.least", self.margin, allowed)
        elif "ladder" in self.bound and high - low > WIDEST:
            allowed = f"prices at most {WIDEST:g} apart where price_rules.ladder is given"
            yield invalid(f"products[{product}].price_high", high, allowed)
        elif "ladder" in self.bound:
            least = max(low, least if "margin" in self.bound else low)
            if not len(self.ladder(least, high)):
                allowed = f"one that a price of products[{product}] from {least:g} to {high:g} can have"
                yield invalid("price_rules.ladder.endings", list(self.endings), allowed)
