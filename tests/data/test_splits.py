"""Splits come first: what happens in the test periods never moves what training sees."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import HELD_OUT_CATEGORIES, Splits
from malles_env.errors import InvalidInput
from tests.data.conftest import same_sequences


def _later_world(tables: Tables) -> Tables:
    """Return the log with another test period: dearer, half of it gone, a new household and a new product."""
    later = pl.col("period") > 40
    before, after = tables.transactions.filter(~later), tables.transactions.filter(later)
    after = after.sample(fraction=0.5, seed=0).with_columns(pl.col("unit_price", "regular_price") * 2)
    newcomer = after.with_columns(
        household_id=pl.lit("a-newcomer"),
        basket_id=pl.format("new-{}", "basket_id"),
        store_id=pl.lit("a-new-store"),
    )
    launched = after.head(50).with_columns(product_id=pl.lit("a-launch"))
    product = tables.products.head(1).with_columns(product_id=pl.lit("a-launch"))
    return dataclasses.replace(
        tables,
        transactions=pl.concat([before, after, newcomer, launched]),
        products=pl.concat([tables.products, product]),
        promotions=tables.promotions.filter(~later) if tables.promotions is not None else None,
    )


def test_test_periods_never_change_training(tables: Tables, occasions: Occasions, settings: BuildSettings) -> None:
    changed = build_occasions(_later_world(tables), settings)
    for split in ("train", "validation"):
        before, after = occasions.select(split=split), changed.select(split=split)
        assert len(before) > 500
        assert before.occasions.drop("history_end").equals(after.occasions.drop("history_end"))
        assert same_sequences(before, after)
        assert before.alternatives.equals(after.alternatives)
    assert not occasions.select(split="test").alternatives.equals(changed.select(split="test").alternatives)


def test_periods_and_categories_are_assigned_as_written(occasions: Occasions) -> None:
    limits = occasions.occasions.group_by("split").agg(
        pl.col("period").min().alias("first"), pl.col("period").max().alias("last")
    )
    assert {row[0]: row[1:] for row in limits.iter_rows()} == {
        "train": (5, 36),
        "validation": (37, 40),
        "test": (41, 53),
    }
    held_out = occasions.select(held_out=True)
    assert held_out.occasions["category"].unique().to_list() == ["SNACKS"]
    assert occasions.select(held_out=False).markets == ["PANTRY | MARKET 0"]


def test_split_names() -> None:
    frame = pl.DataFrame({"period": [1, 4, 5, 36, 37, 40, 41, 53]})
    assert frame.select(Splits().name()).to_series().to_list() == [
        "burn_in",
        "burn_in",
        "train",
        "train",
        "validation",
        "validation",
        "test",
        "test",
    ]
    assert len(HELD_OUT_CATEGORIES) == 22


def test_limits_must_rise() -> None:
    with pytest.raises(InvalidInput, match="splits: got"):
        Splits(burn_in_end=10, train_end=5)
