"""Words that name no product, and no customer: charges, notes of the warehouse, guests."""

from __future__ import annotations

import polars as pl

_CHARGES = (
    "postage", "shipping", "shipping costs?", "shipping fees?", "freight", "delivery", "delivery costs?",
    "delivery fees?", "delivery charges?", "bank charges?", "bag charge", "fees?", "commission", "surcharge",
    "bad debt",
    "bottle deposit", "gift card", "gift voucher", "gutschein", "versand", "versandkosten", "porto", "pfand", "rabatt",
    "frais de port", "livraison", "remise", "gastos de env[ií]o",
)  # fmt: skip
"""A title that ends in one of these, after at most two other words and before at most an amount, is a charge."""
_NOTES = (
    "manual", "carriage", "samples?", "discount", "adjust", "adjust(?:ed|ment).*", "check", "checked", "counted",
    "damage[sd]?.*", "broken", "faulty", "lost", "missing", "found", "refund", "returned?", "rounding", "tips?", "test",
    "deposit", "thrown away.*", "wrongly .*", "mouldy.*", "sold as .*", "write[- ]?off.*", "stock ?take",
    "stock ?check", "stock adjust.*", "mailout", "barcode problem", "mix ?up.*", "amazon", "ebay", "dotcom",
    "dotcom (?:sales|sets?|sold.*)",
)  # fmt: skip
"""A title that is nothing but one of these is a note."""
_GUESTS = (
    "guests?", "gast", "anonymous", "anonym", "unknown", "unbekannt", "walk[ -]?in", "walk[ -]?in customer", "cash",
    "cash customer", "none", "null", "nan", "n/?a", "undefined", "-",
)  # fmt: skip

_CHARGE = rf"(?i)^(?:\S+ ){{0,2}}(?:{'|'.join(_CHARGES)})(?: [^\p{{L}}]*)?$"
_NOTE = rf"(?i)^(?:{'|'.join(_NOTES)})$"
_GUEST = rf"(?i)^(?:{'|'.join(_GUESTS)})$"
_NO_LETTER = r"^[^\p{L}]*$"


def is_note(title: pl.Expr, product: pl.Expr) -> pl.Expr:
    """Return whether a title names no product.

    Args:
        title: Title.
        product: Code of the product; a code may stand for the title, even where it has no letters, and so may numbers
            where most titles are some.
    """
    text = title.str.strip_chars(" .!?*")
    wordless = text.str.contains(_NO_LETTER)
    note = (wordless & (wordless.mean() < 0.5)) | text.str.contains(_NOTE) | text.str.contains(_CHARGE)
    return note & (title != product)


def is_guest(household: pl.Expr) -> pl.Expr:
    """Return whether an id is missing or a word for nobody in particular."""
    return household.is_null() | household.str.contains(_GUEST)
