"""The words of a live question: shelf first, household last, every part from a data file that can be replaced."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from malles_env.consumers.prompt_sanitizer import fenced
from malles_env.errors import CorruptFile, InvalidInput, invalid
from malles_env.preference.prompted.labels import OPTION_LETTERS as LETTERS
from malles_env.preference.prompted.labels import OUTSIDE_LETTER as OUTSIDE
from malles_env.preference.prompted.labels import UNIT_DIGITS
from malles_env.preference.prompted.prompt import ShelfLine, most_bought
from malles_env.yaml_files import parse_yaml, read_plain_text

DIGITS = tuple(UNIT_DIGITS)
"""Labels of the units."""
PROMOTED = 0.05
"""Discount depth from which a product counts as on promotion."""
_NAMES = {
    "shelf": {"market", "currency"},
    "line": {"label", "product", "price", "regular", "discount", "promotion", "share"},
    "regular": {"regular_price"},
    "discount": {"percent"},
    "share": {"percent"},
    "outside": {"label"},
    "household": {"persona"},
    "history": {"total", "weeks", "known"},
    "never": {"weeks"},
    "known": {"list"},
    "known_one": {"label", "count"},
    "last": {"label"},
    "last_shares": {"list"},
    "last_share_one": {"label", "percent"},
    "units": {"label"},
}


@dataclass(frozen=True)
class Persona:
    """A segment's household in words and counts.

    Attributes:
        words: Whatever is to be said of it; may be empty.
        history_total: Own earlier purchases on this shelf; None: nothing is said of its history.
        weeks_seen: Own earlier shopping weeks.
        bought: How many of those purchases fell on each product, J counts; empty: not stated.
    """

    words: str = ""
    history_total: int | None = None
    weeks_seen: int = 0
    bought: tuple[int, ...] = ()


@dataclass(frozen=True)
class Wording:
    """Parts of a prompt, see ``wording.yaml``. Frozen and hashable.

    Raises:
        InvalidInput: A part names something that is not there to be filled in.
    """

    system: str
    shelf: str
    line: str
    regular: str
    discount: str
    promotion: str
    share: str
    outside: str
    household: str
    history: str
    never: str
    known: str
    known_one: str
    last: str
    last_shares: str
    last_share_one: str
    question: str
    answer: str
    units: str
    units_answer: str

    def __post_init__(self) -> None:
        """Check that every name in braces exists."""
        for part in fields(self):
            words = getattr(self, part.name)
            if not isinstance(words, str):
                raise invalid(f"wording.{part.name}", words, "text")
            allowed = _NAMES.get(part.name, set())
            try:
                parts = [part for part in string.Formatter().parse(words) if part[1] is not None]
            except ValueError as error:
                raise InvalidInput(
                    f"wording.{part.name}: {error}; braces that are no names are written twice"
                ) from None
            if any(form or how for _, _, form, how in parts):
                raise invalid(f"wording.{part.name}", words, "names in braces without a format behind them")
            if unknown := sorted({name or "" for _, name, _, _ in parts} - allowed):
                raise invalid(f"wording.{part.name}", unknown[0], f"names in braces: {', '.join(sorted(allowed))}")

    def shelf_words(self, lines: Sequence[ShelfLine], market: str, currency: str, limit: int | None) -> str:
        """Return the shelf, the outside option last.

        Args:
            lines: In the order to be listed, at most 25; a discount from `PROMOTED` counts as a promotion.
            market: What the shelf holds.
            currency: Of all prices.
            limit: Longest product text, which is then fenced; None lets sellers write what they like (for tests of
                what that does).
        """
        written = [self.shelf.format(market=market, currency=currency)]
        for label, line in zip(LETTERS, lines, strict=False):
            product = line.product if limit is None else fenced(line.product, limit)
            written.append(self.line.format(label=label, product=product, **self._columns(line)))
        return "\n".join([*written, self.outside.format(label=OUTSIDE)])

    def _columns(self, line: ShelfLine) -> dict[str, str]:
        """Return price, regular price, discount, promotion and share in words; what does not apply is empty."""
        return {
            "price": f"{line.price:.2f}",
            "regular": self.regular.format(regular_price=f"{line.regular_price:.2f}") if line.unusual else "",
            "discount": self.discount.format(percent=line.percent_off) if line.percent_off else "",
            "promotion": self.promotion if line.depth >= PROMOTED else "",
            "share": self.share.format(percent=line.percent_share) if line.percent_share else "",
        }

    def persona_words(self, persona: Persona, places: Sequence[int]) -> str:
        """Return who stands before the shelf.

        Args:
            persona: The household.
            places: Product number of each line, in the order listed.
        """
        parts = [persona.words.strip()]
        if persona.history_total is not None:
            counts = {"total": str(persona.history_total), "weeks": str(persona.weeks_seen)}
            if persona.history_total:
                parts.insert(0, self.history.format(known=self._known(persona, places), **counts))
            else:
                parts.insert(0, self.never.format(weeks=counts["weeks"]))
        return self.household.format(persona=" ".join(part for part in parts if part))

    def _known(self, persona: Persona, places: Sequence[int]) -> str:
        counts = [persona.bought[j] for j in places] if persona.bought else []
        known = [(LETTERS[at], counts[at]) for at in most_bought(counts)]
        listed = ", ".join(self.known_one.format(label=label, count=count) for label, count in known)
        return self.known.format(list=listed) if listed else ""

    def last_words(self, shares: Sequence[tuple[str, float]]) -> str:
        """Return how such households bought last: labels with their shares, 0 to 1; nothing for none of at least 1%."""
        large = [(label, share) for label, share in shares if share >= 0.005]
        listed = ", ".join(
            self.last_share_one.format(label=label, percent=f"{100 * share:.0f}") for label, share in large
        )
        return self.last_shares.format(list=listed) if listed else ""


@cache
def default_wording() -> Wording:
    """Return the shipped wording."""
    return read_wording(Path(__file__).with_name("wording.yaml"))


def read_wording(path: Path) -> Wording:
    """Return the wording in a YAML file; parts that it leaves out are the shipped ones.

    Raises:
        MissingResource: No such file.
        CorruptFile: Not a mapping of parts to texts.
        InvalidInput: A part that does not exist, or with a name that does not.
    """
    found: Any = parse_yaml(read_plain_text(path), str(path))
    if not isinstance(found, dict):
        raise CorruptFile(f"{path}: holds no mapping of parts to texts")
    names = [part.name for part in fields(Wording)]
    for name in found:
        if name not in names:
            raise invalid(f"{path.name}", name, f"the parts {', '.join(names)}")
    base = {} if set(names) <= set(found) else {name: getattr(default_wording(), name) for name in names}
    return Wording(**{**base, **found})
