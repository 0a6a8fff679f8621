"""Occasions to words and numbers, and the commands from end to end on a synthetic log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.data.building.build import build_occasions
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.errors import InvalidInput
from malles_env.preference.data.dataset import from_occasions
from malles_env.preference.data.features import OPTION_FEATURES, SHELF_FEATURES, features
from malles_env.preference.data.shelves import product_words
from malles_env.preference.data.subsets import few_markets, on_products, sampled, thinned
from malles_env.preference.data.text import market_text, product_text
from malles_env.preference.heads.coefficients import MARKET_TERMS
from malles_env.preference.storage import read_tensors

SETTINGS = BuildSettings(splits=Splits(held_out_categories=frozenset({"SNACKS"})), min_market_purchases=100)


@pytest.fixture(scope="module")
def occasions() -> Occasions:
    return build_occasions(synthetic_transactions(seed=3, num_households=80)[0], SETTINGS)


@pytest.fixture(scope="module")
def folder(occasions: Occasions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return occasions.save(tmp_path_factory.mktemp("data") / "occasions")


def test_texts_and_numbers_meet_the_right_option(occasions: Occasions) -> None:
    """Rendered by hand from the tables, a random option of a random occasion has its text and numbers."""
    data = from_occasions(occasions)
    known = features(data)
    rng = np.random.default_rng(0)
    products = {row["product_id"]: row for row in occasions.products.iter_rows(named=True)}
    for at in rng.choice(len(data), 20, replace=False):
        visit = occasions.occasions.row(int(at), named=True)
        shelf = occasions.alternatives.filter(pl.col("occasion_id") == visit["occasion_id"])
        place = int(rng.integers(len(shelf)))
        row = shelf.filter(pl.col("position") == place + 1).row(0, named=True)
        product = data.product[at, place]
        assert data.products.names[product] == row["product_id"]
        assert data.products.texts[product] == product_text(product_words(products[row["product_id"]]))
        prefix = market_text(visit["market"], visit["category"])
        assert data.products.prefixes[data.prefix[at]] == prefix
        assert data.products.prefixes[data.products.prefix[product]] == prefix
        assert data.price[at, place] == np.float32(row["price"])
        assert data.mask[at].sum() == len(shelf)
        popularity = known.option[at, place, OPTION_FEATURES.index("log popularity")]
        assert popularity == pytest.approx(np.log(row["long_share"] + 1e-3), abs=1e-5)
        rate = known.shelf[at, SHELF_FEATURES.index("log rate")]
        assert rate == pytest.approx(np.log((visit["history_total"] + 0.5) / (visit["weeks_seen"] + 5)), abs=1e-5)


def test_past_purchases_are_matched_to_their_options(occasions: Occasions) -> None:
    """A household's purchases on the shelf are its counts, as far as the sequence reaches back."""
    data = from_occasions(occasions)
    match = features(data).match
    short = data.history_total <= match.shape[2]
    assert short.mean() > 0.3
    np.testing.assert_array_equal(match[short].sum(2), np.where(data.mask, data.bought, 0)[short])


def test_fewer_no_purchase_visits_are_corrected_for(occasions: Occasions) -> None:
    """All purchases stay, about the share of the other visits does, and the offset says so."""
    data = from_occasions(occasions)
    fewer = thinned(data, 0.25, seed=1)
    assert (fewer.chosen > 0).sum() == (data.chosen > 0).sum()
    assert (fewer.chosen == 0).sum() == pytest.approx(0.25 * (data.chosen == 0).sum(), rel=0.15)
    assert fewer.log_sampling.min() == pytest.approx(data.log_sampling.min() + np.log(0.25), abs=1e-5)


def test_samples_are_parts(occasions: Occasions) -> None:
    data = from_occasions(occasions)
    assert len(sampled(data, 30, seed=0)) == 30 and len(sampled(data, None, seed=0)) == len(data)
    few = few_markets(data, 1, 50, seed=0)
    assert len(np.unique(few.prefix)) == 1 and len(few) == 50


def test_goods_of_another_part_are_found_by_name(occasions: Occasions) -> None:
    """Products of one data set are those of another, wherever they stand in it."""
    whole = from_occasions(occasions)
    part = from_occasions(occasions.select(markets=occasions.markets[1:]))
    moved = on_products(part, whole)
    names = np.array(whole.products.names)
    assert (names[moved.product[part.mask]] == np.array(part.products.names)[part.product[part.mask]]).all()
    assert {whole.products.prefixes[at] for at in moved.prefix} == {part.products.prefixes[at] for at in part.prefix}
    lost = replace(whole, products=part.products)
    with pytest.raises(InvalidInput, match="a product of the training occasions"):
        on_products(whole, lost)


def test_align_resumes_and_leaves_out_what_is_held_out(folder: Path, tmp_path: Path) -> None:
    """A second call changes nothing; heads can be trained anew, or on, on a finished backbone."""
    run = tmp_path / "run"
    small = ["--batch-size", "32", "--validate-every", "2", "--limit", "200", "--members", "1"]
    small += ["--head-steps", "2", "--cold-steps", "2"]
    options = ["--occasions", str(folder), "--train-on", "seen", "--steps", "2", *small]
    hashes = []
    for _ in range(2):
        result = CliRunner().invoke(app, ["align", *options, "--out", str(run)])
        assert result.exit_code == 0, result.output
        hashes.append(json.loads((run / "model" / "config.json").read_text())["weights_hash"])
    assert hashes[0] == hashes[1]
    card = json.loads((run / "model" / "card.json").read_text())
    assert card["data_licence"] == f"that of its owner; trained on {folder}"
    assert card["training"]["markets"] == 1 and card["training"]["training occasions"] == 200
    again = ["--occasions", str(folder), "--start-from", str(run), *small, "--consistency", "0.5"]
    result = CliRunner().invoke(app, ["align", *again, "--out", str(tmp_path / "again")])
    assert result.exit_code == 0, result.output
    files = [json.loads((p / "model" / "config.json").read_text())["files"] for p in (run, tmp_path / "again")]
    assert files[0]["model.safetensors"] == files[1]["model.safetensors"]
    assert files[0]["heads.safetensors"] != files[1]["heads.safetensors"]
    goes_on = ["--occasions", str(folder), "--train-on", "seen", "--start-from", str(run), "--continue-heads", *small]
    goes_on[goes_on.index("--head-steps") + 1] = "0"
    result = CliRunner().invoke(app, ["align", *goes_on, "--out", str(tmp_path / "same")])
    assert result.exit_code == 0, result.output
    before, after = (read_tensors(p / "model" / "heads.safetensors") for p in (run, tmp_path / "same"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert before["market_draws"].shape == (16, 2, len(MARKET_TERMS))


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    """An unknown model and a missing folder are answered without a traceback, with exit code 2."""
    result = CliRunner().invoke(app, ["consumers", "evaluate", "--model", "gpt-9"])
    assert result.exit_code == 2 and "gpt-9" in result.output and "Traceback" not in result.output
    result = CliRunner().invoke(app, ["align", "--occasions", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert result.exit_code == 2 and "none" in result.output
