"""The words of the listwise question: a shelf with labels, then a household, then "Answer:".

What is trained on purchases is asked in these words in training and in play (`malles_env.consumers.aligned_prompted`).
Questions to models that were not (`malles_env.consumers.prompted.wording`) have words of their own that a file can
replace, and state the same facts: `ShelfLine` and `most_bought` are theirs too.

Shared part first: every household that meets the same shelf reads the same tokens, so they share one pass.
Words that state a price, a discount or a promotion are marked; the attention prior weighs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from malles_env.preference.prompted.labels import OPTION_LETTERS, OUTSIDE_LETTER
from malles_env.preference.prompted.words import habit_words, known_words

WORDING = 1
"""Raised when the wording changes: adapters of another wording do not fit."""
HISTORY = 6
"""Products of its own past a household's history names, at most; the most bought first."""
ELSEWHERE = 16
"""Names of what it bought in other categories that a household's history names, at most; the newest first."""


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
        share: Trailing share of the market's purchases, 0 to 1; None where it is not stated.
    """

    product: str
    price: float
    regular_price: float
    promotion: bool = False
    share: float | None = None

    @property
    def depth(self) -> float:
        """Discount depth against the regular price; below 0 where the price is above it."""
        return 1 - self.price / self.regular_price

    @property
    def unusual(self) -> bool:
        """Whether the regular price is stated beside the price."""
        return abs(self.depth) >= 0.005

    @property
    def percent_off(self) -> str:
        """The discount in whole percents, empty where there is none."""
        return f"{100 * self.depth:.0f}" if self.depth >= 0.005 else ""

    @property
    def percent_share(self) -> str:
        """The share in whole percents, empty where it is not stated."""
        return "" if self.share is None else f"{100 * self.share:.0f}"


def most_bought(counts: Sequence[int]) -> list[int]:
    """Return the places that the prompt says a household bought, the most bought first.

    Args:
        counts: Own earlier purchases of each line.
    """
    return sorted((place for place, count in enumerate(counts) if count), key=lambda place: -counts[place])[:HISTORY]


@dataclass(frozen=True)
class Household:
    """One household in front of the shelf.

    Attributes:
        history_total: Own earlier purchases in the market.
        weeks_seen: Own earlier shopping weeks.
        bought: Own earlier purchases of each line.
        last: Line of the last purchase, -1 when it is not on the shelf.
        elsewhere: Names of what it bought in other categories, newest first; empty where the log does not keep them.
    """

    history_total: int
    weeks_seen: int
    bought: tuple[int, ...]
    last: int
    elsewhere: tuple[str, ...] = ()


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
        if line.share is not None:
            pieces.append(Piece(f"; share {line.percent_share}%"))
    return [*pieces, Piece("\n" + gap), OUTSIDE, Piece(": buy nothing")]


def price_words(line: ShelfLine) -> list[str]:
    """Return price, regular price, discount and promotion in words, what does not apply left out."""
    words = [f" {line.price:.2f}"]
    if line.unusual:
        words.append(f", regular {line.regular_price:.2f}")
    if line.percent_off:
        words.append(f", {line.percent_off}% off")
    if line.promotion:
        words.append(", promoted")
    return words


def household_pieces(household: Household, gap: str) -> list[Piece]:
    """Return the household's past in words, with the labels of the products it knows, and the question."""
    pieces = [Piece("\nHousehold: " + habit_words(household.history_total, household.weeks_seen))]
    for at, j in enumerate(most_bought(household.bought)):
        words = known_words(household.bought[j], household.history_total)
        pieces += [Piece((";" if at else " Before:") + gap), Piece(label=j), Piece(f" {words}")]
    if household.last >= 0:
        pieces += [Piece(". Last:" + gap), Piece(label=household.last)]
    if household.elsewhere:
        pieces.append(Piece("\nElsewhere, newest first:"))
        # each name on its own, so that it is spelled once however often it is named
        pieces += [Piece(f" {name};") for name in household.elsewhere[:ELSEWHERE]]
    return [*pieces, Piece("\nAnswer:" + gap)]


def unit_pieces(line: int, gap: str) -> list[Piece]:
    """Return an answer and the question for its units."""
    return [Piece(label=line), Piece("\nUnits:" + gap)]


def sample_texts(market: str, lines: tuple[ShelfLine, ...], household: Household) -> list[str]:
    """Return texts with all words of a prompt, to learn a tokenizer from."""
    pieces = [*shelf_pieces(lines, ""), *household_pieces(household, ""), *unit_pieces(0, " ")]
    named = {-2: " " + OUTSIDE_LETTER, **{at: " " + letter for at, letter in enumerate(OPTION_LETTERS)}}
    return [shelf_header(market), "".join(piece.text or named[piece.label] for piece in pieces)]
