"""Rules by which rows of an export are no purchases, or not ones that can be used; each is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from malles_env.data.exports.choices import ImportChoices
from malles_env.data.exports.cleaning.notes import is_guest, is_note
from malles_env.data.exports.findings import Action, Finding
from malles_env.data.exports.reading.joins import FILE, ROW
from malles_env.data.exports.reading.names import UNDONE
from malles_env.data.far_prices import far_prices, rule_words
from malles_env.data.log.schema import HIGHEST_PRICE, LOWEST_PRICE
from malles_env.errors import InvalidInput

GUEST_SHARE, GUEST_RATIO, GUEST_OTHERS = 0.2, 10, 20
"""One id is a stand-in for many people when it has this share of all trips and this many times those of the next, among
this many ids at least."""


APART, FEW, FEWER = 730, 0.01, 10
"""Days without a row that set dates apart; the share of rows up to which such dates, or one of them, are a slip; and
how many times as many the others are."""
_CREDIT = r"^[Cc]-?\d+$"
_KEEP_DATES = "--keep-far-dates keeps them"


@dataclass(frozen=True)
class _Rule:
    """Rows to which a rule applies, whether they are dropped, and the option that does otherwise."""

    name: str
    bad: pl.Expr
    words: str
    drop: bool = True
    option: str = ""
    refused: bool = False


def apply_rules(rows: pl.DataFrame, choices: ImportChoices, sources: list[str]) -> tuple[pl.Series, list[Finding]]:
    """Decide which rows are left out.

    Args:
        rows: Typed rows.
        choices: Which rules drop.
        sources: File names, for errors.

    Returns:
        The name of the rule that drops each row, null where it is kept [n]; and a finding per rule that applies to any.

    Raises:
        InvalidInput: A row that the tables cannot hold and that shall not be dropped.
    """
    reason = pl.Series("reason", [None] * len(rows), dtype=pl.String)
    findings: list[Finding] = []
    for rule in _rules(rows, choices):
        bad = rows.select(rule.bad.fill_null(False).alias("bad")).to_series()
        found = int(bad.sum())
        if found == 0:
            continue
        if rule.refused:
            raise InvalidInput(f"{_where(rows, bad, sources)}: {rule.words}; allowed: none, or {rule.option}")
        fresh = bad & reason.is_null() if rule.drop else pl.Series([False] * len(rows))
        reason = reason.set(fresh, rule.name) if fresh.any() else reason
        done: Action = "dropped" if rule.drop else "kept"
        advice = "" if rule.name in ("returns", "zero_prices", "fractions") else rule.option
        example = _example(rows, bad)
        findings.append(Finding(rule.name, found, done, int(fresh.sum()), rule.words, example=example, advice=advice))
    reason, mistyped = _mistyped(rows, reason, choices)
    return reason, findings + mistyped


def _rules(rows: pl.DataFrame, choices: ImportChoices) -> Iterator[_Rule]:
    """Yield the rules in the order in which they take rows."""
    price, quantity = pl.col("unit_price"), pl.col("quantity")
    missing = pl.col("timestamp").is_null() | quantity.is_null() | (price.is_null() & (quantity != 0))
    unreadable = missing | (price.abs() > HIGHEST_PRICE)
    yield _Rule("unreadable", unreadable, "a date, quantity or price is missing or cannot be read")
    words = f"a date {APART // 365} years or more away from all others"
    yield _Rule("far_dates", pl.lit(_far_dates(rows["timestamp"])), words, choices.drop_far_dates, _KEEP_DATES)
    if choices.currency is not None and "currency" in rows.columns and rows["currency"].n_unique() > 1:
        other = pl.col("currency") != choices.currency.strip().upper()
        yield _Rule("other_currency", other, f"a price in another currency than {choices.currency}")
    yield _Rule("no_product", pl.col("product_id").is_null(), "no product is named")
    if "title" in rows.columns:
        words = "the title is a note, a charge or no word, not a product"
        yield _Rule("notes", _notes(rows), words, choices.drop_notes, "--keep-notes keeps them")
    words = "negative quantity, or a receipt or status of returns and cancellations"
    yield _refusable("returns", (quantity < 0) | _undone(rows), words, choices.drop_returns)
    zero = (price < LOWEST_PRICE) | (quantity == 0)
    words = "price or quantity of zero, or a negative price"
    yield _refusable("zero_prices", zero, words, choices.drop_zero_prices)
    words = "no customer, or an id that stands for many"
    alone = "--keep-guests makes each receipt a household of its own, without a history"
    yield _Rule("guests", guests(rows), words, choices.drop_guests, alone)
    weighed = quantity != quantity.round(0)
    yield _refusable("fractions", weighed, "quantity is no whole number (weighed goods)", choices.drop_fractions)
    yield from _repeats(rows, choices)


def _far_dates(times: pl.Series) -> pl.Series:
    """Return whether a date lies far from all others [n]: a slip of the year, or a zero of some system."""
    days = times.dt.date().drop_nulls().sort()
    if len(days) == 0:
        return pl.Series([False] * len(times))
    group = (days.diff().dt.total_days() >= APART).fill_null(False).cum_sum()
    sizes = pl.DataFrame({"day": days, "group": group}).group_by("group").agg(
        pl.len().alias("rows"), pl.col("day").min().alias("first"), pl.col("day").max().alias("last")
    )  # fmt: skip
    main = sizes.sort(["rows", "last"], descending=True).row(0, named=True)
    apart = len(days) - main["rows"]
    if apart > max(FEW * len(days), 1) or FEWER * apart > main["rows"]:
        return pl.Series([False] * len(times))
    return ~times.dt.date().is_between(main["first"], main["last"]).fill_null(True)


def _undone(rows: pl.DataFrame) -> pl.Expr:
    """Return whether a row's status says that it is no sale, or its receipt is C1234 where others are 1234."""
    undone = pl.lit(False)
    if "status" in rows.columns:
        undone |= pl.col("status").str.contains(UNDONE).fill_null(False)
    if "basket_id" in rows.columns:
        receipts = rows["basket_id"].drop_nulls()
        credit = receipts.str.contains(_CREDIT)
        if credit.any() and (receipts.filter(~credit).str.contains(r"^\d+$").mean() or 0.0) > 0.8:  # type: ignore[operator]
            undone |= pl.col("basket_id").str.contains(_CREDIT).fill_null(False)
    return undone


def _refusable(name: str, bad: pl.Expr, words: str, drop: bool) -> _Rule:
    """Return a rule on rows that the tables cannot hold: dropped or refused."""
    return _Rule(name, bad, words, drop, f"--drop-{name.replace('_', '-')}", refused=not drop)


def _notes(rows: pl.DataFrame) -> pl.Expr:
    """Return whether a row's title, or its product's usual title, is no product's name."""
    titles = rows.select("product_id", "title").drop_nulls().group_by("product_id", "title").len()
    usual = titles.sort("len", "title", descending=[True, False]).unique("product_id", keep="first")
    notes = usual.filter(is_note(pl.col("title"), pl.col("product_id")))["product_id"]
    return is_note(pl.col("title"), pl.col("product_id")) | pl.col("product_id").is_in(notes.implode())


def guests(rows: pl.DataFrame) -> pl.Expr:
    """Return whether a row has no customer, or one id that stands for many."""
    if "household_id" not in rows.columns:
        return pl.lit(True)
    household = pl.col("household_id")
    trip = pl.col("basket_id") if "basket_id" in rows.columns else pl.col("timestamp")
    trips = rows.filter(household.is_not_null()).group_by("household_id").agg(trip.n_unique().alias("trips"))
    trips = trips.sort("trips", descending=True)
    named = is_guest(household)
    if len(trips) >= GUEST_OTHERS:
        first, second = int(trips["trips"][0]), int(trips["trips"][1])
        if first > GUEST_SHARE * int(trips["trips"].sum()) and first > GUEST_RATIO * second:
            return named | (household == trips["household_id"][0])
    return named


def _repeats(rows: pl.DataFrame, choices: ImportChoices) -> Iterator[_Rule]:
    own = [name for name in rows.columns if name not in (FILE, ROW)]
    hashed = rows.select(pl.struct(own).hash().alias("key"), FILE)
    first = pl.col(FILE).min().over("key")
    several = rows[FILE].n_unique() > 1
    if several:
        later = hashed.select((pl.col(FILE) > first).alias("bad")).to_series()
        yield _Rule("overlaps", pl.lit(later), "the same row stands in an earlier file", True, "")
    again = hashed.select((~pl.struct("key", FILE).is_first_distinct()).alias("bad")).to_series()
    words = "a row equals another one of its file in every column that is used"
    scanned = "several packages scanned one by one look like this; --drop-repeated leaves them out"
    drop = choices.drop_repeated
    yield _Rule("repeated_rows", pl.lit(again), words, drop, "--keep-repeated keeps them" if drop else scanned)


def _mistyped(rows: pl.DataFrame, reason: pl.Series, choices: ImportChoices) -> tuple[pl.Series, list[Finding]]:
    """Drop prices far from their product's median, taken over the rows that are left."""
    bad = far_prices(rows, choices.price_factor, reason.is_null())
    found, drop = int(bad.sum()), choices.drop_mistyped
    if found == 0:
        return reason, []
    words = rule_words(choices.price_factor)
    kept_words = "they widen price bounds; --drop-mistyped leaves them out"
    advice = "--keep-mistyped keeps them; --price-factor moves the limit" if drop else kept_words
    finding = Finding(
        "mistyped_prices", found, "dropped" if drop else "kept", found if drop else 0, words,
        example=_example(rows, bad), advice=advice, warn=not drop,
    )  # fmt: skip
    return (reason.set(bad, "mistyped_prices") if drop else reason), [finding]


def _where(rows: pl.DataFrame, bad: pl.Series, sources: list[str]) -> str:
    row = int(bad.arg_true()[0])
    return f"{sources[int(rows[FILE][row])]}: row {rows[ROW][row]} ({_example(rows, bad)})"


def _example(rows: pl.DataFrame, bad: pl.Series) -> str:
    row = rows.row(int(bad.arg_true()[0]), named=True)
    name = row.get("title") or row["product_id"] or "no product"
    quantity = "?" if row["quantity"] is None else f"{row['quantity']:g}"
    price = "?" if row["unit_price"] is None else f"{row['unit_price']:.4g}"
    return f"row {row[ROW]}: {name[:40]}, {quantity} x {price}, household {row.get('household_id') or 'none'}"
