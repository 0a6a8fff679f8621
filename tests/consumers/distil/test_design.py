import numpy as np
import pytest

from malles_env.consumers import LogitConsumers
from malles_env.consumers.distil import Design, fresh_states
from malles_env.consumers.distil.design import last_purchase, one_purchase, price_steps
from malles_env.errors import InvalidInput
from tests.consumers.distil.cases import subject, tastes


@pytest.fixture(scope="module")
def market():
    return subject(LogitConsumers(tastes()))


def test_prices_fill_both_sides_of_the_regular_price(market):
    offer = Design(above=0.25).draw(market, 256, (0,))
    above = offer.prices > market.regular_price
    np.testing.assert_allclose(above.mean(axis=0), 0.25, atol=0.01)
    assert (offer.prices >= market.price_low).all()
    assert (offer.prices <= 1.2 * market.regular_price + 1e-12).all()
    low = np.log(offer.prices[~above]).min(), np.log(market.price_low).min()
    assert low[0] == pytest.approx(low[1], abs=0.02)


def test_a_regular_price_at_the_upper_bound_is_still_asked_beyond(market):
    from dataclasses import replace

    tight = replace(market, price_high=market.regular_price)
    offer = Design(headroom=1.15).draw(tight, 64, (0,))
    assert offer.prices.max() == pytest.approx(1.15 * market.regular_price.max(), rel=0.02)


def test_discount_and_log_price_are_distinguished(market):
    offer = Design().draw(market, 256, (0,))
    log = np.log(offer.prices / market.regular_price).ravel()
    depth = np.maximum(0.0, 1.0 - offer.prices / market.regular_price).ravel()
    below = depth > 0
    whole, only_below = np.corrcoef(log, depth)[0, 1], np.corrcoef(log[below], depth[below])[0, 1]
    assert only_below < -0.99  # nearly collinear below the regular price
    assert abs(whole) < abs(only_below)


def test_every_question_lists_something_and_names_one_last_purchase(market):
    offer = Design(listed=0.2).draw(market, 128, (0,))
    assert offer.available.any(axis=1).all()
    np.testing.assert_allclose(offer.mean_field.sum(axis=1), 1.0)
    assert set(np.unique(offer.loyalty)) == {0.0, 1.0}
    np.testing.assert_allclose(offer.loyalty.sum(axis=2), 1.0)
    assert set(last_purchase(offer.loyalty).ravel()) == set(range(5))


def test_a_longer_design_begins_with_the_shorter_one_and_seeds_differ(market):
    short, long = (Design().draw(market, count, (3,)) for count in (10, 200))
    np.testing.assert_array_equal(short.prices, long.prices[:10])
    np.testing.assert_array_equal(short.loyalty, long.loyalty[:10])
    assert not np.array_equal(short.prices, Design().draw(market, 10, (4,)).prices)


def test_fresh_states_lie_within_the_price_bounds(market):
    offer = fresh_states(market, 100, 0)
    assert (offer.prices >= market.price_low).all()
    assert (offer.prices <= market.price_high).all()
    assert set(np.unique(offer.loyalty)) == {0.0, 1.0}
    assert len(np.unique(fresh_states(market, 100, 0, shares=True).loyalty)) > 100


def test_last_purchases_follow_their_shares():
    shares = np.array([[0.5, 0.3, 0.2]])
    drawn = one_purchase(shares, np.linspace(0.0, 0.999, 1000)[:, None])
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), shares[0], atol=2e-3)


def test_price_steps_move_one_price_each(market):
    offer = price_steps(market)
    assert len(offer.prices) == 9
    assert ((offer.prices[1:] != offer.prices[0]).sum(axis=1) == 1).all()


@pytest.mark.parametrize("setting", [{"above": 1.5}, {"listed": -0.1}, {"headroom": 0.9}, {"popularity": 0.0}])
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(InvalidInput, match=f"design.{next(iter(setting))}"):
        Design(**setting)


def test_a_design_has_limits(market):
    with pytest.raises(InvalidInput, match="questions: got 0"):
        Design().draw(market, 0, (0,))


def test_shares_are_no_last_purchase():
    with pytest.raises(InvalidInput, match=r"offer\.loyalty: got 0\.6"):
        last_purchase(np.array([[[0.4, 0.6]]]))
