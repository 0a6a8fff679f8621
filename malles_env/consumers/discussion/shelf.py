"""A shelf in words: products under codes, in lines that hold what a role may see, cut to a bounded size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from malles_env.consumers.discussion.cast import Fact
from malles_env.consumers.discussion.sheets import ProductSheet, fit
from malles_env.errors import invalid
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

LETTERS = "ABCDEFGHIJKLMOPQRSTUVWXYZ"
"""Codes of products, or of rows of products; N is kept for buying nothing."""
NOTHING = "N"
PLACES = "123456789"
"""Codes of the places in a row."""
MOST_PRODUCTS = len(LETTERS) * len(PLACES)


def codes_for(size: int) -> tuple[str, ...]:
    """Return the codes of a shelf: one letter each up to 25 products, else row letter and place, as ``"B3"``.

    Raises:
        InvalidInput: More than 225 products.
    """
    if size > MOST_PRODUCTS:
        raise invalid("shelf", f"{size} products", f"at most {MOST_PRODUCTS}")
    if size <= len(LETTERS):
        return tuple(LETTERS[:size])
    rows = -(-size // len(PLACES))
    width = -(-size // rows)
    return tuple(LETTERS[at // width] + PLACES[at % width] for at in range(size))


def canonical_order(product_ids: Sequence[str], turn: int, turns: int, seed: int) -> IntArray:
    """Return a permutation of products that depends on their names alone, not on the order they come in.

    Args:
        product_ids: J unique names.
        turn: Which of the cyclic orders, from 0.
        turns: Cyclic orders in all.
        seed: Seed of the base order.
    """
    keys = [hashlib.sha256(f"{seed}|{name}".encode()).digest() for name in product_ids]
    base = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    return np.roll(base, -((turn * len(base)) // turns))


@dataclass(frozen=True)
class Shelf:
    """The products on offer, line by line.

    Attributes:
        sheets: Cleaned sheets by line [n].
        price, regular_price: Money by line [n].
        popularity: Shares of recent purchases by line, 0 to 1 [n].
        promotion: Displayed or advertised, by line [n]; None: not known.
        header: First line of the shelf.
    """

    sheets: tuple[ProductSheet, ...]
    price: FloatArray
    regular_price: FloatArray
    popularity: FloatArray
    promotion: BoolArray | None = None
    header: str = "The shelf:"

    def __len__(self) -> int:
        """Products on it."""
        return len(self.sheets)

    @property
    def codes(self) -> tuple[str, ...]:
        """The code of each line."""
        return codes_for(len(self))

    def text(self, facts: Sequence[Fact], sections: Sequence[str], budget: int, outside: str | None) -> str:
        """Return the shelf as one who sees these facts and sections reads it.

        Numbers of the period come first in a line and are never cut; what sellers wrote follows between quotes, title
        first, and the end of the longest of it goes where the budget is short.

        Args:
            facts: What is seen besides the title.
            sections: Sections of the sheets that are seen.
            budget: Most characters of numbers and words of all lines together.
            outside: The outside option in words; None leaves it out.
        """
        numbers = [self._numbers(at, facts) for at in range(len(self))]
        words = fit([self._words(at, facts, sections) for at in range(len(self))], budget - sum(map(len, numbers)))
        lines = [f'{code}: {n}"{w}"' for code, n, w in zip(self.codes, numbers, words, strict=True)]
        return "\n".join([self.header, *lines, *([] if outside is None else [f"{NOTHING}: {outside}"])])

    def _numbers(self, at: int, facts: Sequence[Fact]) -> str:
        return "".join(f"{words}; " for fact in facts if (words := _NUMBERS.get(fact, _nothing)(self, at)))

    def _words(self, at: int, facts: Sequence[Fact], sections: Sequence[str]) -> str:
        sheet = self.sheets[at]
        typed = [words for fact in facts if (words := str(getattr(sheet, fact, ""))) and words not in sheet.title]
        described = [f"{name}: {sheet.sections[name]}" for name in sections if sheet.sections.get(name)]
        return "; ".join([sheet.title, *typed, *described])


def _nothing(shelf: Shelf, at: int) -> str:
    return ""


def _discount(shelf: Shelf, at: int) -> str:
    depth = 1.0 - shelf.price[at] / shelf.regular_price[at]
    return f"{100 * depth:.0f}% off" if depth >= 0.005 else ""


def _promotion(shelf: Shelf, at: int) -> str:
    return "promoted" if shelf.promotion is not None and shelf.promotion[at] else ""


_NUMBERS: dict[str, Callable[[Shelf, int], str]] = {
    "price": lambda shelf, at: f"{shelf.price[at]:.2f}",
    "regular_price": lambda shelf, at: f"regular {shelf.regular_price[at]:.2f}",
    "discount": _discount,
    "promotion": _promotion,
    "popularity": lambda shelf, at: f"{100 * shelf.popularity[at]:.0f}% of recent purchases",
}
