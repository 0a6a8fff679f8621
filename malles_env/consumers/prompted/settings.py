"""How a live language model is asked: orders of the shelf, loyalty, mean field, quantities, fence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from malles_env.consumers.prompt_sanitizer import LIMIT
from malles_env.errors import invalid

Order = Literal["cyclic", "shuffled"]
Loyalty = Literal["states", "words", "none"]
Channel = Literal["words", "numbers", "none"]
Quantity = Literal["asked", "one"]


@dataclass(frozen=True)
class PromptSettings:
    """Settings of `PromptedConsumers`.

    Attributes:
        orders: Orders of the shelf whose answers are averaged, 1 or more. With ``order="cyclic"`` and as many orders
            as products on the shelf, every product stands once at every place, which takes out any bias for a place
            that adds to the log probabilities; more orders than that are not asked.
        order: ``"cyclic"`` turns one seeded order round, ``"shuffled"`` draws seeded orders.
        seed: Seed of the orders. The shelf is sorted by its products' words first, so the catalog's order plays no
            part.
        loyalty: ``"states"`` asks once per last purchase that at least `threshold` of a segment share and mixes the
            answers by these shares, ``"words"`` asks once per segment and states the shares in the prompt, ``"none"``
            states nothing.
        threshold: Share of a segment, 0 to 1; smaller states are asked together, without a last purchase.
        mean_field: ``"words"`` states each product's share of recent purchases, ``"numbers"`` adds the calibration's
            ``rho (mbar_j - 1/J)`` to the utility and states nothing, ``"none"`` does neither.
        quantity: ``"asked"`` asks for the units of each product, over 1 to 9; ``"one"`` is always one unit.
        unit_orders: Orders in which the units are asked, 1 or more.
        limit: Longest product text, 8 or more characters, which is fenced; None leaves product texts as they are,
            for tests of what sellers can do with that.

    Raises:
        InvalidInput: A value that is not allowed.
    """

    orders: int = 4
    order: Order = "cyclic"
    seed: int = 0
    loyalty: Loyalty = "states"
    threshold: float = 0.1
    mean_field: Channel = "words"
    quantity: Quantity = "asked"
    unit_orders: int = 1
    limit: int | None = LIMIT

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("orders", "unit_orders"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "1 or more")
        if self.seed < 0:
            raise invalid("seed", self.seed, "0 or more")
        if not 0.0 <= self.threshold <= 1.0:
            raise invalid("threshold", self.threshold, "0 to 1")
        if self.limit is not None and self.limit < 8:
            raise invalid("limit", self.limit, "8 or more characters, or None")
        for name, kinds in (("order", Order), ("loyalty", Loyalty), ("mean_field", Channel), ("quantity", Quantity)):
            if getattr(self, name) not in get_args(kinds):
                raise invalid(name, getattr(self, name), ", ".join(get_args(kinds)))
