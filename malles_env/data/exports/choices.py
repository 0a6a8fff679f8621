"""What a person may say to the importer; the rest is found in the files and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from malles_env.data.far_prices import FACTOR
from malles_env.errors import invalid


@dataclass(frozen=True)
class ImportChoices:
    """Options of an import.

    Attributes:
        columns: Canonical column -> column of the files; an empty name leaves a column out. Default: guessed.
        separator, encoding, decimal: Of text files; default: found in them.
        sheet: Of a workbook or R file; default: the one with the most known columns.
        date_format: ``dmy``, ``mdy``, ``ymd`` or a format of strptime; default: decided over the whole column.
        time_zone: Zone of the stores where timestamps are UTC.
        one_market: Name of one market for all products.
        keywords: File of markets and the words of titles that belong to them.
        drop_returns, drop_zero_prices, drop_fractions: Leave such rows out (returns, zero prices, weighed
            goods); false refuses the log, since the tables cannot hold them.
        drop_guests, drop_notes, drop_mistyped, drop_far_dates: Leave such rows out; false keeps them.
        drop_repeated: Leave out rows that repeat another one of the same file in every column.
        drop_unreadable: Leave out rows with a value that cannot be read, instead of refusing the file.
        price_factor: A price this many times above or below its product's median counts as mistyped.
        currency: Code of the currency; default: from the signs beside prices. Rows in another one are left out.
        source: What the log is, in words, for scenarios built from it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    separator: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    sheet: str | None = None
    date_format: str | None = None
    time_zone: str | None = None
    one_market: str | None = None
    keywords: Path | None = None
    drop_returns: bool = True
    drop_zero_prices: bool = True
    drop_guests: bool = True
    drop_notes: bool = True
    drop_fractions: bool = True
    drop_mistyped: bool = True
    drop_repeated: bool = False
    drop_unreadable: bool = False
    price_factor: float = FACTOR
    currency: str | None = None
    source: str | None = None
    drop_far_dates: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.decimal not in (None, ".", ","):
            raise invalid("--decimal", self.decimal, "'.' or ','")
        if not 1.0 < self.price_factor < 1e6:
            raise invalid("--price-factor", self.price_factor, "a number above 1")
        if self.one_market is not None and self.keywords is not None:
            raise invalid("--one-market", self.one_market, "nothing beside --keywords")
        if self.one_market is not None and not self.one_market.strip():
            raise invalid("--one-market", self.one_market, "a name")


def parse_map(texts: list[str]) -> dict[str, str]:
    """Return the columns of ``--map household_id=CustomerID,quantity=Qty``.

    Raises:
        InvalidInput: No pair of names, or a canonical name that does not exist.
    """
    from malles_env.data.exports.reading.columns import TARGETS

    found: dict[str, str] = {}
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        target, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or target not in TARGETS:
            raise invalid("--map", part, f"NAME=COLUMN, NAME one of {', '.join(TARGETS)}")
        if target in found:
            raise invalid("--map", part, f"{target} once")
        found[target] = column
    return found
