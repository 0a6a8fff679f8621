"""The words a taste model reads: persona and product texts, the same in training and in scenarios.

Counts are told in words on a coarse scale (a small tokenizer gives digits no order, and equal texts can
share one pass of the backbone). Prices, discounts and population shares never appear here: they enter the
utility as numbers, so that the answer to them is monotone.
"""

from __future__ import annotations

from dataclasses import dataclass

from malles_env.errors import invalid

TEXT_VERSION = 1
"""Raised when the wording changes: readings and checkpoints of another version do not fit."""

_COUNT_WORDS = (
    (1, "once"),
    (2, "twice"),
    (3, "three times"),
    (5, "four or five times"),
    (8, "six to eight times"),
    (14, "about a dozen times"),
    (29, "about twenty times"),
)
_WEEK_WORDS = ((0, "no"), (3, "a few"), (9, "several"), (24, "a dozen or two"))
_RATE_WORDS = (
    (1.25, "nearly every shopping week"),
    (1.75, "two of three shopping weeks"),
    (2.5, "every second shopping week"),
    (3.5, "every third shopping week"),
    (5.0, "every fourth shopping week"),
    (7.0, "every sixth shopping week"),
    (10.0, "every eighth shopping week"),
    (15.0, "every twelfth shopping week"),
    (24.0, "every twentieth shopping week"),
)
_SHARE_WORDS = (
    (0.08, "hardly any"),
    (0.18, "one in seven"),
    (0.29, "a quarter"),
    (0.42, "a third"),
    (0.58, "half"),
    (0.80, "most"),
    (0.999, "nearly all"),
)


@dataclass(frozen=True)
class Persona:
    """A household as the taste model sees it in one market.

    Attributes:
        market: The choice set's name, e.g. ``"COFFEE | GROUND COFFEE"`` or ``"ground coffee"``.
        category: The wider product category, e.g. ``"COFFEE"``; may be empty.
        history_total: Own earlier purchases in this market (choice occasions), 0 or more.
        weeks_seen: Own earlier shopping weeks, 0 or more.
        note: Free words appended to the text. The shipped weights never saw any: a pre-trained backbone
            may make something of them, the embedded one does not.
    """

    market: str
    category: str
    history_total: int
    weeks_seen: int
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse an empty market and negative counts."""
        if not self.market.strip():
            raise invalid("persona.market", self.market, "a name of at least one character")
        for field in ("history_total", "weeks_seen"):
            if getattr(self, field) < 0:
                raise invalid(f"persona.{field}", getattr(self, field), "0 or more")


@dataclass(frozen=True)
class ProductText:
    """A product as the taste model sees it, without its price.

    Attributes:
        brand: Maker or brand name, e.g. ``"maker 131"``.
        private_label: True for the seller's own label ("store brand" in the text).
        size_value: Package size, 0 when unknown.
        size_unit: Unit of the size, e.g. ``"oz"``.
        words: Further words (type, flavour); empty in the shipped weights' training data.
    """

    brand: str
    private_label: bool = False
    size_value: float = 0.0
    size_unit: str = ""
    words: str = ""


def persona_text(persona: Persona) -> str:
    """Return the shared prefix of one household's shelf, e.g. ``"market: catsup (sauces). bought ..."``."""
    market, category = _market_words(persona.market, persona.category)
    named = f"market: {market} ({category})." if category else f"market: {market}."
    note = f" {persona.note.strip()}" if persona.note.strip() else ""
    return f"{named} {_habit_words(persona.history_total, persona.weeks_seen)}{note}"


def product_text(product: ProductText) -> str:
    """Return the product in words, e.g. ``"maker 131, national brand, 24 oz"``."""
    parts = [product.brand.strip().lower(), "store brand" if product.private_label else "national brand"]
    if product.size_value > 0:
        parts.append(f"{product.size_value:g} {product.size_unit.strip().lower()}".strip())
    parts.append(product.words.strip().lower())
    return ", ".join(part for part in dict.fromkeys(parts) if part)  # a brand may be "store brand" itself


def option_text(product: ProductText, bought: int, history_total: int) -> str:
    """Return one shelf option: the product and how often this household took it.

    Args:
        product: The product.
        bought: Own earlier purchases of it, 0 or more.
        history_total: Own earlier purchases in the market; below `bought` it counts as `bought`.

    Returns:
        E.g. ``"maker 131, national brand, 24 oz: bought twice, half of its purchases."``
    """
    return f"{product_text(product)}: {relation_words(bought, history_total)}."


def relation_words(bought: int, history_total: int) -> str:
    """Return own purchase count and share in words; "new to the market" when there is no history."""
    if bought < 0:
        raise invalid("bought", bought, "0 or more")
    if bought == 0:
        return "never bought" if history_total else "no purchases yet"
    share = bought / max(bought, history_total)
    return f"bought {count_words(bought)}, {_ladder(share, _SHARE_WORDS, 'all')} of its purchases"


def count_words(count: int) -> str:
    """Return a count of 1 or more in words, coarser as it grows."""
    return _ladder(count, _COUNT_WORDS, "very many times")


def _habit_words(history_total: int, weeks_seen: int) -> str:
    if history_total == 0:
        return f"not bought in {_ladder(weeks_seen, _WEEK_WORDS, 'many')} shopping weeks."
    gap = max(weeks_seen, 1) / history_total
    rate = _ladder(gap, _RATE_WORDS, "hardly any shopping week")
    return f"bought {count_words(history_total)}, in {rate}."


def _market_words(market: str, category: str) -> tuple[str, str]:
    name = market.rsplit("|", 1)[-1].strip().lower()
    wider = category.strip().lower()
    return name, "" if wider == name else wider


def _ladder(value: float, steps: tuple[tuple[float, str], ...], above: str) -> str:
    return next((words for limit, words in steps if value <= limit), above)
