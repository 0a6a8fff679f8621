"""Estimators meet exact values on problems small enough to write down, and are unbiased where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from malles_agents.logged.estimators import (
    Values,
    bootstrap_counts,
    effective_size,
    self_normalised,
    terms,
    weights,
    with_interval,
)
from malles_agents.logged.value_model import Table, crossed, direct, fit, said
from tests.agents.logged import problems as p

FORMS = ("episode", "bandit")
NO_RIDGE = 1e-9


def table_of(situation, action, reward):
    taken = p.one_hot(situation, action)
    constant = np.ones((*reward.shape, 1))
    parts = (np.concatenate([constant, found], axis=2) for found in (taken, p.expected_one_hot(situation)))
    return Table(*parts, reward)


@pytest.mark.parametrize("form", FORMS)
def test_a_log_as_likely_as_it_is_gives_the_exact_value(form):
    situation, action = p.whole_log()
    reward, weight = p.REWARD[situation, action], weights(p.log_ratio(situation, action), form)
    table = table_of(situation, action, reward)
    model = said(table, fit(table, form, np.ones(8), NO_RIDGE))
    wrong = Values(np.full((8, 1), 3.0), np.full((8, 1), 3.0))  # any model: its mean must cancel
    assert terms("ips", form, weight, reward, None).mean() == pytest.approx(p.VALUE, abs=1e-12)
    assert float(self_normalised(weight, reward)) == pytest.approx(p.VALUE, abs=1e-12)
    assert terms("dm", form, weight, reward, model).mean() == pytest.approx(p.VALUE, abs=1e-6)
    assert terms("dr", form, weight, reward, model).mean() == pytest.approx(p.VALUE, abs=1e-6)
    assert terms("dr", form, weight, reward, wrong).mean() == pytest.approx(p.VALUE, abs=1e-12)


def test_two_periods_with_every_episode_once():
    situation, action, reward, ratio = p.chain_log()
    exact, as_bandit = p.chain_value(), p.chain_bandit_value()
    assert exact != pytest.approx(as_bandit, rel=0.01)
    features = np.eye(4)[2 * situation + action]
    chance = p.CHAIN_POLICY[situation]
    expected = np.eye(4)[2 * situation] * (1.0 - chance)[..., None] + np.eye(4)[2 * situation + 1] * chance[..., None]
    table = Table(*(np.concatenate([np.ones((4, 2, 1)), found], axis=2) for found in (features, expected)), reward)
    for form, value in (("episode", exact), ("bandit", as_bandit)):
        weight = weights(ratio, form)
        model = said(table, fit(table, form, np.ones(4), NO_RIDGE))
        assert terms("ips", form, weight, reward, None).mean() == pytest.approx(value, abs=1e-12)
        assert float(self_normalised(weight, reward)) == pytest.approx(value, abs=1e-12)
        assert terms("dm", form, weight, reward, model).mean() == pytest.approx(value, abs=1e-6)
        wrong = Values(model.taken + reward, model.expected)
        assert terms("dr", form, weight, reward, model).mean() == pytest.approx(value, abs=1e-6)
        shift = (weight * reward).sum(axis=1).mean()
        assert terms("dr", form, weight, reward, wrong).mean() == pytest.approx(value - shift, abs=1e-6)


def test_weighted_estimates_are_unbiased_and_their_intervals_cover():
    rng, times = np.random.default_rng(1), 300
    found = {"ips": [], "dr": [], "snips": []}
    covered = dict.fromkeys(found, 0)
    for _ in range(times):
        situation, action, reward = p.drawn_log(60, rng)
        weight, counts = weights(p.log_ratio(situation, action), "bandit"), bootstrap_counts(60, 200, 0)
        values = crossed(table_of(situation, action, reward), "bandit")
        for name in found:
            one = with_interval(name, "bandit", weight, reward, values, counts)
            found[name].append(one.value)
            covered[name] += one.low <= p.VALUE <= one.high
    for name in ("ips", "dr"):
        error = np.std(found[name], ddof=1) / times**0.5
        assert abs(np.mean(found[name]) - p.VALUE) < 3.5 * error
    assert np.std(found["dr"]) < np.std(found["ips"])
    assert all(0.88 <= covered[name] / times <= 0.99 for name in found)


def test_the_direct_method_has_an_interval_that_covers():
    rng, times, covered = np.random.default_rng(2), 100, 0
    for _ in range(times):
        one = direct(table_of(*p.drawn_log(60, rng)), "bandit", refits=20, ridge=NO_RIDGE)
        covered += one.low <= p.VALUE <= one.high
    assert 0.85 <= covered / times <= 1.0


def test_weights_say_how_much_of_a_log_is_left():
    assert effective_size(np.ones((10, 3))) == pytest.approx(10.0)
    one_left = np.zeros((10, 2))
    one_left[0] = 7.0
    assert effective_size(one_left) == pytest.approx(1.0)
    never = np.full((10, 2), -np.inf)
    assert effective_size(weights(never, "episode")) == 0.0
    nothing = with_interval("ips", "bandit", weights(never, "bandit"), np.ones((10, 2)), None, np.ones((5, 10)))
    assert np.isnan(nothing.value) and nothing.effective == 0.0


def test_resamples_repeat_by_seed():
    assert (bootstrap_counts(7, 5, 3) == bootstrap_counts(7, 5, 3)).all()
    assert (bootstrap_counts(7, 5, 3) != bootstrap_counts(7, 5, 4)).any()
    assert (bootstrap_counts(7, 5, 3).sum(axis=1) == 7).all()
