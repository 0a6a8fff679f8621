"""Where prices answer to local demand or are mismeasured, other stores' prices find the truth and own ones do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.evaluation.validate.estimation.estimates import Estimate, codes
from malles_env.evaluation.validate.estimation.linear import absorbed, two_stage
from malles_env.evaluation.validate.instruments import InstrumentCheck, instrument_check
from tests.evaluation.validate.worlds import endogenous, purchases

BETA = -3.0


def by_name(check: InstrumentCheck) -> dict[str, Estimate]:
    return {row.name: row.coefficient for row in check.rows}


def away(estimate: Estimate, truth: float) -> float:
    """Return how many standard errors an estimate is off."""
    return (estimate.value - truth) / estimate.se


@pytest.fixture(scope="module")
def answering() -> InstrumentCheck:
    """Prices rise with local demand."""
    return instrument_check(purchases(endogenous(0, beta=BETA), 0, 8000))


def test_own_prices_that_answer_to_demand_are_biased_and_the_control_function_is_not(
    answering: InstrumentCheck,
) -> None:
    found = by_name(answering)
    assert away(found["own store's price"], BETA) > 4
    assert abs(away(found["control function"], BETA)) < 2.5
    residual = answering.residuals["own store"]
    # Of the own price's part that seven other stores do not explain, this share is the store's own.
    chain, local = 0.12**2, 0.08**2
    share = local / (chain + local - chain**2 / (chain + local / 7))
    assert residual.value == pytest.approx(6.0 * share, abs=2.5 * residual.se)
    assert residual.t > 4 and answering.first_stage["own store"] > 100


def test_two_stage_least_squares_undoes_the_bias_of_least_squares(answering: InstrumentCheck) -> None:
    found = by_name(answering)
    assert away(found["panel, least squares"], BETA) > 4
    assert abs(away(found["panel, two-stage least squares"], BETA)) < 2.5
    assert answering.first_stage["panel"] > 100


def test_mismeasured_prices_flatten_the_response_and_other_stores_restore_it() -> None:
    check = instrument_check(purchases(endogenous(1, shock=0.0, noise=0.1), 1, 8000))
    found = by_name(check)
    assert away(found["own store's price"], BETA) > 4
    assert abs(away(found["control function"], BETA)) < 2.5
    assert check.residuals["own store"].t > 4


def test_prices_that_answer_to_nothing_leave_no_residual() -> None:
    check = instrument_check(purchases(endogenous(2, shock=0.0), 2, 8000))
    assert abs(away(by_name(check)["own store's price"], BETA)) < 2.5
    assert abs(check.residuals["own store"].t) < 2.5


def test_elasticity_is_the_coefficient_times_the_share_that_can_still_be_won(answering: InstrumentCheck) -> None:
    row = answering.rows[0]
    room = row.elasticity.value / row.coefficient.value
    # Six products of shares around a sixth, weighted by shares.
    assert 0.7 < room < 1 - 1 / 6


def test_errors_cover_the_truth_where_shocks_are_common_to_a_week() -> None:
    covered, plain, runs = 0, 0, 150
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        week, store = np.divmod(np.arange(40 * 10), 10)
        shock = rng.normal(size=40)[week]
        cost = rng.normal(size=40)[week] + 0.5 * rng.normal(size=400)
        price = cost + shock + 0.3 * rng.normal(size=400)
        outcome = -2.0 * price + 2.0 * shock + rng.normal(size=400)
        columns = absorbed(np.column_stack([outcome, price, cost]), [store], np.ones(400))
        clusters = {"week": week, "store": store}
        fit = two_stage("test", columns[:, 0], columns[:, 1:2], columns[:, 2:], np.ones(400), clusters)
        covered += abs(away(fit.estimate("test", 0), -2.0)) < 1.96
        row = replace(fit, clusters={"row": np.arange(400)}).estimate("test", 0)
        plain += abs(away(row, -2.0)) < 1.96
    assert 0.88 * runs <= covered <= runs
    assert plain < 0.8 * runs


def test_two_stage_least_squares_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=50), rng.normal(size=50)
    x = 0.7 * z + w + rng.normal(size=50)
    y = 1.5 * x + 0.2 * w + rng.normal(size=50)
    regressors, instruments = np.column_stack([x, w]), np.column_stack([z, w])
    fit = two_stage("test", y, regressors, instruments, np.ones(50), {"row": np.arange(50)})
    projected = instruments @ np.linalg.lstsq(instruments, regressors, rcond=None)[0]
    assert fit.values == pytest.approx(np.linalg.lstsq(projected, y, rcond=None)[0])
    left = y - regressors @ fit.values
    inverse = np.linalg.inv(projected.T @ projected)
    sandwich = inverse @ (projected * left[:, None] ** 2).T @ projected @ inverse * 50 / 49
    assert fit.covariance("row") == pytest.approx(sandwich)


def test_fixed_effects_are_those_of_dummies() -> None:
    rng = np.random.default_rng(3)
    first, second, weights = rng.integers(5, size=60), rng.integers(7, size=60), rng.uniform(0.5, 2.0, 60)
    values = rng.normal(size=(60, 2))
    dummies = np.column_stack([np.eye(5)[first], np.eye(7)[second]]) * np.sqrt(weights)[:, None]
    wanted = values * np.sqrt(weights)[:, None]
    wanted = (wanted - dummies @ np.linalg.lstsq(dummies, wanted, rcond=None)[0]) / np.sqrt(weights)[:, None]
    assert absorbed(values, [codes(first), codes(second)], weights) == pytest.approx(wanted, abs=1e-8)


def test_one_store_or_stores_that_ask_the_same_are_refused() -> None:
    rows = purchases(endogenous(0), 0, 600)
    with pytest.raises(InvalidInput, match=r"store_id: got '1 store'; allowed: at least 2 stores"):
        instrument_check(replace(rows, store=np.zeros_like(rows.store)))
    with pytest.raises(InvalidInput, match=r"unit_price: got 'a standard deviation of 0 across stores"):
        instrument_check(replace(rows, store_spread=0.0))
    with pytest.raises(
        InvalidInput, match=r"occasions: got '0 purchases with prices of other stores'; allowed: at least 100"
    ):
        instrument_check(replace(rows, other=np.full_like(rows.other, np.nan)))


def test_own_prices_that_hardly_anybody_paid_are_left_out() -> None:
    rows = purchases(endogenous(0), 0, 600)
    check = instrument_check(replace(rows, own=np.full_like(rows.own, np.nan)))
    assert check.known == 0 and list(check.residuals) == ["whole shelf"]
    assert "own store's price" not in by_name(check) and "shelf price" in by_name(check)


def test_an_estimate_that_is_no_number_is_named() -> None:
    rows = purchases(endogenous(0), 0, 600)
    flat = replace(rows, own=np.zeros_like(rows.own), price=np.ones_like(rows.price))
    with pytest.raises(InvalidInput, match="logit: the data do not determine"):
        instrument_check(flat)
    with pytest.raises(InvalidInput, match="estimate here: got nan"):
        from malles_env.evaluation.validate.estimation.estimates import Fit

        Fit(np.array([np.nan]), np.zeros((4, 1)), {"week": np.arange(4)}).estimate("here", 0)
