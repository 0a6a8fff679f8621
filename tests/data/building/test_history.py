"""Histories count what lies strictly before the visit, recomputed here row by row."""

from __future__ import annotations

import polars as pl
import pytest

from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions


def _past(tables: Tables, row: dict[str, object]) -> tuple[pl.DataFrame, pl.DataFrame]:
    own = tables.transactions.filter(pl.col("household_id") == row["household_id"])
    trips = own.filter(pl.col("period") < row["period"])
    market = own.join(tables.products.select("product_id", "market"), on="product_id").filter(
        pl.col("market") == row["market"]
    )
    # Synthetic households shop once a week: strictly before is an earlier period.
    return trips, market.filter(pl.col("period") < row["period"]).sort("timestamp")


@pytest.mark.parametrize("chosen", [True, False], ids=["purchase", "no purchase"])
def test_own_history_is_strictly_before(tables: Tables, occasions: Occasions, chosen: bool) -> None:
    picked = occasions.occasions.filter((pl.col("chosen") > 0) == chosen).sample(60, seed=1)
    total = 0
    for row in picked.iter_rows(named=True):
        trips, past = _past(tables, row)
        shelf = occasions.alternatives.filter(pl.col("occasion_id") == row["occasion_id"])
        counts = dict(past.group_by("product_id").len().iter_rows())
        assert dict(shelf.select("product_id", "bought").iter_rows()) == {
            name: counts.get(name, 0) for name in shelf["product_id"]
        }
        assert row["history_total"] == len(past)
        assert row["weeks_seen"] == trips["period"].n_unique()
        last = past["product_id"].to_list()[-1:]
        assert shelf.filter("last")["product_id"].to_list() == [name for name in last if name in shelf["product_id"]]
        total += len(past)
    assert total > 100


def test_share_is_the_trailing_window_before_the_period(tables: Tables, occasions: Occasions) -> None:
    sold = tables.transactions.join(tables.products.select("product_id", "market"), on="product_id")
    for row in occasions.occasions.sample(30, seed=2).iter_rows(named=True):
        window = sold.filter(
            (pl.col("market") == row["market"]) & pl.col("period").is_between(row["period"] - 8, row["period"] - 1)
        )
        shelf = occasions.alternatives.filter(pl.col("occasion_id") == row["occasion_id"])
        for product, share in shelf.select("product_id", "share").iter_rows():
            assert share == pytest.approx((window["product_id"] == product).mean())


def test_reference_figures_use_training_and_validation_only(tables: Tables, occasions: Occasions) -> None:
    known = tables.transactions.filter(pl.col("period") <= 40).join(
        tables.products.select("product_id", "market"), on="product_id"
    )
    figures = occasions.alternatives.select("product_id", "regular_price", "reference_share").unique()
    assert len(figures) == len(occasions.products)
    for product, regular, share in figures.iter_rows():
        market = known.filter(pl.col("product_id") == product)["market"][0]
        rows = known.filter(pl.col("market") == market)
        assert share == pytest.approx((rows["product_id"] == product).mean())
        assert regular == pytest.approx(rows.filter(pl.col("product_id") == product)["regular_price"].median())


def test_sequences_hold_the_last_purchases_newest_first(tables: Tables, occasions: Occasions) -> None:
    few = occasions.select(limit=80, seed=4)
    past = few.sequences(3)
    names = few.products["product_id"].to_list()
    seen = 0
    for i, row in enumerate(few.occasions.iter_rows(named=True)):
        _, market = _past(tables, row)
        newest = market.reverse().head(3)
        assert past["known"][i].sum() == len(newest)
        for k, bought in enumerate(newest.iter_rows(named=True)):
            assert names[past["product"][i, k]] == bought["product_id"]
            assert past["ago"][i, k] == row["period"] - bought["period"]
            assert past["quantity"][i, k] == bought["quantity"]
            depth = 1 - bought["unit_price"] / bought["regular_price"]
            assert past["depth"][i, k] == pytest.approx(max(depth, 0), abs=1e-6)
            seen += 1
    assert seen > 100


def test_purchases_elsewhere_leave_the_category_out(tables: Tables, occasions: Occasions) -> None:
    log = tables.transactions.join(tables.products, on="product_id")
    makers = dict(occasions.products.select("product_id", "brand").iter_rows())
    some = 0
    for row in occasions.occasions.sample(40, seed=5).iter_rows(named=True):
        before = log.filter((pl.col("period") < row["period"]) & (pl.col("category") != row["category"]))
        own = before.filter(pl.col("household_id") == row["household_id"])
        assert row["elsewhere"] == len(own)
        assert row["elsewhere_private"] == own["private_label"].sum()
        assert row["elsewhere_deal"] == (own["unit_price"] < 0.98 * own["regular_price"]).sum()
        shelf = occasions.alternatives.filter(pl.col("occasion_id") == row["occasion_id"])
        for alternative in shelf.iter_rows(named=True):
            brand = makers[alternative["product_id"]]
            assert alternative["brand_elsewhere"] == (own["brand"] == brand).sum()
            assert alternative["brand_share"] == pytest.approx((before["brand"] == brand).mean() or 0, abs=1e-6)
            some += alternative["brand_elsewhere"]
    assert some > 20


def test_sales_so_far_are_strictly_before(tables: Tables, occasions: Occasions) -> None:
    sold = tables.transactions.join(tables.products.select("product_id", "market"), on="product_id")
    for row in occasions.occasions.sample(30, seed=6).iter_rows(named=True):
        before = sold.filter((pl.col("market") == row["market"]) & (pl.col("period") < row["period"]))
        window = before.filter((pl.col("period") >= row["period"] - 26) & (pl.col("store_id") == row["store_id"]))
        shelf = occasions.alternatives.filter(pl.col("occasion_id") == row["occasion_id"])
        for alternative in shelf.iter_rows(named=True):
            own = before.filter(pl.col("product_id") == alternative["product_id"])
            assert alternative["long_share"] == pytest.approx(len(own) / len(before))
            assert alternative["store_sales"] == (window["product_id"] == alternative["product_id"]).sum()
            assert alternative["mean_quantity"] == pytest.approx(own["quantity"].mean() or 0, rel=1e-6)
