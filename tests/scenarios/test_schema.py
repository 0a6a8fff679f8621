import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.scenarios import parse_scenario
from malles_env.scenarios.consumer_kinds.aligned import target_shares
from tests.scenarios.texts import ALIGNED, GOOD, spoilt


@pytest.fixture
def scenario():
    return parse_scenario(GOOD)


def test_catalog_has_the_files_products(scenario):
    catalog = scenario.catalog()
    assert catalog.product_ids == ("a1", "a2", "b1")
    assert catalog.sellers == scenario.seller_names == ("ann", "bob")
    np.testing.assert_array_equal(catalog.shelf, [1, 1])
    np.testing.assert_array_equal(catalog.unit_cost, [1.0, 1.5, 0.0])
    np.testing.assert_array_equal(catalog.stock, [np.inf, 70.0, np.inf])
    np.testing.assert_array_equal(catalog.listing_fee, [4.0, 0.0, 0.0])
    np.testing.assert_array_equal(catalog.price_high, [3.0, 4.5, 3.0])
    assert catalog.products[0].title == "a1"


def test_population_keeps_the_rest_of_the_loyalty_as_nothing_bought(scenario):
    population = scenario.population()
    np.testing.assert_allclose(population.weights, [0.75, 0.25])
    np.testing.assert_allclose(population.initial_loyalty, [[0.25, 0.25, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0]])
    assert population.names == ("young", "old")
    assert population.size == 100.0


def test_rounded_loyalty_shares_may_add_up_to_a_little_more_than_one():
    population = parse_scenario(spoilt("b1: 0.5", "b1: 0.7505")).population()
    np.testing.assert_allclose(population.initial_loyalty.sum(axis=1), 1.0)


def test_tastes_broadcast_over_products(scenario):
    tastes = scenario.build_consumers().tastes
    np.testing.assert_array_equal(tastes.beta, [[2.0] * 3, [3.0] * 3])
    np.testing.assert_array_equal(tastes.rho, [0.5, 0.5])
    np.testing.assert_array_equal(tastes.kappa, np.full((2, 3), -1.0))
    assert tastes.price_transform == "log"


def test_one_row_of_alpha_serves_all_segments_and_no_kappa_means_one_unit():
    text = spoilt("alpha: [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]", "alpha: [1, 2, 3]").replace(", kappa: -1.0", "")
    tastes = parse_scenario(text).build_consumers().tastes
    np.testing.assert_array_equal(tastes.alpha, [[1.0, 2.0, 3.0]] * 2)
    assert np.all(tastes.kappa == -np.inf)


def test_market_steps_and_sells(scenario):
    market = scenario.market(num_markets=2, demand="expected")
    outcome = market.step(scenario.average_price(), [[True, False, True]])
    assert market.num_markets == 2
    assert outcome.units[0, 0] > 0
    assert outcome.units[0, 1] == 0
    np.testing.assert_array_equal(outcome.mean_field, np.full((2, 3), 1 / 3))


def test_first_mean_field_is_what_the_file_says_else_the_reference_shares():
    given = parse_scenario(GOOD + "initial_mean_field: {a1: 0.2, b1: 0.2}\n")
    np.testing.assert_allclose(given.first_mean_field(), [0.5, 0.0, 0.5])
    np.testing.assert_allclose(parse_scenario(ALIGNED).first_mean_field(), [0.5, 0.1, 0.4])


def test_mean_field_settings_reach_the_market():
    scenario = parse_scenario(GOOD + "mean_field: {window: 3, coupling: equilibrium, shares: population}\n")
    settings = scenario.market().mean_field
    assert (settings.window, settings.coupling, settings.shares) == (3, "equilibrium", "population")


def test_a_scenario_cannot_be_changed(scenario):
    with pytest.raises(ValueError, match="frozen"):
        scenario.population_size = 5.0


def test_logit_tastes_cannot_be_read_by_a_model(scenario):
    with pytest.raises(InvalidInput, match="model: got 'smollm2'"):
        scenario.with_model("smollm2")
    with pytest.raises(InvalidInput, match="the tastes stand in the scenario"):
        scenario.build_consumers("smollm2")


def test_with_model_changes_the_model_only():
    scenario = parse_scenario(ALIGNED)
    other = scenario.with_model("smollm2")
    assert (scenario.consumers.model, other.consumers.model) == ("embedded", "smollm2")
    assert other.products == scenario.products


def test_target_shares_are_the_purchase_rate_split_by_reference_shares():
    scenario = parse_scenario(ALIGNED)
    np.testing.assert_allclose(target_shares(scenario, scenario.consumers), [0.9, 0.05, 0.01, 0.04])
    left = parse_scenario(spoilt("kind: aligned,", "kind: aligned, calibrate: none,", ALIGNED))
    assert target_shares(left, left.consumers) is None


def test_aligned_consumers_sell_the_observed_shares_at_average_prices(tmp_path, monkeypatch):
    from tests.preference.conftest import tiny_model

    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    tiny_model().save(tmp_path / "tiny")
    scenario = parse_scenario(ALIGNED).with_model(str(tmp_path / "tiny"))
    market = scenario.market(demand="expected")
    assert market.consumers.model == str(tmp_path / "tiny")
    np.testing.assert_array_equal(scenario.average_price(), [1.6, 3.0, 1.2])
    market.catalog.shelf.setflags(write=True)
    market.catalog.shelf[:] = 3  # for once everything is listed, as it was in the data
    outcome = market.step(scenario.average_price(), True)
    np.testing.assert_allclose(outcome.share, [[0.5, 0.1, 0.4]], atol=1e-6)
    np.testing.assert_allclose(outcome.outside, 0.9, atol=1e-6)
