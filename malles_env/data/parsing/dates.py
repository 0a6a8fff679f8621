"""Dates and times in any common writing, decided over the whole column; local clock time is kept."""

from __future__ import annotations

import polars as pl

from malles_env.errors import InvalidInput, brief, invalid

ORDERS = ("dmy", "mdy", "ymd")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_OFFSET = r"(\d:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
_TIME = r"[ ,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*([AaPp])?\.?(?:[Mm]\.?)?$"
_NUMERIC = r"^(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})$"
_EPOCHS = ((r"^\d{9,10}$", 1_000_000, "seconds"), (r"^\d{12,13}$", 1000, "milliseconds"),
           (r"^\d{15,16}$", 1, "microseconds"), (r"^\d{18,19}$", 0, "nanoseconds"))  # fmt: skip
_EXCEL_DAY = r"^[2-6]\d{4}(?:\.\d+)?$"
_ADVICE = "write 2024-12-31 18:30:00, or import the file with --date-format dmy, mdy or e.g. '%d/%m/%Y %H:%M'"


def read_times(values: pl.Series, *, field: str, date_format: str | None = None) -> tuple[pl.Series, str]:
    """Return local times and, in words, how they were read.

    Args:
        values: Texts, dates, times (a zone's local clock time is kept) or numbers (seconds or finer since 1970, which
            are UTC; days of Excel).
        field: What stands in errors.
        date_format: ``dmy``, ``mdy``, ``ymd`` or a format of strptime; default: decided over the whole column.

    Returns:
        Datetime in microseconds without a zone, null where a value is no date; and the reading.

    Raises:
        InvalidInput: Day and month cannot be distinguished, or change places within the column.
    """
    kind = values.dtype
    if isinstance(kind, pl.Datetime):
        zone = "" if kind.time_zone is None else f", local clock time of {kind.time_zone}"
        local = values.dt.replace_time_zone(None) if zone else values
        return local.cast(pl.Datetime("us")), f"times{zone}"
    if kind == pl.Date():
        return values.cast(pl.Datetime("us")), "dates without clock times"
    if kind.is_float():
        whole = values.cast(pl.Int64, strict=False).cast(pl.String)
        values = values.to_frame("v").select(
            pl.when(pl.col("v") == pl.col("v").round(0)).then(whole).otherwise(pl.col("v").cast(pl.String))
        ).to_series()  # fmt: skip
    texts = pl.DataFrame({"raw": values.cast(pl.String)})
    unique = texts.unique(maintain_order=True).drop_nulls()
    clean, offsets = _without_offset(unique["raw"])
    if date_format is not None and date_format not in ORDERS:
        times, words = _formatted(clean, date_format), f"as {date_format}"
    else:
        times, words = _decided(clean, date_format, field)
    if offsets:
        words += f"; offsets ({', '.join(offsets[:3])}) left off, so that the clock stays local"
        if set(offsets) <= {"Z", "UTC", "GMT", "+00:00", "+0000", "+00"}:
            words += ": it is UTC, give --time-zone for the stores' own"
    known = unique.with_columns(times.alias("time"))
    found = texts.join(known, on="raw", how="left", maintain_order="left")["time"]
    return found.alias(values.name), words


def looks_like_times(values: pl.Series, *, numbers: bool = False) -> bool:
    """Return whether nearly all values of a sample are dates, in whichever order of day and month.

    Args:
        values: The sample.
        numbers: Whether seconds since 1970 and days of Excel count as dates too.
    """
    if isinstance(values.dtype, pl.Datetime | pl.Date):
        return True
    if values.dtype == pl.Boolean() or (values.dtype.is_numeric() and not numbers):
        return False
    if values.dtype.is_float():
        return looks_like_times(values.cast(pl.Int64, strict=False), numbers=True)
    texts = _without_offset(values.cast(pl.String).drop_nulls().unique())[0]
    if len(texts) == 0:
        return False
    readings = [_times(texts, order) for order in ("dmy", "mdy")] + ([_epoch(texts)[0]] if numbers else [])
    return max(len(texts) - reading.null_count() for reading in readings) > 0.95 * len(texts)


def _without_offset(texts: pl.Series) -> tuple[pl.Series, list[str]]:
    frame = texts.to_frame("v")
    clean = pl.col("v").str.strip_chars().str.replace_all(r"\s+", " ")
    clean = clean.str.replace(r"^(?i)(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? ", "")
    clean = clean.str.replace(r"^(\S*\d)T(\d)", "$1 $2")
    offset = clean.str.extract(_OFFSET, 2)
    found = frame.select(clean.str.replace(_OFFSET, "$1").alias("v"), offset.alias("offset"))
    return found["v"], found["offset"].drop_nulls().unique().sort().to_list()


def _formatted(texts: pl.Series, date_format: str) -> pl.Series:
    if "%" not in date_format:
        raise invalid("--date-format", date_format, f"{', '.join(ORDERS)} or a format of strptime, e.g. '%d/%m/%Y'")
    try:
        return texts.str.to_datetime(date_format, time_unit="us", strict=False)
    except pl.exceptions.PolarsError as error:
        raise invalid("--date-format", date_format, f"a format of strptime ({brief(error)})") from None


def _decided(texts: pl.Series, order: str | None, field: str) -> tuple[pl.Series, str]:
    epoch, unit = _epoch(texts)
    if unit:
        return epoch, unit
    dates = texts.str.replace(_TIME, "")
    numeric, spelt = dates.str.contains(_NUMERIC), dates.str.contains(r"[A-Za-z]{3}")
    counts = {"year": int((~numeric & ~spelt).sum()), "numeric": int(numeric.sum()), "spelt": int(spelt.sum())}
    # One column has one writing: what is written in another way is not read, rather than guessed at.
    kind = max(counts, key=lambda name: counts[name])
    own = {"numeric": numeric, "spelt": spelt}.get(kind, ~numeric & ~spelt)
    words = {"year": "year first", "spelt": "month in words"}.get(kind, f"as {order}, as given")
    if kind == "numeric" and order is None:
        order, words = _order(dates.filter(numeric), field)
    times = pl.DataFrame({"time": _times(texts, order or "dmy"), "own": own})
    return times.select(pl.when("own").then("time")).to_series(), words


def _order(dates: pl.Series, field: str) -> tuple[str, str]:
    """Return which of the first two numbers is the day, by values above 12, and the reason in words."""
    first, second = (dates.str.extract(_NUMERIC, place).cast(pl.Int32) for place in (1, 2))
    day_first, month_first = dates.filter((first > 12) & (second <= 12)), dates.filter((second > 12) & (first <= 12))
    if len(day_first) and len(month_first):
        raise InvalidInput(
            f"{field}: got {day_first[0]!r} (day first) and {month_first[0]!r} (month first); allowed: one order; "
            + _ADVICE
        )
    if len(day_first):
        return "dmy", f"day first ({len(day_first):,} dates such as {day_first[0]!r} allow no other reading)"
    if len(month_first):
        return "mdy", f"month first ({len(month_first):,} dates such as {month_first[0]!r} allow no other reading)"
    doubtful = dates.filter(first != second)
    if len(doubtful):
        raise InvalidInput(
            f"{field}: got {doubtful[0]!r}, and no value of the column distinguishes day from month; allowed: {_ADVICE}"
        )
    return "dmy", "day and month are the same number throughout"


def _times(texts: pl.Series, order: str) -> pl.Series:
    """Return times under one order of day and month, null where a text is no date."""
    date, text = pl.col("v").str.replace(_TIME, ""), pl.col("v")
    plain = [date.str.extract(_NUMERIC, place).cast(pl.Int32, strict=False) for place in (1, 2, 3)]
    day, month = (plain[0], plain[1]) if order != "mdy" else (plain[1], plain[0])
    iso = r"^(\d{4})[-/. ](\d{1,2})[-/. ](\d{1,2})$"
    compact = r"^((?:19|20)\d{2})(\d{2})(\d{2})$"
    day_word = r"^(\d{1,2})[-/. ]*([A-Za-z]{3,9})[-/., ]+(\d{4}|\d{2})$"
    word_day = r"^([A-Za-z]{3,9})[-/., ]+(\d{1,2})[-/., ]+(\d{4}|\d{2})$"
    year = pl.coalesce(_part(date, iso, 1), _part(date, compact, 1), _century(plain[2]),
                       _century(_part(date, day_word, 3)), _century(_part(date, word_day, 3)))  # fmt: skip
    months = pl.coalesce(_part(date, iso, 2), _part(date, compact, 2), month,
                         _month(date, day_word, 2), _month(date, word_day, 1))  # fmt: skip
    days = pl.coalesce(_part(date, iso, 3), _part(date, compact, 3), day,
                       _part(date, day_word, 1), _part(date, word_day, 2))  # fmt: skip
    written = pl.format("{}-{}-{}", year, months.cast(pl.String).str.zfill(2), days.cast(pl.String).str.zfill(2))
    hour, minute = (_part(text, _TIME, place).fill_null(0) for place in (1, 2))
    second = _part(text, _TIME, 3).fill_null(0)
    fraction = text.str.extract(_TIME, 4).fill_null("0").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
    half = text.str.extract(_TIME, 5).str.to_lowercase()
    hour = pl.when(half == "p").then(hour % 12 + 12).when(half == "a").then(hour % 12).otherwise(hour)
    clock = pl.duration(hours=hour, minutes=minute, seconds=second, microseconds=fraction)
    valid = (hour < 24) & (minute < 60) & (second < 61)
    found = pl.when(valid).then(written.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")) + clock)
    return texts.to_frame("v").select(found.alias("time")).to_series()


def _part(text: pl.Expr, pattern: str, place: int) -> pl.Expr:
    return text.str.extract(pattern, place).cast(pl.Int32, strict=False)


def _century(year: pl.Expr) -> pl.Expr:
    """Return years of two digits as 1969 to 2068, as strptime does."""
    return pl.when(year >= 100).then(year).when(year < 69).then(year + 2000).otherwise(year + 1900)


def _month(text: pl.Expr, pattern: str, place: int) -> pl.Expr:
    numbers = {name: number for number, name in enumerate(_MONTHS, start=1)}
    word = text.str.extract(pattern, place).str.to_lowercase().str.slice(0, 3)
    return word.replace_strict(numbers, default=None, return_dtype=pl.Int32)


def _epoch(texts: pl.Series) -> tuple[pl.Series, str]:
    """Return numbers as times since 1970 or days of Excel, and which of these they are; all null where neither."""
    for pattern, factor, unit in _EPOCHS:
        if len(texts) and texts.str.contains(pattern).all():
            count = texts.cast(pl.Int64)
            micros = count * factor if factor else count // 1000
            return micros.cast(pl.Datetime("us")), (
                f"{unit} since 1970, which are UTC (give --time-zone for the stores' own clock)"
            )
    if len(texts) and texts.str.contains(_EXCEL_DAY).all():
        day = (texts.cast(pl.Float64) * 86_400).round(0).cast(pl.Int64) * 1_000_000
        zero = -25_569 * 86_400 * 1_000_000  # day 0 of Excel is 30 December 1899
        return (day + zero).cast(pl.Datetime("us")), "days of Excel"
    return pl.Series("time", [None] * len(texts), dtype=pl.Datetime("us")), ""
