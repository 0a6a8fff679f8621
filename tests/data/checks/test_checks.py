"""Each check of the importer passes on a sound log and catches a copy that was spoiled in its way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from malles_env.cli import ReadableGroup
from malles_env.cli.data import data_app
from malles_env.data.checks import Check, check_log, in_time_zone, read_settings
from malles_env.data.log.readers import write_tables
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from tests.data.conftest import SETTINGS

ROOT = typer.Typer(cls=ReadableGroup)
ROOT.add_typer(data_app, name="data")


def _by_day(tables: Tables) -> Tables:
    """Move all trips between 8:00 and 22:00 of their day."""
    day = pl.col("timestamp").dt.truncate("1d")
    seconds = (pl.col("timestamp") - day).dt.total_seconds()
    moved = day + pl.duration(seconds=(8 * 3600 + seconds * 14 // 24))
    return dataclasses.replace(tables, transactions=tables.transactions.with_columns(moved.alias("timestamp")))


@pytest.fixture(scope="module")
def sound() -> Tables:
    return _by_day(synthetic_transactions(seed=5, num_households=150)[0])


@pytest.fixture(scope="module")
def offered() -> Tables:
    tables = _by_day(synthetic_transactions(seed=5, num_households=150, with_offers=True)[0])
    offers = tables.offers
    assert offers is not None
    first = pl.col("product_id") == "p0-0"
    other = offers.filter(first).with_columns(product_id=pl.lit("other"), unit_price=pl.lit(1.0))
    return dataclasses.replace(tables, offers=pl.concat([offers, other]))


def _with(tables: Tables, *columns: pl.Expr | pl.Series) -> Tables:
    return dataclasses.replace(tables, transactions=tables.transactions.with_columns(*columns))


def _found(tables: Tables, name: str, settings: BuildSettings = SETTINGS) -> Check:
    return check_log(tables, settings)[name]


def test_a_sound_log_passes_every_check(sound: Tables, offered: Tables) -> None:
    for tables in (sound, offered):
        report = check_log(tables, SETTINGS)
        assert [(check.name, check.verdict) for check in report.checks if check.verdict != "ok"] == []
        assert report.verdict == "ok"
        assert report.facts["rows"] == len(tables.transactions)
    assert report["agreeing_prices"].value == 1.0
    assert report["coverage"].value == 1.0
    assert report["price_of_others"].value == 1.0
    assert report["near_twins"].value == 0.0


def test_weighed_goods_are_caught(sound: Tables) -> None:
    noise = np.random.default_rng(0).uniform(0.8, 1.2, len(sound.transactions))
    snacks = pl.col("product_id").str.starts_with("p1")
    noisy = _with(
        sound,
        pl.when(snacks).then(pl.col("unit_price") * noise).otherwise("unit_price").alias("unit_price"),
        pl.when(snacks).then(pl.lit(9.0)).otherwise("regular_price").alias("regular_price"),
    )
    agreeing = _found(noisy, "agreeing_prices")
    assert agreeing.verdict == "warn"
    assert agreeing.value is not None and agreeing.threshold is not None and agreeing.value < agreeing.threshold
    assert list(agreeing.details["lowest_categories"]) == ["SNACKS"]
    every = _with(sound, pl.col("unit_price") * noise)
    assert _found(every, "agreeing_prices").verdict == "error"
    prices = _found(every, "price_of_others")
    assert prices.verdict == "error"
    assert prices.details["mape"] > 0.05


def test_a_period_that_starts_two_days_late_is_caught(sound: Tables) -> None:
    day = pl.col("timestamp").dt.date()
    week = day.dt.offset_by("-2d").dt.truncate("1w") - pl.lit(sound.transactions["timestamp"].dt.date().min())
    late = _with(sound, (week.dt.total_days() // 7 + 2).cast(pl.Int32).alias("period"))
    found = _found(late, "detected_period")
    assert found.verdict == "error"
    assert found.details["assumed_start"] == "Wednesday"
    assert found.details["most_changes"] == found.details["most_agreement"] == "Monday"
    assert "weeks that start on Monday" in found.advice
    right = _found(sound, "detected_period")
    assert right.details["assumed_start"] == "Monday"
    assert right.details["change_rate"]["Monday"] > 3 * right.details["change_rate"]["Thursday"]


def test_weeks_are_counted_from_monday_without_a_period(sound: Tables) -> None:
    bare = dataclasses.replace(sound, transactions=sound.transactions.drop("period"))
    assert _found(bare, "detected_period").details["assumed_start"] == "Monday"


def test_periods_that_are_no_weeks_are_not_judged(sound: Tables) -> None:
    months = _with(sound, pl.col("timestamp").dt.month().cast(pl.Int32).alias("period"))
    settings = dataclasses.replace(SETTINGS, splits=Splits(1, 8, 10))
    assert _found(months, "detected_period", settings).verdict == "skipped"


@pytest.mark.parametrize("hours", [5, 8, -9])
def test_a_shifted_clock_is_caught_with_its_shift(sound: Tables, hours: int) -> None:
    found = _found(_with(sound, pl.col("timestamp") + pl.duration(hours=hours)), "clock")
    assert found.verdict in ("warn", "error")
    assert abs((found.details["best_shift_hours"] + hours + 12) % 24 - 12) <= 4
    assert found.details["night_share_shifted"] < 0.01
    assert "--time-zone" in found.advice


def test_utc_times_are_brought_home(sound: Tables) -> None:
    home = pl.col("timestamp").dt.replace_time_zone("America/New_York", ambiguous="earliest")
    utc = _with(sound, home.dt.convert_time_zone("UTC").dt.replace_time_zone(None).alias("timestamp"))
    assert _found(utc, "clock").verdict != "ok"
    back = in_time_zone(utc, "America/New_York")
    assert back.transactions["timestamp"].equals(sound.transactions["timestamp"])
    with pytest.raises(InvalidInput, match="time zone: got 'Mars/Base'; allowed: a name of the tz database"):
        in_time_zone(sound, "Mars/Base")


def test_an_even_clock_gets_no_shift_and_dates_alone_are_said_to_be_dates() -> None:
    even = synthetic_transactions(seed=5, num_households=150)[0]
    found = _found(even, "clock")
    assert found.verdict == "warn"
    assert "No shift makes the nights quiet" in found.advice
    days = _with(even, pl.col("timestamp").dt.truncate("1d"))
    assert _found(days, "clock").verdict == "skipped"


def _sorted_rows(tables: Tables) -> Tables:
    """Sort what each household bought by product, and leave its trips where they are."""
    what = ["product_id", "quantity", "unit_price", "regular_price"]
    when = tables.transactions.sort("household_id", "timestamp").drop(what)
    things = tables.transactions.sort("household_id", "product_id").select(what)
    # One purchase a basket, as panels that are sorted in this way have it.
    trips = when.with_columns(basket_id=pl.format("{}-{}", "basket_id", pl.int_range(pl.len())))
    return dataclasses.replace(tables, transactions=pl.concat([trips, things], how="horizontal"))


def test_rows_sorted_by_product_are_caught(sound: Tables) -> None:
    found = _found(_sorted_rows(sound), "order_of_rows")
    assert found.verdict == "error"
    assert found.value == 1.0
    assert found.details["returns"] == 0.0
    assert "leak" in found.advice


def test_rows_grouped_by_product_in_any_order_are_caught(sound: Tables) -> None:
    shuffled = dataclasses.replace(sound, products=sound.products.sample(fraction=1.0, shuffle=True, seed=2))
    found = _found(_sorted_rows(shuffled), "order_of_rows")
    assert found.details["returns"] == 0.0
    assert found.verdict == "error"


def test_twins_are_caught_and_a_line_heals_them(sound: Tables) -> None:
    rng = np.random.default_rng(1)
    half = pl.Series(rng.random(len(sound.transactions)) < 0.5) & (sound.transactions["product_id"] == "p0-1")
    twin = sound.products.filter(pl.col("product_id") == "p0-1").with_columns(
        product_id=pl.lit("p0-1b"), size_value=pl.col("size_value") * 1.05
    )
    name = pl.when(half).then(pl.lit("p0-1b")).otherwise("product_id").alias("product_id")
    spoiled = dataclasses.replace(_with(sound, name), products=pl.concat([sound.products, twin]), promotions=None)
    found = _found(spoiled, "near_twins")
    assert found.verdict == "warn"
    assert found.value == pytest.approx(2 / 14)
    line = pl.when(pl.col("product_id").is_in(["p0-1", "p0-1b"])).then(pl.lit("p0-1")).otherwise("product_id")
    healed = dataclasses.replace(spoiled, products=spoiled.products.with_columns(line=line))
    assert _found(healed, "near_twins").value == 0.0
    bare = dataclasses.replace(spoiled, products=spoiled.products.drop("brand"))
    assert _found(bare, "near_twins").verdict == "skipped"


def test_offers_that_miss_or_misprice_products_are_caught(offered: Tables) -> None:
    assert offered.offers is not None
    kept = np.random.default_rng(0).random(len(offered.offers)) < 0.5
    holes = dataclasses.replace(offered, offers=offered.offers.filter(pl.Series(kept)))
    found = _found(holes, "coverage")
    assert found.verdict == "error"
    assert found.value == pytest.approx(0.5, abs=0.05)
    dear = dataclasses.replace(offered, offers=offered.offers.with_columns(pl.col("unit_price") * 1.25))
    prices = _found(dear, "price_of_others")
    assert prices.verdict == "error"
    assert prices.details["mape"] == pytest.approx(0.25, abs=1e-9)


def test_settings_that_leave_a_split_empty_are_caught(sound: Tables) -> None:
    late = dataclasses.replace(SETTINGS, splits=Splits(4, 50, 53))
    assert _found(sound, "splits", late).verdict == "error"
    assert _found(sound, "coverage", BuildSettings(min_market_purchases=10**6)).verdict == "error"


def test_a_handful_of_rows_is_not_judged() -> None:
    tiny = synthetic_transactions(seed=1, num_households=3, num_weeks=4)[0]
    report = check_log(tiny, dataclasses.replace(SETTINGS, min_market_purchases=1, splits=Splits(1, 2, 3)))
    assert report["agreeing_prices"].verdict == report["order_of_rows"].verdict == "skipped"


def _run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(ROOT, ["data", *words])
    return result.exit_code, result.output


def _settings_file(folder: Path) -> Path:
    path = folder / "settings.yaml"
    path.write_text(
        "min_market_purchases: 100\nmin_line_purchases: 5\nmin_line_households: 2\n"
        "splits: {burn_in_end: 4, held_out_categories: [SNACKS]}\n"
    )
    return path


def test_the_command_prints_and_writes_the_report(sound: Tables, tmp_path: Path) -> None:
    write_tables(sound, tmp_path / "log", "csv")
    settings, result = str(_settings_file(tmp_path)), tmp_path / "report.json"
    code, text = _run("check", str(tmp_path / "log"), "--settings", settings, "--json", str(result))
    assert code == 0, text
    assert "OK      agreeing_prices" in text
    content = json.loads(result.read_text())
    assert content["verdict"] == "ok"
    assert content["checks"] == check_log(sound, read_settings(settings)).as_json()["checks"]
    write_tables(_sorted_rows(sound), tmp_path / "sorted", "csv")
    code, text = _run("check", str(tmp_path / "sorted"), "--settings", settings)
    assert code == 1
    assert "ERROR   order_of_rows" in text


def test_the_command_builds_occasions_and_replaces_nothing_else(sound: Tables, tmp_path: Path) -> None:
    from malles_env.data.occasions import Occasions

    write_tables(sound, tmp_path / "log", "csv")
    words = ("build", str(tmp_path / "log"), "--settings", str(_settings_file(tmp_path)), "--out")
    code, text = _run(*words, str(tmp_path / "log"))
    assert code == 2
    assert "allowed: a new folder" in text
    code, text = _run(*words, str(tmp_path / "occasions"))
    assert code == 0, text
    built = Occasions.load(tmp_path / "occasions")
    assert built.markets == ["PANTRY | MARKET 0", "SNACKS | MARKET 1"]
    assert f"{len(built):,} choice occasions" in text


def _set(table: str, column: str, row: int, value: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        frame = pl.read_csv(folder / f"{table}.csv", infer_schema=False)
        here = pl.int_range(pl.len()) == row - 1
        frame.with_columns(pl.when(here).then(pl.lit(value)).otherwise(column).alias(column)).write_csv(
            folder / f"{table}.csv"
        )

    return change


def _drop(table: str, column: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        pl.read_csv(folder / f"{table}.csv", infer_schema=False).drop(column).write_csv(folder / f"{table}.csv")

    return change


def _write(table: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / f"{table}.csv").write_text(text) and None


def _header_only(table: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / f"{table}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")

    return change


MISTAKES = {
    "missing column": (_drop("transactions", "quantity"), r"transactions.csv: column quantity is missing; found: "),
    "wrong type": (
        _set("transactions", "quantity", 4, "two"),
        r"transactions.csv: column quantity, row 4: got 'two'; allowed: whole packages, at least 1",
    ),
    "negative price": (
        _set("transactions", "unit_price", 3, "-0.99"),
        r"transactions.csv: column unit_price, row 3: got '-0.99'; allowed: money per package",
    ),
    "duplicate id": (
        _set("products", "product_id", 2, "p0-0"),
        r"products.csv: column product_id, row 2: got 'p0-0'; allowed: each id once",
    ),
    "unknown product": (
        _set("transactions", "product_id", 7, "ghost"),
        r"transactions.csv: column product_id, row 7: got 'ghost'; allowed: a product_id listed in ",
    ),
    "bad date": (
        _set("transactions", "timestamp", 5, "2024-02-30 12:00:00"),
        r"transactions.csv: column timestamp, row 5: got '2024-02-30 12:00:00'; allowed: local time of the trip",
    ),
    "a date in another order": (_set("transactions", "timestamp", 5, "31/12/2024"), "row 5: got '31/12/2024'"),
    "empty file": (_write("transactions", ""), "transactions.csv: cannot be read as csv (transactions): "),
    "header alone": (_header_only("transactions"), "transactions.csv: no rows below the header; needed: at least one"),
    "no products": (_header_only("products"), "column product_id, row 1: got "),
    "ragged line": (_write("products", "product_id,title\na,b\nc,d,e,f\n"), "products.csv: cannot be read as csv"),
    "missing value": (_set("products", "market", 1, ""), "products.csv: column market, row 1: got None"),
}


@pytest.mark.parametrize(("change", "message"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_is_answered_in_one_line(
    sound: Tables, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    small = dataclasses.replace(sound, transactions=sound.transactions.head(200), promotions=None)
    write_tables(small, tmp_path / "log", "csv")
    change(tmp_path / "log")
    code, text = _run("check", str(tmp_path / "log"))
    assert code == 2
    assert text.startswith(f"error: {tmp_path / 'log'}")
    assert message in text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("windows: 3", InvalidInput, "got 'windows'; allowed: one of splits, availability_periods"),
        ("share_periods: many", InvalidInput, "share_periods: got 'many'; allowed: a whole number"),
        ("outside_ratio: true", InvalidInput, "outside_ratio: got True; allowed: a number"),
        ("share_periods: 0", InvalidInput, "share_periods: got 0; allowed: a whole number, at least 1"),
        ("splits: {held_out_categories: SNACKS}", InvalidInput, "allowed: a list of names"),
        ("splits: 3", InvalidInput, "splits: got 3; allowed: a mapping of settings"),
        ("[1, 2]", InvalidInput, "allowed: a mapping of settings"),
        ("a: [", CorruptFile, "is not valid YAML in line"),
    ],
)
def test_settings_files_are_checked(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(error) as caught:
        read_settings(path)
    assert message in str(caught.value)


def test_settings_files_keep_defaults(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("")
    assert read_settings(path) == BuildSettings()
    path.write_text("outside_ratio: 0\nsplits: {train_end: 30, validation_end: 35, held_out_categories: []}")
    expected = BuildSettings(outside_ratio=0, splits=Splits(4, 30, 35, frozenset()))
    assert read_settings(path) == expected
    with pytest.raises(MissingResource, match="no such file"):
        read_settings(tmp_path / "none.yaml")
