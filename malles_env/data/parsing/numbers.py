"""Numbers written by people and offices: decimal commas, thousands, currency signs, brackets for minus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import polars as pl

from malles_env.errors import InvalidInput, brief

Mark: TypeAlias = Literal[".", ","]

_MONEY = r"(?:[A-Za-z]{0,3}\p{Sc}|[A-Za-z]{2,3}\.?)"
_GAPS = r"[\s\u00a0\u202f\u2009'\u2019]"
_PLAIN = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_MEASURED = r"(?i)\d\s*(?:kg|mg|gr?|ml|cl|dl|l|lbs?|oz|cm|mm|m)\.?$"
_PIECES = (
    r"(?i)(\d)\s*(?:x|×|pieces?|units?|items?|packs?|stueck|stück|pièces?|piezas?|unidades|pezzi|stuks?|szt|шт|個|件)"  # noqa: RUF001
    r"\.?$"
)
_TIMES = r"(?i)^[x×]\s*(\d)"  # noqa: RUF001
_HIDDEN = r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+"
_DIGITS = {
    chr(zero + digit): str(digit) for zero in (0x0660, 0x06F0, 0x0966, 0x09E6, 0xFF10) for digit in range(10)
} | {"．": ".", "，": ",", "٫": ".", "٬": ",", "／": "/", "：": ":", "－": "-"}  # noqa: RUF001
CURRENCY = (
    "EUR|USD|GBP|CHF|JPY|CNY|RMB|INR|KRW|RUB|BRL|PLN|CZK|HUF|RON|BGN|SEK|NOK|DKK|ISK|TRY|UAH|ILS|AED|SAR|EGP|ZAR|NGN|KES"
    "|AUD|NZD|CAD|MXN|ARS|CLP|COP|PEN|SGD|HKD|TWD|THB|IDR|MYR|PHP|VND|PKR|BDT"
)
"""Codes of currencies, as a pattern."""
_SIGNS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "R$": "BRL", "zł": "PLN"}


def plain_digits(values: pl.Series) -> pl.Series:
    """Return texts with the digits 0 to 9 for those of other scripts, and without characters that cannot be seen.

    Args:
        values: Texts.
    """
    text = pl.col("v").str.replace_all(_HIDDEN, "")
    frame = values.to_frame("v").select(text)
    if frame["v"].str.contains(f"[{''.join(_DIGITS)}]").any():
        frame = frame.select(pl.col("v").str.replace_many(list(_DIGITS), list(_DIGITS.values())))
    return frame["v"].alias(values.name)


def bare_numbers(values: pl.Series) -> pl.Series:
    """Return texts without currency signs, gaps between thousands, brackets, blanks and words for pieces.

    A minus stands in front. What is measured, such as ``2 kg``, stays as it is: it is no number of pieces.

    Args:
        values: Texts.
    """
    values = plain_digits(values)
    whole = pl.col("v").str.strip_chars()
    text = whole.str.replace(_PIECES, "$1").str.replace(_TIMES, "$1")
    text = text.str.replace(r"^\((.*)\)$", "-$1").str.replace(r"^(.*\d)\s*[-−]$", "-$1").str.replace("−", "-")  # noqa: RUF001
    text = text.str.replace(rf"^([+-]?)\s*{_MONEY}\s*", "$1").str.replace(rf"\s*{_MONEY}$", "")
    text = text.str.replace_all(rf"(\d){_GAPS}(\d{{3}})", "$1$2").str.replace_all(rf"(\d){_GAPS}(\d{{3}})", "$1$2")
    bare = pl.when(whole.str.contains(_MEASURED)).then(whole).otherwise(text.str.strip_chars())
    return values.to_frame("v").select(bare.alias(values.name)).to_series()


def currencies(values: pl.Series) -> pl.Series:
    """Return the code of the currency that each text carries as a sign or code, null where none is known."""
    found = values.str.extract(rf"([A-Za-z]?\p{{Sc}}|zł|\b(?:{CURRENCY})\b)")
    codes = {sign: _SIGNS.get(sign, _SIGNS.get(sign[-1:], sign if sign.isalpha() and len(sign) == 3 else None))
             for sign in found.unique().drop_nulls().to_list()}  # fmt: skip
    return found.replace_strict(codes, default=None, return_dtype=pl.String)


def currency_of(values: pl.Series) -> str | None:
    """Return the code of the currency whose sign or code most texts carry; None where few do."""
    found = currencies(values.drop_nulls()).drop_nulls()
    if len(found) < 0.5 * max(len(values.drop_nulls()), 1):
        return None
    return str(found.mode().sort()[0])


def decimal_mark(columns: Iterable[pl.Series], *, field: str, doubtful_dots: bool = False) -> Mark:
    """Decide over whole columns whether commas or dots are decimal marks.

    The mark of ``1,234`` can be either; that of ``1,5``, ``0,125`` or ``1.234,50`` cannot.

    Args:
        columns: Text columns of one file.
        field: What stands in errors.
        doubtful_dots: Whether dots in front of exactly three digits are in doubt too (files that separate by
            semicolons).

    Returns:
        The mark; a dot where no value has one.

    Raises:
        InvalidInput: The values contradict each other, or do not decide.
    """
    texts = [bare_numbers(column.unique().drop_nulls()).rename("v") for column in columns]
    values = pl.concat(texts) if texts else pl.Series("v", [], dtype=pl.String)
    values = values.filter(values.str.contains(r"^[+-]?[\d.,]+$"))
    comma, dot = _first(values, ",", r"\."), _first(values, r"\.", ",")
    if comma and dot:
        raise InvalidInput(
            f"{field}: got {brief(repr(comma), 60)} and {brief(repr(dot), 60)}; allowed: one decimal mark, "
            "or --decimal to name it"
        )
    if comma or dot:
        return "," if comma else "."
    groups = values.filter(values.str.contains(r"^[+-]?\d{1,3},\d{3}$"))
    if len(groups) == 0 and doubtful_dots:
        groups = values.filter(values.str.contains(r"^[+-]?\d{1,3}\.\d{3}$"))
    if len(groups):
        raise InvalidInput(
            f"{field}: got {brief(repr(groups[0]), 60)}, in which the mark may stand before decimals or thousands, "
            "and no value decides which; allowed: --decimal . or --decimal ,"
        )
    return "."


def _first(values: pl.Series, mark: str, other: str) -> str:
    """Return the first value in which `mark` must be the decimal mark, or an empty text."""
    decimal = (
        rf"^[+-]?\d*{mark}(?:\d{{1,2}}|\d{{4,}})$|^[+-]?\d{{4,}}{mark}\d+$|^[+-]?0?{mark}\d+$"
        rf"|^[+-]?\d{{1,3}}(?:{other}\d{{3}})+{mark}\d+$|^[+-]?\d{{1,3}}(?:{other}\d{{3}}){{2,}}$"
        rf"|^[+-]?\d{{1,2}}(?:{other}\d{{2}})+{other}\d{{3}}(?:{mark}\d*)?$"
    )
    found = values.filter(values.str.contains(decimal))
    return str(found[0]) if len(found) else ""


def read_numbers(values: pl.Series, mark: Mark = ".") -> pl.Series:
    """Return numbers.

    Args:
        values: Texts, or numbers already.
        mark: The decimal mark; the other one may only stand between groups of three digits.

    Returns:
        Float64; null where a text is no number.
    """
    if values.dtype != pl.String():
        return values.cast(pl.Float64, strict=False).fill_nan(None)
    other = "," if mark == "." else "."
    text = pl.col("v")
    grouped = text.str.contains(rf"^[+-]?\d{{1,3}}(?:\{other}\d{{3}})+(?:\{mark}\d*)?$")
    grouped |= text.str.contains(rf"^[+-]?\d{{1,2}}(?:\{other}\d{{2}})*\{other}\d{{3}}(?:\{mark}\d*)?$")  # 12,34,567
    text = pl.when(grouped).then(text.str.replace_all(other, "", literal=True)).otherwise(text)
    if mark == ",":
        # A dot that is left over is no group of thousands: not a number, rather than another number.
        text = pl.when(text.str.contains(".", literal=True)).then(None).otherwise(text).str.replace(",", ".")
    text = pl.when(text.str.contains(_PLAIN)).then(text)
    bare = bare_numbers(values).to_frame("v")
    return bare.select(text.cast(pl.Float64, strict=False).alias(values.name)).to_series()
