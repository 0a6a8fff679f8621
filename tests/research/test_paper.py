"""`python -m research.paper`: every claim runs on a small synthetic log and finds what was planted there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import import_module

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from malles_agents.reproduce.base import Options
from malles_agents.reproduce.console import as_table
from malles_agents.reproduce.registry import EXPERIMENTS, run_experiment
from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.errors import InvalidInput
from malles_env.evaluation.comparison.study import Study
from malles_env.evaluation.metrics import Estimate
from malles_env.preference.encoder.backbones import new_embedded
from malles_env.preference.heads.taste_heads import Sizes
from malles_env.preference.prediction import Prediction
from malles_env.preference.prompted.model import PromptedModel
from research.paper import CLAIMS
from research.paper import scores as paper_scores
from research.paper.__main__ import main
from research.paper.alignment import alignment, epochs
from research.paper.consistency import consistency
from research.paper.inputs import MASKS, attention, augmentation
from research.paper.lab import Lab, Plan, lab_for
from research.paper.page import pages
from research.paper.stability import stability
from research.paper.transfer import joined, similar, transfer
from research.paper.window import best_coupling, coupled, window, with_window

command = typer.Typer()
command.command()(main)
SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset({"SNACKS"})),
    min_market_purchases=100,
    min_line_purchases=5,
    min_line_households=2,
)
PLAN = Plan(steps=15, batch=64, train=3000, validation=40, test=600, asked=4, sizes=Sizes(text=4, hidden=8))


def lab_of(occasions: Occasions, folder, **changes) -> Lab:
    texts = [*occasions.products["title"], *occasions.products["market"]]
    backbone = new_embedded(texts, width=32, layers=1, vocabulary=300)
    return Lab(Study(occasions), backbone, folder, replace(PLAN, **changes))


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    tables, _ = synthetic_transactions(seed=3, num_households=120, num_markets=3)
    return lab_of(build_occasions(tables, SETTINGS), tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def drifting(tmp_path_factory) -> Lab:
    """A log in which nothing but each line's popularity counts, and that drifts slowly."""
    return lab_of(build_occasions(_drifting_tables(), SETTINGS), tmp_path_factory.mktemp("drift"), test=1000)


def _drifting_tables(households: int = 60, lines: int = 6, weeks: int = 53) -> Tables:
    rng = np.random.default_rng(5)
    rows = []
    for week in range(1, weeks + 1):
        tastes = 0.8 * np.sin(2 * np.pi * (week / 80 + np.arange(lines) / lines))
        share = np.exp(tastes) / np.exp(tastes).sum()
        monday = datetime(2024, 1, 1) + timedelta(weeks=week - 1)
        for who in range(households):
            when = monday + timedelta(minutes=int(rng.integers(10_000)))
            rows.append((who, week, when, f"p{rng.choice(lines, p=share)}"))
    numbers = pl.DataFrame(rows, schema=["who", "period", "timestamp", "product_id"], orient="row")
    transactions = numbers.select(
        household_id=pl.format("h{}", "who"),
        basket_id=pl.format("b{}-{}", "period", "who"),
        timestamp=pl.col("timestamp").cast(pl.Datetime("us")),
        store_id=pl.lit("s0"),
        product_id="product_id",
        quantity=pl.lit(1, pl.Int32),
        unit_price=pl.lit(2.0),
        regular_price=pl.lit(2.0),
        period=pl.col("period").cast(pl.Int32),
    ).sort("timestamp", "basket_id", "product_id")
    names = ["product_id", "category", "market", "title", "brand", "private_label", "size_value", "size_unit"]
    products = [
        (f"p{j}", "PANTRY", "PANTRY | MARKET 0", f"maker {j}", f"maker {j}", False, 12.0, "oz") for j in range(lines)
    ]
    homes = transactions.select("household_id").unique(maintain_order=True)
    return Tables(transactions, pl.DataFrame(products, schema=names, orient="row"), None, None, homes, {})


def measured(found, words: str) -> Estimate:
    (row,) = [row for row in found.rows if row.quantity == words]
    return Estimate(row.measured, row.se)


def whole(found, tmp_path) -> None:
    """Everything of a reproduction is there: finite figures, a finding, a picture, a table."""
    assert all(np.isfinite(row.measured) and row.se >= 0 for row in found.rows)
    assert "±" in found.notes[0]
    assert all(row.published is None for row in found.rows)
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000
    assert as_table(found).renderables


def test_aligned_beats_unaligned_and_a_model_asked_in_words(lab, tmp_path):
    texts = [*lab.study.occasions.products["title"], *lab.study.occasions.products["market"]]
    asked = replace(lab, prompted=lambda: PromptedModel.embedded(texts, width=16, layers=1))
    found = alignment(Options(), asked)
    whole(found, tmp_path)
    gap = measured(found, "categories trained on: nats, aligned - unaligned")
    assert gap.mean < -2 * gap.se
    assert any("prompted" in row.quantity for row in found.rows)


@pytest.mark.slow
def test_epochs_start_from_none_and_improve(lab, tmp_path):
    found = epochs(Options(), replace(lab, plan=replace(lab.plan, train=200)))
    whole(found, tmp_path)
    nats = [found.data["scores"][passes]["seen"]["nll"]["mean"] for passes in ("0", "1", "8")]
    assert nats[0] > nats[1] > nats[2]


def test_a_rebuilt_window_is_the_one_the_build_made(lab):
    rows = lab.rows("test") | lab.rows("train")
    data = lab.draw(rows, None, 0)
    again = with_window(data, lab.study.occasions, SETTINGS.share_periods)
    np.testing.assert_allclose(again.share, data.share, atol=1e-6)
    assert (with_window(data, lab.study.occasions, 1).share != data.share).any()
    np.testing.assert_array_equal(with_window(data, lab.study.occasions, 0).share, data.long_share)


def test_a_middle_window_wins_where_popularity_drifts(drifting):
    occasions = drifting.study.occasions
    before = drifting.draw(drifting.rows("train") | drifting.rows("validation"), None, 0)
    test = drifting.judged(drifting.rows("test"), limit=1000)
    before = before.take(np.flatnonzero(before.chosen > 0))
    plain = _by_popularity(test.data)
    gained = {}
    for size in (1, 2, 5, 10, 20):
        rho, _ = best_coupling(_by_popularity(before), with_window(before, occasions, size))
        shown = coupled(plain, with_window(test.data, occasions, size), rho)
        gained[size] = paper_scores.gap(paper_scores.judge([shown], test), paper_scores.judge([plain], test), "nll")
    assert gained[5].mean < -2 * gained[5].se
    assert gained[5].mean < min(gained[1].mean, gained[20].mean)


def _by_popularity(data) -> Prediction:
    known = np.where(data.mask, 0.5 * np.log(data.long_share + 1e-3), -np.inf)
    return Prediction(np.concatenate([np.zeros((len(data), 1)), known], axis=1))


@pytest.mark.slow
def test_every_window_is_trained_and_distinguished(drifting, tmp_path):
    found = window(Options(sessions=1), drifting)
    whole(found, tmp_path)
    assert set(found.data["nats"]) == {"0", "1", "2", "5", "10", "20"}
    assert found.data["nats"]["5"] != found.data["nats"]["0"]


def test_the_added_coefficient_finds_a_planted_one(lab):
    data = lab.draw(lab.rows("train"), None, 0)
    data = data.take(np.flatnonzero(data.chosen > 0))
    rng = np.random.default_rng(0)
    data = replace(data, share=data.long_share + rng.normal(0, 0.3, data.share.shape).astype(np.float32))
    flat = Prediction(np.concatenate([np.zeros((len(data), 1)), np.where(data.mask, 0.0, -np.inf)], axis=1))
    utilities = coupled(flat, data, 1.2).utilities[:, 1:]
    drawn = replace(data, chosen=1 + (utilities + rng.gumbel(size=utilities.shape)).argmax(1))
    rho, error = best_coupling(flat, drawn)
    assert abs(rho - 1.2) < 3 * error
    assert error < 0.1


@pytest.mark.slow
def test_transfer_covers_every_size_and_regime(lab, tmp_path):
    found = transfer(Options(), lab)
    whole(found, tmp_path)
    assert set(found.data["similar"]) == {"SNACKS"}
    assert similar(lab, "SNACKS") == ["PANTRY"]
    none = measured(found, "none of its own occasions, all - one: nats")
    assert none.mean < -2 * none.se


def test_joined_shelves_keep_their_occasions(lab):
    first, second = (lab.draw(lab.rows(name), 50, 0) for name in ("train", "validation"))
    narrow = replace(second, **{n: getattr(second, n) for n in ("mask",)})
    both = joined([first, narrow])
    assert len(both) == 100
    np.testing.assert_array_equal(both.take(np.arange(50, 100)).chosen, second.chosen)
    assert both.mask.sum() == first.mask.sum() + second.mask.sum()


@pytest.mark.slow
def test_history_is_worth_something_where_loyalty_was_planted(lab, tmp_path):
    found = augmentation(Options(), lab)
    whole(found, tmp_path)
    for name in ("without history", "without any"):
        more = measured(found, f"categories trained on, {name} - with all: nats")
        assert more.mean > 2 * more.se


@pytest.mark.parametrize("name", [name for name in MASKS if name != "with all"])
def test_masked_inputs_leave_what_is_judged(lab, name):
    data = lab.draw(lab.rows("train"), 200, 0)
    other = MASKS[name](data)
    for kept in ("chosen", "quantity", "mask", "product", "household"):
        np.testing.assert_array_equal(getattr(other, kept), getattr(data, kept))
    if name in ("without prices", "without any"):
        assert not other.discount.any()
    if name in ("without history", "without any"):
        assert not other.bought.any() and not other.past_known.any()


def test_the_attention_prior_is_studied(lab, tmp_path):
    few = replace(lab.plan, train=200, validation=8, test=24)
    found = attention(Options(sessions=1, steps=2), replace(lab, directory=tmp_path, plan=few))
    assert {row.quantity.split(":")[0] for row in found.rows} == {"prior of 0 nats", "prior of 2 nats"}
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000


@pytest.mark.slow
def test_the_penalty_is_measured_with_its_error(lab, tmp_path):
    """Thirty steps are too few to tell a direction; that the term draws wordings together is tested with training."""
    found = consistency(Options(), lab)
    whole(found, tmp_path)
    closer = measured(found, "weight 1 - 0: total variation")
    assert closer.se > 0 and abs(closer.mean) < 1


@pytest.mark.slow
def test_stability_measures_answers_and_markets(lab, tmp_path):
    found = stability(Options(sessions=2), lab)
    whole(found, tmp_path)
    assert found.data["market_rho"] != 0.0
    forced = measured(found, "market, 50 consumers, rho set to 1.5, window 1: the same")
    assert forced.mean > 1 + 2 * forced.se


def test_runs_are_kept_and_depend_on_data(lab):
    train, check = lab.draw(lab.rows("train"), 300, 0), lab.draw(lab.rows("validation"), 50, 0)
    before = {path.name for path in (lab.directory / "runs").glob("*")}
    first = lab.fitted(train, check, 0, steps=2)
    made = {path.name for path in (lab.directory / "runs").glob("*")}
    second = lab.fitted(train, check, 0, steps=2)
    assert len(made - before) == 1
    assert {path.name for path in (lab.directory / "runs").glob("*")} == made
    data = check.take(np.arange(20))
    np.testing.assert_array_equal(lab.predicted(first, data).utilities, lab.predicted(second, data).utilities)
    lab.fitted(train.take(np.arange(200)), check, 0, steps=2)
    assert len(list((lab.directory / "runs").glob("*"))) == len(made) + 1


def test_differences_are_printed_in_words():
    assert paper_scores.in_words(Estimate(-0.02, 0.004), "nats").startswith("lower by 0.0200 ± 0.0040 nats")
    assert paper_scores.in_words(Estimate(0.02, 0.004)).startswith("higher by 0.0200")
    assert paper_scores.in_words(Estimate(0.005, 0.004)).startswith("statistically indistinguishable (+0.0050")


def test_every_claim_is_listed_and_steps_are_checked(lab):
    claims = ("alignment", "epochs", "window", "transfer", "augmentation", "attention", "consistency", "stability")
    assert set(CLAIMS) == set(claims) and not set(CLAIMS) & set(EXPERIMENTS)
    for entry in CLAIMS.values():
        assert callable(getattr(import_module(entry.module), entry.function))
    assert lab_for(Options(steps=7), lab).plan.steps == 7
    with pytest.raises(InvalidInput, match="steps"):
        run_experiment("window", Options(steps=0), CLAIMS)


def test_the_command_lists_claims_and_answers_mistakes_in_one_line():
    listed = CliRunner().invoke(command, [])
    assert listed.exit_code == 0 and all(claim in listed.output for claim in CLAIMS)
    done = subprocess.run([sys.executable, "-m", "research.paper", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: experiment: got 'nothing'")
    assert len(done.stderr.splitlines()) == 1


def test_every_claim_stands_on_one_page_that_the_first_one_links_to() -> None:
    found = [
        {"experiment": f"paper-{name}", "title": entry.summary, "notes": ["found", "caveat"], "settings": {"seed": 0}}
        for name, entry in CLAIMS.items()
    ]
    written = pages(found, "claims")
    whole = "".join(written.values())
    assert all(whole.count(f"`python -m research.paper {name}`") == 1 for name in CLAIMS)
    assert len(written) == 3 and all(f"({name})" in written["claims.md"] for name in list(written)[1:])
