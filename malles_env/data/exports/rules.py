"""Rules by which rows of an export are no purchases, or not ones that can be used; each is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from malles_env.data.exports.choices import ImportChoices
from malles_env.data.exports.findings import Finding
from malles_env.data.exports.joins import FILE, ROW
from malles_env.errors import InvalidInput

SOLD = 5
"""Sales of a product from which its median price means something."""
GUEST_SHARE, GUEST_RATIO, GUEST_OTHERS = 0.2, 10, 20
"""One id is a stand-in for many people when it has this share of all trips and this many times those of the next, among
this many ids at least."""
_GUEST = r"^(?i)(?:guest|guests|gast|anonymous|anonym|unknown|unbekannt|walk[ -]?in(?: customer)?|cash(?: customer)?|none|null|nan|n/?a|undefined|-)$"
_CHARGE = (
    r"^(?i)(?:\S+ ){0,2}(?:postage|shipping(?: costs?| fees?)?|freight|delivery(?: costs?| fees?| charges?)?|bank charges?|fees?|"
    r"commission|surcharge|bad debt|gift (?:card|voucher)(?: .{1,10})?|gutschein|versand(?:kosten)?|porto|pfand|rabatt|"
    r"frais de port|livraison|remise|gastos de env[ií]o|bag charge|bottle deposit)$"
)
_NOTE = (
    r"^(?i)(?:manual|carriage|samples?|discount|adjust(?:ment|ed)?(?: .{0,30})?|check(?:ed)?\??|damage[sd]?(?: .{0,20})?|lost|missing|found|"
    r"refund|returned?|rounding|tips?|test|deposit|thrown away.*|wrongly .*|amazon|ebay|mouldy.*|broken|faulty|"
    r"sold as .*|write[- ]?off.*|stock ?(?:take|check|adjust.*)|mailout|counted|dotcom(?: .{0,15})?|barcode problem|mix ?up.*)$"
)
_NO_LETTER = r"^[^\p{L}]*$"


@dataclass(frozen=True)
class _Rule:
    """Rows to which a rule applies, and whether they are dropped; `option` keeps or refuses them."""

    name: str
    bad: pl.Expr
    words: str
    drop: bool
    option: str
    refused: bool = False


def apply_rules(rows: pl.DataFrame, choices: ImportChoices, sources: list[str]) -> tuple[pl.Series, list[Finding]]:
    """Decide which rows are left out.

    Args:
        rows: Typed rows; `charge` and `note` are added here.
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
        done = "dropped" if rule.drop else "kept"
        findings.append(
            Finding(rule.name, found, done, int(fresh.sum()), rule.words, example=_example(rows, bad), advice=rule.option)
        )
    reason, mistyped = _mistyped(rows, reason, choices)
    return reason, findings + mistyped


def _rules(rows: pl.DataFrame, choices: ImportChoices) -> Iterator[_Rule]:
    """Yield the rules in the order in which they take rows."""
    price, quantity = pl.col("unit_price"), pl.col("quantity")
    needed = pl.col("timestamp").is_null() | quantity.is_null() | (price.is_null() & (quantity != 0))
    yield _Rule("unreadable", needed | price.is_infinite() | quantity.is_infinite(),
                "a date, quantity or price is missing or cannot be read", True, "")  # fmt: skip
    yield _Rule("no_product", pl.col("product_id").is_null(), "no product is named", True, "")
    if "title" in rows.columns:
        note = _notes(rows)
        kept = "--keep-notes keeps them" if choices.drop_notes else ""
        yield _Rule("notes", note, "the title is a note, a charge or no word, not a product", choices.drop_notes, kept)
    yield _Rule("returns", quantity < 0, "negative quantity", choices.drop_returns,
                "--drop-returns leaves them out" if not choices.drop_returns else "", not choices.drop_returns)  # fmt: skip
    yield _Rule("zero_prices", (price <= 0) | (quantity == 0), "price or quantity of zero or a negative price",
                choices.drop_zero_prices, "--drop-zero-prices leaves them out" if not choices.drop_zero_prices else "",
                not choices.drop_zero_prices)  # fmt: skip
    yield _Rule("guests", guests(rows), "no customer, or an id that stands for many", choices.drop_guests,
                "--keep-guests makes each receipt a household of its own, without a history" if choices.drop_guests
                else "each receipt is a household of its own, without a history")  # fmt: skip
    yield _Rule("fractions", quantity != quantity.round(0), "quantity is no whole number (weighed goods)",
                choices.drop_fractions, "" if choices.drop_fractions else "--drop-fractions leaves them out",
                not choices.drop_fractions)  # fmt: skip
    yield from _repeats(rows, choices)


def _notes(rows: pl.DataFrame) -> pl.Expr:
    """Return whether a row's title, or its product's usual title, is no product's name."""
    titles = rows.select("product_id", "title").drop_nulls().group_by("product_id", "title").len()
    usual = titles.sort("len", "title", descending=[True, False]).unique("product_id", keep="first")
    told = usual.filter(_is_note(pl.col("title")))["product_id"]
    return _is_note(pl.col("title")) | pl.col("product_id").is_in(told.implode())


def _is_note(title: pl.Expr) -> pl.Expr:
    text = title.str.strip_chars(" .!?*")
    note = text.str.contains(_NO_LETTER) | text.str.contains(_NOTE) | text.str.contains(_CHARGE)
    # A product may be called by a number of its own where its code is its title.
    return note & (title != pl.col("product_id"))


def guests(rows: pl.DataFrame) -> pl.Expr:
    """Return whether a row has no customer, or one id that stands for many."""
    if "household_id" not in rows.columns:
        return pl.lit(True)
    household = pl.col("household_id")
    trip = pl.col("basket_id") if "basket_id" in rows.columns else pl.col("timestamp")
    trips = rows.filter(household.is_not_null()).group_by("household_id").agg(trip.n_unique().alias("trips"))
    trips = trips.sort("trips", descending=True)
    named = household.is_null() | household.str.contains(_GUEST)
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
    drop = choices.drop_repeated
    yield _Rule("repeated_rows", pl.lit(again), "a row equals another one of its file in every column that is used", drop,
                "" if drop else "several packages scanned one by one look like this; --drop-repeated leaves them out")  # fmt: skip


def _mistyped(rows: pl.DataFrame, reason: pl.Series, choices: ImportChoices) -> tuple[pl.Series, list[Finding]]:
    """Drop prices far from their product's median, taken over the rows that are left."""
    factor, price = choices.price_factor, pl.col("unit_price")
    kept = rows.select("product_id", "unit_price").with_columns(left=reason.is_null())
    left = pl.when("left").then(price)
    ratio = price / left.median().over("product_id")
    enough = pl.col("left").sum().over("product_id") >= SOLD
    bad = kept.select((pl.col("left") & enough & ((ratio > factor) | (ratio < 1 / factor))).fill_null(False).alias("bad"))["bad"]
    found = int(bad.sum())
    if found == 0:
        return reason, []
    words = f"price more than {factor:g} times above or below its product's median ({SOLD} sales or more)"
    finding = Finding(
        "mistyped_prices", found, "dropped" if choices.drop_mistyped else "kept", found if choices.drop_mistyped else 0,
        words, example=_example(rows, bad), advice="--keep-mistyped keeps them; --price-factor moves the limit"
        if choices.drop_mistyped else "they widen price bounds; --drop-mistyped leaves them out", warn=not choices.drop_mistyped,
    )  # fmt: skip
    return (reason.set(bad, "mistyped_prices") if choices.drop_mistyped else reason), [finding]


def _where(rows: pl.DataFrame, bad: pl.Series, sources: list[str]) -> str:
    row = int(bad.arg_true()[0])
    return f"{sources[int(rows[FILE][row])]}: row {rows[ROW][row]} ({_example(rows, bad)})"


def _example(rows: pl.DataFrame, bad: pl.Series) -> str:
    row = rows.row(int(bad.arg_true()[0]), named=True)
    name = row.get("title") or row["product_id"] or "no product"
    quantity = "?" if row["quantity"] is None else f"{row['quantity']:g}"
    price = "?" if row["unit_price"] is None else f"{row['unit_price']:.4g}"
    return f"row {row[ROW]}: {name[:40]}, {quantity} x {price}, household {row.get('household_id') or 'none'}"
