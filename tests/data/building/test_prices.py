"""Prices leave out the household's own purchases and follow one rule for chosen and unchosen lines."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malles_env.data.building.build import build_occasions
from malles_env.data.building.prices import others_median
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(1, 9)), min_size=1, max_size=40)


@given(ROWS)
def test_others_median_is_the_median_of_the_other_households_votes(rows: list[tuple[int, int, int]]) -> None:
    cells, households, prices = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    table = others_median(cells, households, prices.astype(float), num_households=5)
    for cell in range(4):
        for household in range(5):
            votes = [
                np.median(prices[(cells == cell) & (households == other)])
                for other in range(5)
                if other != household and ((cells == cell) & (households == other)).any()
            ]
            found = table.get(np.array([cell]), np.array([household]))[0]
            if votes:
                assert found == pytest.approx(np.median(votes))
            else:
                assert np.isnan(found)


def _prices_of(occasions: Occasions, household: str) -> pl.DataFrame:
    own = occasions.occasions.filter(pl.col("household_id") == household)
    return occasions.alternatives.join(own.select("occasion_id"), on="occasion_id", how="semi").select(
        "occasion_id", "position", "product_id", "price"
    )


@pytest.mark.parametrize("household", ["h00000", "h00057"])
def test_own_receipts_never_reach_own_prices(
    tables: Tables, occasions: Occasions, settings: BuildSettings, household: str
) -> None:
    own = pl.col("household_id") == household
    dearer = tables.transactions.with_columns(
        pl.when(own).then(pl.col("unit_price") * 3).otherwise(pl.col("unit_price")).alias("unit_price"),
        pl.when(own).then(pl.col("regular_price") * 3).otherwise(pl.col("regular_price")).alias("regular_price"),
    )
    changed = build_occasions(dataclasses.replace(tables, transactions=dearer), settings)
    before, after = _prices_of(occasions, household), _prices_of(changed, household)
    assert len(before) > 100
    assert before.equals(after)
    # The receipts do reach the others, or the test above would show nothing.
    assert not occasions.alternatives["price"].equals(changed.alternatives["price"])


def test_chosen_and_unchosen_prices_follow_the_same_rule(tables: Tables, occasions: Occasions) -> None:
    bought = tables.transactions.select("household_id", "store_id", "period", "product_id", "unit_price")
    shelf = occasions.alternatives.join(
        occasions.occasions.select("occasion_id", "household_id", "store_id", "period", "chosen"),
        on="occasion_id",
    ).filter(pl.col("chosen") > 0)
    picked = shelf.sample(800, seed=0)
    seen = {True: 0, False: 0}
    for row in picked.iter_rows(named=True):
        others = bought.filter(
            (pl.col("product_id") == row["product_id"])
            & (pl.col("period") == row["period"])
            & (pl.col("household_id") != row["household_id"])
        )
        here = others.filter(pl.col("store_id") == row["store_id"])
        source = here if len(here) else others
        if len(source):
            votes = source.group_by("household_id").agg(pl.col("unit_price").median())["unit_price"]
            assert row["price"] == pytest.approx(votes.median())
            seen[row["position"] == row["chosen"]] += 1
    assert min(seen.values()) > 50


def test_old_prices_are_regular_prices(tables: Tables, settings: BuildSettings) -> None:
    """A line nobody bought this period stands at its last regular price, not at its last discount."""
    week = 20
    last_week = tables.transactions.filter((pl.col("period") == week - 1) & (pl.col("product_id") != "other"))
    product = last_week["product_id"].value_counts(sort=True)["product_id"][0]
    sold = pl.col("product_id") == product
    silent = tables.transactions.filter(~(sold & (pl.col("period") == week)))
    earlier = sold & (pl.col("period") == week - 1)
    silent = silent.with_columns(
        pl.when(earlier).then(0.5).otherwise(pl.col("unit_price")).alias("unit_price"),
        pl.when(earlier).then(9.0).otherwise(pl.col("regular_price")).alias("regular_price"),
    )
    assert len(silent.filter(earlier)["household_id"].unique()) > 2
    built = build_occasions(dataclasses.replace(tables, transactions=silent), settings)
    shelf = built.alternatives.join(built.occasions.select("occasion_id", "period"), on="occasion_id")
    prices = shelf.filter(sold & (pl.col("period") == week))["price"]
    assert len(prices) > 20
    assert prices.to_list() == pytest.approx([9.0] * len(prices))


def test_offers_replace_imputation(settings: BuildSettings) -> None:
    from malles_env.data.sources.synthetic import synthetic_transactions

    tables, _ = synthetic_transactions(seed=5, num_households=60, with_offers=True)
    built = build_occasions(tables, dataclasses.replace(settings, min_market_purchases=50))
    assert tables.offers is not None
    offers = tables.offers.select("store_id", "product_id", "display", period="period_start", offered="unit_price")
    shelf = built.alternatives.join(built.occasions.select("occasion_id", "store_id", "period"), on="occasion_id").join(
        offers, on=["store_id", "product_id", "period"], how="left"
    )
    assert shelf["offered"].null_count() == 0
    assert np.abs(shelf["price"] - shelf["offered"]).max() == 0
    assert (shelf["promotion"] == shelf["display"]).all()
