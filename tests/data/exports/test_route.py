"""From a raw export to a trained seller in three commands, on made-up exports and on the UCI Online Retail log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from malles_env.data.exports import ImportChoices, import_log, planned
from malles_env.data.exports.report import next_commands
from malles_env.scenarios import load_scenario
from tests.data.exports import shop

ONLINE_RETAIL = Path(os.environ.get("MALLES_ONLINE_RETAIL", "data/online_retail.parquet"))
"""The log as Parquet: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country."""
MARKETS = """\
bags: [bag, tote, shopper]
mugs and cups: [mug, cup, teacup]
lights: [light, t-light, lantern, candle, lamp]
signs: [sign]
"""


def malles(folder: Path, *words: object) -> str:
    command = [sys.executable, "-c", "from malles_env.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def follow(folder: Path, printed: str) -> list[list[str]]:
    """Return the commands that an import printed."""
    import shlex

    lines = printed[printed.index("next:\n") :].splitlines()[1:]
    return [shlex.split(line)[1:] for line in lines if line.startswith("  malles ")]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["german", "american", "xlsx"])
def test_an_export_becomes_a_trained_seller_in_three_commands(tmp_path: Path, form: str) -> None:
    lines = shop.receipts(weeks=40)
    path = tmp_path / ("export.xlsx" if form == "xlsx" else "export.csv")
    if form == "xlsx":
        shop.workbook(lines, path)
    else:
        path.write_bytes((shop.german if form == "german" else shop.american)(lines))
    printed = malles(tmp_path, "data", "import", path.name, "--out", "log")
    build, train = follow(tmp_path, printed)
    result = malles(tmp_path, *build)
    assert "next: malles train tee.yaml --out runs/tee" in result
    assert "malles consumers backtest tee.yaml --log log" in result
    assert "policy: runs/tee/policy.zip" in malles(tmp_path, *train, "--steps", 512)
    scenario = load_scenario(str(tmp_path / "tee.yaml"))
    assert {product.source_id for product in scenario.products} == {f"t{n}" for n in range(1, 7)}
    assert "Darjeeling" in malles(tmp_path, "scenario", "show", "tee.yaml")
    # Regular prices of the scenario are those of the shop: 1.20 and 0.35 more for each product.
    regular = {product.source_id: product.regular_price for product in scenario.products}
    np.testing.assert_allclose([regular[f"t{n + 1}"] for n in range(6)], 1.2 + 0.35 * np.arange(6), atol=0.006)
    assert "--log log" in scenario.made_by


@pytest.mark.slow
def test_a_market_of_an_imported_log_is_backtested(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_bytes(shop.plain(shop.receipts(weeks=40)))
    malles(tmp_path, "data", "import", "export.csv", "--out", "log")
    result = malles(tmp_path, "consumers", "backtest", "Tee", "--log", "log", "--draws", 20, "--json", "found.json")
    assert "Tee: 60 households, 6 products" in result


@pytest.mark.slow
@pytest.mark.skipif(not ONLINE_RETAIL.is_file(), reason="needs the UCI Online Retail log: MALLES_ONLINE_RETAIL=FILE")
def test_the_uci_log_becomes_a_trained_seller(tmp_path: Path) -> None:
    (tmp_path / "markets.yaml").write_text(MARKETS)
    source = ONLINE_RETAIL.resolve()
    printed = malles(
        tmp_path, "data", "import", source, "--keywords", "markets.yaml", "--currency", "GBP", "--out", "log"
    )
    raw, kept = pl.read_parquet(source), pl.read_parquet(tmp_path / "log" / "transactions.parquet")
    dropped = pl.read_parquet(tmp_path / "log" / "dropped.parquet")
    assert len(kept) + len(dropped) == len(raw) == 541_909
    counts = dict(dropped["reason"].value_counts().iter_rows())
    # Every row with a negative quantity, without a customer or at a price of zero is left out, and little else.
    bad = (pl.col("Quantity") < 0) | pl.col("CustomerID").is_null() | (pl.col("UnitPrice") <= 0)
    assert len(raw.filter(bad)) == len(dropped.filter(bad))
    assert counts["mistyped_prices"] < 0.002 * len(kept)
    assert len(dropped.filter(~bad)) == len(dropped.filter(~bad, pl.col("reason").is_in(["notes", "mistyped_prices"])))
    charges = set(dropped.filter(~bad, pl.col("reason") == "notes")["StockCode"])
    assert {"POST", "M", "C2", "DOT"} <= charges
    # Products have a digit in their code; what is dropped as a note has none, C2 (carriage) apart.
    assert not [code for code in charges if any(letter.isdigit() for letter in code) and code != "C2"]
    build, train = follow(tmp_path, printed)
    malles(tmp_path, *build)
    scenario = load_scenario(str(tmp_path / "bags.yaml"))
    assert (len(scenario.products), scenario.currency) == (12, "GBP")
    titles = dict(pl.read_parquet(tmp_path / "log" / "products.parquet").select("product_id", "title").iter_rows())
    assert all(product.source_title == titles[product.source_id] for product in scenario.products)
    assert "policy: runs/bags/policy.zip" in malles(tmp_path, *train, "--steps", 512)


@pytest.mark.slow
@pytest.mark.skipif(not ONLINE_RETAIL.is_file(), reason="needs the UCI Online Retail log: MALLES_ONLINE_RETAIL=FILE")
def test_the_uci_log_is_the_same_as_csv_and_xlsx(tmp_path: Path) -> None:
    rows = pl.read_parquet(ONLINE_RETAIL).head(60_000)
    rows.with_columns(pl.col("InvoiceDate").dt.strftime("%d/%m/%Y %H:%M")).write_csv(tmp_path / "uci.csv")
    rows.write_excel(tmp_path / "uci.xlsx", worksheet="Online Retail")
    rows.write_parquet(tmp_path / "uci.parquet")
    logs = []
    for form in ("parquet", "csv", "xlsx"):
        choices = ImportChoices()
        found = import_log(planned([tmp_path / f"uci.{form}"], choices), choices)
        assert next_commands(found, tmp_path)[0].startswith("malles scenario build 'all products'")
        logs.append(found.tables)
    for other in logs[1:]:
        # A comma-separated file has no seconds.
        assert other.transactions.drop("timestamp").equals(logs[0].transactions.drop("timestamp"))
        assert other.products.equals(logs[0].products)
