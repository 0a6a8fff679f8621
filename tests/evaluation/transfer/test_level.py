"""What names say of appeals: a smooth truth is found, names that read alike appeal alike, far ones are uncertain."""

from __future__ import annotations

import numpy as np
import pytest

from malles_env.evaluation.transfer.level import Level
from malles_env.evaluation.transfer.names import centred, kinship


def directions(seed: int, count: int, width: int = 6) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_truth_in_the_readings_and_prices_is_found_in_new_names() -> None:
    rng = np.random.default_rng(0)
    readings, price = directions(1, 80), rng.normal(0.0, 0.5, 80)
    truth = -4.0 + 1.5 * readings[:, 0] - 0.6 * price
    shown = truth + rng.normal(0.0, 0.1, 80)
    known, new = np.arange(60), np.arange(60, 80)
    sd = np.full(60, 0.1)
    level = Level.fit(readings[known], price[known], shown[known], sd)
    said, unsure = level.predict(readings[known], price[known], shown[known], sd, readings[new], price[new])
    assert np.corrcoef(said, truth[new])[0, 1] > 0.95
    assert np.abs(said - truth[new]).mean() < 0.3 and (unsure > 0).all()
    shuffled = readings[rng.permutation(80)]
    worse, _ = level.predict(shuffled[known], price[known], shown[known], sd, shuffled[new], price[new])
    assert np.abs(worse - truth[new]).mean() > 2 * np.abs(said - truth[new]).mean()


def test_the_same_name_again_gets_what_was_sold_and_an_unlike_one_the_mean() -> None:
    readings = np.eye(3)[:2]
    level = Level(1.0, 0.2, 0.0, 1e-4)
    ask = np.vstack([readings[0], np.eye(3)[2]])
    said, sd = level.predict(readings, np.zeros(2), np.array([1.0, -1.0]), np.full(2, 1e-3), ask, np.zeros(2))
    assert said[0] == pytest.approx(1.0, abs=0.01) and said[1] == pytest.approx(0.0, abs=0.01)
    assert sd[0] < 0.05 and sd[1] == pytest.approx(1.0, abs=0.01)


def test_likeness_is_that_of_cosines() -> None:
    products = centred(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))
    found = kinship(products, [np.array([[2.0, 0.0]]) / 2.0, np.zeros((0, 2))])
    np.testing.assert_allclose(found[0], [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert not found[1].any()
