"""Labels: the single tokens a prompted consumer answers with, one per option, one for nothing, one per unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from malles_env.errors import InvalidInput, invalid

if TYPE_CHECKING:
    from malles_env.preference.data.packing import TextEncoder

OPTION_LETTERS = "ABCDEFGHIJKLMOPQRSTUVWXYZ"
"""Labels of the options, in the order they are listed; N is kept for buying nothing."""
OUTSIDE_LETTER = "N"
UNIT_DIGITS = "123456789"
"""Labels of the units; more than nine count as nine."""


@dataclass(frozen=True)
class Labels:
    """Token ids of the labels in one tokenizer.

    Attributes:
        options: Ids of `OPTION_LETTERS`.
        outside: Id of `OUTSIDE_LETTER`.
        units: Ids of `UNIT_DIGITS`.
        option_gap: What stands between a colon and a letter: nothing where letters carry their own space.
        unit_gap: The same before a digit.
    """

    options: tuple[int, ...]
    outside: int
    units: tuple[int, ...]
    option_gap: str
    unit_gap: str

    @classmethod
    def of(cls, encoder: TextEncoder) -> Labels:
        """Find the labels of a tokenizer.

        Raises:
            InvalidInput: Its letters or digits are not single tokens.
        """
        letters, option_gap = _single_tokens(encoder, OUTSIDE_LETTER + OPTION_LETTERS)
        units, unit_gap = _single_tokens(encoder, UNIT_DIGITS)
        return cls(letters[1:], letters[0], units, option_gap, unit_gap)

    def check_shelf(self, size: int) -> None:
        """Refuse a shelf with more options than there are letters."""
        if size > len(self.options):
            raise invalid("shelf", f"{size} options", f"at most {len(self.options)}, one letter each")


def _single_tokens(encoder: TextEncoder, symbols: str) -> tuple[tuple[int, ...], str]:
    """Return one id per symbol, all with their leading space or all without, and the gap to write before."""
    for lead, gap in ((" ", ""), ("", " ")):
        found = [encoder.tokenizer.encode(lead + symbol, add_special_tokens=False).ids for symbol in symbols]
        if all(len(ids) == 1 for ids in found):
            return tuple(ids[0] for ids in found), gap
    raise InvalidInput(f"tokenizer: {symbols!r} are not single tokens of it; allowed: one that has them, as most do")
