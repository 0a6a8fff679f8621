"""A scenario built from another log names that log, its brands and its caveats; the Complete Journey is the default."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.statistics import MarketStatistics, market_statistics
from malles_env.errors import InvalidInput
from malles_env.scenarios.from_log.build import scenario_from
from malles_env.scenarios.from_log.choices import BuildChoices
from malles_env.scenarios.from_log.provenance import COMPLETE_JOURNEY, Origin
from tests.data.conftest import SETTINGS

CHOICES = BuildChoices("pantry", "Pantry", min_share=0.0, segments=3, min_households=10)
ORIGIN = Origin("A panel of mine", "Mine to use.", "of my shop.", "EUR", ("Weeks are purchase numbers.",))


@pytest.fixture(scope="module")
def statistics() -> MarketStatistics:
    tables, _ = synthetic_transactions(seed=3, num_households=120)
    return market_statistics(tables, "PANTRY | MARKET 0", settings=SETTINGS, min_share=0.0)


def test_the_origin_is_named(statistics: MarketStatistics) -> None:
    scenario = scenario_from(statistics, CHOICES, origin=ORIGIN)
    assert scenario.sources[0].startswith("A panel of mine, market 'PANTRY | MARKET 0', weeks 1 to 40")
    assert (scenario.licence, scenario.currency) == ("Mine to use.", "EUR")
    assert "6 real products of my shop." in scenario.description
    assert scenario.notes[0] == "Weeks are purchase numbers."
    assert "Complete Journey" not in scenario.model_dump_json()


def test_the_default_is_the_complete_journey(statistics: MarketStatistics) -> None:
    scenario = scenario_from(statistics, CHOICES)
    assert scenario.licence == COMPLETE_JOURNEY.licence
    assert scenario.currency == "USD"
    assert len(scenario_from(statistics, CHOICES, origin=ORIGIN).notes) == len(scenario.notes) + 1


def test_real_brand_names_keep_their_capitals(statistics: MarketStatistics) -> None:
    names = ["Blue Bonnet", "Fleischmann's", "Hunt's 1/2", "Weight Watchers", "Heinz", "Heinz"]
    branded = statistics.lines.with_columns(brand=pl.Series(names), size_value=pl.lit(None, pl.Float64))
    scenario = scenario_from(dataclasses.replace(statistics, lines=branded), CHOICES, origin=ORIGIN)
    titles = {seller.name: seller.title for seller in scenario.sellers}
    assert titles["blue_bonnet"] == "Blue Bonnet"
    assert titles["fleischmanns"] == "Fleischmann's"
    assert titles["hunts_1_2"] == "Hunt's 1/2"
    assert {product.title for product in scenario.products} >= {"Heinz, line A", "Heinz, line B", "Weight Watchers"}


def test_a_line_without_a_brand_is_refused(statistics: MarketStatistics) -> None:
    bare = dataclasses.replace(statistics, lines=statistics.lines.drop("brand"))
    with pytest.raises(InvalidInput, match=r"product p0-\d: brand: got None; allowed: a brand or maker"):
        scenario_from(bare, CHOICES)


def test_sizes_may_be_missing(statistics: MarketStatistics) -> None:
    bare = dataclasses.replace(statistics, lines=statistics.lines.drop("size_value", "size_unit", "private_label"))
    scenario = scenario_from(bare, CHOICES)
    assert all(product.size_value == 0.0 and not product.private_label for product in scenario.products)
