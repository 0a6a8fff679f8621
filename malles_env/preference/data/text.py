"""The words a taste model reads: the market and its products, the same in training and in scenarios.

Prices, discounts, counts and population shares never appear here: they enter as numbers, so that the answer to a
price is monotone and a text has one reading, whoever stands before the shelf.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from malles_env.errors import invalid

TEXT_VERSION = 2
"""Raised when the wording changes: readings and checkpoints of another version do not fit."""
FIELD_LIMIT = 60
"""Characters of a product's field that the model reads, at most: fields are typed, never a seller's free text."""


@dataclass(frozen=True)
class Persona:
    """A household as the taste model sees it in one market.

    Attributes:
        market: The choice set's name, e.g. ``"COFFEE | GROUND COFFEE"`` or ``"ground coffee"``.
        category: The wider product category, e.g. ``"COFFEE"``; may be empty.
        history_total: Own earlier purchases in this market (choice occasions), 0 or more.
        weeks_seen: Own earlier shopping weeks, 0 or more.
        note: Free words appended to the market's text. The shipped weights never saw any: a pre-trained backbone
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
        brand: Maker or brand name, e.g. ``"maker 131"``; may be empty where the log names none.
        private_label: True for the seller's own label ("store brand" in the text).
        size_value: Package size, 0 when unknown.
        size_unit: Unit of the size, e.g. ``"oz"``.
        words: Further words (type, flavour, or the name of a product without a brand); empty in the shipped weights'
            training data.
        variants: Products pooled in it (flavours), at least 1.
    """

    brand: str
    private_label: bool = False
    size_value: float = 0.0
    size_unit: str = ""
    words: str = ""
    variants: int = 1


def market_text(market: str, category: str, note: str = "") -> str:
    """Return the shared prefix of a shelf, e.g. ``"market: catsup (condiments/sauces)."``."""
    name, wider = _market_words(market, category)
    named = f"market: {name} ({wider})." if wider else f"market: {name}."
    return f"{named} {note.strip()}" if note.strip() else named


def persona_text(persona: Persona) -> str:
    """Return the prefix of a persona's shelf."""
    return market_text(persona.market, persona.category, persona.note)


def product_text(product: ProductText) -> str:
    """Return the product in words, e.g. ``"maker 131, national brand, 24 oz"``.

    Every field is one short line: what cannot be seen is dropped, and what is longer than `FIELD_LIMIT` is cut.
    """
    national = "national brand" if product.brand.strip() else ""
    parts = [_field(product.brand), "store brand" if product.private_label else national]
    if product.size_value > 0:
        parts.append(f"{product.size_value:g} {_field(product.size_unit)}".strip())
    parts.append(_field(product.words))
    return ", ".join(part for part in dict.fromkeys(parts) if part)  # a brand may be "store brand" itself


def _field(text: str) -> str:
    plain = "".join(" " if mark.isspace() else mark for mark in text if mark.isspace() or _visible(mark))
    return plain.strip().lower()[:FIELD_LIMIT].strip()


def _visible(mark: str) -> bool:
    return unicodedata.category(mark)[0] != "C"


def _market_words(market: str, category: str) -> tuple[str, str]:
    name = market.rsplit("|", 1)[-1].strip().lower()
    wider = category.strip().lower()
    return name, "" if wider == name else wider
