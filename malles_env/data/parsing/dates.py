"""Dates and times in any common writing, decided over the whole column; local clock time is kept."""

from __future__ import annotations

import polars as pl

from malles_env.data.parsing.numbers import plain_digits
from malles_env.errors import InvalidInput, brief, invalid

ORDERS = ("dmy", "mdy", "ymd")
_MONTHS = {
    beginning: number
    for number, beginnings in enumerate(
        ("jan jän ene gen", "feb fév fev", "mar mär mrz mrt", "apr avr abr", "may mai maj mei mag", "jun juin giu",
         "jul juil lug", "aug aoû aou ago", "sep set", "oct okt out ott", "nov", "dec déc dez dic"), start=1,
    )
    for beginning in beginnings.split()
}  # fmt: skip
"""Beginnings of the months' names in English, German, French, Spanish, Italian, Portuguese and Dutch."""
_MONTH = f"^({'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_OFFSET = r"(\d:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*((?:[A-Z]{3,5})?(?:Z|[+-]\d{1,2}(?::?\d{2})?)?(?:\[[\w/+-]+\])?)$"
_UTC = {"Z", "UTC", "GMT", "+00:00", "+0000", "+00", "Z[UTC]", "+00:00[UTC]"}
_CLOCK = r"((?:19|20)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]) ?([01]\d|2[0-3])([0-5]\d)"
_TIME = r"[ ,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*([AaPp])?\.?(?:[Mm]\.?)?$"
_NUMERIC = r"^(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})$"
_EPOCHS = ((r"^[0-9]{9,10}$", 1_000_000, "seconds"), (r"^[0-9]{12,13}$", 1000, "milliseconds"),
           (r"^[0-9]{15,16}$", 1, "microseconds"), (r"^[0-9]{18,19}$", 0, "nanoseconds"))  # fmt: skip
_EXCEL_DAY = r"^[2-6][0-9]{4}(?:[.,][0-9]+)?$"
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
        as_written = plain_digits(unique["raw"]).str.strip_chars()
        times, words = _formatted(as_written, date_format), f"as {date_format}"
        times = times.to_frame("t").select(pl.col("t").fill_null(_formatted(clean, date_format))).to_series()
    else:
        times, words = _decided(clean, date_format, field)
    if offsets:
        words += f"; offsets ({', '.join(offsets[:3])}) left off, so that the clock stays local"
        if set(offsets) <= _UTC:
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


def clock_texts(values: pl.Series) -> pl.Series:
    """Return clock times as texts such as 18:30: without the day that Excel gives them, and parts of a day as times.

    Args:
        values: Texts, times or numbers.
    """
    text = plain_digits(values.cast(pl.String).str.strip_chars()).rename("v")
    part = pl.when(pl.col("v").str.contains(r"^0?[.,][0-9]+$")).then(pl.col("v").str.replace(",", ".", literal=True))
    seconds = (part.cast(pl.Float64, strict=False) * 86_400).round(0).cast(pl.Int64)
    clock = (pl.lit(0).cast(pl.Datetime("us")) + pl.duration(seconds=seconds)).dt.strftime("%H:%M:%S")
    dated = pl.col("v").str.replace(r"^(?:1899-12-3[01]|1900-01-0[01]|1904-01-01|3[01]/12/1899)[ T]", "")
    return text.to_frame().select(pl.coalesce(clock, dated).alias(values.name)).to_series()


def _without_offset(texts: pl.Series) -> tuple[pl.Series, list[str]]:
    frame = plain_digits(texts).to_frame("v")
    clean = pl.col("v").str.strip_chars().str.replace_all(r"\s+", " ").str.replace_all(" de ", " ", literal=True)
    clean = clean.str.replace(r"^(?i)(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? ", "")
    clean = clean.str.replace(r"^(\S*\d)T(\d)", "$1 $2").str.replace(r"(?i)(:\d{2}) ?(?:uhr|hrs?|h)$", "$1")
    clean = clean.str.replace(rf"^{_CLOCK}([0-5]\d)(\D.*)?$", "$1-$2-$3 $4:$5:$6$7")
    clean = clean.str.replace(rf"^{_CLOCK}$", "$1-$2-$3 $4:$5").str.replace(r"^(\d+)\.0+$", "$1")
    offset = clean.str.extract(_OFFSET, 2).replace("", None)
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
    numeric, spelt = dates.str.contains(_NUMERIC), dates.str.contains(r"\p{L}{3}")
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
    first, second = (dates.str.extract(_NUMERIC, place).cast(pl.Int32, strict=False) for place in (1, 2))
    if _year_first(dates, field):
        return "ymd", f"year first (dates such as {dates[0]!r} lie closer together than with the year last)"
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


def _year_first(dates: pl.Series, field: str) -> bool:
    """Return whether dates of three short numbers begin with the year: read so, they lie much closer together.

    Raises:
        InvalidInput: The dates do not decide.
    """
    readings = {order: _times(dates, order) for order in ORDERS}
    whole = {order: times for order, times in readings.items() if times.null_count() == 0}
    if "ymd" not in whole:
        return False
    spans = {order: (times.max() - times.min()).days for order, times in whole.items()}  # type: ignore[operator, union-attr]
    own, other = spans.pop("ymd"), min(spans.values(), default=None)
    if other is None or 4 * own < other:
        return True
    if 4 * other < own or not dates.str.contains("-", literal=True).all():  # 31.12.24 and 12/31/24 end in the year
        return False
    raise InvalidInput(
        f"{field}: got {dates[0]!r}, and no value of the column distinguishes year from day; allowed: {_ADVICE}"
    )


def _times(texts: pl.Series, order: str) -> pl.Series:
    """Return times under one order of day and month, null where a text is no date."""
    date, text = pl.col("v").str.replace(_TIME, ""), pl.col("v")
    plain = [date.str.extract(_NUMERIC, place).cast(pl.Int32, strict=False) for place in (1, 2, 3)]
    day, month, short = {"dmy": plain, "mdy": [plain[1], plain[0], plain[2]], "ymd": plain[::-1]}[order]
    iso = r"^(\d{4})[-/. ](\d{1,2})[-/. ](\d{1,2})$"
    compact = r"^((?:19|20)\d{2})(\d{2})(\d{2})$"
    day_word = r"^(\d{1,2})[-/. ]*(\p{L}{3,10})[-/., ]+(\d{4}|\d{2})$"
    word_day = r"^(\p{L}{3,10})[-/., ]+(\d{1,2})[-/., ]+(\d{4}|\d{2})$"
    year = pl.coalesce(_part(date, iso, 1), _part(date, compact, 1), _century(short),
                       _century(_part(date, day_word, 3)), _century(_part(date, word_day, 3)))  # fmt: skip
    months = pl.coalesce(_part(date, iso, 2), _part(date, compact, 2), month,
                         _month(date, day_word, 2), _month(date, word_day, 1))  # fmt: skip
    days = pl.coalesce(_part(date, iso, 3), _part(date, compact, 3), day,
                       _part(date, day_word, 1), _part(date, word_day, 2))  # fmt: skip
    written = pl.format("{}-{}-{}", year, months.cast(pl.String).str.zfill(2), days.cast(pl.String).str.zfill(2))
    hour, minute = (_part(text, _TIME, place).fill_null(0) for place in (1, 2))
    second = _part(text, _TIME, 3).fill_null(0)
    fraction = (
        text.str.extract(_TIME, 4).fill_null("0").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64, strict=False)
    )
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
    word = text.str.extract(pattern, place).str.to_lowercase().str.extract(_MONTH, 1)
    return word.replace_strict(_MONTHS, default=None, return_dtype=pl.Int32)


def _epoch(texts: pl.Series) -> tuple[pl.Series, str]:
    """Return numbers as times since 1970 or days of Excel, and which of these they are; all null where neither."""
    for pattern, factor, unit in _EPOCHS:
        if len(texts) and texts.str.contains(pattern).all():
            count = texts.cast(pl.Int64, strict=False)
            micros = count * factor if factor else count // 1000
            return micros.cast(pl.Datetime("us")), (
                f"{unit} since 1970, which are UTC (give --time-zone for the stores' own clock)"
            )
    if len(texts) and texts.str.contains(_EXCEL_DAY).all():
        day = (texts.str.replace(",", ".", literal=True).cast(pl.Float64) * 86_400).round(0).cast(pl.Int64) * 1_000_000
        zero = -25_569 * 86_400 * 1_000_000  # day 0 of Excel is 30 December 1899
        return (day + zero).cast(pl.Datetime("us")), "days of Excel"
    return pl.Series("time", [None] * len(texts), dtype=pl.Datetime("us")), ""
