"""Every row gets a store, a trip and a household; receipt numbers that were given to several are distinguished."""

from __future__ import annotations

import polars as pl

from malles_env.data.exports.cleaning.rules import guests
from malles_env.data.exports.findings import Finding
from malles_env.errors import InvalidInput


def with_trips(rows: pl.DataFrame, *, keep_guests: bool) -> tuple[pl.DataFrame, list[Finding]]:
    """Give every row a store, a trip and a household, and distinguish reused receipt numbers.

    Args:
        rows: The rows that are kept.
        keep_guests: Whether receipts without a customer become households of their own.

    Raises:
        InvalidInput: There is neither a customer nor a receipt.
    """
    findings: list[Finding] = []
    if "store_id" not in rows.columns:
        rows = rows.with_columns(store_id=pl.lit("all"))
    rows = rows.with_columns(pl.col("store_id").fill_null("unknown"))
    if "household_id" not in rows.columns:
        rows = rows.with_columns(household_id=pl.lit(None, pl.String))
    guest = guests(rows)
    if "basket_id" not in rows.columns or rows["basket_id"].null_count():
        rows, finding = _made_trips(rows)
        findings.append(finding)
    rows, reused = _distinguished(rows, guest)
    findings += reused
    if keep_guests:
        single = pl.format("guest {}", pl.col("basket_id"))
        rows = rows.with_columns(pl.when(guest).then(single).otherwise("household_id").alias("household_id"))
    return rows, findings


def _made_trips(rows: pl.DataFrame) -> tuple[pl.DataFrame, Finding]:
    if rows["household_id"].null_count() == len(rows):
        raise InvalidInput(
            "neither a customer nor a receipt is named; needed: --map household_id=COLUMN or basket_id=COLUMN"
        )
    made = pl.format("{} {} {}", pl.col("household_id").fill_null("guest"), "store_id", "timestamp")
    known = pl.col("basket_id") if "basket_id" in rows.columns else pl.lit(None, pl.String)
    missing = len(rows) if "basket_id" not in rows.columns else rows["basket_id"].null_count()
    rows = rows.with_columns(pl.coalesce(known, made).alias("basket_id"))
    return rows, Finding("no_receipts", missing, "mended", 0, "rows of one household, store and moment are one trip")


def _distinguished(rows: pl.DataFrame, guest: pl.Expr) -> tuple[pl.DataFrame, list[Finding]]:
    """Add household, store and day to receipt numbers that were given to several."""
    time = pl.col("timestamp")
    own = pl.when(~guest.fill_null(True)).then("household_id")
    trips = rows.group_by("basket_id").agg(
        own.drop_nulls().n_unique().alias("households"), pl.col("store_id").n_unique().alias("stores"),
        ((time.max() - time.min()).dt.total_hours() >= 24).alias("days"), pl.col("household_id").first().alias("first"),
    )  # fmt: skip
    reused = trips.filter((pl.col("households") > 1) | (pl.col("stores") > 1) | pl.col("days"))
    if len(reused) == 0:
        return rows, []
    first = reused.sort("basket_id").row(0, named=True)
    why = [f"{first['households']} households"] if first["households"] > 1 else []
    why += [f"{first['stores']} stores"] if first["stores"] > 1 else []
    why += ["several days"] if first["days"] else []
    apart = pl.format(
        "{} / {} / {} / {}", "basket_id", pl.col("household_id").fill_null("guest"), "store_id", time.dt.date()
    )
    again = pl.col("basket_id").is_in(reused["basket_id"].implode())
    rows = rows.with_columns(pl.when(again).then(apart).otherwise("basket_id").alias("basket_id"))
    finding = Finding(
        "reused_receipts", len(reused), "mended", 0, "a number of several households, stores or days is split by these",
        unit="receipts", example=f"{first['basket_id']} has {', '.join(why)}",
    )  # fmt: skip
    return rows, [finding]
