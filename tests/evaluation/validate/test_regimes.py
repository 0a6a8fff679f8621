"""A logit trained at shallow prices is right at deep discounts where the truth is a logit, and else found wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.evaluation.validate.regimes import Forecast, judged, regime_check, with_deals
from malles_env.evaluation.validate.tastes import Said, own_odds
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from tests.evaluation.validate.worlds import World, deals, endogenous, purchases
from tests.preference.conftest import synthetic


def shallow_and_deep(seed: int, *, kink: float = 0.0) -> World:
    """Deals of 15% to 40%, other prices 5% around the regular one; enough to learn a coefficient from the latter."""
    return deals(seed, beta=-3.0, kink=kink)


def test_a_logit_world_is_predicted_from_shallow_prices() -> None:
    rows = purchases(shallow_and_deep(0), 0, 40_000)
    check, _ = regime_check(rows)
    (found,) = check.regimes
    assert abs(check.coefficient.value + 3.0) < 2.5 * check.coefficient.se < 1.5
    assert abs(found.slope.value - 1.0) < 2.5 * found.slope.se < 0.5
    # The observed lift leans on the logit's constants alone, the predicted one on its price coefficient.
    assert abs(found.observed_lift.value - found.predicted_lift.value) < 2.5 * found.predicted_lift.se
    assert found.observed.value == pytest.approx(found.predicted.value, abs=0.03)
    assert [depth for depth, _, _ in found.bins] == sorted(depth for depth, _, _ in found.bins)


def test_a_response_that_deepens_with_the_discount_is_found() -> None:
    straight, _ = regime_check(purchases(shallow_and_deep(1), 1, 40_000))
    kinked, _ = regime_check(purchases(shallow_and_deep(1, kink=-3.0), 1, 40_000))
    one, other = straight.regimes[0], kinked.regimes[0]
    assert other.observed_lift.value == pytest.approx(2 * one.observed_lift.value, rel=0.1)
    assert other.observed_lift.value - other.predicted_lift.value > 4 * other.predicted_lift.se
    assert other.observed.value - other.predicted.value > 4 * other.observed.se


def test_the_errors_count_those_of_the_training() -> None:
    rows = purchases(shallow_and_deep(2), 2, 20_000)
    check, judging = regime_check(rows)
    bare = judged("bare", _true_forecast(rows))
    assert bare.slope.value == pytest.approx(1.0, abs=3 * bare.slope.se)
    assert bare.observed_lift.value == pytest.approx(bare.predicted_lift.value, abs=3 * bare.observed_lift.se)
    assert check.regimes[0].slope.se > 1.2 * bare.slope.se
    assert judging.visits == rows.visits and (judging.depth.max() > 0.1)


def _true_forecast(rows: object) -> Forecast:
    judging = with_deals(rows)  # type: ignore[arg-type]
    log = np.log(judging.price)
    constants = np.linspace(0.0, 1.0, len(judging.products))
    return Forecast(judging, constants[judging.product] - 3.0 * log, np.where(judging.depth >= 0.1, -3.0 * log, 0.0))


def test_a_log_without_deals_is_refused() -> None:
    flat = endogenous(0, stores=1)
    rows = purchases(replace(flat, measured=flat.measured * 0.1), 0, 3000)
    with pytest.raises(InvalidInput, match=r"regimes: got '0 purchases at prices 10% off or more'"):
        regime_check(rows)


def true_logit(data: TasteData) -> Prediction:
    """The logit that `synthetic` draws from, beta 2; prices of neighbours do not matter to a product's utility."""
    inside = 1.0 * (data.bought > 0) - 2.0 * np.log(data.price / data.regular_price) + 1.0 * data.last
    return Prediction(np.concatenate([data.log_sampling[:, None], inside], axis=1).astype(np.float64))


def as_said(data: TasteData) -> Said:
    bought = data.take(data.chosen > 0)
    count, products = len(bought), data.mask.shape[1]
    rows = replace(
        purchases(endogenous(0, stores=1, products=products), 0, count),
        chosen=(np.arange(products) + 1 == bought.chosen[:, None]).ravel(),
        price=bought.price.ravel().astype(float),
        regular=bought.regular_price.ravel().astype(float),
        household=np.unique(bought.household, return_inverse=True)[1],
        week=bought.period,
    )
    return Said("truth", true_logit, bought, rows, 400, 0)


def test_a_taste_model_is_asked_one_price_at_a_time() -> None:
    said = as_said(synthetic(2000, seed=4))
    coefficient, elasticity, visits = said.price_row()
    assert coefficient.value == pytest.approx(-2.0, abs=1e-4) and visits == 400
    assert -2.0 < elasticity.value < -0.5
    everything = own_odds(true_logit, said.data, said.data.price)
    inside = np.exp(true_logit(said.data).inside())
    assert everything == pytest.approx(np.log(inside / (1 - inside)), abs=1e-5)


def test_a_true_taste_model_fits_deep_discounts() -> None:
    said = replace(as_said(synthetic(9000, seed=5)), limit=3000)
    regime = said.regime(with_deals(said.rows))
    assert regime.slope.value == pytest.approx(1.0, abs=3 * regime.slope.se)
    assert regime.observed_lift.value == pytest.approx(regime.predicted_lift.value, abs=3 * regime.observed_lift.se)
    assert regime.predicted_lift.value > 10 * regime.predicted_lift.se
