"""The no-purchase option: who has such visits, in which weeks, and at what rate they are kept."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings


@pytest.fixture(scope="module")
def thinned(tables: Tables, settings: BuildSettings) -> Occasions:
    return build_occasions(tables, dataclasses.replace(settings, outside_ratio=0.25))


def _bought(tables: Tables) -> pl.DataFrame:
    return tables.transactions.join(tables.products.select("product_id", "market"), on="product_id")


def test_no_purchase_visits_are_shopping_weeks_of_buyers_without_a_purchase(
    tables: Tables, occasions: Occasions
) -> None:
    idle = occasions.occasions.filter(pl.col("chosen") == 0)
    bought = _bought(tables)
    key = ["household_id", "market", "period"]
    assert len(idle) > 1000
    assert idle.join(bought, on=key, how="semi").is_empty()
    assert idle.join(tables.transactions, on=["household_id", "store_id", "period"], how="anti").is_empty()
    known = bought.filter(pl.col("period") <= 40)
    assert idle.join(known, on=["household_id", "market"], how="anti").is_empty()
    assert (idle["quantity"] == 0).all()
    assert idle["buyer"].all()
    assert idle.select(key).is_duplicated().sum() == 0


def test_later_buyers_have_no_such_visits(tables: Tables, settings: BuildSettings) -> None:
    """Who first buys in a test period is no buyer: nothing of the test periods may decide who is."""
    early = (pl.col("household_id") == "h00007") & (pl.col("period") <= 40) & pl.col("product_id").str.starts_with("p0")
    assert len(tables.transactions.filter(early)) > 0
    late = dataclasses.replace(tables, transactions=tables.transactions.filter(~early))
    built = build_occasions(late, settings, ["PANTRY | MARKET 0"]).occasions
    own = built.filter(pl.col("household_id") == "h00007")
    assert len(own) > 0
    assert (own["chosen"] > 0).all()
    assert not own["buyer"].any()
    assert built.filter(pl.col("household_id") == "h00008")["buyer"].all()


def test_purchases_tell_line_and_quantity(tables: Tables, occasions: Occasions) -> None:
    purchases = occasions.occasions.filter(pl.col("chosen") > 0)
    named = purchases.join(
        occasions.alternatives,
        left_on=["occasion_id", "chosen"],
        right_on=["occasion_id", "position"],
        how="inner",
    )
    assert len(named) == len(purchases)
    matched = named.join(tables.transactions, on=["household_id", "period", "store_id", "product_id"], how="inner")
    assert len(matched) == len(purchases)
    assert (matched["quantity"] == matched["quantity_right"]).all()


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_rate_and_its_logarithm(tables: Tables, settings: BuildSettings, ratio: float) -> None:
    built = build_occasions(tables, dataclasses.replace(settings, outside_ratio=ratio))
    known = built.occasions.filter(pl.col("period") <= 40)
    weeks = tables.transactions.select("household_id", "period").unique().filter(pl.col("period").is_between(5, 40))
    for market in built.markets:
        rows = known.filter(pl.col("market") == market)
        idle, bought = (rows["chosen"] == 0).sum(), (rows["chosen"] > 0).sum()
        offset = rows["log_sampling"].unique().to_list()
        assert len(offset) == 1
        if offset[0] < -0.01:  # some visits were left out, so as many were kept as asked for
            assert idle == pytest.approx(ratio * bought, abs=4 * math.sqrt(ratio * bought))
        else:  # there were too few to begin with
            assert idle < ratio * bought
        # The offset turns the kept visits back into the true incidence among the buyers' shopping weeks.
        purchases = _bought(tables).filter((pl.col("market") == market) & pl.col("period").is_between(5, 40))
        buyers = _bought(tables).filter((pl.col("market") == market) & (pl.col("period") <= 40))
        shopped = weeks.join(buyers.select("household_id").unique(), on="household_id", how="semi")
        truth = len(purchases.select("household_id", "period").unique()) / len(shopped)
        assert bought / (bought + idle * math.exp(-offset[0])) == pytest.approx(truth, abs=1e-9)


def test_a_lower_rate_keeps_a_subset(occasions: Occasions, thinned: Occasions) -> None:
    key = ["household_id", "market", "period"]
    few = thinned.occasions.filter(pl.col("chosen") == 0).select(key)
    many = occasions.occasions.filter(pl.col("chosen") == 0).select(key)
    assert 0 < len(few) < len(many)
    assert few.join(many, on=key, how="anti").is_empty()


def test_positions_carry_no_information(occasions: Occasions) -> None:
    """Were lines listed in a fixed order, the position of the choice would tell its popularity."""
    whole = occasions.alternatives.filter(pl.len().over("occasion_id") == 6)
    rows = whole.filter(pl.col("product_id") == "p0-0")["position"].to_numpy()
    counts = np.bincount(rows, minlength=7)[1:]
    assert len(counts) == 6
    assert len(rows) > 1000
    expected = len(rows) / len(counts)
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_baskets_of_several_lines_are_no_occasions_but_count_in_histories(
    tables: Tables, occasions: Occasions, settings: BuildSettings
) -> None:
    market = "PANTRY | MARKET 0"
    purchase = occasions.occasions.filter(
        (pl.col("market") == market) & (pl.col("chosen") > 0) & (pl.col("period") == 20)
    ).row(0, named=True)
    own = (pl.col("household_id") == purchase["household_id"]) & (pl.col("period") == 20)
    line = tables.transactions.filter(own & pl.col("product_id").str.starts_with("p0"))
    assert len(line) == 1
    other = "p0-1" if line["product_id"][0] != "p0-1" else "p0-2"
    second = line.with_columns(product_id=pl.lit(other))
    both = dataclasses.replace(tables, transactions=pl.concat([tables.transactions, second]))
    built = build_occasions(both, settings, [market])

    def history(source: Occasions, first: int, last: int) -> list[int]:
        rows = source.occasions.filter(
            (pl.col("market") == market)
            & (pl.col("household_id") == purchase["household_id"])
            & pl.col("period").is_between(first, last)
            & (pl.col("chosen") > 0)
        )
        return rows["history_total"].to_list()

    assert history(built, 20, 20) == []
    assert history(built, 5, 19) == history(occasions, 5, 19)
    assert len(history(occasions, 21, 53)) > 0
    assert history(built, 21, 53) == [count + 1 for count in history(occasions, 21, 53)]


def test_own_purchase_alone_puts_no_line_on_the_own_shelf(tables: Tables, settings: BuildSettings) -> None:
    """A line that only this household bought for weeks is on the others' shelves, not on its own."""
    product, week = "p0-0", 20
    sold = pl.col("product_id") == product
    buyer = tables.transactions.filter(sold & (pl.col("period") == week))["household_id"][0]
    gone = (
        sold
        & pl.col("period").is_between(week - 4, week)
        & ~((pl.col("household_id") == buyer) & (pl.col("period") == week))
    )
    scarce = dataclasses.replace(tables, transactions=tables.transactions.filter(~gone), promotions=None)
    built = build_occasions(scarce, settings, ["PANTRY | MARKET 0"])
    shelf = built.alternatives.join(
        built.occasions.filter(pl.col("period") == week).select("occasion_id", "household_id"), on="occasion_id"
    )
    with_line = shelf.filter(sold)["household_id"]
    assert len(with_line) > 20
    assert buyer not in with_line.to_list()
    assert built.occasions.filter((pl.col("period") == week) & (pl.col("household_id") == buyer)).is_empty()
