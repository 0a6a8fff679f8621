"""Taxes, price caps, entry and mergers: closed forms under logit, and what a scenario accepts."""

import numpy as np
import pytest

from malles_env import parallel_env, vec_env
from malles_env.errors import InvalidInput
from malles_env.market.solvers import closed_form
from malles_env.market.solvers.equilibrium import nash
from malles_env.market.solvers.game import Game
from malles_env.scenarios import load_scenario, parse_scenario, save_scenario

DUOPOLY = load_scenario("bertrand-duopoly")


def nash_prices(scenario):
    return nash(Game.of(scenario.market()), bounded=False, starts=1).prices


def exact(cost, sellers=(0, 1)):
    return closed_form.nash([2.0] * len(sellers), cost, sellers, 0.25)


@pytest.mark.parametrize("tax", [0.05, 0.2])
def test_a_sales_tax_acts_like_a_higher_cost(tax):
    """Maximising (p / (1 + t) - c) s is maximising (p - c (1 + t)) s."""
    np.testing.assert_allclose(nash_prices(DUOPOLY.with_policy(sales_tax=tax)), exact(1.0 + tax).prices, atol=1e-7)


def test_pass_through_of_a_unit_tax():
    """dp / dc = 1 / (1 + s (1 - n s) / (1 - s)^2) for n symmetric logit sellers (implicit differentiation)."""
    step = 1e-4
    higher, lower = (nash_prices(DUOPOLY.with_policy(unit_tax=t))[0] for t in (0.05 + step, 0.05 - step))
    share = exact(1.05).share[0]
    assert (higher - lower) / (2 * step) == pytest.approx(
        1 / (1 + share * (1 - 2 * share) / (1 - share) ** 2), abs=1e-5
    )


def test_the_books_keep_what_is_left_after_tax():
    taxed, free = (s.market(demand="expected") for s in (DUOPOLY.with_policy(sales_tax=0.25), DUOPOLY))
    a, b = taxed.step([[1.6, 1.8]], True), free.step([[1.6, 1.8]], True)
    np.testing.assert_allclose(a.units, b.units)
    np.testing.assert_allclose(a.revenue, b.revenue / 1.25)
    np.testing.assert_allclose(a.profit, a.revenue - a.cost)
    asked = Game.of(taxed).profit([[1.6, 1.8]])[0]
    np.testing.assert_allclose(asked, a.seller_profit[0])


def test_a_merger_is_one_seller():
    merged = DUOPOLY.with_policy(mergers=[["seller_a", "seller_b"]])
    np.testing.assert_allclose(nash_prices(merged), closed_form.joint_optimum([2, 2], 1.0, 0.25).prices, atol=1e-6)
    env = parallel_env(merged)
    env.reset(seed=1)
    assert env.possible_agents == ["seller_0"]
    both = vec_env(DUOPOLY, num_markets=1)
    assert both.num_envs == 2


def test_mergers_of_retail_sellers_keep_products_and_shelves():
    drinks = load_scenario("soft-drinks")
    names = drinks.seller_names
    merged = drinks.with_policy(mergers=[[names[0], names[2]]])
    before, after = drinks.catalog(), merged.catalog()
    assert after.sellers == tuple(n for n in names if n != names[2])
    assert after.shelf[0] == before.shelf[0] + before.shelf[2]
    assert after.product_ids == before.product_ids


def test_a_price_cap_cuts_the_box():
    capped = DUOPOLY.with_policy(price_cap=1.4)
    env = parallel_env(capped, action_mode="dict")
    env.reset(seed=1)
    assert env.action_space("seller_0")["price"].high[0] == 1.4
    np.testing.assert_allclose(nash(Game.of(capped.market()), starts=1).prices, 1.4)  # it binds below 1.4729
    loose = DUOPOLY.with_policy(price_cap=1.7)
    np.testing.assert_allclose(nash(Game.of(loose.market()), starts=1).prices, exact(1.0).prices, atol=1e-6)


def test_a_late_seller_is_a_monopolist_before_it_comes():
    late = DUOPOLY.with_policy(entry={"seller_b": 3})
    market = late.market(num_markets=2, demand="expected")
    listed = [market.step([[1.6, 1.6]], True) for _ in range(5)]
    assert [bool(o.listed[0, 1]) for o in listed] == [False, False, False, True, True]
    alone = 1000 * closed_form.logit_shares([1.6], [2.0], 0.25)[0]
    np.testing.assert_allclose(listed[0].units[:, 0], alone)
    assert listed[0].units[:, 1].max() == 0.0
    market.reset(markets=np.array([True, False]))
    np.testing.assert_array_equal(market.step([[1.6, 1.6]], True).listed[:, 1], [False, True])


def test_observations_show_who_is_there():
    """The rival's listing is a block of the flat observation; it turns to 1 after the period of entry."""
    env = parallel_env(DUOPOLY.with_policy(entry={"seller_b": 2}), max_cycles=5)
    seen, _ = env.reset(seed=1)
    place = env.market_batch.layout["rivals_listed"]
    action = {agent: np.array([0.0, 1.0], np.float32) for agent in env.agents}
    shown = []
    for _ in range(5):
        shown.append(float(seen["seller_0"][place][0]))
        seen, *_ = env.step(action)
    assert shown == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"price_cap": 1.0}, "policy.price_cap"),
        ({"mergers": [["seller_a"]]}, "policy.mergers"),
        ({"mergers": [["seller_a", "nobody"]]}, "nobody"),
        ({"entry": {"nobody": 3}}, "policy.entry"),
        ({"sales_tax": -0.1}, "sales_tax"),
        ({"tax": 0.1}, "tax"),
    ],
)
def test_wrong_rules_are_refused(changes, field):
    with pytest.raises(InvalidInput, match=field):
        DUOPOLY.with_policy(**changes)


def test_rules_are_written_and_read(tmp_path):
    other = DUOPOLY.with_policy(sales_tax=0.1, price_cap=2.0, entry={"seller_b": 2})
    path = save_scenario(other, tmp_path / "other.yaml")
    assert load_scenario(path) == other
    text = path.read_text() + "reference_price: {strength: 0.5}\n"
    assert parse_scenario(text).market().reference_price.strength == 0.5
