"""Back-tests on a synthetic log whose tastes are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.errors import InvalidInput
from malles_env.market import Tastes
from malles_env.scenarios.from_log.household_segments import TwinDataset, find_ground
from malles_env.scenarios.from_log.panel import Panel
from malles_env.workflows.backtest.playback import SHELVES, Forecast, level_to, play, promoted
from malles_env.workflows.backtest.report import as_json, draw, markdown
from malles_env.workflows.backtest.runner import Backtest, BacktestSettings, backtest, logit_tastes, panel_of, run
from malles_env.workflows.backtest.scores import price_response, week_draws

MARKET = "PANTRY | MARKET 0"
SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset()),
    min_market_purchases=100,
    min_line_purchases=5,
    min_line_households=2,
)


@pytest.fixture(scope="module")
def world() -> tuple[TwinDataset, Panel, Tastes, Tastes]:
    """A market, its weeks, the true tastes of its households, and those of a logit fitted to its past."""
    tables, truth = synthetic_transactions(seed=5, num_households=500)
    ground = find_ground(MARKET, tables=tables, settings=SETTINGS)
    occasions = build_occasions(tables, SETTINGS, [MARKET])
    kind = truth.class_of[[int(name[1:]) for name in ground.shelves.household_ids]]
    order = [truth.product_ids[0].index(line) for line in ground.lines]
    tastes = Tastes(
        alpha=truth.alpha[0][kind][:, order],
        beta=truth.beta[kind],
        display=np.full(len(kind), truth.promotion),
        lambda_=truth.loyalty[kind],
        kappa=np.log(truth.mean_extra_units),
    )
    return ground, panel_of(ground, occasions), tastes, logit_tastes(ground, occasions)


@pytest.fixture(scope="module")
def report(world: tuple[TwinDataset, Panel, Tastes, Tastes]) -> Backtest:
    ground, panel, tastes, logit = world
    rows = {"twins": (tastes, ground.population()), "logit": (logit, ground.population())}
    return run(ground, panel, rows, BacktestSettings(draws=100, panels=30))


def test_true_tastes_reproduce_the_test_weeks_within_sampling_error(report: Backtest) -> None:
    truth, real = report.forecasts["twins_as_read"], report.real
    rate = truth.purchases / real.shoppers[:, None]
    variance = real.shoppers[:, None] * rate * (1 - rate)
    distance = float(((real.purchases - truth.purchases) ** 2 / variance).sum())
    cells = real.purchases.size
    assert cells == 13 * 6
    assert abs(distance - cells) < 4 * np.sqrt(2 * cells)
    assert report.scores["twins_as_read"]["share_distance"].value < report.scores["floor"]["share_distance"].high * 1.1
    assert abs(report.scores["twins_as_read"]["units_bias"].value) < 0.06


def test_level_fitted_to_the_past_reproduces_the_past(world: tuple[TwinDataset, Panel, Tastes, Tastes]) -> None:
    ground, panel, tastes, _ = world
    past = panel.weeks(5, 40)
    fitted = level_to(tastes.shifted(1.0), ground.population(), ground.catalog().regular_price, past)
    expected = fitted.alpha - tastes.alpha
    assert np.ptp(expected, axis=0).max() < 1e-12
    assert np.abs(expected).max() < 0.35
    played = play("again", ground.catalog(), fitted, ground.population(), past, panel.weeks(5, 12).shares)
    assert played.purchases.sum() == pytest.approx(past.purchases.sum(), rel=0.05)
    assert played.units.sum() == pytest.approx(past.units.sum(), rel=0.05)


def test_promotions_are_spread_over_the_shelves_of_a_week(world: tuple[TwinDataset, Panel, Tastes, Tastes]) -> None:
    _, panel, _, _ = world
    display, feature_ad = promoted(panel)
    assert np.abs(display.mean(axis=1) - panel.display).max() <= 0.5 / SHELVES
    assert 0.1 < panel.display[panel.display > 0].mean() < 0.9
    both = np.minimum(display.sum(axis=1), feature_ad.sum(axis=1))
    np.testing.assert_array_equal((display & feature_ad).sum(axis=1), both)
    assert not display[~np.repeat(panel.listed[:, None], SHELVES, axis=1)].any()


def test_displays_sell_in_the_forecast(world: tuple[TwinDataset, Panel, Tastes, Tastes], report: Backtest) -> None:
    ground, _, tastes, _ = world
    start = np.tile(ground.first_mean_field(), (8, 1))
    without = replace(report.real, display=np.zeros_like(report.real.display))
    plain = play("no displays", ground.catalog(), tastes, ground.population(), without, start)
    shown = report.forecasts["twins_as_read"]
    displayed = report.real.display > 0.5
    assert (shown.purchases - plain.purchases)[displayed].min() > 0
    assert abs(price_response(plain, report.real).slope) < abs(report.responses["twins_as_read"].slope)


def test_naive_forecast_is_worse_when_prices_move(report: Backtest) -> None:
    for measure in ("share_error", "share_distance", "line_units_error"):
        assert report.worse["naive"][measure].low > 0


def test_fitted_logit_is_near_the_truth(report: Backtest) -> None:
    assert report.scores["logit"]["share_distance"].value < report.scores["naive"]["share_distance"].value
    assert abs(report.responses["logit"].gap) < 4 * report.responses["logit"].gap_error


def test_price_response_of_true_tastes_is_right_and_a_wrong_one_is_detected(
    world: tuple[TwinDataset, Panel, Tastes, Tastes], report: Backtest
) -> None:
    right = report.responses["twins_as_read"]
    assert right.slope < -1
    assert abs(right.gap) < 3 * right.gap_error
    assert report.responses["naive"].gap > 3 * report.responses["naive"].gap_error
    ground, _, tastes, _ = world
    start = np.tile(ground.first_mean_field(), (8, 1))
    for factor in (0.2, 2.5):
        wrong = replace(tastes, beta=factor * tastes.beta)
        forecast = play("wrong", ground.catalog(), wrong, ground.population(), report.real, start)
        found = price_response(forecast, report.real)
        assert np.sign(found.gap) == np.sign(1 - factor)
        assert abs(found.gap) > 3 * found.gap_error


def test_price_response_equals_least_squares_with_dummies(report: Backtest) -> None:
    real = report.real
    found = price_response(Forecast("real", real.purchases, real.units), real)
    weeks, products = np.nonzero(real.listed & (real.units > 0))
    dummies = np.eye(len(real.product_ids))[products]
    design = np.column_stack([np.log(real.prices[weeks, products]), dummies])
    outcome = np.log(real.units[weeks, products] / real.shoppers[weeks])
    slope = np.linalg.lstsq(design, outcome, rcond=None)[0][0]
    assert found.slope == pytest.approx(slope)
    assert found.gap == 0
    assert found.cells == len(weeks)


def test_panel_counts_buyers_and_packages(world: tuple[TwinDataset, Panel, Tastes, Tastes]) -> None:
    ground, panel, _, _ = world
    log = ground.tables.transactions
    row = log.row(
        len(log) // 2 + next(i for i, p in enumerate(log["product_id"][len(log) // 2 :]) if p in ground.lines),
        named=True,
    )
    rows = [
        r for r in log.iter_rows(named=True) if r["period"] == row["period"] and r["product_id"] == row["product_id"]
    ]
    rows = [r for r in rows if r["household_id"] in ground.shelves.household_ids]
    week, product = row["period"] - 1, ground.lines.index(row["product_id"])
    assert panel.purchases[week, product] == len({r["household_id"] for r in rows})
    assert panel.units[week, product] == sum(r["quantity"] for r in rows)
    assert panel.prices[week, product] == pytest.approx(row["unit_price"], abs=0.011)


def test_weeks_outside_the_log_are_refused(world: tuple[TwinDataset, Panel, Tastes, Tastes]) -> None:
    with pytest.raises(InvalidInput, match="weeks 41 to 60: got a log of weeks 1 to 53"):
        world[1].weeks(41, 60)


def test_a_log_too_short_for_a_forecast_is_refused_before_the_work() -> None:
    tables, _ = synthetic_transactions(seed=5, num_households=60)
    build = replace(SETTINGS, splits=Splits(1, 4, 5, frozenset()), min_market_purchases=20)
    with pytest.raises(InvalidInput, match=r"splits.validation_end: got 5; allowed: at least 8, weeks of which"):
        backtest(MARKET, tables=tables, build=build)


def test_week_draws_keep_neighbours_together() -> None:
    drawn = week_draws(13, 50, seed=1)
    assert drawn.shape == (50, 13)
    assert ((drawn[:, 1:3] - drawn[:, 0:2]) % 13 == 1).all()
    assert np.array_equal(drawn, week_draws(13, 50, seed=1))


def test_report_tells_every_row_and_is_written(report: Backtest, tmp_path: Path) -> None:
    text = markdown(report, "malles consumers backtest X", "none")
    for name in (*report.forecasts, "floor"):
        assert f"| {name} |" in text
    assert "weeks 41 to 53" in text
    assert "weeks 5 to 40" in text
    found = json.loads(json.dumps(as_json(report)))
    assert found["scores"]["twins"]["share_error"]["value"] == report.scores["twins"]["share_error"].value
    assert np.shape(found["weeks"]["real"]["units"]) == (13, 6)
    picture = draw(report, tmp_path / "plot.png")
    assert picture.stat().st_size > 10_000
