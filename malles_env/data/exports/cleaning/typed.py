"""The mapped columns with their types: ids as text, local times, numbers in one decimal mark, clean titles."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from malles_env.data.exports.choices import ImportChoices
from malles_env.data.exports.reading.columns import Mapped
from malles_env.data.exports.reading.joins import FILE, ROW
from malles_env.data.log.schema import HIGHEST_PRICE
from malles_env.data.parsing.dates import clock_texts, read_times
from malles_env.data.parsing.numbers import Mark, currencies, currency_of, decimal_mark, read_numbers
from malles_env.errors import InvalidInput, brief

LONGEST_TITLE = 200
"""Characters of a title that are kept."""
CELLS = 10
"""Weeks of products, with two or more quantities, that must distinguish unit prices from line totals."""
_EXACT = 2.0**53
"""Up to which a float holds every whole number."""
_IDS = ("household_id", "basket_id", "store_id", "product_id")
_NUMBERS = ("quantity", "unit_price", "line_total", "regular_price", "coupon_value")
_WORDS = ("title", "brand", "category", "market", "size", "status")
_MOST_PACKAGES = 2**31 - 1
_CUT = r"^\d(?:[.,]\d+)?[eE]\+\d\d$"
"""A long number as spreadsheets show it, with most of its digits lost."""
_HIDDEN = r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+"


@dataclass(frozen=True)
class Typed:
    """Rows with types.

    Attributes:
        rows: FILE, ROW, household_id, basket_id, timestamp, store_id, product_id, quantity, unit_price and what
            else was mapped; null where a value is missing or cannot be read.
        unreadable: Column -> true where a value that is needed is missing or cannot be read [n].
        how: What was decided of a whole column, in words, by topic.
        currency: Code, where signs or codes stand beside the prices.
        long_titles: Titles that were cut.
    """

    rows: pl.DataFrame
    unreadable: dict[str, pl.Series]
    how: dict[str, str]
    currency: str | None
    long_titles: int


def typed_rows(frame: pl.DataFrame, mapped: Mapped, choices: ImportChoices, source: str, *, doubtful: bool) -> Typed:
    """Give the mapped columns their types.

    Args:
        frame: The export, with FILE and ROW.
        mapped: Its columns.
        choices: What the person chose.
        source: File names to stand in errors.
        doubtful: Whether dots before three digits are in doubt (files that separate by semicolons).

    Raises:
        InvalidInput: Day and month, or the decimal mark, cannot be determined.
    """
    raw = {target: frame[mapped.source(target)] for target in mapped.columns}
    how: dict[str, str] = {}
    columns = {FILE: frame[FILE], ROW: frame[ROW]}
    columns |= {name: _ids(raw[name]).alias(name) for name in _IDS if name in raw}
    for name in set(_IDS) & columns.keys():
        _refuse_cut(columns[name], f"{source}: column {mapped.source(name)}")
    columns |= {name: _words(raw[name]).alias(name) for name in _WORDS if name in raw}
    long = columns["title"].str.len_chars() > LONGEST_TITLE if "title" in raw else pl.Series([False])
    if "title" in raw:
        columns["title"] = columns["title"].str.slice(0, LONGEST_TITLE)
    times, how["dates"] = _times(raw, mapped, choices, source)
    columns["timestamp"] = times.alias("timestamp")
    numbers, mark = _numbers(raw, mapped, choices, source, doubtful)
    columns |= {name: values.alias(name) for name, values in numbers.items()}
    if mark:
        how["numbers"] = f"decimal mark {mark!r}"
    needed = [name for name in ("timestamp", "quantity", "unit_price", "line_total") if name in columns]
    unreadable: dict[str, pl.Series] = {name: columns[name].is_null() for name in needed}
    money = next(raw[name] for name in ("unit_price", "line_total") if name in raw)
    currency = currency_of(money) if money.dtype == pl.String() else None
    if "currency" in raw or money.dtype == pl.String():
        columns["currency"] = currencies(raw.get("currency", money).cast(pl.String)).alias("currency")
        currency = currency or currency_of(columns["currency"])
    rows = pl.DataFrame(columns)
    if "quantity" not in columns:
        rows = rows.with_columns(quantity=pl.lit(1.0))
    rows, how["prices"] = _unit_prices(rows, mapped)
    if "line_total" in unreadable:
        unreadable["unit_price"] = unreadable.pop("line_total")
    return Typed(rows, unreadable, how, currency, int(long.fill_null(False).sum()))


def _ids(values: pl.Series) -> pl.Series:
    """Return ids as text; 17850.0, as columns with gaps are stored, is 17850."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
        if (values == values.round(0)).all() and (values.abs() <= _EXACT).all():
            values = values.cast(pl.Int64)
    texts = _words(values)
    known = texts.drop_nulls()
    if len(known) and known.str.contains(r"^\d+\.0$").all():
        texts = texts.str.strip_suffix(".0")
    return texts


def _words(values: pl.Series) -> pl.Series:
    """Return texts in one line, without characters that cannot be seen; empty ones are null."""
    text = pl.col("v").str.replace_all(_HIDDEN, " ").str.replace_all(r"\s{2,}", " ").str.strip_chars()
    frame = values.cast(pl.String).to_frame("v")
    return frame.select(pl.when(text.str.len_bytes() > 0).then(text).alias(values.name)).to_series()


def _times(raw: dict[str, pl.Series], mapped: Mapped, choices: ImportChoices, source: str) -> tuple[pl.Series, str]:
    field = f"{source}: column {mapped.source('timestamp')}"
    times, words = read_times(raw["timestamp"], field=field, date_format=choices.date_format)
    if "time" in raw:
        clock = clock_texts(raw["time"])
        joined = times.dt.strftime("%Y-%m-%d") + " " + clock
        both, _ = read_times(joined, field=f"{source}: column {mapped.source('time')}")
        # A date without a clock time is still a date.
        times = pl.DataFrame({"b": both, "d": times}).select(pl.coalesce("b", "d")).to_series()
        words += f", clock times from {mapped.source('time')}"
    if choices.time_zone is not None:
        from malles_env.data.checks.clock import local_times

        times = local_times(times, choices.time_zone)
        words += f", from UTC to {choices.time_zone}"
    return times, words


def _numbers(
    raw: dict[str, pl.Series], mapped: Mapped, choices: ImportChoices, source: str, doubtful: bool
) -> tuple[dict[str, pl.Series], Mark | None]:
    texts = {name: raw[name] for name in _NUMBERS if name in raw and raw[name].dtype == pl.String()}
    mark: Mark | None = choices.decimal  # type: ignore[assignment]
    if mark is None and texts:
        names = ", ".join(mapped.source(name) for name in texts)
        mark = decimal_mark(texts.values(), field=f"{source}: column {names}", doubtful_dots=doubtful)
    found = {name: read_numbers(raw[name], mark or ".") for name in _NUMBERS if name in raw}
    for name, values in found.items():
        most = _MOST_PACKAGES if name == "quantity" else HIGHEST_PRICE
        found[name] = values.set((values.abs() > most).fill_null(False), None)
    return found, mark if texts else None


def _refuse_cut(ids: pl.Series, field: str) -> None:
    """Refuse ids of which a spreadsheet has kept the first digits only: several would be one.

    Raises:
        InvalidInput: Shows one.
    """
    cut = ids.filter(ids.str.contains(_CUT).fill_null(False))
    if len(cut):
        raise InvalidInput(
            f"{field}: got {cut[0]!r}, an id whose last digits a spreadsheet has cut ({len(cut):,} such rows); "
            "allowed: ids in full, exported with the column formatted as text"
        )


def _unit_prices(rows: pl.DataFrame, mapped: Mapped) -> tuple[pl.DataFrame, str]:
    """Return rows with unit_price, and whether it is what the column says or a line total divided."""
    total_only = "unit_price" not in mapped
    given = "line_total" if total_only else "unit_price"
    name = mapped.source(given)
    cells, unit, total = _evidence(rows, given)
    words = f"{cells:,} weeks of products with several quantities: the column agrees in {unit:.0%} of them, "
    words += f"divided by the quantity in {total:.0%}"
    divided = total_only
    if mapped.columns[given].how != "given" and cells >= CELLS and abs(unit - total) > 0.2:
        divided = total > unit
    elif cells >= CELLS and abs(unit - total) > 0.2 and divided != (total > unit):
        words += "; that speaks against what was given"
    elif cells < CELLS:
        words = "too few lines of several packages to decide by content"
    price = pl.col(given)
    if divided:
        price = pl.when(pl.col("quantity") != 0).then(price / pl.col("quantity"))
    rows = rows.with_columns(price.alias("unit_price"))
    kind = f"{name} is the total of a line and was divided by the quantity" if divided else f"{name} is per package"
    return rows.drop("line_total", strict=False), f"{kind} ({words})"


def _evidence(rows: pl.DataFrame, column: str) -> tuple[int, float, float]:
    """Return cells (product and week with several quantities), and the shares where price or price / quantity agree."""
    value, quantity = pl.col(column), pl.col("quantity")
    bought = rows.filter((value > 0) & (quantity > 0))
    each = value / quantity
    cells = (
        bought.group_by("product_id", pl.col("timestamp").dt.truncate("1w"))
        .agg(
            quantity.n_unique().alias("quantities"),
            (value.max() <= value.min() * 1.01).alias("unit"),
            (each.max() <= each.min() * 1.01).alias("total"),
        )
        .filter(pl.col("quantities") > 1)
    )
    if len(cells) == 0:
        return 0, 0.0, 0.0
    return len(cells), float(cells["unit"].mean() or 0.0), float(cells["total"].mean() or 0.0)  # type: ignore[arg-type]


def refuse_unreadable(typed: Typed, frame: pl.DataFrame, mapped: Mapped, sources: list[str]) -> None:
    """Refuse the first value that is needed and cannot be read.

    Raises:
        InvalidInput: Names file, column, row and value, and how to leave such rows out.
    """
    for target, bad in typed.unreadable.items():
        if not bad.any():
            continue
        row = int(bad.arg_true()[0])
        column = mapped.source(target if target in mapped else "line_total")
        value, where = frame[column][row], sources[int(frame[FILE][row])]
        numbers = {
            "quantity": f"a number up to {_MOST_PACKAGES:,}",
            "unit_price": f"a number up to {HIGHEST_PRICE:,.0f}",
        }
        what = {"timestamp": "a date", **numbers}[target]
        raise InvalidInput(
            f"{where}: column {column}, row {frame[ROW][row]}: got {brief(repr(value))}; allowed: {what} "
            f"({int(bad.sum()):,} such rows; --drop-unreadable leaves them out)"
        )
