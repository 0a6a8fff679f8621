"""What a person chooses when a scenario is built from a log, because the data do not say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from malles_env.errors import invalid
from malles_env.scenarios.from_log.makers import SELLERS, Sellers

if TYPE_CHECKING:
    pass


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class BuildChoices:
    """What the data leave open and a person has to choose.

    Attributes:
        name: Name of the scenario.
        title: Its title.
        unit_words: What one unit is, e.g. ``12-pack of cans``; default each line's own size.
        min_share: Smallest share of the market's purchases a line needs to become a product.
        max_lines: Largest number of products.
        segments: Segments wanted.
        min_households: Fewest households in a segment; smaller groups would be about single people.
        population_size: Consumers who shop in a week; the panel is scaled up to it.
        cost_share: Unit cost as a share of the average price paid. There are no cost data.
        box: Price bounds as multiples of the average price paid.
        fee_share: Listing fee as a share of the market's average weekly revenue per product.
        model: Language model that reads the tastes.
        seed: Seed of the segments.
        notes: Further caveats.
        purchase_rate: Share of consumers who buy in a week; None: that of the buyers' shopping weeks in the log,
            which a log of one market alone does not show.
        sellers: Who sells: ``brands``, ``one`` retailer, or each of the ``products`` by itself; None: brands where
            every line has one, else one.

    Raises:
        InvalidInput: A number outside its range.
    """

    name: str
    title: str
    unit_words: str = ""
    min_share: float = 0.015
    max_lines: int = 12
    segments: int = 14
    min_households: int = 20
    population_size: float = 20_000.0
    cost_share: float = 0.5
    box: tuple[float, float] = (0.5, 1.6)
    fee_share: float = 0.04
    model: str = "embedded"
    seed: int = 0
    notes: tuple[str, ...] = ()
    purchase_rate: float | None = None
    sellers: Sellers | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        ranges = {
            "min_share": (0.0, 1.0),
            "max_lines": (1, len(LETTERS)),
            "segments": (1, 1000),
            "min_households": (1, 10**6),
            "population_size": (1.0, 1e12),
            "cost_share": (0.0, 0.99),
            "fee_share": (0.0, 10.0),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise invalid(name, getattr(self, name), f"a number from {low:g} to {high:g}")
        if self.purchase_rate is not None and not 0.0 < self.purchase_rate < 1.0:
            raise invalid("purchase_rate", self.purchase_rate, "a number above 0 and below 1")
        if self.sellers is not None and self.sellers not in SELLERS:
            raise invalid("sellers", self.sellers, ", ".join(SELLERS))
        if not 0.0 < self.box[0] < self.box[1]:
            raise invalid("box", self.box, "two multiples above 0, the lower one first")
