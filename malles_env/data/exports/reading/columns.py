"""Which column of a file is which: given, guessed by name, or guessed by content."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from malles_env.data.exports.reading.names import IGNORED, TARGETS, UNDONE, closeness, known_columns, plain_name
from malles_env.data.parsing.dates import clock_texts, looks_like_times
from malles_env.data.parsing.numbers import CURRENCY, bare_numbers
from malles_env.errors import InvalidInput, brief, invalid

__all__ = ["TARGETS", "Column", "Mapped", "map_columns"]

SAMPLE = 20_000
"""Rows from which contents are judged."""
MOST_PACKAGES = 10
"""A column called amount holds packages where its values are whole and their median is no larger than this."""
_NUMBERS = ("quantity", "unit_price", "line_total", "regular_price", "coupon_value")
_REQUIRED = ("timestamp", "product_id", "unit_price")
_VAGUE = {"units", "pieces", "pcs", "stueck", "packages", "amount", "count", "szt"}
"""Names of quantities that also stand over units of measure."""


@dataclass(frozen=True)
class Column:
    """One canonical column and where it comes from.

    Attributes:
        target: Canonical name.
        source: Column of the file.
        how: ``given`` (by the person), ``name`` or ``content``.
        example: A value of it.
    """

    target: str
    source: str
    how: str
    example: str


@dataclass(frozen=True)
class Mapped:
    """The columns found.

    Attributes:
        columns: Canonical name -> column.
        unused: Columns of the file that nothing is taken from.
    """

    columns: dict[str, Column]
    unused: tuple[str, ...]

    def __contains__(self, target: object) -> bool:
        return target in self.columns

    def source(self, target: str) -> str:
        """Return the file's name of a canonical column."""
        return self.columns[target].source

    def __str__(self) -> str:
        """Return one line per column."""
        how = {"given": "as given", "name": "by its name", "content": "guessed by its content"}
        wide = max(len(column.source) for column in self.columns.values())
        lines = [
            f"  {column.target:14} <- {column.source:{wide}}  {how[column.how]}, e.g. {column.example}"
            for column in self.columns.values()
        ]
        if self.unused:
            lines.append(f"  not used: {', '.join(self.unused)}")
        return "\n".join(lines)


def map_columns(frame: pl.DataFrame, given: Mapping[str, str], source: str) -> Mapped:
    """Decide which column is which.

    Args:
        frame: The export; the first rows are looked at.
        given: Canonical name -> column; an empty column leaves the name out.
        source: File name to stand in errors.

    Returns:
        The columns.

    Raises:
        InvalidInput: A column that was given does not exist, or none can be found for what is needed.
    """
    sample = frame.head(SAMPLE)
    _refuse_values(frame.columns, source)
    named = {target: _existing(frame, column, target) for target, column in given.items() if column}
    found = {target: (column, "given") for target, column in named.items()}
    free = [name for name in frame.columns if name not in named.values()]
    open_targets = [target for target in TARGETS if target not in given]
    for target, column in _by_name(sample, free, open_targets).items():
        found[target] = (column, "name")
    taken = {column for column, _ in found.values()}
    free = [name for name in free if name not in taken and name.strip() and plain_name(name) not in IGNORED]
    missing = [target for target in open_targets if target not in found]
    for target, column in _by_content(sample, free, missing, found).items():
        found[target] = (column, "content")
    if "product_id" not in found and "product_id" not in given and "title" in found:
        found["product_id"] = found["title"]
    if "unit_price" in found and "line_total" in found and found["unit_price"][0] == found["line_total"][0]:
        del found["line_total"]
    _check(found, source, sample)
    if "quantity" in open_targets and "quantity" not in found:
        _refuse_unread(sample, [name for name in frame.columns if name not in taken], source)
    columns = {
        target: Column(target, found[target][0], found[target][1], _example(frame[found[target][0]]))
        for target in TARGETS
        if target in found
    }
    used = {column.source for column in columns.values()}
    return Mapped(columns, tuple(name for name in frame.columns if name not in used))


def _existing(frame: pl.DataFrame, column: str, target: str) -> str:
    if column in frame.columns:
        return column
    same = [name for name in frame.columns if plain_name(name) == plain_name(column)]
    if len(same) == 1:
        return same[0]
    near = difflib.get_close_matches(column, frame.columns, n=3, cutoff=0.3) or frame.columns
    raise invalid(f"--map {target}", column, f"a column of the files, e.g. {', '.join(near[:8])}")


def _by_name(sample: pl.DataFrame, free: list[str], targets: list[str]) -> dict[str, str]:
    """Return the best column per target, the surest pairs first; contents must fit."""
    pairs = sorted(
        ((closeness(target, column), -place, target, column)
         for target in targets for place, column in enumerate(free)),
        reverse=True,
    )  # fmt: skip
    found: dict[str, str] = {}
    for score, _, target, column in pairs:
        if score > 0 and target not in found and column not in found.values() and _fits(sample[column], target):
            found[target] = column
    return found


def _fits(values: pl.Series, target: str) -> bool:
    """Return whether a column's contents can be what its name says."""
    if values.null_count() == len(values):
        return False
    if target == "timestamp":
        return looks_like_times(values, numbers=True)
    if target == "time":
        return values.dtype == pl.Time or _share(clock_texts(values), r"^\d{1,2}:\d{2}") > 0.9
    if target == "status":
        return values.dtype == pl.String() and 0 < _share(values, UNDONE) < 0.5
    if target == "currency":
        return values.dtype == pl.String() and _share(values, rf"^(?:{CURRENCY})$") == 1.0
    if target in _NUMBERS:
        numeric = _numbers(values)
        if numeric is None:
            return False
        # "Amount" is packages in some logs and money in others.
        doubtful = plain_name(values.name) in ("amount", "count", "value")
        counts = bool((numeric == numeric.round(0)).all()) and float(numeric.abs().median() or 0.0) <= MOST_PACKAGES  # type: ignore[arg-type]
        return not doubtful or counts == (target == "quantity")
    return True


def _share(values: pl.Series, pattern: str) -> float:
    texts = values.drop_nulls()
    return float(texts.str.contains(pattern).mean() or 0.0) if len(texts) else 0.0  # type: ignore[arg-type]


def _numbers(values: pl.Series) -> pl.Series | None:
    """Return values as numbers where nearly all are (either decimal mark), else None."""
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).drop_nulls()
    if values.dtype != pl.String():
        return None
    bare = bare_numbers(values.drop_nulls())
    plain = bare.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    fits = bare.str.contains(r"^[+-]?[\d.,]*\d[\d.,]*$")
    return plain.drop_nulls() if len(bare) and (fits.mean() or 0.0) > 0.9 else None  # type: ignore[operator]


def _by_content(
    sample: pl.DataFrame, free: list[str], missing: list[str], found: Mapping[str, tuple[str, str]]
) -> dict[str, str]:
    """Guess what names did not decide; only where one column alone fits best."""
    guessed: dict[str, str] = {}

    def take(target: str, candidates: list[str]) -> None:
        if target in missing and candidates:
            guessed[target] = candidates[0]
            free.remove(candidates[0])

    dates = [name for name in free if looks_like_times(sample[name])]
    take("timestamp", dates if len(dates) == 1 else [])
    numbers = {name: values for name in free if (values := _numbers(sample[name])) is not None and len(values)}
    decimals = [name for name, values in numbers.items() if (values != values.round(0)).any()]
    if "line_total" not in found:
        take("unit_price", decimals if len(decimals) == 1 else [])
    small = [
        name for name, values in numbers.items()
        if name in free and name not in decimals and (values.abs() <= 100).mean() > 0.9 and values.n_unique() < 200  # type: ignore[operator]
        and (values == 1).mean() > 0.02  # type: ignore[operator]
    ]  # fmt: skip
    take("quantity", small if len(small) == 1 else [])
    _ids(
        sample,
        [name for name in free if name not in dates + decimals],
        missing,
        found,
        guessed,
    )
    return guessed


def _ids(
    sample: pl.DataFrame,
    free: list[str],
    missing: list[str],
    found: Mapping[str, tuple[str, str]],
    guessed: dict[str, str],
) -> None:
    """Distinguish receipts, customers and products: a receipt has one moment and one customer, and several products."""
    when = guessed.get("timestamp") or (found["timestamp"][0] if "timestamp" in found else None)
    sizes = {name: sample[name].n_unique() for name in free if sample[name].n_unique() > 1}

    def determines(one: str, other: str) -> bool:
        both = sample.select(one, other).drop_nulls()
        return len(both) > 0 and both.n_unique() == both[one].n_unique()

    basket = found["basket_id"][0] if "basket_id" in found else None
    if basket is None and "basket_id" in missing and when is not None:
        fits = [name for name in sizes if sizes[name] < len(sample) and sizes[name] > 10 and determines(name, when)]
        basket = max(fits, key=lambda name: sizes[name], default=None)
        if basket is not None:
            guessed["basket_id"] = basket
    rest = [name for name in sizes if name != basket]
    if "household_id" in missing and basket is not None:
        fits = [name for name in rest if determines(basket, name) and 10 < sizes[name] < sample[basket].n_unique()]
        best = max(fits, key=lambda name: sizes[name], default=None)
        if best is not None:
            guessed["household_id"] = best
    rest = [name for name in rest if name not in guessed.values()]
    if "product_id" in missing:
        fits = [
            name for name in rest if (basket is None or not determines(basket, name)) and sizes[name] < len(sample) / 2
        ]
        best = max(fits, key=lambda name: sizes[name], default=None)
        if best is not None:
            guessed["product_id"] = best


def _refuse_values(columns: list[str], source: str) -> None:
    """Refuse a file that begins with a row of values: it would be lost, and its values taken for names.

    Raises:
        InvalidInput: No name is known, and one is a date.
    """
    dates = [name for name in columns if looks_like_times(pl.Series([name]))]
    if dates and not known_columns(columns):
        raise InvalidInput(
            f"{source}: the first line has {dates[0]!r} for a name; needed: a header with the columns' names"
        )


def _refuse_unread(sample: pl.DataFrame, free: list[str], source: str) -> None:
    """Refuse a column that is called quantity and holds no numbers: without it every row would count as one package.

    Raises:
        InvalidInput: Names it, and how to leave it out.
    """
    for name in free:
        named = closeness("quantity", name) >= 1.0 and plain_name(name) not in _VAGUE
        if named and (values := sample[name].drop_nulls()).len() and _numbers(sample[name]) is None:
            raise InvalidInput(
                f"{source}: column {name}: got {_example(values)}; allowed: numbers, or --map quantity= to count every "
                "row as one package"
            )


def _check(found: Mapping[str, object], source: str, sample: pl.DataFrame) -> None:
    columns = sample.columns
    missing = [target for target in _REQUIRED if target not in found]
    if "unit_price" in missing and "line_total" in found:
        missing.remove("unit_price")
    if missing:
        needed = "; ".join(f"{target} ({TARGETS[target]})" for target in missing)
        other = " or line_total" if "unit_price" in missing else ""
        named = {name: target for target in missing for name in columns if closeness(target, name) >= 1.0}
        unfit = "".join(
            f"; {name} is called so, but holds {_example(sample[name])}" for name in named if sample[name].len()
        )
        hint = "; the file was read as one column: give --separator" if len(columns) == 1 else ""
        raise InvalidInput(
            f"{source}: no column for {needed}{other}; found: {brief(', '.join(columns), 500)}{unfit}{hint}; "
            f"name it with --map {missing[0]}=COLUMN"
        )


def _example(values: pl.Series) -> str:
    known = values.drop_nulls()
    shown = "nothing" if len(known) == 0 else repr(known[0]) if values.dtype == pl.String() else str(known[0])
    return shown if len(shown) <= 40 else shown[:37] + "..."
