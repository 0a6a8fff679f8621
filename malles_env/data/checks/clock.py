"""Do the clock times look like shopping hours, and is the log in local time?"""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from malles_env.data.checks.report import Check, graded, skipped
from malles_env.data.log.tables import Tables
from malles_env.errors import invalid

NIGHT = 5
"""Hours from midnight on in which few shop."""
WARN, ERROR = 0.05, 0.15
BETTER = 0.5
"""A shift is suggested when it leaves less than this share of the night trips."""


def in_time_zone(tables: Tables, zone: str) -> Tables:
    """Return the tables with timestamps that were UTC converted to local time.

    Args:
        tables: Canonical tables; `transactions.timestamp` without a zone.
        zone: Name of the stores' zone, e.g. ``America/New_York``.

    Raises:
        InvalidInput: No such zone.
    """
    times = local_times(tables.transactions["timestamp"], zone)
    return replace(tables, transactions=tables.transactions.with_columns(times.alias("timestamp")))


def local_times(times: pl.Series, zone: str) -> pl.Series:
    """Return times that were UTC by the clock of a zone.

    Args:
        times: Without a zone.
        zone: Name of the tz database.

    Raises:
        InvalidInput: No such zone.
    """
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise invalid("time zone", zone, "a name of the tz database, e.g. America/New_York") from None
    return times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(None)


def check_clock(transactions: pl.DataFrame) -> Check:
    """Warn where many trips fall into the night, and say by which shift fewer would.

    Args:
        transactions: Canonical transactions.
    """
    name = "clock"
    trips = transactions.group_by("basket_id").agg(pl.col("timestamp").min())["timestamp"]
    if bool((trips.dt.time() == trips.dt.time()[0]).all()):
        return skipped(
            name,
            "all trips have the same clock time, so their order within a day is unknown",
            "Give clock times where they are known; two trips of one household on one day else share one history.",
        )
    hours = np.bincount(trips.dt.hour().to_numpy(), minlength=24) / len(trips)
    night = [float(np.roll(hours, shift)[:NIGHT].sum()) for shift in range(24)]
    best = int(np.argmin(night))
    shift = best if best <= 12 else best - 24
    wrong = night[0] >= WARN and night[best] < BETTER * night[0]
    verdict = graded(night[0], WARN, ERROR)
    words = f"; shifted by {shift:+d} hours it would be {night[best]:.1%}" if wrong else ""
    return Check(
        name,
        night[0],
        WARN,
        # A clock that no shift mends was not recorded: days are still right, so that is no reason to stop.
        verdict if wrong or verdict == "ok" else "warn",
        f"{night[0]:.1%} of {len(trips):,} trips fall between 0:00 and {NIGHT - 1}:59 (evenly spread: "
        f"{NIGHT / 24:.0%}){words}",
        "Give local times: where they are UTC, pass the stores' time zone (--time-zone); days and weeks otherwise "
        "begin at the wrong hour."
        if wrong
        else "No shift makes the nights quiet: ask whether the log has clock times at all.",
        {"night_share": night[0], "best_shift_hours": shift, "night_share_shifted": night[best]},
    )
