"""On which weekday do prices change, and do the log's periods start there?"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from malles_env.data.checks.agreement import FEW, TOLERANCE, Agreement, agreement
from malles_env.data.checks.report import Check, graded, skipped
from malles_env.files import json_plain

WARN, ERROR = 0.02, 0.06
"""Agreement lost against weeks that start on the best weekday."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAME = "detected_period"


def change_rates(transactions: pl.DataFrame) -> tuple[list[float], int]:
    """Return how often a product's median price of the day differs from the day before, by weekday.

    Args:
        transactions: Canonical transactions.

    Returns:
        Seven shares, Monday (from the trading day before) first, NaN where no product sold on both days; and the number
        of comparisons of the open weekday with the fewest.
    """
    days = (
        transactions.group_by("product_id", pl.col("timestamp").dt.date().alias("day"))
        .agg(pl.col("unit_price").median().alias("price"))
        .sort("product_id", "day")
    )
    # The day before is the last one on which anything sold: a shop may be closed on Sundays.
    days = days.with_columns(pl.col("day").rank("dense").cast(pl.Int64).alias("place"))
    before, last = pl.col("price").shift(1).over("product_id"), pl.col("place").shift(1).over("product_id")
    pairs = days.with_columns(before.alias("before"), last.alias("last")).filter(pl.col("place") - pl.col("last") == 1)
    changed = (pl.col("price") / pl.col("before") - 1).abs() > TOLERANCE
    rates = pairs.group_by(pl.col("day").dt.weekday().alias("weekday")).agg(changed.mean().alias("rate"), pl.len())
    found = {day: (rate, count) for day, rate, count in rates.iter_rows()}
    shares = [float(found.get(day, (math.nan, 0))[0]) for day in range(1, 8)]
    return shares, min((int(found.get(day, (0.0, 0))[1]) for day in _open_days(transactions)), default=0)


def _open_days(transactions: pl.DataFrame) -> list[int]:
    """Return the weekdays (1 = Monday) on which the shop trades in half the weeks or more of the busiest weekday."""
    days = transactions.select(pl.col("timestamp").dt.date().unique().alias("day"))
    counts = days.group_by(pl.col("day").dt.weekday().alias("weekday")).len()
    return counts.filter(pl.col("len") * 2 >= pl.col("len").max())["weekday"].sort().to_list()


def week_agreements(transactions: pl.DataFrame) -> list[Agreement]:
    """Return the agreement of prices within weeks that start on Monday, Tuesday, ... Sunday."""
    day = pl.col("timestamp").dt.date()
    return [agreement(transactions, day.dt.offset_by(f"-{start}d").dt.truncate("1w")) for start in range(7)]


def period_start(transactions: pl.DataFrame) -> int | None:
    """Return the weekday (0 = Monday) on which the log's periods start; None where they are no weeks."""
    days = transactions.group_by("period").agg(
        pl.col("timestamp").dt.date().min().alias("first"), pl.col("timestamp").dt.date().max().alias("last")
    )
    days = days.sort("period")
    if len(days) < 3 or bool((days["first"] < days["last"].shift(1)).any()):
        return None
    # Quiet first days would hide a start, so the weekday that most periods begin with decides; the first may be cut.
    starts = days["first"][1:]
    lengths = starts.diff().drop_nulls().dt.total_days()
    if abs(float(np.median(lengths.to_numpy())) - 7) > 0.5:
        return None
    return int(np.bincount(starts.dt.weekday().to_numpy() - 1, minlength=7).argmax())


def check_period(transactions: pl.DataFrame) -> Check:
    """Warn where weeks that start on another day would have more agreeing prices.

    Args:
        transactions: Canonical transactions with `period`.
    """
    rates, fewest = change_rates(transactions)
    shifted = week_agreements(transactions)
    own, start = agreement(transactions), period_start(transactions)
    if fewest < FEW or own.cells < FEW:
        return skipped(NAME, f"only {fewest} times a weekday did a product sell on two days running")
    if start is None:
        return skipped(NAME, "the log's periods are not weeks", "Make sure that a period starts when prices change.")
    best = int(np.argmax([week.share for week in shifted]))
    lost = shifted[best].share - own.share
    changes = int(np.nanargmax(rates))
    return Check(
        NAME,
        lost,
        WARN,
        graded(lost, WARN, ERROR),
        f"periods start on {WEEKDAYS[start]} ({own.share:.1%} of cells have one price); most prices change "
        f"on {WEEKDAYS[changes]} ({rates[changes]:.0%} against {_others(rates, changes):.0%} on other days), most "
        f"agree in weeks from {WEEKDAYS[best]} ({shifted[best].share:.1%}): {max(lost, 0.0):.1%} lost",
        f"Number the periods anew, as weeks that start on {WEEKDAYS[best]}.",
        {
            "assumed_start": WEEKDAYS[start],
            "most_changes": WEEKDAYS[changes],
            "most_agreement": WEEKDAYS[best],
            "change_rate": json_plain(dict(zip(WEEKDAYS, rates, strict=True))),
            "agreement": json_plain({day: week.share for day, week in zip(WEEKDAYS, shifted, strict=True)}),
            "agreement_of_periods": own.share,
        },
    )


def _others(rates: list[float], but: int) -> float:
    return float(np.nanmean([rate for day, rate in enumerate(rates) if day != but]))
