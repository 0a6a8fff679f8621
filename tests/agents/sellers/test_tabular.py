"""Q-learning sessions: published results, known answers, and the traps that replications fell into."""

import numpy as np
import pytest

from malles_agents.sellers.tabular import GridMarket, QSettings, learn
from malles_agents.sellers.tabular.analysis import (
    best_reply_value,
    equilibrium_play,
    impulse_response,
    limit_cycle,
    limits,
    reply_states,
    strategy_value,
    transitions,
)
from malles_env.errors import InvalidInput

DUOPOLY = GridMarket()


@pytest.fixture(scope="module")
def learned():
    return learn(DUOPOLY, sessions=40, seed=3, keep_values=True)


def test_the_grid_reaches_beyond_both_benchmarks():
    """A known trap: spacing the grid with one step too many instead of xi = 0.1 gives 1.4353 to 1.9627."""
    low, high = DUOPOLY.nash.prices[0], DUOPOLY.monopoly.prices[0]
    reach = 0.1 * (high - low)
    assert DUOPOLY.grid[0, 0] == pytest.approx(low - reach)
    assert DUOPOLY.grid[0, -1] == pytest.approx(high + reach)
    np.testing.assert_allclose(DUOPOLY.grid[0, [0, -1]], [1.4277, 1.9702], atol=1e-4)
    assert not np.isclose(DUOPOLY.grid[0], low, atol=1e-3).any()


def test_nash_equilibria_of_the_grid():
    states = DUOPOLY.pure_nash()
    assert DUOPOLY.actions[states].tolist() == [[1, 1], [2, 2]]
    np.testing.assert_allclose(DUOPOLY.gain(DUOPOLY.profit[:, states].T), [-0.024, 0.117], atol=1e-3)


def test_gain_of_prices_and_of_profits_differ():
    """Another trap: individual profit 0.229 is a gain of 0.05, not '127% of the target'; price 1.887 is not 0.85."""
    assert DUOPOLY.gain([0.229, 0.229]) == pytest.approx(0.053, abs=1e-3)
    assert DUOPOLY.gain(DUOPOLY.profits_at([1.887, 1.887])) == pytest.approx(0.991, abs=2e-3)


def test_first_values_are_profits_against_uniform_rivals():
    first = DUOPOLY.first_values(0.95)
    table = DUOPOLY.profit[0].reshape(15, 15)
    np.testing.assert_allclose(first[0], table.mean(axis=1) / 0.05)
    np.testing.assert_allclose(first[0], first[1])


def test_the_shipped_learning_settings_are_the_papers():
    """A trap: a module in circulation defaults to beta 9.21e-5, 23 times the paper's."""
    assert QSettings() == QSettings(0.15, 4e-6, 0.95, 100_000, 1_000_000_000)


def test_two_sellers_collude_as_published(learned):
    ends = limits(learned)
    assert learned.converged.all()
    assert 0.79 < ends.gain.mean() < 0.90
    assert 1.4e6 < learned.periods.mean() < 2.4e6


def test_the_stability_counter_counts_periods():
    """A trap: counting once per seller makes 100,000 periods 50,000. Without exploration nothing changes at the end."""
    found = learn(DUOPOLY, QSettings(stable=70_000), sessions=4, seed=1)
    still = learn(DUOPOLY, QSettings(stable=30_000), sessions=4, seed=1)
    assert found.converged.all()
    assert (found.periods >= still.periods).all()
    assert (still.periods >= 30_000).all()
    quiet = learn(DUOPOLY, QSettings(beta=1e9, stable=500), sessions=20, seed=1)
    assert quiet.periods.min() >= 500


def test_three_sellers_collude_less():
    """Six sessions have a standard error of 0.017."""
    ends = limits(learn(GridMarket.symmetric(3), sessions=6, seed=5))
    assert 0.58 < ends.gain.mean() < 0.70


def test_impatient_sellers_hardly_collude():
    """Ten sessions have a standard error of 0.05."""
    ends = limits(learn(DUOPOLY, QSettings(discount=0.35), sessions=10, seed=5))
    assert 0.08 < ends.gain.mean() < 0.26


def test_seeds_decide_and_workers_do_not():
    one = learn(DUOPOLY, sessions=3, seed=7, workers=1)
    two = learn(DUOPOLY, sessions=3, seed=7, workers=2)
    other = learn(DUOPOLY, sessions=3, seed=8, workers=2)
    np.testing.assert_array_equal(one.greedy, two.greedy)
    np.testing.assert_array_equal(one.periods, two.periods)
    assert not np.array_equal(one.periods, other.periods)


def test_kept_best_actions_are_those_of_the_tables(learned):
    """The kernel keeps each row's best action instead of scanning it; the tables must agree."""
    np.testing.assert_array_equal(
        np.take_along_axis(learned.values, learned.greedy[..., None], axis=3)[..., 0], learned.values.max(axis=3)
    )


def test_strategy_values_equal_simulated_sums(learned):
    greedy, following = learned.greedy[0], transitions(DUOPOLY, learned.greedy[0])
    value = strategy_value(DUOPOLY, greedy, 1, 0.95)
    for start in (0, 17, 200):
        state, total = start, 0.0
        for t in range(700):
            state = following[state]
            total += 0.95**t * DUOPOLY.profit[1, state]
        assert value[start] == pytest.approx(total, rel=1e-9)


def test_best_replies_satisfy_bellmans_equation(learned):
    for greedy in learned.greedy[:5]:
        value = best_reply_value(DUOPOLY, greedy, 0, 0.95)
        states = reply_states(DUOPOLY, greedy, 0)
        np.testing.assert_allclose(value, (DUOPOLY.profit[0][states] + 0.95 * value[states]).max(axis=1), rtol=1e-9)
        assert (value >= strategy_value(DUOPOLY, greedy, 0, 0.95) - 1e-9).all()


def test_one_shot_check_hides_what_best_replies_gain(learned):
    play = equilibrium_play(learned)
    assert 0.3 < play.one_shot.all(axis=1).mean() < 0.75
    assert 0.08 < play.gap.mean() < 0.18
    assert (play.gap >= -1e-12).all()


def test_a_deviation_is_punished_and_forgiven(learned):
    found = impulse_response(learned)
    assert (found.prices[:, 1, 0] < found.prices[:, 0, 0]).mean() > 0.9
    assert (found.prices[:, 2, 1] < found.prices[:, 0, 1] - 1e-9).mean() > 0.8
    assert (found.gain < 0).mean() >= 0.85
    assert (found.back >= 0).all()
    np.testing.assert_allclose(found.prices[:, -1], found.prices[:, 0])


def test_limit_cycles_repeat():
    greedy = np.zeros((2, 225), dtype=np.int64)
    greedy[0, 0] = 3  # from state 0 to (3, 0), and from there back
    assert limit_cycle(DUOPOLY, greedy, 100).tolist() == [0, 45]


@pytest.mark.parametrize(
    ("settings", "field"), [({"alpha": 0.0}, "alpha"), ({"discount": 1.0}, "discount"), ({"beta": -1.0}, "beta")]
)
def test_settings_out_of_range_are_refused(settings, field):
    with pytest.raises(InvalidInput, match=field):
        QSettings(**settings)


def test_no_session_is_refused():
    with pytest.raises(InvalidInput, match="sessions"):
        learn(DUOPOLY, sessions=0)
