import numpy as np
import pytest

from malles_env.market import Offer
from malles_env.market.demand.mean_field import diagnose
from malles_env.scenarios import list_scenarios, load_scenario

REAL = ("ice-cream", "soft-drinks")


def test_the_promised_scenarios_are_there():
    assert set(list_scenarios()) >= {"bertrand-duopoly", *REAL}


@pytest.mark.parametrize("name", list_scenarios())
def test_bundled_scenarios_are_sound(name):
    scenario = load_scenario(name)
    catalog, population = scenario.catalog(), scenario.population()
    assert scenario.name == name
    assert scenario.title
    assert scenario.sources
    assert scenario.licence
    assert catalog.num_sellers >= (1 if name in ("clearance", "gifts") else 2)
    assert population.initial_loyalty.shape == (len(scenario.segments), catalog.num_products + 1)
    assert np.all(catalog.price_low < catalog.price_high)
    assert np.all(catalog.unit_cost < catalog.price_high)
    assert scenario.first_mean_field().sum() == pytest.approx(1.0)


def test_the_duopoly_earns_what_the_textbook_says():
    scenario = load_scenario("bertrand-duopoly")
    market = scenario.market(demand="expected")
    catalog = scenario.catalog()
    for price, profit, place in ((1.47292666, 0.22292666, -0.5), (1.92498092, 0.33749046, 0.5)):
        earned = market.step([[price, price]], True).seller_profit[0] / scenario.population_size
        np.testing.assert_allclose(earned, profit, atol=5e-9)
        np.testing.assert_allclose(
            2 * (price - catalog.price_low) / (catalog.price_high - catalog.price_low) - 1, place
        )


@pytest.mark.parametrize("name", REAL)
def test_real_scenarios_tell_nothing_of_single_households(name):
    scenario = load_scenario(name)
    for segment in scenario.segments:
        assert segment.households >= 20
        for share in segment.loyalty.values():
            assert share * segment.households >= 4.9


@pytest.mark.parametrize("name", REAL)
def test_real_scenarios_have_consistent_numbers(name):
    scenario = load_scenario(name)
    assert sum(segment.weight for segment in scenario.segments) == pytest.approx(1.0, abs=1e-3)
    assert sum(product.reference_share for product in scenario.products) == pytest.approx(1.0, abs=1e-3)
    weights = [segment.weight for segment in scenario.segments]
    rates = [segment.history_total / segment.weeks_seen for segment in scenario.segments]
    # The histories count every purchase, the rate one per week and of the listed lines only.
    assert 1.0 <= np.dot(weights, rates) / scenario.consumers.purchase_rate < 1.8
    for product in scenario.products:
        assert product.price_low <= product.unit_cost + 0.01 < product.average_price < product.price_high
        assert product.average_price <= product.regular_price
    many = [n for n in scenario.seller_names if sum(p.seller == n for p in scenario.products) > 1]
    capacities = {seller.name: seller.capacity for seller in scenario.sellers}
    assert many
    assert all(capacities[n] < sum(p.seller == n for p in scenario.products) for n in many)


@pytest.mark.parametrize("name", REAL)
def test_the_tastes_read_leave_one_equilibrium(name):
    """Several coupled segments may have several equilibria; these, as read by the shipped model, have one."""
    scenario = load_scenario(name)
    population = scenario.population()
    offer = Offer(
        scenario.average_price()[None],
        np.ones((1, len(scenario.products)), dtype=bool),
        scenario.catalog().regular_price,
        scenario.first_mean_field()[None],
        population.initial_loyalty[None],
    )
    found = diagnose(scenario.build_consumers().tastes, population.weights, offer, scenario.mean_field.settings())
    assert found.stable.tolist() == [True]
    assert found.contraction < 0.5
