"""Pooled calibration: personas are drawn to the pool as far as held-out households ask for, and are found again."""

from __future__ import annotations

import numpy as np
import pytest

from malles_env.consumers.prompted import Calibration, VisitAnswers, Visits, fit_choices, fit_pooled, scores
from malles_env.consumers.prompted.calibration import UNITS, softmax
from malles_env.consumers.prompted.scores import log_probability
from malles_env.errors import InvalidInput


def made(truth: Calibration, count: int, seed: int = 0, *, offset: float = 0.0, homes: int = 0) -> VisitAnswers:
    """Answers to random shelves, and choices and units that the truth draws from them."""
    rng = np.random.default_rng(seed)
    segments, products = len(truth.outside), len(truth.shift)
    log_choice = np.log(softmax(rng.normal(0, 1.5, (count, products + 1))))
    mean_field = rng.dirichlet(np.ones(products), count)
    segment = rng.integers(0, segments, count)
    probability = truth.choice(log_choice, segment, mean_field - 1 / products)
    probability[:, 0] *= np.exp(offset)
    probability /= probability.sum(axis=1, keepdims=True)
    chosen = (probability.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    log_units = np.log(softmax(rng.normal(0, 1, (count, 9))))
    quantity = 1 + (truth.units(log_units).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    log_units[chosen == 0] = np.nan
    return VisitAnswers(
        Visits(
            prices=np.ones((count, products)),
            available=np.ones((count, products), dtype=bool),
            mean_field=mean_field,
            last=np.zeros(count, dtype=np.int64),
            segment=segment,
            chosen=chosen,
            quantity=np.where(chosen > 0, quantity, 0),
            household=rng.integers(0, homes or count, count),
            offset=np.full(count, offset),
        ),
        log_choice,
        log_units,
    )


def nats(asked: VisitAnswers, fitted: Calibration) -> float:
    return float(-log_probability(asked, fitted)[np.arange(len(asked.visits)), asked.visits.chosen].mean())


def test_personas_shifts_pull_of_the_mean_field_and_units_are_found_again() -> None:
    truth = Calibration.of(
        3, 3, temperature=[0.5, 1.0, 2.0], outside=[1.5, 0.0, -0.5], shift=[0.8, 0.0, -0.8], rho=[2.0, 2.0, 0.0],
        unit_temperature=0.8, unit_tilt=0.7,
    )  # fmt: skip
    found = fit_pooled(made(truth, 12_000, offset=-1.5), 3, rho=True, pulls=(1.0, np.inf), folds=2)
    assert found.chosen.pull == 1.0 and found.chosen.shift
    np.testing.assert_allclose(1 / found.personas.temperature, 1 / truth.temperature, atol=0.15)
    level = found.personas.shift.mean()
    np.testing.assert_allclose(found.personas.shift - level, truth.shift, atol=0.15)
    np.testing.assert_allclose(found.personas.outside - level, truth.outside, atol=0.2)
    np.testing.assert_allclose(found.personas.rho, truth.rho, atol=0.6)
    np.testing.assert_allclose([found.personas.unit_temperature, found.personas.unit_tilt], [0.8, 0.7], atol=0.06)
    assert np.ptp(found.pool.temperature) == 0 == np.ptp(found.pool.outside)


def test_too_many_idle_visits_in_the_sample_do_not_move_the_outside_offset() -> None:
    truth = Calibration.of(1, 3, outside=0.5)
    plain, thinned = (
        fit_pooled(made(truth, 8000, seed, offset=offset), 1, shifts=(False,), folds=2).pool.outside[0]
        for seed, offset in ((1, 0.0), (2, -2.0))
    )
    np.testing.assert_allclose([plain, thinned], 0.5, atol=0.12)


def test_equal_personas_are_drawn_to_the_pool_and_few_visits_gain_by_it() -> None:
    """Twelve personas that are all alike and a hundred visits: what is fitted to each alone predicts worse."""
    truth = Calibration.of(12, 3, temperature=0.5, outside=0.7)
    few, later = made(truth, 100, seed=3), made(truth, 4000, seed=4)
    found = fit_pooled(few, 12)
    assert found.chosen.pull >= 16.0
    alone = fit_choices(few.log_choice, few.visits.segment, few.visits.chosen, segments=12)
    assert nats(later, found.personas) < nats(later, alone) - 0.05
    assert nats(later, found.personas) < nats(later, Calibration.of(12, 3))


def test_a_persona_without_visits_keeps_the_pools_numbers() -> None:
    asked = made(Calibration.of(2, 3, temperature=[0.5, 2.0], outside=[2.0, -2.0]), 2000)
    found = fit_pooled(asked, 3, pulls=(1.0,), shifts=(False,), folds=2)
    assert found.personas.temperature[2] == pytest.approx(found.pool.temperature[2])
    assert found.personas.outside[2] == pytest.approx(found.pool.outside[2])
    assert found.personas.outside[0] - found.personas.outside[1] > 3.0


def test_better_is_never_made_worse() -> None:
    """Choices against what the model said: 1 / T ends at its bound above 0, so the order of options stays."""
    truth = Calibration.of(1, 3)
    asked = made(truth, 1000)
    worst = asked.log_choice[:, 1:].argmin(axis=1) + 1
    against = VisitAnswers(
        Visits(**{**vars(asked.visits), "chosen": worst}), asked.log_choice, np.full_like(asked.log_units, np.nan)
    )
    found = fit_pooled(against, 1, shifts=(False,), folds=2).personas
    assert 0 < 1 / found.temperature[0] <= 0.011
    probability = found.choice(asked.log_choice, asked.visits.segment, asked.visits.perceived)[:, 1:]
    assert (np.argsort(probability, axis=1) == np.argsort(asked.log_choice[:, 1:], axis=1)).all()


def test_scores_are_paired_and_cluster_households() -> None:
    truth = Calibration.of(2, 3, temperature=0.5, outside=[1.0, -1.0])
    asked = made(truth, 3000, homes=300)
    found = scores({"raw": asked, "true": asked}, {"raw": Calibration.of(2, 3), "true": truth}, "raw")
    raw, true = found["raw"], found["true"]
    assert raw.gains == {} and true.gains["nats_all"].mean < -10 * true.gains["nats_all"].se
    for name, gain in true.gains.items():
        np.testing.assert_allclose(gain.mean, true.values[name].mean - raw.values[name].mean, atol=1e-12)
    assert true.values["hit"].mean == pytest.approx(raw.values["hit"].mean), "one temperature keeps the order"
    assert true.gains["nats"].se < true.values["nats"].se
    twice = Visits(**{name: np.concatenate([part, part]) for name, part in vars(asked.visits).items()})
    doubled = VisitAnswers(twice, np.vstack([asked.log_choice] * 2), np.vstack([asked.log_units] * 2))
    again = scores({"raw": doubled}, {"raw": Calibration.of(2, 3)}, "raw")["raw"].values["nats"]
    assert (again.mean, again.se) == pytest.approx((raw.values["nats"].mean, raw.values["nats"].se))
    assert UNITS[0] == 1 and "units_error" in true.values


def test_what_cannot_be_fitted_is_refused() -> None:
    asked = made(Calibration.of(1, 3), 10)
    with pytest.raises(InvalidInput, match="pulls"):
        fit_pooled(asked, 1, pulls=(0.0,))
    with pytest.raises(InvalidInput, match="folds"):
        fit_pooled(asked, 1, folds=1)
    with pytest.raises(InvalidInput, match="occasions"):
        fit_pooled(asked.take(np.zeros(0, dtype=int)), 1)
    one = fit_pooled(asked.take(np.zeros(1, dtype=int)), 1)
    assert np.isnan(one.chosen.nats) and one.chosen.pull == np.inf, "a single household leaves nothing to hold out"
