"""An export becomes a log: every form gives the same tables, every row is kept or dropped by a named rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from polars.testing import assert_frame_equal
from typer.testing import CliRunner, Result

from malles_env.cli import ReadableGroup
from malles_env.cli.data import data_app
from malles_env.data.checks import read_settings
from malles_env.data.exports import ImportChoices, Imported, import_log, planned
from malles_env.data.log.readers import read_tables
from malles_env.errors import InvalidInput
from tests.data.exports import shop
from tests.data.exports.shop import Line

ROOT = typer.Typer(cls=ReadableGroup)
ROOT.add_typer(data_app, name="data")
LINES = shop.receipts()


def run(*words: object) -> Result:
    return CliRunner().invoke(ROOT, ["data", *map(str, words)])


def imported(path: Path | list[Path], **choices: Any) -> Imported:
    given = ImportChoices(**choices)
    return import_log(planned([path] if isinstance(path, Path) else path, given), given)


def written(tmp_path: Path, lines: list[Line], name: str = "export.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(shop.plain(lines))
    return path


def finding(found: Imported, name: str) -> Any:
    return next(finding for finding in found.findings if finding.name == name)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return imported(written(tmp_path_factory.mktemp("usual"), LINES))


def r_data(path: Path) -> Path:
    import pandas as pd
    import rdata

    frame = pd.DataFrame({"InvoiceNo": pd.Categorical([line.receipt for line in LINES])})
    frame["CustomerID"] = pd.Categorical([line.customer for line in LINES])
    # R keeps times as seconds since 1970; these receipts' clock is taken as UTC.
    frame["InvoiceDate"] = [pd.Timestamp(line.when).timestamp() for line in LINES]
    for name, values in {"StockCode": [x.product for x in LINES], "Description": [x.title for x in LINES],
                         "Category": [x.market for x in LINES], "Brand": [x.brand for x in LINES]}.items():  # fmt: skip
        frame[name] = pd.Categorical(values)
    frame["Quantity"] = [line.quantity for line in LINES]
    frame["UnitPrice"] = [line.price for line in LINES]
    rdata.write_rda(path, {"notes": pd.DataFrame({"x": [1.0]}), "sales": frame})
    return path


def parquet(path: Path) -> Path:
    rows = pl.read_csv(shop.plain(LINES), try_parse_dates=True)
    rows.with_columns(
        pl.col("InvoiceDate").cast(pl.Datetime("ns")), pl.col("Brand").cast(pl.Categorical)
    ).write_parquet(path)
    return path


@pytest.mark.parametrize("form", ["german", "american", "xlsx", "parquet", "rda"])
def test_every_form_gives_the_same_log(tmp_path: Path, usual: Imported, form: str) -> None:
    path = tmp_path / f"export.{form if form in ('xlsx', 'parquet', 'rda') else 'csv'}"
    if form == "xlsx":
        shop.workbook(LINES, path)
    elif form in ("parquet", "rda"):
        (parquet if form == "parquet" else r_data)(path)
    else:
        path.write_bytes((shop.german if form == "german" else shop.american)(LINES))
    found = imported(path)
    rows = found.tables.transactions
    assert_frame_equal(rows.drop("unit_price"), usual.tables.transactions.drop("unit_price"))
    # A total of 3 x 1.23 divided by three is 1.23 up to the rounding of the total.
    assert (rows["unit_price"] - usual.tables.transactions["unit_price"]).abs().to_numpy().max() < 0.0051
    assert_frame_equal(found.tables.products.select("product_id", "title", "market", "brand"),
                       usual.tables.products.select("product_id", "title", "market", "brand"))  # fmt: skip
    result = " ".join([str(found.plan), *found.how.values()])
    expected = {
        "german": ["cp1252", "semicolon", "day first", "decimal mark ','"],
        "american": ["byte-order mark", "month first", "SALES_PRICE is the total of a line"],
        "xlsx": ["sheet 'Sales' of 2 (not read: Cover)", "Sales is the total of a line"],
        "parquet": ["UnitPrice is per package"],
        "rda": ["R data frame 'sales'", "which are UTC"],
    }
    for words in expected[form]:
        assert words in result
    assert found.origin["currency"] == {"german": "EUR", "american": "USD"}.get(form, "money")


SPOILED = {
    "returns": {"quantity": -2},
    "zero_prices": {"price": 0.0},
    "notes": {"title": "POSTAGE", "product": "POST"},
    "guests": {"customer": ""},
    "mistyped_prices": {"price": 990.0},
}


@pytest.mark.parametrize("name", SPOILED)
def test_rows_are_dropped_by_a_named_rule(tmp_path: Path, usual: Imported, name: str) -> None:
    spoiled = [replace(line, receipt=f"X{n}", **SPOILED[name]) for n, line in enumerate(LINES[100:107])]
    found = imported(written(tmp_path, LINES[:300] + spoiled + LINES[300:]))
    assert_frame_equal(found.tables.transactions, usual.tables.transactions)
    assert (finding(found, name).found, finding(found, name).dropped) == (7, 7)
    assert finding(found, name).example.startswith("row 301: ")
    assert found.dropped["reason"].to_list() == [name] * 7
    assert found.dropped["row"].to_list() == list(range(301, 308))
    assert found.dropped["InvoiceNo"].to_list() == [f"X{n}" for n in range(7)]
    assert found.as_json()["rows"] == {"read": len(LINES) + 7, "kept": len(LINES), "dropped": 7}


@pytest.mark.parametrize("name", ["returns", "zero_prices"])
def test_rows_that_tables_cannot_hold_are_refused_when_asked(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, [*LINES, replace(LINES[0], **SPOILED[name])])
    with pytest.raises(InvalidInput, match=rf"export.csv: row {len(LINES) + 1} .*allowed: none, or --drop-{name[:4]}"):
        imported(path, **{f"drop_{name}": False})


def test_guests_and_odd_prices_are_kept_when_asked(tmp_path: Path) -> None:
    guests = [replace(line, customer="guest") for line in LINES[:40]]
    found = imported(written(tmp_path, guests + LINES[40:]), drop_guests=False)
    assert len(found.tables.transactions) == len(LINES)
    # Each receipt is a household of its own.
    own = found.tables.transactions.filter(pl.col("household_id").str.starts_with("guest "))
    assert own["household_id"].n_unique() == own["basket_id"].n_unique() == len({line.receipt for line in guests})
    found = imported(written(tmp_path, [*LINES, replace(LINES[0], price=990.0)]), drop_mistyped=False)
    assert finding(found, "mistyped_prices").action == "kept"
    assert 990.0 in found.tables.transactions["unit_price"]


def test_half_the_rows_under_one_id_are_guests(tmp_path: Path) -> None:
    odd = [replace(line, customer="99999") if int(line.receipt[1:]) % 2 else line for line in LINES]
    found = imported(written(tmp_path, odd))
    assert finding(found, "guests").dropped == sum(line.customer == "99999" for line in odd)
    assert "99999" not in found.tables.transactions["household_id"]
    # A good customer is none of these.
    assert not [f for f in imported(written(tmp_path, LINES)).findings if f.name == "guests"]


def test_repeated_rows_are_kept_and_overlapping_files_are_not(tmp_path: Path, usual: Imported) -> None:
    twice = written(tmp_path, LINES[:50] + LINES, "twice.csv")
    found = imported(twice)
    assert finding(found, "repeated_rows").action == "kept"
    assert len(found.tables.transactions) == len(LINES) + 50
    assert len(imported(twice, drop_repeated=True).tables.transactions) == len(LINES)
    parts = [written(tmp_path, LINES[:700], "a.csv"), written(tmp_path, LINES[600:], "b.csv")]
    found = imported(parts)
    assert finding(found, "overlaps").dropped == 100
    assert_frame_equal(found.tables.transactions, usual.tables.transactions)


@pytest.mark.parametrize("per", ["store", "day"])
def test_receipt_numbers_that_are_used_again_are_distinguished(tmp_path: Path, usual: Imported, per: str) -> None:
    numbers: dict[str, str] = {}
    counts: dict[str, int] = {}
    for line in LINES:
        place = str(int(line.customer[1:]) % 2) if per == "store" else str(line.when.date())
        if line.receipt not in numbers:
            counts[place] = counts.get(place, 0) + 1
            numbers[line.receipt] = str(counts[place])
    lines = [replace(line, receipt=numbers[line.receipt]) for line in LINES]
    found = imported(written(tmp_path, lines))
    mended = finding(found, "reused_receipts")
    assert mended.found > 0 and mended.action == "mended" and "households" in mended.example
    rows, true = found.tables.transactions, usual.tables.transactions
    assert rows.drop("basket_id").equals(true.drop("basket_id"))
    # No two trips were merged and none was split.
    pairs = pl.DataFrame({"new": rows["basket_id"], "true": true["basket_id"]}).unique()
    assert len(pairs) == pairs["new"].n_unique() == pairs["true"].n_unique()


def test_values_that_cannot_be_read_refuse_the_file_unless_asked(tmp_path: Path) -> None:
    text = shop.plain(LINES).decode().split("\r\n")
    text[10] = text[10].replace(text[10].split(",")[-1], "free")
    path = tmp_path / "export.csv"
    path.write_text("\n".join([*text[:-1], "Total,,,,,,,,4711.00", ""]))
    with pytest.raises(InvalidInput, match=rf"column InvoiceDate, row {len(LINES) + 1}: got None; .*--drop-unreadable"):
        imported(path)
    found = imported(path, drop_unreadable=True)
    assert found.dropped["reason"].to_list() == ["unreadable"] * 2
    assert found.dropped["row"].to_list() == [10, len(LINES) + 1]


def test_an_export_may_have_columns_of_our_names_and_blank_rows(tmp_path: Path) -> None:
    rows = pl.read_csv(shop.plain(LINES), infer_schema=False).with_row_index("row").with_columns(reason=pl.lit("x"))
    rows = rows.with_columns(pl.all().cast(pl.String))
    pl.concat([rows.head(5), rows.head(1).clear(2), rows.tail(-5)]).write_csv(tmp_path / "export.csv")
    found = imported(tmp_path / "export.csv")
    assert finding(found, "blank_rows").dropped == 2
    assert found.dropped["reason"].to_list() == ["blank_rows"] * 2
    assert found.dropped["row"].to_list() == [6, 7]
    assert len(found.tables.transactions) == len(LINES)


def test_what_a_log_cannot_tell_is_named(tmp_path: Path) -> None:
    fixed = [replace(line, price=2.0, customer=f"K{n}", receipt=f"R{n}") for n, line in enumerate(LINES)]
    found = imported(written(tmp_path, fixed))
    assert finding(found, "constant_prices").warn and "100% of the 9 products" in finding(found, "constant_prices").rule
    assert finding(found, "one_trip").found == len(LINES) and "--purchase-rate" in finding(found, "one_trip").advice
    many = [replace(line, quantity=30) if n < 9 else line for n, line in enumerate(LINES)]
    assert finding(imported(written(tmp_path, many)), "large_quantities").found == 9


def test_titles_are_cleaned_and_the_usual_one_is_kept(tmp_path: Path) -> None:
    spelt = {"k1": "x" * 5000, "t1": "Ass\u200bam\x07  100 g"}
    odd = [replace(line, title=spelt.get(line.product, line.title)) for line in LINES]
    odd[-1] = replace(odd[-1], title="🫖" if odd[-1].product not in ("t1", "k1") else odd[-1].title)
    found = imported(written(tmp_path, odd))
    titles = dict(found.tables.products.select("product_id", "title").iter_rows())
    assert titles["k1"] == "x" * 200 and titles["t1"] == "Ass am 100 g"
    assert finding(found, "long_titles").found == sum(line.product == "k1" for line in LINES)


def test_markets_by_column_keywords_or_one_for_all(tmp_path: Path) -> None:
    path = written(tmp_path, LINES)
    words = tmp_path / "markets.yaml"
    words.write_text("black: [Assam, CEYLON, earl grey]\ngreen: sencha\nbiscuits: [keks, zwieback]\nempty: [coffee]\n")
    found = imported(path, keywords=words)
    markets = dict(found.tables.products.select("product_id", "market").iter_rows())
    # Whole words only: Butterkeks is no Keks.
    assert markets == {"t1": "black", "t2": "black", "t3": "other", "t4": "black", "t5": "other", "t6": "green",
                       "k1": "other", "k2": "biscuits", "k3": "other"}  # fmt: skip
    assert finding(found, "no_keyword").found == 4
    assert finding(found, "empty_markets").example == "empty"
    words.write_text("all: [a, e]\n")
    with pytest.raises(InvalidInput, match="no title of 9 products has one of its words"):
        imported(path, keywords=words)
    words.write_text("all: [g, darjeeling, grey, rooibos, sencha, butterkeks, zwieback, löffelbiskuit]\n")
    assert finding(imported(path, keywords=words), "one_market").warn
    for content in ("- a\n", "a: 5\n", "a: []\n"):
        words.write_text(content)
        with pytest.raises(InvalidInput, match=r"markets.yaml"):
            imported(path, keywords=words)
    assert imported(path, one_market="tea").tables.products["market"].unique().to_list() == ["tea"]
    assert set(imported(path, columns={"market": "Brand"}).tables.products["market"]) == {
        "Alpha", "Beta", "Gamma", "Delta", "Echo"
    }  # fmt: skip


def test_the_command_shows_columns_first_and_writes_a_log_with_its_report(tmp_path: Path) -> None:
    path, out = tmp_path / "sales <b>.csv", tmp_path / "log"
    path.write_bytes(shop.german(LINES))
    shown = run("import", path, "--out", out, "--dry-run")
    assert shown.exit_code == 0 and "household_id   <- Kundennummer" in shown.stdout and not out.exists()
    done = run("import", path, "--out", out, "--json", tmp_path / "report.json")
    assert done.exit_code == 0, done.output
    assert done.stdout.index("household_id") < done.stdout.index("rows read")
    assert f"malles scenario build Tee --log {out}" in done.stdout
    tables, settings = read_tables(out), read_settings(out / "settings.yaml")
    assert len(tables.transactions) == len(LINES)
    assert (settings.splits.burn_in_end, settings.splits.train_end, settings.splits.validation_end) == (2, 21, 23)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == json.loads((out / "import.json").read_text())
    assert report["columns"]["quantity"] == "Menge" and report["verdict"] == "ok"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 3
    assert "sales &lt;b&gt;.csv" in page and "<b>.csv" not in page
    # Nothing is asked of a server.
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert run("check", out).exit_code == 0
    # The settings of the log's folder are the ones that count.
    built = run("build", out, "--out", tmp_path / "occasions")
    assert built.exit_code == 0, built.output
    assert "of 1,437 purchases" in built.stdout and "are one of several lines of their market" in built.stdout
    assert f"next: malles align --occasions {tmp_path / 'occasions'}" in built.stdout


def test_nothing_is_half_written_or_replaced_unasked(tmp_path: Path) -> None:
    path, out = written(tmp_path, LINES), tmp_path / "log"
    wrong = run("import", path, "--out", out, "--date-format", "%H")
    assert wrong.exit_code == 2 and not out.exists()
    assert run("import", path, "--out", out).exit_code == 0
    (out / "settings.yaml").write_text("min_alternatives: 3\n")
    again = run("import", path, "--out", out)
    assert again.exit_code == 2 and "--overwrite" in again.output
    assert (out / "settings.yaml").read_text() == "min_alternatives: 3\n"
    inside = out / "export.csv"
    inside.write_bytes(path.read_bytes())
    assert "which is read" in run("import", inside, "--out", out, "--overwrite").output
    assert inside.exists()
    assert run("import", path, "--out", tmp_path).exit_code == 2
    assert run("import", path, "--out", out, "--overwrite").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["export.csv", "log"]


def test_build_refuses_what_a_check_calls_an_error_unless_asked(tmp_path: Path) -> None:
    noisy = [replace(line, price=round(line.price * (0.6 + (n * 37 % 89) / 100), 2)) for n, line in enumerate(LINES)]
    out = tmp_path / "log"
    done = run("import", written(tmp_path, noisy), "--out", out)
    assert done.exit_code == 0 and "data build refuses this log" in done.stdout
    refused = run("build", out, "--out", tmp_path / "occasions")
    assert refused.exit_code == 2 and "agreeing_prices" in refused.output and "--despite-errors" in refused.output
    assert not (tmp_path / "occasions").exists()
    assert run("build", out, "--out", tmp_path / "occasions", "--despite-errors").exit_code == 0


def test_a_template_explains_every_column(tmp_path: Path) -> None:
    out = tmp_path / "log"
    assert run("template", "--out", out).exit_code == 0
    tables = read_tables(out)
    assert len(tables.transactions) == len(tables.products) == 0
    words = (out / "columns.md").read_text()
    assert "| unit_price | number | yes | money per package after store discounts" in words
    assert run("template", "--out", out).exit_code == 2
    assert "no rows below the header" in run("check", out).output


def test_a_log_without_customers_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    rows = pl.read_csv(shop.plain(LINES)).drop("CustomerID")
    rows.write_csv(path)
    with pytest.raises(InvalidInput, match=r"no row is left .* --keep-guests makes each receipt a household"):
        imported(path)
    found = imported(path, drop_guests=False)
    assert found.tables.transactions["household_id"].n_unique() == rows["InvoiceNo"].n_unique()
    rows.drop("InvoiceNo").write_csv(path)
    with pytest.raises(InvalidInput, match="neither a customer nor a receipt"):
        imported(path, drop_guests=False)
