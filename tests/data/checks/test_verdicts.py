"""Verdicts of the checks on logs that are sound in an unusual way, and on logs from which nothing can be built."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.checks import Check, check_log
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits
from malles_env.errors import InvalidInput

SETTINGS = BuildSettings(
    min_market_purchases=20,
    min_alternatives=2,
    min_line_purchases=3,
    min_line_households=2,
    splits=Splits(1, 9, 10, frozenset()),
)


def log(
    weeks: int = 12,
    homes: int = 80,
    goods: int = 6,
    price: Callable[[int, dt.datetime], float] = lambda good, when: 2 + 0.3 * good,
    closed: int | None = None,
) -> Tables:
    """Return a log of one market; `closed` is a weekday without trips."""
    draw, rows = random.Random(0), []
    for week in range(weeks):
        for home in range(homes):
            when = dt.datetime(2024, 1, 1, 9) + dt.timedelta(
                days=7 * week + draw.randrange(7), minutes=draw.randrange(600)
            )
            good = draw.randrange(goods)
            if when.weekday() != closed:
                rows.append((f"h{home}", f"b{week}-{home}", when, "s1", f"p{good}", 1, price(good, when)))
    names = ["household_id", "basket_id", "timestamp", "store_id", "product_id", "quantity", "unit_price"]
    transactions = pl.DataFrame(rows, schema=names, orient="row").sort("timestamp")
    listed = [f"p{good}" for good in range(goods)]
    products = pl.DataFrame({"product_id": listed, "category": "tea", "market": "tea", "title": listed})
    return Tables(transactions, products).validated()


def found(tables: Tables, name: str, settings: BuildSettings = SETTINGS) -> Check:
    return check_log(tables, settings)[name]


def test_a_shop_that_is_closed_one_weekday_is_judged_like_one_that_is_not() -> None:
    def thursdays(good: int, when: dt.datetime) -> float:
        return 2 + 0.3 * good + (0.4 if (when - dt.timedelta(days=3)).isocalendar()[1] % 2 else 0)

    for closed in (None, 6, 5):
        check = found(log(homes=150, goods=4, price=thursdays, closed=closed), "detected_period")
        assert (check.verdict, check.details["most_agreement"]) == ("error", "Thursday")
        assert check.details["most_changes"] == "Thursday"
        assert json.dumps(check.details, allow_nan=False)


def test_a_wide_assortment_in_order_of_time_is_no_sorted_log() -> None:
    assert found(log(homes=300, goods=500), "order_of_rows").verdict == "ok"


def test_rows_grouped_by_product_are_still_caught() -> None:
    tables = log(homes=200, goods=4, weeks=20)
    rows = tables.transactions
    # What a household bought comes grouped by product, in an order of products of its own.
    grouped = rows.sort("household_id", pl.struct("household_id", "product_id").hash()).select(
        "product_id", "unit_price"
    )
    trips = rows.sort("household_id", "timestamp").drop("product_id", "unit_price")
    check = found(Tables(pl.concat([trips, grouped], how="horizontal"), tables.products), "order_of_rows")
    assert (check.verdict, check.details["returns"]) == ("error", 0.0)


def test_coverage_is_an_error_where_no_shelf_has_the_alternatives_needed() -> None:
    check = found(log(goods=1), "coverage")
    assert check.verdict == "error"
    assert "0.0% of shelves have the 2 needed" in check.finding and "pool markets" in check.advice
    assert found(log(), "coverage").verdict == "ok"


def test_settings_that_leave_most_of_a_long_log_to_the_test_are_warned_of() -> None:
    usual = BuildSettings(splits=Splits(4, 36, 40, frozenset()))
    check = found(log(weeks=200, homes=20), "splits", usual)
    assert check.verdict == "warn" and check.details["test"] > 0.75
    assert found(log(weeks=53, homes=20), "splits", usual).verdict == "ok"


def test_a_log_of_which_nothing_can_be_built_is_an_error() -> None:
    tables = log()
    alone = replace(tables, transactions=tables.transactions.with_columns(household_id=pl.lit("one")))
    coverage = next(check for check in check_log(alone, SETTINGS).checks if check.name == "coverage")
    assert coverage.verdict == "error" and "nothing can be built" in coverage.finding
    with pytest.raises(InvalidInput, match="min_alternatives"):
        build_occasions(alone, SETTINGS)
