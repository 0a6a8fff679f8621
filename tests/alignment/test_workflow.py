"""Occasions to texts, samples, and the two commands from end to end on a synthetic log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from malles_env.alignment.dataset import from_occasions, product_words
from malles_env.alignment.sampling import Sample, draw, draw_test
from malles_env.alignment.text import Persona, option_text, persona_text
from malles_env.cli import app
from malles_env.data.build import build_occasions
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits
from malles_env.data.synthetic import synthetic_transactions
from malles_env.errors import InvalidInput

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
    rng = np.random.default_rng(0)
    products = {row["product_id"]: row for row in occasions.products.iter_rows(named=True)}
    for at in rng.choice(len(data), 20, replace=False):
        visit = occasions.occasions.row(int(at), named=True)
        shelf = occasions.alternatives.filter(pl.col("occasion_id") == visit["occasion_id"])
        place = int(rng.integers(len(shelf)))
        row = shelf.filter(pl.col("position") == place + 1).row(0, named=True)
        words = option_text(product_words(products[row["product_id"]]), row["bought"], visit["history_total"])
        names = ("market", "category", "history_total", "weeks_seen")
        assert data.option_texts[data.option[at, place]] == words
        assert data.persona_texts[data.persona[at]] == persona_text(Persona(*(visit[n] for n in names)))
        assert data.price[at, place] == row["price"]
        assert data.mask[at].sum() == len(shelf)


def test_training_never_sees_test_or_held_out_occasions(occasions: Occasions) -> None:
    """Samples keep to their split; held-out categories enter only when named as focus."""
    some = draw(occasions, "train", Sample(focus=(), per_focus=0, per_other=50))
    assert some.occasions["split"].unique().to_list() == ["train"]
    assert not some.occasions["held_out"].any()
    assert some.occasions["market"].value_counts()["count"].max() <= 50
    named = tuple(occasions.occasions.filter(pl.col("held_out"))["market"].unique().to_list())
    if named:
        focus = draw(occasions, "train", Sample(focus=named, per_focus=30, per_other=0))
        assert set(focus.occasions["market"]) == set(named)
    with pytest.raises(InvalidInput, match="test"):
        draw(occasions, "test", Sample())


def test_judging_draws_known_buyers_of_test_periods(occasions: Occasions) -> None:
    """And the same draw again for the same seed."""
    first, again = (draw_test(occasions, limit=40, seed=2) for _ in range(2))
    assert first.occasions.equals(again.occasions)
    assert first.occasions["buyer"].all()
    assert first.occasions["split"].unique().to_list() == ["test"]


def test_align_then_evaluate(folder: Path, tmp_path: Path) -> None:
    """The two commands run on any occasions folder; the second align resumes and changes nothing."""
    run = tmp_path / "run"
    options = ["--occasions", str(folder), "--out", str(run), "--steps", "2", "--head-steps", "6"]
    options += ["--batch-size", "32", "--validate-every", "2", "--per-other", "40", "--test-limit", "40"]
    hashes = []
    for _ in range(2):
        result = CliRunner().invoke(app, ["align", *options])
        assert result.exit_code == 0, result.output
        hashes.append(json.loads((run / "model" / "config.json").read_text())["weights_hash"])
    assert hashes[0] == hashes[1]
    assert "conditional logit" in (run / "model" / "README.md").read_text()
    asked = ["consumers", "evaluate", "--model", str(run), "--occasions", str(folder), "--limit", "40", "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert set(report["models"]) == {"popularity", "last purchase", "conditional logit", "taste model"}
    for row in report["models"].values():
        assert 0 <= row["hit"]["mean"] <= row["top3"]["mean"] <= 1
        assert row["nll"]["se"] > 0


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    """An unknown model and a missing folder are answered without a traceback, with exit code 2."""
    result = CliRunner().invoke(app, ["consumers", "evaluate", "--model", "gpt-9"])
    assert result.exit_code == 2 and "gpt-9" in result.output and "Traceback" not in result.output
    result = CliRunner().invoke(app, ["align", "--occasions", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert result.exit_code == 2 and "none" in result.output
