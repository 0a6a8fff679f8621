"""The words of the listwise question: a shelf with labels, then a household, then "Answer:".

Shared part first: every household that meets the same shelf reads the same tokens, so they share one pass.
Words that tell a price, a discount or a promotion are marked; the attention prior weighs them.
"""

from __future__ import annotations

from dataclasses import dataclass

from malles_env.preference.prompted.labels import OPTION_LETTERS, OUTSIDE_LETTER
from malles_env.preference.prompted.words import habit_words, known_words

WORDING = 1
"""Raised when the wording changes: adapters of another wording do not fit."""
HISTORY = 6
"""Products of its own past a household is told about, at most; the most bought first."""


@dataclass(frozen=True)
class Piece:
    """A part of the prompt that is encoded on its own.

    Attributes:
        text: The words; empty for a label.
        label: Line number of the label, -1 for words, -2 for the label of buying nothing.
        economic: True for price, regular price, discount and promotion.
    """

    text: str = ""
    label: int = -1
    economic: bool = False


OUTSIDE = Piece(label=-2)


@dataclass(frozen=True)
class ShelfLine:
    """One product on the shelf.

    Attributes:
        product: Its text, e.g. ``"maker 131, national brand, 24 oz"``.
        price: Money, above 0.
        regular_price: Money, above 0.
        promotion: Displayed or advertised.
        share: Trailing share of the market's purchases, 0 to 1.
    """

    product: str
    price: float
    regular_price: float
    promotion: bool
    share: float


@dataclass(frozen=True)
class Household:
    """One household in front of the shelf.

    Attributes:
        history_total: Own earlier purchases in the market.
        weeks_seen: Own earlier shopping weeks.
        bought: Own earlier purchases of each line.
        last: Line of the last purchase, -1 when it is not on the shelf.
    """

    history_total: int
    weeks_seen: int
    bought: tuple[int, ...]
    last: int


def shelf_header(market: str) -> str:
    """Return the prompt's first words, e.g. ``"Shelf of ground coffee (coffee):"``."""
    parts = [part.strip().lower() for part in market.split("|")]
    wider = f" ({parts[0]})" if len(parts) > 1 and parts[0] != parts[-1] else ""
    return f"Shelf of {parts[-1]}{wider}:"


def shelf_pieces(lines: tuple[ShelfLine, ...], gap: str) -> list[Piece]:
    """Return the labelled lines of the shelf, the outside option last."""
    pieces: list[Piece] = []
    for at, line in enumerate(lines):
        pieces += [Piece("\n" + gap), Piece(label=at), Piece(f": {line.product};")]
        pieces += [Piece(words, economic=True) for words in price_words(line)]
        pieces.append(Piece(f"; share {100 * line.share:.0f}%"))
    return [*pieces, Piece("\n" + gap), OUTSIDE, Piece(": buy nothing")]


def price_words(line: ShelfLine) -> list[str]:
    """Return price, regular price, discount and promotion in words, what does not apply left out."""
    words = [f" {line.price:.2f}"]
    depth = 1 - line.price / line.regular_price
    if abs(depth) >= 0.005:
        words.append(f", regular {line.regular_price:.2f}")
    if depth >= 0.005:
        words.append(f", {100 * depth:.0f}% off")
    if line.promotion:
        words.append(", promoted")
    return words


def household_pieces(household: Household, gap: str) -> list[Piece]:
    """Return the household's past in words, with the labels of the products it knows, and the question."""
    pieces = [Piece("\nHousehold: " + habit_words(household.history_total, household.weeks_seen))]
    known = sorted((j for j, count in enumerate(household.bought) if count), key=lambda j: -household.bought[j])
    for at, j in enumerate(known[:HISTORY]):
        told = known_words(household.bought[j], household.history_total)
        pieces += [Piece((";" if at else " Before:") + gap), Piece(label=j), Piece(f" {told}")]
    if household.last >= 0:
        pieces += [Piece(". Last:" + gap), Piece(label=household.last)]
    return [*pieces, Piece("\nAnswer:" + gap)]


def unit_pieces(line: int, gap: str) -> list[Piece]:
    """Return an answer and the question for its units."""
    return [Piece(label=line), Piece("\nUnits:" + gap)]


def sample_texts(market: str, lines: tuple[ShelfLine, ...], household: Household) -> list[str]:
    """Return texts with all words of a prompt, to learn a tokenizer from."""
    pieces = [*shelf_pieces(lines, ""), *household_pieces(household, ""), *unit_pieces(0, " ")]
    named = {-2: " " + OUTSIDE_LETTER, **{at: " " + letter for at, letter in enumerate(OPTION_LETTERS)}}
    return [shelf_header(market), "".join(piece.text or named[piece.label] for piece in pieces)]
