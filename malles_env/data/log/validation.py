"""Check of one canonical table; what breaks a rule is answered with file, column and row."""

from __future__ import annotations

import polars as pl

from malles_env.data.log.schema import TABLES, Column
from malles_env.data.parsing.dates import read_times
from malles_env.data.parsing.numbers import Mark, decimal_mark, read_numbers
from malles_env.errors import InvalidInput, brief

_KEYS = {"products": "product_id", "households": "household_id"}


def validate(frame: pl.DataFrame, table: str, source: str) -> pl.DataFrame:
    """Check one table and cast its columns.

    Args:
        frame: What was read.
        table: Key of `TABLES`.
        source: File name to stand in errors.

    Returns:
        The table with canonical types; columns the schema does not know are dropped.

    Raises:
        InvalidInput: Naming file, column and row (1 = first row below the header).
    """
    rules = TABLES[table]
    for name, rule in rules.items():
        if rule.required and name not in frame.columns:
            raise InvalidInput(
                f"{source}: column {name} is missing; found: {brief(', '.join(frame.columns), 500)}; "
                f"needed: {name} ({rule.meaning})"
            )
    mark = _decimal_mark(frame, rules, source)
    cast = frame.select(
        _cast_column(frame, name, rule, source, mark) for name, rule in rules.items() if name in frame.columns
    )
    for name in cast.columns:
        _check_column(frame[name], cast[name], rules[name], source)
    _check_keys(cast, table, source)
    return cast


def _decimal_mark(frame: pl.DataFrame, rules: dict[str, Column], source: str) -> Mark:
    """Return the decimal mark of the columns of text that hold numbers."""
    texts = [
        frame[name] for name, rule in rules.items()
        if rule.dtype.is_numeric() and name in frame.columns and frame[name].dtype == pl.String()
    ]  # fmt: skip
    return decimal_mark(texts, field=f"{source}: column {', '.join(column.name for column in texts)}")


def _cast_column(frame: pl.DataFrame, name: str, rule: Column, source: str, mark: Mark) -> pl.Series:
    values = frame[name]
    if values.dtype == rule.dtype:
        return values
    try:
        if isinstance(rule.dtype, pl.Datetime):
            return read_times(values, field=f"{source}: column {name}")[0]
        if rule.dtype == pl.Boolean() and values.dtype == pl.String():
            words = values.str.to_lowercase().str.strip_chars()
            flags = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            return words.replace_strict(flags, default=None, return_dtype=pl.Boolean())
        if rule.dtype.is_numeric() and values.dtype == pl.String():
            values = read_numbers(values, mark)
        if rule.dtype.is_integer() and values.dtype.is_float():
            # 1.5 packages must not become 1 in silence.
            values = values.set(values != values.round(0), None)
        return values.cast(rule.dtype, strict=False)
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(f"{source}: column {name}: got type {values.dtype}; allowed: {rule.meaning}") from error


def _check_column(raw: pl.Series, cast: pl.Series, rule: Column, source: str) -> None:
    bad = cast.is_null() & (raw.is_not_null() | (not rule.nullable))
    if rule.check is not None:
        allowed = cast.to_frame().select(rule.check(pl.col(cast.name))).to_series()
        bad = bad | (cast.is_not_null() & ~allowed.fill_null(False))
    if bad.any():
        raise_first(raw, bad, rule.meaning, source)


def raise_first(raw: pl.Series, bad: pl.Series, allowed: str, source: str) -> None:
    """Raise the error for the first bad value.

    Args:
        raw: The column as it was read [n].
        bad: True where the value is not allowed [n]; at least one.
        allowed: What may stand there, in words.
        source: File name.

    Raises:
        InvalidInput: Always.
    """
    row = int(bad.arg_true()[0])
    raise InvalidInput(f"{source}: column {raw.name}, row {row + 1}: got {brief(repr(raw[row]))}; allowed: {allowed}")


def _check_keys(frame: pl.DataFrame, table: str, source: str) -> None:
    key = _KEYS.get(table)
    if key is not None:
        twice = ~frame[key].is_first_distinct()
        if twice.any():
            raise_first(frame[key], twice, "each id once", source)
    if table == "products" and "line" in frame.columns:
        spread = (pl.col("market").n_unique().over("line") > 1) & pl.col("line").is_not_null()
        many = frame.select(spread).to_series()
        if many.any():
            raise_first(frame["line"], many, "a line in one market only", source)
    if table == "transactions":
        _check_baskets(frame, source)
    if table == "offers":
        early = frame["period_end"] < frame["period_start"]
        if early.any():
            raise_first(frame["period_end"], early, "not before period_start", source)


def _check_baskets(frame: pl.DataFrame, source: str) -> None:
    """Refuse a basket of two households or stores: receipt numbers that are used again would merge trips in silence."""
    for column in ("household_id", "store_id"):
        other = frame[column] != frame.select(pl.col(column).first().over("basket_id")).to_series()
        if other.any():
            row = int(other.arg_true()[0])
            basket, value = (brief(repr(frame[name][row]), 60) for name in ("basket_id", column))
            raise InvalidInput(
                f"{source}: column basket_id, row {row + 1}: got {basket} with {column} {value}, which an earlier "
                f"row has with another {column}; allowed: ids that are unique over stores and households "
                "(`malles data import` separates reused numbers)"
            )
