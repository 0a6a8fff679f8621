"""Occasions: their folder, their parts, their arrays, and the limits of a shelf."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from tests.data.conftest import same_sequences


def test_folder_round_trip_and_replacement(occasions: Occasions, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    occasions.select(limit=5).save(folder)
    occasions.save(folder)
    back = Occasions.load(folder)
    assert back.occasions.equals(occasions.occasions)
    assert back.alternatives.equals(occasions.alternatives)
    assert back.products.equals(occasions.products)
    assert back.meta == occasions.meta
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert Occasions.load(folder, markets=occasions.markets[:1]).markets == occasions.markets[:1]


def test_damage_is_seen(occasions: Occasions, tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="no such folder"):
        Occasions.load(tmp_path / "nowhere")
    folder = occasions.save(tmp_path / "kept")
    whole = (folder / "alternatives.parquet").read_bytes()
    (folder / "alternatives.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFile, match="cannot be read as choice occasions"):
        Occasions.load(folder)
    occasions.select(limit=9).alternatives.write_parquet(folder / "alternatives.parquet")
    with pytest.raises(CorruptFile, match=r"alternatives\.parquet: got \d+ rows, meta\.json promises"):
        Occasions.load(folder)
    occasions.save(folder)
    head = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(head | {"format": 0}))
    with pytest.raises(CorruptFile, match="another format"):
        Occasions.load(folder)
    (folder / "meta.json").unlink()
    with pytest.raises(CorruptFile, match="cannot be read"):
        Occasions.load(folder)


def test_select(occasions: Occasions) -> None:
    few = occasions.select(split=["train", "test"], held_out=False, limit=50, seed=7)
    assert len(few) == 50
    assert set(few.occasions["split"]) <= {"train", "test"}
    assert not few.occasions["held_out"].any()
    assert few.occasions["occasion_id"].is_sorted()
    assert set(few.alternatives["occasion_id"]) == set(few.occasions["occasion_id"])
    assert few.products["market"].unique().to_list() == few.markets
    assert few.occasions.equals(occasions.select(split=["train", "test"], held_out=False, limit=50, seed=7).occasions)
    assert not few.occasions.equals(
        occasions.select(split=["train", "test"], held_out=False, limit=50, seed=8).occasions
    )
    with pytest.raises(InvalidInput, match="split: got 'tset'"):
        occasions.select(split="tset")
    with pytest.raises(InvalidInput, match="markets: got 'NOWHERE'"):
        occasions.select(markets=["NOWHERE"])
    with pytest.raises(InvalidInput, match="limit: got -1"):
        occasions.select(limit=-1)


def test_arrays_hold_what_the_tables_say(occasions: Occasions) -> None:
    part = occasions.select(limit=200, seed=1)
    arrays = part.arrays()
    mask = arrays["mask"]
    assert mask.sum() == len(part.alternatives)
    assert np.isnan(arrays["price"][~mask]).all()
    assert (arrays["product"][~mask] == -1).all()
    for n in range(0, 200, 17):
        shelf = part.alternatives.filter(pl.col("occasion_id") == part.occasions["occasion_id"][n])
        for name in ("price", "regular_price", "promotion", "bought", "last", "share", "reference_share"):
            assert arrays[name][n][mask[n]].tolist() == shelf[name].to_list()
        assert part.products["product_id"].gather(arrays["product"][n][mask[n]]).equals(shelf["product_id"])
        assert part.markets[arrays["market"][n]] == part.occasions["market"][n]
    assert ((arrays["chosen"] == 0) == (arrays["quantity"] == 0)).all()
    assert (arrays["chosen"] <= mask.sum(axis=1)).all()


def test_columns_and_order(occasions: Occasions) -> None:
    assert occasions.occasions["occasion_id"].to_list() == list(range(len(occasions)))
    key = occasions.alternatives.select("occasion_id", "position")
    assert key.equals(key.sort("occasion_id", "position"))
    assert key.is_duplicated().sum() == 0
    sizes = occasions.alternatives.group_by("occasion_id").agg(pl.col("position").max(), pl.len())
    assert (sizes["position"] == sizes["len"]).all()
    assert occasions.alternatives.null_count().sum_horizontal().item() == 0
    assert occasions.alternatives["price"].is_finite().all()


def test_shelves_are_pruned_to_best_sellers(tables: Tables, occasions: Occasions, settings: BuildSettings) -> None:
    small = dataclasses.replace(settings, max_alternatives=3, min_alternatives=3)
    pruned = build_occasions(tables, small)
    assert pruned.alternatives.group_by("occasion_id").len()["len"].unique().to_list() == [3]
    assert (
        0 < len(pruned.occasions.filter(pl.col("chosen") > 0)) < len(occasions.occasions.filter(pl.col("chosen") > 0))
    )
    sold = tables.transactions
    for row in pruned.occasions.sample(20, seed=0).iter_rows(named=True):
        window = sold.filter(
            pl.col("period").is_between(row["period"] - 12, row["period"] - 1)
            & pl.col("product_id").str.starts_with("p" + row["market"][-1])
        )
        ranked = window["product_id"].value_counts(sort=True)
        shelf = pruned.alternatives.filter(pl.col("occasion_id") == row["occasion_id"])["product_id"]
        fewest = ranked.filter(pl.col("product_id").is_in(shelf.implode()))["count"].min()
        left_out = ranked.filter(~pl.col("product_id").is_in(shelf.implode()))["count"].max()
        assert fewest is not None and left_out is not None
        assert fewest >= left_out


def test_rare_lines_are_no_alternatives_but_count_in_histories(tables: Tables, settings: BuildSettings) -> None:
    sales = tables.transactions["product_id"].value_counts().filter(pl.col("product_id").str.starts_with("p0"))
    limit = int(sales["count"].sort()[1])
    few = dataclasses.replace(settings, min_line_purchases=limit, min_alternatives=2)
    built = build_occasions(tables, few, ["PANTRY | MARKET 0"])
    rare = set(sales["product_id"]) - set(built.products["product_id"])
    assert rare
    assert not set(built.alternatives["product_id"]) & rare
    counted = built.alternatives.group_by("occasion_id").agg(pl.col("bought").sum())
    totals = built.occasions.join(counted, on="occasion_id")
    assert (totals["bought"] <= totals["history_total"]).all()
    assert (totals["bought"] < totals["history_total"]).any()


def test_batches_never_change_the_result(tables: Tables, occasions: Occasions, settings: BuildSettings) -> None:
    one_by_one = build_occasions(tables, dataclasses.replace(settings, markets_per_batch=1))
    assert one_by_one.occasions.equals(occasions.occasions)
    assert one_by_one.alternatives.equals(occasions.alternatives)
    assert one_by_one.purchases.equals(occasions.purchases)


def test_a_part_of_the_markets_is_built_alike(tables: Tables, occasions: Occasions, settings: BuildSettings) -> None:
    market = occasions.markets[1]
    alone, whole = build_occasions(tables, settings, [market]), occasions.select(markets=[market])
    moved = ("occasion_id", "history_end")
    assert alone.occasions.drop(moved).equals(whole.occasions.drop(moved))
    assert same_sequences(alone, whole)
    assert alone.alternatives.drop("occasion_id").equals(whole.alternatives.drop("occasion_id"))


def test_nothing_to_build_is_said(tables: Tables, settings: BuildSettings) -> None:
    with pytest.raises(InvalidInput, match=r"markets: got 'PANTRY'; allowed: .*near: PANTRY \| MARKET 0"):
        build_occasions(tables, settings, ["PANTRY"])
    with pytest.raises(InvalidInput, match="no market has 1000000 purchases"):
        build_occasions(tables, dataclasses.replace(settings, min_market_purchases=1_000_000))
    with pytest.raises(InvalidInput, match="no occasion has a shelf of 19"):
        build_occasions(tables, dataclasses.replace(settings, min_alternatives=19))


def test_weeks_are_counted_from_monday_without_periods(
    tables: Tables, occasions: Occasions, settings: BuildSettings
) -> None:
    undated = dataclasses.replace(tables, transactions=tables.transactions.drop("period"))
    assert build_occasions(undated, settings).occasions.equals(occasions.occasions)
