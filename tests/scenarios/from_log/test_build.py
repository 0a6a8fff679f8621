import numpy as np
import pytest

from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.statistics import market_statistics
from malles_env.errors import InvalidInput
from malles_env.scenarios import load_scenario, save_scenario
from malles_env.scenarios.from_log.build import scenario_from
from malles_env.scenarios.from_log.choices import BuildChoices
from malles_env.scenarios.from_log.clusters import cluster
from malles_env.scenarios.from_log.segments import Buyers, find_segments, largest_remainders
from tests.data.conftest import SETTINGS

CHOICES = BuildChoices(
    "pantry",
    "Pantry",
    min_share=0.0,
    segments=4,
    min_households=10,
    population_size=1000.0,
    notes=("Hello.",),
)


@pytest.fixture(scope="module")
def statistics():
    tables, _ = synthetic_transactions(seed=3, num_households=120)
    return market_statistics(tables, "PANTRY | MARKET 0", settings=SETTINGS, max_lines=4)


@pytest.fixture(scope="module")
def scenario(statistics):
    return scenario_from(statistics, CHOICES, made_by="by hand")


def test_products_carry_the_markets_numbers(statistics, scenario):
    lines = {line["mean_price"]: line for line in statistics.lines.to_dicts()}
    assert len(scenario.products) == len(lines) == 4
    for product in scenario.products:
        line = lines[min(lines, key=lambda price: abs(price - product.average_price))]
        assert product.brand == line["brand"]
        assert product.seller == line["brand"].replace(" ", "_")
        assert product.average_price == pytest.approx(line["mean_price"], abs=0.005)
        assert product.regular_price == pytest.approx(line["regular_price"], abs=0.005)
        assert product.unit_cost == pytest.approx(0.5 * line["mean_price"], abs=0.005)
        assert product.reference_share == pytest.approx(line["share_of_lines"], abs=5e-5)
        assert product.size_value == line["size_value"]


def test_purchase_rate_and_reward_scale(statistics, scenario):
    rate = statistics.incidence * statistics.share_covered
    assert scenario.consumers.purchase_rate == pytest.approx(rate, abs=1e-4)
    lines = statistics.lines
    margin = (lines["share_of_lines"] * lines["mean_quantity"] * lines["mean_price"]).sum() * 0.5 * rate * 1000.0
    assert scenario.reward_scale == pytest.approx(margin / len(scenario.sellers), rel=0.05)


def test_owners_of_several_lines_can_list_about_half(scenario):
    for seller in scenario.sellers:
        owned = sum(product.seller == seller.name for product in scenario.products)
        assert seller.capacity == (None if owned == 1 else (owned + 1) // 2)


def test_segments_cover_all_buyers(statistics, scenario):
    assert sum(segment.households for segment in scenario.segments) == statistics.num_buyers
    assert all(segment.households >= 10 for segment in scenario.segments)
    assert sum(segment.weight for segment in scenario.segments) == pytest.approx(1.0, abs=1e-3)
    assert len({segment.name for segment in scenario.segments}) == len(scenario.segments)


def test_histories_are_the_average_household_over_36_weeks(statistics, scenario):
    purchases = statistics.counts.sum() + statistics.other_counts.sum()
    expected = 36 * purchases / statistics.weeks.sum()
    result = sum(segment.weight * segment.history_total for segment in scenario.segments)
    assert result == pytest.approx(expected, rel=0.1)


def test_what_was_chosen_is_named(tmp_path, scenario):
    assert scenario.made_by == "by hand"
    assert scenario.notes[-1] == "Hello."
    assert any("50% of the average price paid" in note for note in scenario.notes)
    assert load_scenario(save_scenario(scenario, tmp_path / "pantry.yaml")) == scenario


def test_the_same_seed_builds_the_same_scenario(statistics, scenario):
    assert scenario_from(statistics, CHOICES, made_by="by hand") == scenario


def test_lines_of_one_maker_and_size_are_distinguished(statistics):
    import dataclasses

    import polars as pl

    same = statistics.lines.with_columns(brand=pl.lit("maker 9"), size_value=24.0, size_unit=pl.lit("oz"))
    scenario = scenario_from(dataclasses.replace(statistics, lines=same), CHOICES)
    assert scenario.product_ids == ("maker_9_a", "maker_9_b", "maker_9_c", "maker_9_d")
    assert scenario.products[1].title == "Maker 9 24 oz, line B"
    assert scenario.sellers[0].capacity == 2


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("cost_share", -1.0, "a number from 0 to 0.99"),
        ("segments", 0, "a number from 1 to 1000"),
        ("population_size", float("nan"), "a number from 1 to 1e+12"),
        ("box", (1.5, 0.5), "two multiples above 0"),
    ],
)
def test_choices_out_of_range(field, value, allowed):
    with pytest.raises(InvalidInput) as caught:
        BuildChoices("a", "A", **{field: value})
    assert str(caught.value).startswith(f"{field}: got {value!r}; allowed: {allowed}")


def test_cluster_finds_groups_that_are_there():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [50, 30, 20])
    rows = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])[truth] + 0.1 * rng.normal(size=(100, 2))
    np.testing.assert_array_equal(cluster(rows, 3, seed=1), truth)


def test_small_groups_join_their_neighbours():
    rows = np.concatenate([np.zeros((30, 1)), np.full((3, 1), 4.0), np.full((30, 1), 5.0)])
    labels = cluster(rows, 3, min_size=10)
    assert np.bincount(labels).tolist() == [33, 30]
    assert labels[31] == labels[-1]


def test_more_groups_than_distinct_rows():
    assert np.bincount(cluster(np.zeros((5, 2)), 3)).tolist() == [5]
    with pytest.raises(InvalidInput, match="groups: got 2; allowed: at least 1, from at least 10 rows, not 5"):
        cluster(np.zeros((5, 2)), 2, min_size=10)


def test_largest_remainders_keep_the_total():
    np.testing.assert_array_equal(largest_remainders(np.array([0.5, 0.3, 0.2]), 7), [4, 2, 1])
    np.testing.assert_array_equal(largest_remainders(np.array([0.1, 0.9]), 10), [1, 9])


def test_shares_of_a_handful_of_households_are_left_out():
    counts = np.zeros((60, 2), dtype=np.int64)
    counts[:, 0] = 6
    last = np.array([1] * 4 + [0] * 56)
    buyers = Buyers(counts, np.zeros(60, int), np.full(60, 30), np.full(60, 6), last)
    (segment,) = find_segments(buyers, ["a", "b"], ["maker 1", "maker 2"], ["A", "B"], groups=1, min_size=20, seed=0)
    assert segment["loyalty"] == {"a": round(56 / 60, 3)}
    assert segment["bought"] == {"a": 7}
    assert segment["name"] == "maker_1_sometimes"
    assert segment["description"] == "Bought 7 times in 36 shopping weeks: 100% A."


def test_rounded_shares_of_a_segment_never_add_up_to_more_than_one():
    last = np.repeat(np.arange(19), 5)
    counts = np.zeros((95, 19), dtype=np.int64)
    counts[np.arange(95), last] = 6
    buyers = Buyers(counts, *(np.full(95, n) for n in (0, 30, 6)), last)
    names = [f"p{j}" for j in range(19)]
    (segment,) = find_segments(buyers, names, names, names, groups=1, min_size=20, seed=0)
    result = list(segment["loyalty"].values())
    assert 19 * round(5 / 95, 3) > 1.005, "each rounded by itself would be too much"
    assert sum(result) == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(result, 5 / 95, atol=0.001)
