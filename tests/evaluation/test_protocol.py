"""The protocol: its file, its splits on occasions, and the leak guards on what models see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from malles_env.data.splits import HELD_OUT_CATEGORIES, Splits
from malles_env.errors import InvalidInput
from malles_env.evaluation.comparison.study import Study
from malles_env.evaluation.protocol import (
    SPLITS,
    Protocol,
    disagreement,
    draw_occasions,
    held_out_households,
    protocol,
    split_rows,
)
from malles_env.preference.data.dataset import TasteData, from_occasions
from malles_env.preference.data.features import (
    LIVE_FEATURES,
    OPTION_FEATURES,
    QUANTITY_FEATURES,
    SHELF_FEATURES,
    Features,
    features,
)
from tests.evaluation.synthetic_study import SETTINGS, occasions, taste_data

PARTS = ("option", "live", "shelf", "quantity", "match")


def changed(**sections: object) -> dict[str, object]:
    """Return the protocol's content with some sections replaced."""
    return {**protocol().model_dump(), **sections}


def same(first: Features, second: Features) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in PARTS)


def test_the_file_agrees_with_the_builders_splits() -> None:
    """Periods and held-out categories are written down twice: here and where occasions are built."""
    rules, built = protocol(), Splits()
    assert rules.periods.burn_in[1] == built.burn_in_end
    assert rules.periods.train == (built.burn_in_end + 1, built.train_end)
    assert rules.periods.validation == (built.train_end + 1, built.validation_end)
    assert rules.held_out_categories == HELD_OUT_CATEGORIES
    assert len(rules.held_out_categories) == 22


@pytest.mark.parametrize(
    "sections",
    [
        {"held_out_households": {"share": 1.0, "seed": 0}},
        {"train_visits": 0.0},
        {"splits": {}},
        {"unknown": 1},
        {"periods": {**protocol().periods.model_dump(), "test": (42, 53)}},
        {"periods": {**protocol().periods.model_dump(), "refit": (5, 41)}},
    ],
)
def test_a_changed_file_is_refused(sections: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Protocol.model_validate(changed(**sections))


def test_splits_keep_what_they_hold_out_from_training() -> None:
    """No split judges on what trained it; unseen and household splits share one set of training occasions."""
    table = occasions().occasions
    category, household = table["held_out"].to_numpy(), held_out_households(occasions())
    parts = {name: split_rows(occasions(), name) for name in SPLITS}
    for rows in parts.values():
        assert not (rows.train & rows.test).any() and not (rows.validation & rows.test).any()
        assert set(table["period"].to_numpy()[rows.test]) <= set(range(41, 54))
        assert set(table["period"].to_numpy()[rows.train]) <= set(range(5, 37))
    for name in ("unseen_warm", "unseen_cold", "households"):
        learned = parts[name].train | parts[name].validation
        assert not (learned & (category | household)).any()
        np.testing.assert_array_equal(parts[name].train, parts["unseen_warm"].train)
    assert category[parts["unseen_warm"].test].all()
    assert household[parts["households"].test].all() and not category[parts["households"].test].any()
    assert parts["time"].train.sum() == (table["split"] == "train").sum()


def test_held_out_households_depend_on_the_id_alone() -> None:
    """About a fifth, whole households, and the same ones when others are missing."""
    held = held_out_households(occasions())
    names = occasions().occasions["household_id"].to_numpy()
    out = set(names[held])
    assert not out & set(names[~held])
    assert 0.1 < len(out) / len(set(names)) < 0.3
    few = occasions().select(split="test")
    assert set(few.occasions["household_id"].to_numpy()[held_out_households(few)]) <= out


def test_a_draw_keeps_the_proportion_of_visits_without_a_purchase() -> None:
    """Purchases are `limit`, no-purchase visits come at the same rate, and the seed decides which."""
    allowed = split_rows(occasions(), "time").test
    chosen = occasions().occasions["chosen"].to_numpy() > 0
    rows = draw_occasions(occasions(), allowed, 200, seed=1)
    assert chosen[rows].sum() == 200
    rate = 200 / (allowed & chosen).sum()
    assert (~chosen[rows]).sum() == pytest.approx(rate * (allowed & ~chosen).sum(), abs=1)
    np.testing.assert_array_equal(rows, draw_occasions(occasions(), allowed, 200, seed=1))
    assert not np.array_equal(rows, draw_occasions(occasions(), allowed, 200, seed=2))
    assert len(draw_occasions(occasions(), allowed, None)) == allowed.sum()


def test_unknown_splits_and_empty_draws_are_errors() -> None:
    with pytest.raises(InvalidInput, match=r"split: got 'future'.*unseen_cold"):
        split_rows(occasions(), "future")
    with pytest.raises(InvalidInput, match="limit"):
        draw_occasions(occasions(), np.ones(len(occasions()), dtype=bool), 0)
    with pytest.raises(InvalidInput, match="no purchase"):
        draw_occasions(occasions(), np.zeros(len(occasions()), dtype=bool), 5)


def test_occasions_of_another_build_are_refused() -> None:
    assert "SNACKS" in disagreement(occasions())
    late = occasions().occasions.with_columns(split=pl.lit("train"))
    assert "train: periods 5 to 53" in disagreement(replace(occasions(), occasions=late))


def test_a_study_codes_households_and_products_the_same_in_every_part() -> None:
    """What a row learns of a household or product by its code holds in the test occasions."""
    study = Study(occasions())
    train, _ = study.training("time")
    judged = study.judging("time", limit=100).data
    assert train.products.texts == judged.products.texts
    np.testing.assert_array_equal(train.products.log_regular, judged.products.log_regular)
    names = occasions().occasions["household_id"].unique().sort().to_list()
    table = occasions().occasions.filter((pl.col("split") == "test") & (pl.col("chosen") > 0))
    known = set(zip((names.index(h) for h in table["household_id"]), table["period"], strict=True))
    bought = judged.chosen > 0
    assert set(zip(judged.household[bought], judged.period[bought], strict=True)) <= known


def test_training_visits_are_thinned_and_offset() -> None:
    """Half of the no-purchase visits stay, and their utility says so."""
    study = Study(occasions())
    train, _ = study.training("time")
    rows = np.flatnonzero(split_rows(occasions(), "time").train)
    whole = study.data(rows)
    assert (train.chosen > 0).sum() == (whole.chosen > 0).sum()
    share = (train.chosen == 0).sum() / (whole.chosen == 0).sum()
    assert share == pytest.approx(study.rules.train_visits, abs=0.05)
    gap = np.unique(train.log_sampling).max() - np.unique(whole.log_sampling).max()
    assert gap == pytest.approx(np.log(study.rules.train_visits), abs=1e-6)


def test_facts_hold_neither_price_source_nor_how_the_set_was_made() -> None:
    names = (*OPTION_FEATURES, *LIVE_FEATURES, *SHELF_FEATURES, *QUANTITY_FEATURES)
    assert not [name for name in names if any(word in name for word in ("source", "rung", "imput", "pruned", "chosen"))]
    columns = set(occasions().alternatives.columns)
    assert not columns & {"price_source", "available", "in_set", "rung"}


def test_facts_do_not_change_with_what_was_bought() -> None:
    """Permuted choices and quantities leave every fact where it was."""
    data = taste_data().take(np.arange(500))
    rng = np.random.default_rng(0)
    sizes = data.mask.sum(1)
    other = replace(data, chosen=rng.integers(0, sizes + 1), quantity=rng.integers(1, 9, len(data)))
    assert same(features(data), features(other))


def test_facts_do_not_change_with_what_comes_later() -> None:
    """Occasions built from a log cut after a period have the facts of the whole log."""
    from malles_env.data.building.build import build_occasions
    from malles_env.data.sources.synthetic import synthetic_transactions

    tables = synthetic_transactions(seed=3, num_households=120)[0]
    last = 44
    cut = replace(tables, transactions=tables.transactions.filter(pl.col("period") <= last))
    if cut.promotions is not None:
        cut = replace(cut, promotions=cut.promotions.filter(pl.col("period") <= last))
    built = build_occasions(cut, SETTINGS)
    key = ["household_id", "market", "period"]
    both = built.occasions.join(occasions().occasions, on=key).filter(pl.col("chosen") > 0)
    both = both.filter(pl.col("chosen_right") > 0)
    assert len(both) > 1000
    ours = _aligned(built, both["occasion_id"])
    theirs = _aligned(occasions(), both["occasion_id_right"])
    for name in ("price", "regular_price", "share", "long_share", "bought", "store_sales", "mean_quantity"):
        np.testing.assert_allclose(ours[name].to_numpy(), theirs[name].to_numpy(), atol=1e-6, err_msg=name)


def _aligned(of: object, ids: pl.Series) -> pl.DataFrame:
    order = pl.DataFrame({"occasion_id": ids}).with_row_index("at")
    table = of.alternatives.join(order, on="occasion_id")  # type: ignore[attr-defined]
    return table.sort("at", "product_id")


def test_popularity_counts_strictly_earlier_periods() -> None:
    """The long-run share of a line is its share of the market's purchases before the period, counted by hand."""
    table, shelf = occasions().occasions, occasions().alternatives
    market = table["market"][0]
    mine = occasions().products.filter(pl.col("market") == market)["product_id"]
    bought = occasions().purchases.filter(pl.col("product_id").is_in(mine.implode()))
    for period in (12, 30, 45):
        ids = table.filter((pl.col("market") == market) & (pl.col("period") == period))["occasion_id"]
        seen = shelf.filter(pl.col("occasion_id") == ids[0])
        before = bought.filter(pl.col("period") < period)
        counts = dict(before["product_id"].value_counts().iter_rows())
        raw = np.array([counts.get(name, 0) for name in seen["product_id"]])
        share = seen["long_share"].to_numpy()
        np.testing.assert_allclose(share / share.sum(), raw / raw.sum(), atol=1e-3)


def test_the_chosen_place_tells_nothing() -> None:
    """Places of the chosen line on a shelf of six are even: chi-squared below its 99.9 % point for 5 degrees."""
    data = taste_data()
    full = data.take((data.chosen > 0) & (data.mask.sum(1) == 6))
    counts = np.bincount(full.chosen - 1, minlength=6)
    expected = len(full) / 6
    assert ((counts - expected) ** 2 / expected).sum() < 20.5


def test_cold_starts_hold_nothing_of_the_category() -> None:
    """Two households alike but for their past in the category have the same facts when cold."""
    data = taste_data()
    rich = data.take(np.argsort(-data.history_total)[:200])
    poor = _without_past(rich, np.random.default_rng(0))
    assert not same(features(rich), features(poor))
    assert same(features(rich.cold()), features(poor.cold()))
    named = dict(zip(SHELF_FEATURES, features(rich.cold()).shelf.T, strict=True))
    assert (named["known"] == 0).all() and (named["log purchases"] == 0).all()


def _without_past(data: TasteData, rng: np.random.Generator) -> TasteData:
    """Return occasions with another past in the category, everything else alike."""
    shape, wide = data.mask.shape, data.past.shape
    even = np.where(data.mask, rng.random(shape), 0.0).astype(np.float32)
    share = even / even.sum(1, keepdims=True)
    return replace(
        data,
        bought=rng.integers(0, 5, shape),
        last=rng.random(shape) < 0.2,
        share=share,
        long_share=share,
        reference_share=share,
        store_sales=even,
        mean_quantity=1 + even,
        history_total=rng.integers(1, 9, len(data)),
        past=np.where(data.past_known, rng.integers(0, len(data.products), wide), -1),
        past_ago=rng.integers(0, 20, wide).astype(np.float32),
        past_quantity=rng.integers(1, 4, wide).astype(np.float32),
        past_depth=rng.random(wide).astype(np.float32),
    )


def test_taste_data_of_the_study_is_that_of_the_occasions() -> None:
    """The study adds codes and regular prices, nothing else."""
    rows = np.arange(50)
    made = Study(occasions()).data(rows)
    plain = from_occasions(occasions()).take(rows)
    for name in ("price", "share", "bought", "chosen", "past", "history_total", "log_sampling"):
        np.testing.assert_array_equal(getattr(made, name), getattr(plain, name), err_msg=name)
