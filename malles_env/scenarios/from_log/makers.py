"""Brands become sellers: which spellings are one maker, what it is called, and who sells where no brand is named."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from malles_env.errors import invalid

if TYPE_CHECKING:
    from malles_env.data.statistics import MarketStatistics

Sellers = Literal["brands", "one", "products"]
SELLERS: tuple[Sellers, ...] = ("brands", "one", "products")
RETAILER = "Retailer"
"""Brand and seller of all products where one seller has them."""
_LONGEST, _LONGEST_NAME = 60, 40
_REFUSED = r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff<>{}|\[\]]+"


def with_sellers(statistics: MarketStatistics, sellers: Sellers | None) -> tuple[MarketStatistics, bool]:
    """Return statistics in which every line has a brand, and whether these are made up.

    Args:
        statistics: Of a market.
        sellers: ``brands``: each brand sells its lines. ``one``: the retailer sells all. ``products``: each product has
            a seller of its own. None: brands where every line has one, else one.

    Raises:
        InvalidInput: Another word.
    """
    import polars as pl

    lines = statistics.lines
    if sellers is not None and sellers not in SELLERS:
        raise invalid("sellers", sellers, ", ".join(SELLERS))
    if sellers is None:
        branded = "brand" in lines.columns and not lines["brand"].is_null().any() and bool((lines["brand"] != "").all())
        sellers = "brands" if branded else "one"
    if sellers == "brands":
        return statistics, False
    made = pl.lit(RETAILER) if sellers == "one" else pl.col("title")
    return replace(statistics, lines=lines.with_columns(made.alias("brand"))), True


def pool_brands(lines: list[dict[str, Any]]) -> None:
    """Give the lines of one maker the same brand and seller, in place.

    Spellings that differ in case and blanks only are one maker, called as the one of them that sells most is spelt;
    any other difference makes two. A seller's name has letters, digits and underscores; makers whose names would then
    be the same get a number. Brands are cut to 60 characters, without brackets and bars.

    Args:
        lines: With brand and share_of_lines; ``seller`` is added.
    """
    spelt: dict[str, dict[str, float]] = {}
    for line in lines:
        spellings = spelt.setdefault(maker_key(line["brand"]), {})
        spellings[line["brand"]] = spellings.get(line["brand"], 0.0) + line["share_of_lines"]
    named: dict[str, tuple[str, str]] = {}
    taken: set[str] = set()
    order = sorted(spelt, key=lambda key: (-sum(spelt[key].values()), key))
    for key in order:
        brand = typed_words(max(spelt[key], key=lambda word: (spelt[key][word], word))) or "brand"
        stem = seller_name(brand) or "brand"
        name = next(name for n in range(1, len(order) + 2) if (name := stem if n == 1 else f"{stem}_{n}") not in taken)
        taken.add(name)
        named[key] = (brand, name)
    for line in lines:
        line["brand"], line["seller"] = named[maker_key(line["brand"])]


def maker_key(brand: str) -> str:
    """Return what spellings of one maker have in common.

    >>> maker_key("HEINZ ") == maker_key("Heinz"), maker_key("A+") == maker_key("A")
    (True, False)
    """
    return " ".join(str(brand).casefold().split())


def typed_words(text: str) -> str:
    """Return a text as a field that a taste model may read: one short line without brackets and hidden characters."""
    return " ".join(re.sub(_REFUSED, " ", str(text)).split())[:_LONGEST].strip()


def shown_words(text: object, longest: int = 200) -> str:
    """Return a text of a log as people may be shown it: one line without hidden characters, at most `longest` long."""
    hidden = r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+"
    return " ".join(re.sub(hidden, " ", "" if text is None else str(text)).split())[:longest].strip()


def seller_name(brand: str) -> str:
    """Return the brand as a name, e.g. ``fleischmanns`` for Fleischmann's."""
    return re.sub(r"\W+", "_", brand.lower().replace("'", "")).strip("_")[:_LONGEST_NAME].strip("_")
