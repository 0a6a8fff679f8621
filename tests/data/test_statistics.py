"""Market statistics, recomputed from the log."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.data.statistics import MarketStatistics, market_statistics
from malles_env.errors import InvalidInput

MARKET = "PANTRY | MARKET 0"


@pytest.fixture(scope="module")
def summary(tables: Tables, settings: BuildSettings) -> MarketStatistics:
    return market_statistics(tables, MARKET, settings=settings, max_lines=4)


def test_lines_and_shares(tables: Tables, summary: MarketStatistics) -> None:
    known = tables.transactions.filter((pl.col("period") <= 40) & pl.col("product_id").str.starts_with("p0"))
    assert summary.category == "PANTRY"
    assert len(summary.lines) == 4
    assert summary.lines["purchases"].to_list() == sorted(summary.lines["purchases"], reverse=True)
    assert summary.share_covered == pytest.approx(summary.lines["share"].sum())
    assert summary.share_covered < 1
    assert summary.lines["share_of_lines"].sum() == pytest.approx(1.0)
    for row in summary.lines.iter_rows(named=True):
        rows = known.filter(pl.col("product_id") == row["product_id"])
        assert row["purchases"] == len(rows)
        assert row["share"] == pytest.approx(len(rows) / len(known))
        assert row["mean_price"] == pytest.approx(rows["unit_price"].mean())
        assert row["price_std"] == pytest.approx(rows["unit_price"].std())
        assert row["regular_price"] == pytest.approx(rows["regular_price"].median())
        assert row["mean_quantity"] == pytest.approx(rows["quantity"].mean())


def test_households(tables: Tables, summary: MarketStatistics) -> None:
    known = tables.transactions.filter(pl.col("period") <= 40)
    bought = known.filter(pl.col("product_id").str.starts_with("p0")).sort("timestamp")
    listed = summary.lines["product_id"].to_list()
    assert list(summary.household_ids) == sorted(bought["household_id"].unique())
    assert summary.counts.sum() + summary.other_counts.sum() == len(bought)
    assert summary.incidence == pytest.approx(summary.buying_weeks.sum() / summary.weeks.sum())
    assert summary.num_buyers == len(summary.household_ids)
    for n in range(0, summary.num_buyers, 13):
        own = bought.filter(pl.col("household_id") == summary.household_ids[n])
        assert summary.counts[n].tolist() == [(own["product_id"] == name).sum() for name in listed]
        assert summary.weeks[n] == known.filter(pl.col("household_id") == summary.household_ids[n])["period"].n_unique()
        assert summary.buying_weeks[n] == own["period"].n_unique()
        last = own["product_id"][-1]
        assert summary.last[n] == (listed.index(last) if last in listed else -1)


def test_test_periods_are_not_seen(tables: Tables, settings: BuildSettings, summary: MarketStatistics) -> None:
    before = tables.transactions.filter(pl.col("period") <= 40)
    again = market_statistics(dataclasses.replace(tables, transactions=before), MARKET, settings=settings, max_lines=4)
    assert again.lines.equals(summary.lines)
    assert (again.counts == summary.counts).all()
    assert summary.periods == (1, 40)


def test_unknown_and_empty_markets(tables: Tables, settings: BuildSettings) -> None:
    with pytest.raises(InvalidInput, match="markets: got 'MARKET 7'"):
        market_statistics(tables, "MARKET 7", settings=settings)
    with pytest.raises(InvalidInput, match="no line has a share"):
        market_statistics(tables, MARKET, settings=settings, min_share=0.99)
