"""Display and advertising as things that sellers pay for: fees, and how many products each may promote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from malles_env.errors import invalid
from malles_env.market.arrays import MOST
from malles_env.type_aliases import BoolArray, IntArray

KINDS = ("display", "feature")
"""Ways to promote a product: displayed in the shop, advertised in the leaflet."""


@dataclass(frozen=True)
class Promotions:
    """What promotion costs and how much of it there is.

    Attributes:
        display_fee: Money per displayed product and period, at least 0.
        feature_fee: Money per advertised product and period, at least 0.
        slots: Most products that a seller may display and advertise in a period, by its name; a seller that is not
            named may promote none.

    Raises:
        InvalidInput: A negative fee or number of slots.
    """

    display_fee: float = 0.0
    feature_fee: float = 0.0
    slots: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for kind, fee in zip(KINDS, (self.display_fee, self.feature_fee), strict=True):
            if not 0.0 <= fee <= MOST:
                raise invalid(f"promotions.{kind}_fee", fee, f"0 to {MOST:g}")
        for name, pair in self.slots.items():
            for kind, most in zip(KINDS, pair, strict=True):
                if most < 0:
                    raise invalid(f"promotions.slots.{name}.{kind}", most, "a whole number of at least 0")

    def budget(self, sellers: tuple[str, ...]) -> IntArray:
        """Return the slots of each seller, displays in row 0 and advertisements in row 1, shape ``(2, N)``.

        Raises:
            InvalidInput: Slots for a seller who is not there.
        """
        for name in self.slots:
            if name not in sellers:
                raise invalid("promotions.slots", name, f"one of the sellers {', '.join(sellers)}")
        return np.array([self.slots.get(name, (0, 0)) for name in sellers], dtype=np.int64).T.copy()

    def check(self, flags: BoolArray, sellers: tuple[str, ...], seller_of: IntArray) -> None:
        """Refuse more promoted products than a seller has slots.

        Args:
            flags: Which listed products are displayed, then which are advertised, shape ``(2, B, J)``.
            sellers: Names of the N sellers.
            seller_of: Seller of each product, shape ``(J,)``.

        Raises:
            InvalidInput: Names the seller, how many it promotes and its slots.
        """
        for kind, slots in enumerate(self.budget(sellers)):
            for n, most in enumerate(slots):
                found = int(flags[kind][:, seller_of == n].sum(axis=1).max(initial=0))
                if found > most:
                    raise invalid(f"{KINDS[kind]} of products of {sellers[n]}", found, f"at most {int(most)}")
