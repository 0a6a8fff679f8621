"""Metrics against numbers worked out by hand, and errors that count households."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from malles_env.evaluation.comparison.breakdown import by_history, by_shelf, market_average
from malles_env.evaluation.comparison.registry import NUMBER_ROWS
from malles_env.evaluation.comparison.stability import order_variation, reordered, repeat_variance
from malles_env.evaluation.metrics import (
    calibration_error,
    clustered,
    clustered_ratio,
    elasticities,
    fidelity,
    paired,
    purchase_values,
)
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from tests.evaluation.synthetic_study import taste_data


def small(size: int = 4) -> TasteData:
    """Return the first purchases of the synthetic log."""
    data = taste_data()
    return data.take(np.flatnonzero(data.chosen > 0)[:size])


def prediction(data: TasteData, inside: np.ndarray, quantity: np.ndarray | None = None) -> Prediction:
    """Return a prediction with given utilities of the options [B, J]."""
    whole = np.concatenate([np.zeros((len(data), 1)), np.where(data.mask, inside, -np.inf)], axis=1)
    return Prediction(whole, quantity=quantity)


def test_choice_metrics_of_a_shelf_of_three() -> None:
    """Shares 1/2, 1/3, 1/6; the second is bought: no hit, in the first three, log 3 nats."""
    data = small(1)
    data = replace(data, mask=np.arange(6)[None] < 3, chosen=np.array([2]), quantity=np.array([1]))
    inside = np.log(np.array([[3.0, 2.0, 1.0, 9.0, 9.0, 9.0]]))
    found = fidelity(prediction(data, inside), data)
    assert (found["hit"].mean, found["top3"].mean) == (0.0, 1.0)
    assert found["nll"].mean == pytest.approx(np.log(3))
    assert found["nll_all"].mean == pytest.approx(np.log(7 / 2))
    assert found["ece"].mean == pytest.approx(0.5)
    assert "quantity_error" not in found


def test_ties_count_in_part() -> None:
    """Six options alike: a sixth of a hit and half a top-3, whichever is bought."""
    data = small(40)
    values = purchase_values(prediction(data, np.zeros(data.mask.shape)), data)
    np.testing.assert_allclose(values["hit"], 1 / data.mask.sum(1))
    np.testing.assert_allclose(values["top3"], 3 / data.mask.sum(1))


def test_quantity_metrics_by_hand() -> None:
    """Medians 1, 2, 9, 9 against 1, 3, 9, 24 units: errors 0 + 1 + 0 + 15 over 37; 8 and more are one class."""
    data = replace(small(4), quantity=np.array([1, 3, 9, 24]))
    shares = np.zeros((4, 24))
    shares[0, 0], shares[1, [1, 2]], shares[2:, 8] = 1.0, (0.6, 0.4), 1.0
    with np.errstate(divide="ignore"):
        found = fidelity(prediction(data, np.zeros(data.mask.shape), np.log(shares)), data)
    assert found["quantity_error"].mean == pytest.approx(16 / 37)
    assert found["quantity_exact"].mean == pytest.approx(0.5)
    assert found["quantity_nll"].mean == pytest.approx(-np.log(0.4) / 4)
    assert found["quantity_bias"].mean == pytest.approx((1 + 2.4 + 9 + 9 - 37) / 4)


def test_one_unit_for_sure_has_no_finite_nats() -> None:
    """Always one scores infinite nats, without a warning, and its other metrics are right."""
    data = small(60)
    row = NUMBER_ROWS["always_one"].fit(data, data)
    found = fidelity(row.predict(data), data)
    assert np.isinf(found["quantity_nll"].mean)
    assert found["quantity_exact"].mean == pytest.approx((data.quantity == 1).mean())
    assert found["quantity_error"].mean == pytest.approx((data.quantity - 1).sum() / data.quantity.sum())


def test_visits_of_others_than_buyers_stay_out_of_nll_all() -> None:
    """Only the marked occasions count."""
    data = small(50)
    inside = np.random.default_rng(0).normal(size=data.mask.shape)
    buyer = np.arange(50) < 20
    found = fidelity(prediction(data, inside), data, buyer)["nll_all"]
    alone = fidelity(prediction(data.take(buyer), inside[:20]), data.take(buyer))["nll_all"]
    assert found == alone


def test_calibration_error_is_zero_when_confidence_is_right() -> None:
    """Confidence .75 and three of four right: 0; the error of the error comes from resampled households."""
    inside = np.log(np.tile([0.75, 0.25], (400, 1)))
    place = (np.arange(400) % 4 == 0).astype(np.int64)
    found = calibration_error(inside, place, np.arange(400) // 4)
    assert found.mean == pytest.approx(0.0, abs=1e-12)
    assert found.se == pytest.approx(0.0, abs=1e-12)
    worse = calibration_error(inside, 1 - place, np.arange(400))
    assert worse.mean == pytest.approx(0.5)
    # A quarter of 400 hits: the share's error is sqrt(.25 .75 / 400), 200 resamples give it to about 5 %.
    assert worse.se == pytest.approx(np.sqrt(0.25 * 0.75 / 400), rel=0.25)


def test_clustered_error_counts_households_not_rows() -> None:
    """Repeating every household's row four times leaves the error where it was."""
    values = np.random.default_rng(0).normal(size=200)
    once = clustered(values, np.arange(200))
    often = clustered(np.repeat(values, 4), np.repeat(np.arange(200), 4))
    assert often.se == pytest.approx(once.se)
    assert once.se == pytest.approx(values.std(ddof=1) / np.sqrt(200), rel=1e-6)
    assert clustered_ratio(2 * values**2, values**2, np.arange(200)).mean == pytest.approx(2.0)


def test_paired_differences_are_differences_of_means_with_a_smaller_error() -> None:
    """A model that is 0.1 nats worse everywhere differs by exactly that, with no error."""
    data = small(300)
    inside = np.random.default_rng(1).normal(size=data.mask.shape)
    first = prediction(data, inside)
    worse = Prediction(first.utilities + np.where(np.arange(data.mask.shape[1] + 1) == 0, 0.0, -0.3))
    same = paired(first, worse, data)
    assert (same["hit"].mean, same["nll"].mean) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert same["nll_all"].mean < 0
    assert "quantity_error" not in same
    other = prediction(data, inside + np.random.default_rng(2).normal(0, 0.1, data.mask.shape))
    found, alone = paired(first, other, data)["nll"], fidelity(first, data)["nll"]
    assert found.mean == pytest.approx(alone.mean - fidelity(other, data)["nll"].mean)
    assert found.se < alone.se / 3


def test_elasticities_of_a_known_logit() -> None:
    """Given a purchase the own elasticity is about -beta (1 - P); units respond more where buying is rare."""
    data = small(2000)
    shape = data.mask.shape
    assert data.mask.all()
    flat = replace(data, price=data.regular_price * 1.2)  # above the regular price no discount enters
    utilities = np.zeros((len(data), shape[1] + 1))
    none = np.zeros(len(data))
    made = Prediction(utilities, np.ones(shape), beta=np.full(shape, 2.0), gamma=none, delta=none)
    rows = elasticities(made, flat, flat.markets)
    assert [row.market for row in rows] == list(flat.markets)
    for row in rows:
        assert row.choice.mean == pytest.approx(-2.0 * (1 - 1 / 6), abs=0.02)
        assert row.units.mean == pytest.approx(-2.0 * (1 - 1 / 7), abs=0.03)
        assert row.beta == pytest.approx(2.0)
    assert elasticities(Prediction(utilities), data, data.markets) == []


def test_units_add_their_own_response_to_the_elasticity() -> None:
    """Below the regular price a deeper discount also raises the units of those who buy."""
    data = small(500)
    shape = data.mask.shape
    low = replace(data, price=data.regular_price * 0.7)
    zero, one = np.zeros(len(data)), np.ones(len(data))
    utilities = np.zeros((len(data), shape[1] + 1))
    made = [
        Prediction(utilities, np.full(shape, 2.0), beta=np.full(shape, 2.0), gamma=zero, delta=delta)
        for delta in (zero, one)
    ]
    plain, responsive = (elasticities(each, low, low.markets)[0].units.mean for each in made)
    # Units are 1 + exp(depth), and depth falls by 0.7 per log price: d log units = -0.7 / 2.
    assert responsive - plain == pytest.approx(-0.35, abs=0.03)


def test_groups_add_up_to_the_whole() -> None:
    """Hits by history length and by shelf size average to the overall hit rate; markets count once each."""
    data = taste_data()
    data = data.take(data.chosen > 0)
    made = prediction(data, np.random.default_rng(3).normal(size=data.mask.shape))
    whole = fidelity(made, data)["hit"].mean
    for groups in (by_history(made, data), by_shelf(made, data)):
        parts = [(float(part["hit"].mean), part["purchases"]) for part in groups.values()]  # type: ignore[union-attr]
        assert sum(n for _, n in parts) == len(data)
        assert sum(hit * n for hit, n in parts) / len(data) == pytest.approx(whole)
    values, average = purchase_values(made, data)["hit"], market_average(made, data)
    means = [values[data.market == market].mean() for market in np.unique(data.market)]
    assert average["markets"] == len(means)
    assert average["hit"].mean == pytest.approx(np.mean(means))  # type: ignore[union-attr]


def test_order_variation_tells_a_model_that_looks_at_places() -> None:
    """0 for a model of products alone; for one that always takes the first, the chance of another being first."""
    data = small(400)
    by_product = lambda part: prediction(part, 0.01 * part.product)  # noqa: E731
    by_place = lambda part: prediction(part, np.where(np.arange(part.mask.shape[1]) == 0, 50.0, 0.0))  # noqa: E731
    assert order_variation(by_product, data).mean == pytest.approx(0.0, abs=1e-12)
    assert order_variation(by_place, data, orders=3).mean == pytest.approx(5 / 6, abs=0.05)


def test_reordered_shelves_are_the_same_shelves() -> None:
    """Every product keeps its price and facts, and the chosen one stays chosen."""
    data = taste_data().take(np.arange(300))
    mixed, place = reordered(data, np.random.default_rng(0))
    rows, bought = np.arange(len(data)), data.chosen > 0
    np.testing.assert_array_equal(mixed.mask, data.mask)
    np.testing.assert_array_equal(mixed.price, np.take_along_axis(data.price, place, axis=1))
    at, now = np.maximum(data.chosen - 1, 0), np.maximum(mixed.chosen - 1, 0)
    np.testing.assert_array_equal(mixed.product[rows, now][bought], data.product[rows, at][bought])
    assert (mixed.chosen[~bought] == 0).all()
    assert (mixed.product != data.product).any()


def test_repeat_variance_of_an_answer_drawn_at_random() -> None:
    """A model that names one of six alike options has variance 1 - 6/36; one that answers in shares has none."""
    data = small(300)

    def drawn(part: TasteData, seed: int) -> Prediction:
        pick = np.random.default_rng(seed).integers(0, 6, len(part))
        return prediction(part, np.where(np.arange(6) == pick[:, None], 60.0, 0.0))

    assert data.mask.all()
    assert repeat_variance(drawn, data).mean == pytest.approx(1 - 1 / 6, abs=0.03)
    steady = repeat_variance(lambda part, seed: prediction(part, np.zeros(part.mask.shape)), data)
    assert steady.mean == pytest.approx(0.0, abs=1e-12)
