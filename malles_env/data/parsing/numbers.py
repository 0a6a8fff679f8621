"""Numbers written by people and offices: decimal commas, thousands, currency signs, brackets for minus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import polars as pl

from malles_env.errors import InvalidInput, brief

Mark: TypeAlias = Literal[".", ","]

_MONEY = r"(?:[A-Za-z]{0,3}\p{Sc}|[A-Za-z]{2,3}\.?)"
_GAPS = r"[\s\u00a0\u202f\u2009'\u2019]"
_PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_SIGNS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "R$": "BRL", "zł": "PLN"}


def bare_numbers(values: pl.Series) -> pl.Series:
    """Return texts without currency signs, gaps between thousands, brackets and blanks; a minus stands in front."""
    text = pl.col("v").str.strip_chars()
    text = text.str.replace(r"^\((.*)\)$", "-$1").str.replace(r"^(.*\d)\s*[-−]$", "-$1").str.replace("−", "-")  # noqa: RUF001
    text = text.str.replace(rf"^([+-]?)\s*{_MONEY}\s*", "$1").str.replace(rf"\s*{_MONEY}$", "")
    text = text.str.replace_all(rf"(\d){_GAPS}(\d{{3}})", "$1$2").str.replace_all(rf"(\d){_GAPS}(\d{{3}})", "$1$2")
    return values.to_frame("v").select(text.str.strip_chars().alias(values.name)).to_series()


def currency_of(values: pl.Series) -> str | None:
    """Return the code of the currency whose sign or code most texts carry; None where few do."""
    found = values.drop_nulls().str.extract(r"([A-Za-z]?\p{Sc}|zł|\b[A-Z]{3}\b)").drop_nulls()
    if len(found) < 0.5 * max(len(values.drop_nulls()), 1):
        return None
    sign = str(found.mode().sort()[0])
    return _SIGNS.get(sign, _SIGNS.get(sign[-1:], sign if len(sign) == 3 and sign.isalpha() else None))


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
        return values.cast(pl.Float64, strict=False)
    other = "," if mark == "." else "."
    text = pl.col("v")
    grouped = text.str.contains(rf"^[+-]?\d{{1,3}}(?:\{other}\d{{3}})+(?:\{mark}\d*)?$")
    text = pl.when(grouped).then(text.str.replace_all(other, "", literal=True)).otherwise(text)
    if mark == ",":
        # A dot that is left over is no group of thousands: not a number, rather than another number.
        text = pl.when(text.str.contains(".", literal=True)).then(None).otherwise(text).str.replace(",", ".")
    text = pl.when(text.str.contains(_PLAIN)).then(text)
    bare = bare_numbers(values).to_frame("v")
    return bare.select(text.cast(pl.Float64, strict=False).alias(values.name)).to_series()
