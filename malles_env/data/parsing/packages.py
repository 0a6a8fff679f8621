"""Package sizes written by people ("12 PK/12 OZ", "1/2 GAL") read as count, amount and unit."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {
    "FL OZ": "fl oz",
    "SQ FT": "sq ft",
    "LOADS": "load",
    "LOAD": "load",
    "LDS": "load",
    "LD": "load",
    "ROLLS": "roll",
    "ROLL": "roll",
    "LTR": "l",
    "LT": "l",
    "OZ": "oz",
    "ML": "ml",
    "LB": "lb",
    "GAL": "gal",
    "GA": "gal",
    "QT": "qt",
    "PT": "pt",
    "DZ": "dozen",
    "CT": "ct",
    "PK": "pk",
    "PC": "pc",
    "IN": "in",
    "FT": "ft",
    "GM": "g",
    "Z": "oz",
    "O": "oz",
    "L": "l",
    "G": "g",
}
_LARGEST = 5000.0
"""A number above this is a code that strayed into the column, not a size."""

_UNIT = "(" + "|".join(_UNITS) + r")\b"
_NUMBER = r"(\d+\.?\d*|\.\d+)"
_MIXED = re.compile(rf"(\d+)\s+(\d)/(\d)\s*{_UNIT}")
_FRACTION = re.compile(rf"(?<![\d/])(\d)/(\d)\s*{_UNIT}")
_PACK_FIRST = re.compile(rf"(\d+)\s*(?:PK|CT|P)?\s*[/\-X ]\s*{_NUMBER}\s*{_UNIT}")
_PACK_LAST = re.compile(rf"{_NUMBER}\s*{_UNIT}\s*[/X]\s*(\d+)\s*(?:PK|CT)\b")
_PLAIN = re.compile(rf"{_NUMBER}\s*{_UNIT}")
_BARE = re.compile(rf"^\W*{_UNIT}")


@dataclass(frozen=True)
class Package:
    """One package: `count` pieces of `amount` `unit` each.

    Attributes:
        count: Pieces in the package, at least 1.
        amount: Content of one piece, in `unit`, positive.
        unit: Unit of measure in lower case, e.g. ``oz``.
    """

    count: int
    amount: float
    unit: str

    @property
    def total(self) -> float:
        """Content of the whole package, in `unit`."""
        return self.count * self.amount

    def __str__(self) -> str:
        """Return the size in words, e.g. ``12 x 12 oz``."""
        each = f"{self.amount:g} {self.unit}"
        return f"{self.count} x {each}" if self.count > 1 else each


def parse_package(text: str | None) -> Package | None:
    """Read a package size.

    Args:
        text: What stands in the product list; any case, may be empty.

    Returns:
        The package, or None where no size can be read.

    >>> str(parse_package("12 PK/12 OZ")), str(parse_package("1/2 GAL")), str(parse_package("10 3/4 OZ"))
    ('12 x 12 oz', '0.5 gal', '10.75 oz')
    """
    found = _parse((text or "").upper().strip())
    return found if found is not None and found.count > 0 and 0 < found.amount <= _LARGEST else None


def _parse(text: str) -> Package | None:
    if match := _MIXED.search(text):
        whole, top, bottom, unit = match.groups()
        return Package(1, int(whole) + int(top) / max(int(bottom), 1), _UNITS[unit])
    # "1/2 GAL" is half a gallon, "6/12 OZ" six pieces of twelve ounces.
    if (match := _FRACTION.search(text)) and 0 < int(match[1]) < int(match[2]):
        return Package(1, int(match[1]) / int(match[2]), _UNITS[match[3]])
    if match := _PACK_LAST.search(text):
        return Package(int(match[3]), float(match[1]), _UNITS[match[2]])
    if match := _PACK_FIRST.search(text):
        return Package(int(match[1]), float(match[2]), _UNITS[match[3]])
    if match := _PLAIN.search(text):
        return Package(1, float(match[1]), _UNITS[match[2]])
    if match := _BARE.search(text):
        return Package(1, 1.0, _UNITS[match[1]])
    return None
