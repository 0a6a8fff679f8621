"""The whole command on a synthetic log: reading, checks, a taste model beside them, files, and errors."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.data.building.build import build_occasions
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.errors import CorruptFile, InvalidInput
from malles_env.evaluation.validate.rows import choice_rows
from malles_env.evaluation.validate.runner import ValidateSettings, validate
from tests.preference.conftest import tiny_model

MARKET = "PANTRY | MARKET 0"
SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset()),
    min_market_purchases=100,
    min_line_purchases=5,
    min_line_households=2,
)


def log(stores: int) -> Occasions:
    """Return a log whose stores ask prices a few percent apart."""
    tables, _ = synthetic_transactions(seed=3, num_households=300, num_stores=stores)
    paid = tables.transactions
    key = pl.struct("store_id", "product_id", "period").hash(seed=1) % 1000 / 1000
    paid = paid.with_columns(unit_price=(pl.col("unit_price") * (0.95 + 0.1 * key)).round(2))
    return build_occasions(replace(tables, transactions=paid), SETTINGS)


@pytest.fixture(scope="module")
def occasions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return log(3).save(tmp_path_factory.mktemp("log") / "occasions")


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["consumers", "validate", *words], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_other_prices_leave_out_store_and_household(occasions: Path) -> None:
    loaded = Occasions.load(occasions)
    rows = choice_rows(loaded, MARKET)
    part = loaded.select(markets=[MARKET])
    visits = part.occasions.filter(pl.col("chosen") > 0)
    paid = part.purchases[visits["history_end"].to_numpy()]
    known = visits.select("household_id", "store_id", "period")
    receipts = list(known.hstack(paid.select("product_id", "unit_price")).iter_rows())
    rng = np.random.default_rng(0)
    for at in rng.permutation(len(rows.visit))[:150]:
        visit, name = rows.visit[at], rows.products[rows.product[at]]
        household, store, week, *_ = receipts[visit]
        same = [r for r in receipts if r[2] == week and r[3] == name and r[0] != household]
        for result, wanted in ((rows.own[at], True), (rows.other[at], False)):
            prices = [math.log(r[4]) for r in same if (r[1] == store) == wanted]
            assert result == pytest.approx(np.mean(prices) if prices else math.nan, nan_ok=True)


def test_purchases_of_another_log_are_refused(occasions: Path) -> None:
    loaded = Occasions.load(occasions)
    shuffled = replace(loaded, purchases=loaded.purchases.with_columns(product_id=pl.lit("other")))
    with pytest.raises(CorruptFile, match=r"purchases.parquet does not hold"):
        choice_rows(shuffled, MARKET)


@pytest.mark.slow
def test_the_command_prints_and_writes_all_checks(occasions: Path, tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    tiny_model().save(tmp_path / "model")
    code, printed = run(
        MARKET, "--occasions", str(occasions), "--model", model, "--limit", "30",
        "--json", str(tmp_path / "v.json"), "--plot", str(tmp_path / "v.png"), "--docs", str(tmp_path / "v.md"),
    )  # fmt: skip
    assert code == 0, printed
    for words in ("own store's price", "control function", model, "borrowed", "first-stage F", "predicted lift"):
        assert words in printed
    content = json.loads((tmp_path / "v.json").read_text())
    found = content["markets"][MARKET]
    assert found["tastes"][0]["coefficient"]["se"] >= 0 and found["tastes"][0]["visits"] == 30
    assert [study["outcome"] for study in found["events"]["studies"]] == ["units", "purchases", model]
    assert [regime["name"] for regime in found["regimes"]["regimes"]] == ["logit on shallow prices", model]
    number = found["instruments"]["rows"][0]["coefficient"]["value"]
    assert f"{number:.2f} ±" in (tmp_path / "v.md").read_text() and f"{number:.2f} ±" in printed
    assert (tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")


def test_all_markets_with_enough_purchases(occasions: Path, tmp_path: Path) -> None:
    words = ("all", "--occasions", str(occasions), "--model", "none", "--checks", "regimes", "--min-purchases", "500")
    code, printed = run(*words, "--plot", str(tmp_path / "plots"))
    assert code == 0, printed
    assert printed.count("Products at 10% off or more") == 2
    assert len(list((tmp_path / "plots").glob("*.png"))) == 2


def test_one_store_is_refused_for_instruments_and_runs_the_other_checks(tmp_path: Path) -> None:
    folder = str(log(1).save(tmp_path / "one"))
    code, printed = run(MARKET, "--occasions", folder, "--model", "none")
    assert code == 2 and f"error: {MARKET}: store_id: got '1 store'; allowed: at least 2 stores" in printed
    code, printed = run(MARKET, "--occasions", folder, "--model", "none", "--checks", "events,regimes")
    assert code == 0 and "no leads found" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("NOWHERE",), "markets: got 'NOWHERE'; allowed:"),
        ((MARKET, "--checks", "tea"), "checks: got 'tea'; allowed: one or several of instruments, events, regimes"),
        ((MARKET, "--checks", ","), "checks: got 'none'"),
        ((MARKET, "--model", "none", "--model", "other"), "none beside others"),
        ((MARKET, "--model", "nowhere"), "taste model 'nowhere': no such model"),
        (("all", "--min-purchases", "99999999"), "min_purchases: got 99999999; allowed: at most"),
        (("all", "--plot", "x.png"), "plot: got 'x.png'; allowed: a folder"),
        ((MARKET, "--docs", "/"), "--docs: got '/'; allowed: a file, not a folder"),
    ],
)
def test_mistakes_are_answered_in_one_line(occasions: Path, words: tuple[str, ...], message: str) -> None:
    given = words if "--model" in words else (*words, "--model", "none")
    code, printed = run(*given, "--occasions", str(occasions))
    assert code == 2 and message in printed


def test_all_leaves_out_what_cannot_be_checked() -> None:
    loaded = log(1)
    with pytest.raises(InvalidInput, match=r"markets: none can be checked; .*1 store"):
        validate(loaded, settings=ValidateSettings(checks=("instruments",), least_purchases=100))
    settings = ValidateSettings(checks=("instruments", "regimes"), least_purchases=100)
    report = validate(loaded, settings=settings)
    assert all(found.instruments is None and found.regimes is not None for found in report.found)
    assert set(report.left_out) == {found.market for found in report.found}
    assert all(why.startswith("instruments: store_id: got '1 store'") for why in report.left_out.values())
