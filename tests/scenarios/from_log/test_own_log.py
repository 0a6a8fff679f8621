"""A scenario from one's own log: ids and titles kept, spellings of one maker pooled, the purchase rate given."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from malles_env.data.log.readers import write_tables
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.statistics import MarketStatistics, market_statistics
from malles_env.errors import InvalidInput
from malles_env.scenarios import Scenario
from malles_env.scenarios.from_log.build import scenario_from
from malles_env.scenarios.from_log.choices import BuildChoices
from malles_env.scenarios.from_log.panel import matched_lines
from malles_env.scenarios.from_log.provenance import Origin, log_origin
from malles_env.scenarios.report import full_view
from tests.data.conftest import SETTINGS

CHOICES = BuildChoices("pantry", "Pantry", min_share=0.0, segments=3, min_households=10)
ORIGIN = Origin("A log of mine", "Mine to use.", "of my shop.", "EUR")


@pytest.fixture(scope="module")
def statistics() -> MarketStatistics:
    tables, _ = synthetic_transactions(seed=3, num_households=120)
    return market_statistics(tables, "PANTRY | MARKET 0", settings=SETTINGS, min_share=0.0)


def with_lines(statistics: MarketStatistics, **columns: list[str]) -> MarketStatistics:
    return dataclasses.replace(
        statistics, lines=statistics.lines.with_columns(**{k: pl.Series(v) for k, v in columns.items()})
    )


def test_ids_and_titles_of_the_log_stand_beside_the_lines_name(statistics: MarketStatistics) -> None:
    titles = ["JUMBO BAG RED", "[bold]MUG[/bold]", "Tee\u200b\nZimt", "x" * 999, "🫖", "5 cl"]
    named = with_lines(statistics, title=titles)
    scenario = scenario_from(named, CHOICES, origin=ORIGIN)
    found = {product.source_id: product.source_title for product in scenario.products}
    assert found == dict(
        zip(
            statistics.lines["product_id"],
            ["JUMBO BAG RED", "[bold]MUG[/bold]", "Tee Zimt", "x" * 200, "🫖", "5 cl"],
            strict=True,
        )
    )
    console = Console(width=600, record=True, file=io.StringIO())
    console.print(full_view(scenario))
    shown = console.export_text()
    for product in scenario.products:
        assert product.title in shown and f"{product.source_id}: {product.source_title[:30]}" in shown
    # The Complete Journey names no products: nothing is kept of its made-up titles.
    assert all(product.source_id == "" for product in scenario_from(named, CHOICES).products)


def test_products_are_found_again_by_their_id(statistics: MarketStatistics) -> None:
    scenario = scenario_from(statistics, CHOICES, origin=ORIGIN)
    rows = matched_lines(scenario, statistics)
    assert statistics.lines["product_id"].gather(rows).to_list() == [product.source_id for product in scenario.products]
    other = with_lines(statistics, product_id=[f"new{n}" for n in range(6)])
    with pytest.raises(InvalidInput, match=r"has no such line \(p0-"):
        matched_lines(scenario, other)


@pytest.mark.parametrize(
    ("brands", "sellers"),
    [
        (["Heinz", "HEINZ", " heinz  "] * 2, 1),
        (["A", "A+", "A!"] * 2, 3),
        (["+", "!!", "X"] * 2, 3),
        (["A | 1", "A [1]", "A <1>"] * 2, 3),
        (["Anything and sons, makers of fine teas since the year of the flood, Ltd", "B", "C"] * 2, 3),
        (["日本", "茶", "🫖"] * 2, 3),
    ],
)
def test_spellings_of_one_maker_are_pooled_and_others_distinguished(
    statistics: MarketStatistics, brands: list[str], sellers: int
) -> None:
    scenario = scenario_from(with_lines(statistics, brand=brands), CHOICES, origin=ORIGIN)
    assert len(scenario.sellers) == sellers
    assert len({product.product_id for product in scenario.products}) == 6
    assert all(0 < len(product.brand) <= 60 for product in scenario.products)


@pytest.mark.parametrize(("sellers", "number"), [(None, 1), ("one", 1), ("products", 6)])
def test_a_log_without_brands_has_one_seller_or_one_per_product(
    statistics: MarketStatistics, sellers: str | None, number: int
) -> None:
    bare = dataclasses.replace(statistics, lines=statistics.lines.drop("brand"))
    choices = dataclasses.replace(CHOICES, sellers=sellers)  # type: ignore[arg-type]
    scenario = scenario_from(bare, choices, origin=ORIGIN)
    assert len(scenario.sellers) == number
    assert {product.title for product in scenario.products} >= {product.source_title for product in scenario.products}
    with pytest.raises(InvalidInput, match="brand: got None; allowed: a brand or maker"):
        scenario_from(bare, dataclasses.replace(CHOICES, sellers="brands"), origin=ORIGIN)


def test_the_purchase_rate_can_be_given_and_must_be_where_every_visit_buys(statistics: MarketStatistics) -> None:
    always = dataclasses.replace(statistics, incidence=1.0, share_covered=1.0)
    with pytest.raises(InvalidInput, match=r"purchase_rate: got 1.0; allowed: a number below 1.*--purchase-rate"):
        scenario_from(always, CHOICES, origin=ORIGIN)
    nearly = dataclasses.replace(statistics, incidence=0.99997, share_covered=1.0)  # 1.0 once it is rounded
    with pytest.raises(InvalidInput, match=r"purchase_rate: got 1.0; allowed: a number below 1.*--purchase-rate"):
        scenario_from(nearly, CHOICES, origin=ORIGIN)
    result = dataclasses.replace(CHOICES, purchase_rate=0.3)
    scenario = scenario_from(always, result, origin=ORIGIN)
    assert scenario.consumers.purchase_rate == 0.3  # type: ignore[union-attr]
    assert any(note.startswith("purchase_rate is assumed: 0.3") for note in scenario.notes)
    for wrong in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InvalidInput, match="purchase_rate: got"):
            dataclasses.replace(CHOICES, purchase_rate=wrong)


def test_fewer_buyers_than_a_segment_needs_are_refused(statistics: MarketStatistics) -> None:
    with pytest.raises(InvalidInput, match=r"min_households: got 500; allowed: at most the \d+ households"):
        scenario_from(statistics, dataclasses.replace(CHOICES, min_households=500), origin=ORIGIN)


@pytest.mark.parametrize("unit", [1e-3, 0.02, 1.0, 1e6])
def test_prices_of_any_unit_keep_their_ratios(statistics: MarketStatistics, unit: float) -> None:
    money = [pl.col(name) * unit for name in ("mean_price", "price_std", "regular_price")]
    scaled = dataclasses.replace(statistics, lines=statistics.lines.with_columns(*money))
    one, other = (scenario_from(which, CHOICES, origin=ORIGIN) for which in (statistics, scaled))
    for name in ("price_low", "price_high", "unit_cost", "regular_price", "average_price"):
        expected = np.array([getattr(product, name) for product in one.products]) * unit
        np.testing.assert_allclose([getattr(product, name) for product in other.products], expected, rtol=0.012)


def test_an_imported_log_tells_where_it_came_from(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert log_origin(tmp_path).currency == "money"
    (tmp_path / "import.json").write_text('{"origin": {"source": "My shop", "currency": "CHF"}}')
    assert (log_origin(tmp_path).source, log_origin(tmp_path).currency) == ("My shop", "CHF")


def test_a_folder_and_a_market_are_a_scenario(tmp_path) -> None:
    tables, _ = synthetic_transactions(seed=3, num_households=120)
    write_tables(tables, tmp_path)
    choices = {"min_share": 0.0, "segments": 3, "min_households": 10, "purchase_rate": 0.4}
    scenario = Scenario.from_log(tmp_path, "PANTRY | MARKET 0", name="mine", **choices)
    statistics = market_statistics(tables, "PANTRY | MARKET 0", min_share=0.0)
    own = BuildChoices("mine", "Market 0", **choices)
    expected = scenario_from(statistics, own, made_by=scenario.made_by, origin=log_origin(str(tmp_path)))
    assert scenario == expected and "purchase_rate=0.4" in scenario.made_by
    with pytest.raises(InvalidInput, match=r"purchase_rates: there is no such choice \(did you mean purchase_rate"):
        Scenario.from_log(tmp_path, "PANTRY | MARKET 0", purchase_rates=0.4)
