"""What a person chooses for a market made of words, and what is estimated for it."""

from __future__ import annotations

from dataclasses import dataclass

from malles_env.data.sources.gifts.market import GiftMarket
from malles_env.errors import invalid
from malles_env.evaluation.transfer.level import Level
from malles_env.scenarios.gifts.fits import LaunchCheck, PriceResponse, Words
from malles_env.scenarios.gifts.personas import Personas
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class GiftChoices:
    """What the log leaves open and a person has to choose.

    Attributes:
        name: Name of the scenario.
        title: Its title; empty: one made of the categories.
        sellers: ``one`` wholesaler, or the design ``houses`` of `malles_env.data.sources.gifts.houses`.
        capacity: Products the wholesaler may list at once; houses may list about half of theirs.
        min_lines: Fewest purchases of a product.
        segments: Segments of customers with small orders and with large ones.
        cost_share: Unit cost as a share of the list price. There are no cost data.
        box: Price bounds as multiples of the list price.
        fee_share: Listing fee as a share of an average product's weekly revenue.
        draws: Draws of the tastes.
        model: Encoder that reads the names.
        seed: Of segments and draws.
    """

    name: str
    title: str = ""
    sellers: str = "one"
    capacity: int = 32
    min_lines: int = 30
    segments: tuple[int, int] = (10, 4)
    cost_share: float = 0.4
    box: tuple[float, float] = (0.6, 1.6)
    fee_share: float = 0.02
    draws: int = 16
    model: str = "minilm"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.sellers not in ("one", "houses"):
            raise invalid("sellers", self.sellers, "one, houses")
        ranges = {"capacity": (1, 2000), "min_lines": (2, 10**6), "cost_share": (0.0, 0.99), "draws": (1, 1000),
                  "fee_share": (0.0, 10.0)}  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise invalid(name, getattr(self, name), f"a number from {low:g} to {high:g}")


@dataclass(frozen=True)
class Fitted:
    """All that was estimated.

    Attributes:
        market: The log.
        appeal, appeal_sd: Of each product, utils, with its standard error [J].
        personas: Segments by all purchases elsewhere.
        words: How far likeness goes, fitted on all weeks; the gain is that in later weeks of a fit on training weeks.
        alpha: Tastes [S, J].
        size: Pieces per purchase [S, J].
        weight: Segments' shares of the consumers [S].
        slots: Consumers per week.
        rate: Share of them who buy in an average week of the log.
        price: Sensitivity to prices.
        level: What names say of appeals.
        launches: How well they said it.
    """

    market: GiftMarket
    appeal: FloatArray
    appeal_sd: FloatArray
    personas: Personas
    words: Words
    alpha: FloatArray
    size: FloatArray
    weight: FloatArray
    slots: float
    rate: float
    price: PriceResponse
    level: Level
    launches: LaunchCheck
