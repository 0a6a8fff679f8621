"""Calibration: maximum likelihood finds the numbers that made the data, and what cannot be fitted is refused."""

from __future__ import annotations

import numpy as np
import pytest

from malles_env.consumers.prompted import (
    Calibration,
    Persona,
    PromptedConsumers,
    PromptSettings,
    fit_choices,
    fit_units,
)
from malles_env.consumers.prompted.calibration import UNITS, softmax
from malles_env.consumers.prompted.fitting import measured_price_sensitivity
from malles_env.errors import InvalidInput
from tests.consumers.prompted.models import Formula
from tests.consumers.prompted.test_prompted import by_price, offer


def drawn(truth: Calibration, count: int, seed: int = 0):
    """Label probabilities of random shelves, some products missing, and choices drawn from the truth."""
    rng = np.random.default_rng(seed)
    segments, products = len(truth.outside), len(truth.shift)
    utility = rng.normal(0, 1.5, (count, products + 1))
    utility[:, 1:][rng.random((count, products)) < 0.2] = -np.inf
    log_choice = np.log(softmax(utility))
    segment = rng.integers(0, segments, count)
    probability = truth.choice(log_choice, segment, np.zeros((count, products)))
    chosen = (probability.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return log_choice, segment, chosen


@pytest.fixture(autouse=True)
def _log_of_zero() -> object:
    with np.errstate(divide="ignore"):
        yield


def test_temperature_offset_and_shift_are_found_again() -> None:
    truth = Calibration.of(2, 3, temperature=[0.5, 2.0], outside=[1.0, -0.5], shift=[0.8, 0.0, -0.8])
    log_choice, segment, chosen = drawn(truth, 20_000)
    found = fit_choices(log_choice, segment, chosen, segments=2, shift=True, ridge=1e-6)
    np.testing.assert_allclose(1 / found.temperature, 1 / truth.temperature, atol=0.1)
    np.testing.assert_allclose(found.shift - found.shift.mean(), truth.shift, atol=0.1)
    np.testing.assert_allclose(found.outside - found.shift.mean(), truth.outside, atol=0.15)

    def loss(fitted: Calibration) -> float:
        probability = fitted.choice(log_choice, segment, np.zeros((len(chosen), 3)))
        return -np.log(probability[np.arange(len(chosen)), chosen]).mean()

    assert loss(found) <= loss(truth) < loss(Calibration.of(2, 3)) - 0.05


def test_few_occasions_stay_near_what_the_model_said() -> None:
    """Every choice the likeliest one: without the ridge the temperature would fall to its bound."""
    log_choice = np.log(np.array([[0.6, 0.4], [0.3, 0.7]]))
    found = fit_choices(log_choice, np.zeros(2, dtype=int), np.array([0, 1]), segments=1, ridge=0.1)
    assert 0.1 < found.temperature[0] < 1.0


def test_units_are_found_again() -> None:
    rng = np.random.default_rng(0)
    log_units = np.log(softmax(rng.normal(0, 1, (20_000, 9))))
    probability = softmax(log_units / 0.8 - 0.7 * (UNITS - 1))
    quantity = 1 + (probability.cumsum(axis=1) < rng.random((len(log_units), 1))).sum(axis=1)
    temperature, tilt = fit_units(log_units, quantity, ridge=1e-6)
    np.testing.assert_allclose([temperature, tilt], [0.8, 0.7], atol=0.05)
    fitted = Calibration.of(1, 1, unit_temperature=temperature, unit_tilt=tilt)
    np.testing.assert_allclose(fitted.mean_units(log_units).mean(), quantity.mean(), atol=0.03)


def test_price_sensitivity_is_measured() -> None:
    """Utility -2 log p has a price sensitivity of exactly 2, up to prices rounded to cents."""

    def utility(prompt, labels):
        return 2.0 * -np.log(-np.array([-1.0, *by_price()(prompt, labels)[1:]]))

    shop = PromptedConsumers(
        Formula(utility), ("a", "b", "c", "d"), (Persona(), Persona("x"), Persona("y")),
        settings=PromptSettings(loyalty="none", quantity="one", mean_field="none"),
    )  # fmt: skip
    np.testing.assert_allclose(measured_price_sensitivity(shop, offer(1)), 2.0, atol=0.02)


def test_what_cannot_be_fitted_is_refused() -> None:
    rows = np.log(np.full((2, 3), 1 / 3))
    with pytest.raises(InvalidInput, match="occasions"):
        fit_choices(rows[:0], np.zeros(0, dtype=int), np.zeros(0, dtype=int), segments=1)
    rows[1, 2] = -np.inf
    with pytest.raises(InvalidInput, match="options that were on the shelf"):
        fit_choices(rows, np.zeros(2, dtype=int), np.array([0, 2]), segments=1)
    with pytest.raises(InvalidInput, match="quantity"):
        fit_units(np.zeros((0, 9)), np.zeros(0, dtype=int))
    for wrong in ({"temperature": 0.0}, {"unit_temperature": -1.0}, {"shift": [1.0, 2.0]}, {"unit_tilt": np.inf}):
        with pytest.raises(InvalidInput, match="calibration"):
            Calibration.of(1, 3, **wrong)
