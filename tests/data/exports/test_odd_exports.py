"""Exports as systems and people write them: read like the plain one, or refused in one line that says what is wrong."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from malles_env.data.exports import ImportChoices, import_log, planned
from malles_env.data.exports.importing import Imported
from malles_env.errors import CorruptFile, InvalidInput
from tests.data.exports import shop

HEAD, *BODY = csv.reader(io.StringIO(shop.plain(shop.receipts(weeks=8, customers=12)).decode()))
PLAIN = "\n".join(",".join(row) for row in [HEAD, *BODY])
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
WIDE = str.maketrans("0123456789.", "０１２３４５６７８９．")  # noqa: RUF001
Cell = Callable[[str, int], str]


def text(rows: list[list[str]], separator: str = ",", **options: object) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n", **options).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()


def changed(column: str, cell: Cell, separator: str = ",") -> str:
    """Return the export with other cells in one column."""
    at = HEAD.index(column)
    return text([HEAD, *([*row[:at], cell(row[at], n), *row[at + 1 :]] for n, row in enumerate(BODY))], separator)


def moment(value: str) -> dt.datetime:
    return dt.datetime.strptime(value, "%Y-%m-%d %H:%M:%S")


def dated(form: str) -> str:
    return changed("InvoiceDate", lambda value, _: moment(value).strftime(form))


def epoch(value: str) -> int:
    return int(moment(value).replace(tzinfo=dt.timezone.utc).timestamp())


def day_of_excel(value: str) -> str:
    return f"{(moment(value) - dt.datetime(1899, 12, 30)).total_seconds() / 86_400:.5f}"


def worded(value: str, form: str, months: list[str]) -> str:
    return form.format(day=moment(value).day, month=months[moment(value).month - 1])


def named(names: str) -> str:
    return text([names.split(","), *BODY], ";")


def packed(*files: tuple[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


def imported(folder: Path, content: str | bytes, name: str = "x.csv", **given: object) -> Imported:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    choices = ImportChoices(**given)  # type: ignore[arg-type]
    return import_log(planned([path], choices), choices)


def bought(found: Imported, hours: bool = True) -> pl.DataFrame:
    rows = found.tables.transactions.select("household_id", "timestamp", "product_id", "quantity", "unit_price")
    rows = rows.with_columns(pl.col("unit_price").round(4))
    return (rows if hours else rows.with_columns(pl.col("timestamp").dt.truncate("1d"))).sort(pl.all())


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return imported(tmp_path_factory.mktemp("usual"), PLAIN)


THE_SAME: dict[str, str | bytes] = {
    "iso-t-z": dated("%Y-%m-%dT%H:%M:%SZ"),
    "twelve-digits": dated("%Y%m%d%H%M"),
    "fourteen-digits": dated("%Y%m%d%H%M%S"),
    "compact-t": dated("%Y%m%dT%H%M%SZ"),
    "zone-name": dated("%Y-%m-%d %H:%M:%S CET"),
    "zone-in-brackets": dated("%Y-%m-%dT%H:%M:%S+01:00[Europe/Berlin]"),
    "us-with-am": dated("%m/%d/%Y %I:%M:%S %p"),
    "rfc-2822": dated("%a, %d %b %Y %H:%M:%S GMT"),
    "o-clock": dated("%d.%m.%Y %H:%M Uhr"),
    "epoch-milliseconds": changed("InvoiceDate", lambda value, _: str(1000 * epoch(value))),
    "epoch-as-float": changed("InvoiceDate", lambda value, _: f"{1000 * epoch(value)}.0"),
    "epoch-in-arabic": changed("InvoiceDate", lambda value, _: str(epoch(value)).translate(ARABIC)),
    "dates-in-arabic": changed("InvoiceDate", lambda value, _: value.translate(ARABIC)),
    "days-of-excel": changed("InvoiceDate", lambda value, _: day_of_excel(value)),
    "days-of-excel-comma": changed("InvoiceDate", lambda value, _: day_of_excel(value).replace(".", ","), ";"),
    "offsets-of-summer-time": changed(
        "InvoiceDate", lambda value, n: value.replace(" ", "T") + ("+01:00" if n % 2 else "+02:00")
    ),
    "wide-digits": changed("UnitPrice", lambda value, _: value.translate(WIDE)),
    "zero-byte-in-number": changed("UnitPrice", lambda value, _: value + "\0"),
    "currency-before": changed("UnitPrice", lambda value, _: "€ " + value),
    "currency-after": changed("UnitPrice", lambda value, _: value.replace(".", ",") + " EUR", ";"),
    "pieces": changed("Quantity", lambda value, _: value + " pcs"),
    "times": changed("Quantity", lambda value, _: value + "x"),
    "times-before": changed("Quantity", lambda value, _: "x" + value),
    "words-for-pieces": changed("Quantity", lambda value, _: value + " Stück"),
    "newline-in-title": changed("Description", lambda value, n: value + "\nblack, loose" if n % 3 else value),
    "quoted-quotes": changed("Description", lambda value, _: f'the "best" {value}'),
    "inches": PLAIN.replace("Darjeeling", 'Darjeeling 5"').replace("Rooibos", '7" Rooibos'),
    "formulas": changed("Description", lambda value, _: f'=HYPERLINK("http://x/?"&A1,"{value}")'),
    "emoji": changed("Description", lambda value, _: value + " 🫖👨‍👩‍👧"),
    "titles-of-digits": changed("Description", lambda value, _: str(4_000_000 + sum(map(ord, value)))),
    "all-quoted": text([HEAD, *BODY], quoting=csv.QUOTE_ALL),
    "lines-end-in-separator": PLAIN.replace("\n", ",\n") + ",",
    "rows-end-in-separator": PLAIN.replace("\n", ",\n").replace(",\n", "\n", 1) + ",",
    "end-of-file-mark": PLAIN + "\n\x1a",
    "header-again": "\n".join([*PLAIN.split("\n")[:50], ",".join(HEAD), *PLAIN.split("\n")[50:]]),
    "remarks-above": "# till 3\n# 2024\n" + PLAIN,
    "utf-16": PLAIN.encode("utf-16"),
    "gzip-named-csv": gzip.compress(PLAIN.encode()),
    "zip-named-csv": packed(("x.csv", PLAIN)),
    "french": named("N° ticket,Client,Date,Code produit,Désignation,Catégorie,Marque,Quantité,Prix unitaire"),
    "italian": named("Scontrino,Cliente,Data,Codice articolo,Descrizione,Categoria,Marca,Quantità,Prezzo"),
    "dutch": named("Bonnummer,Klantnummer,Datum,Artikelnummer,Omschrijving,Categorie,Merk,Aantal,Prijs"),
    "portuguese": named("Recibo,Cliente,Data,Código do produto,Descrição,Categoria,Marca,Quantidade,Preço"),
    "polish": named("Paragon,Klient,Data,Kod produktu,Nazwa,Kategoria,Marka,Ilość,Cena"),
    "russian": named("Чек,Клиент,Дата,Код товара,Наименование,Категория,Бренд,Количество,Цена"),
    "japanese": named("伝票番号,顧客番号,日付,商品コード,商品名,分類,ブランド,数量,単価"),
}


@pytest.mark.parametrize("name", THE_SAME)
def test_an_odd_export_gives_the_same_log(tmp_path: Path, usual: Imported, name: str) -> None:
    found = imported(tmp_path, THE_SAME[name])
    assert bought(found).equals(bought(usual))
    assert found.tables.products["market"].n_unique() == 2


@pytest.mark.parametrize(
    "content",
    [dated("%y-%m-%d"), dated("%d.%m.%y"), dated("%Y%m%d"), dated("%B %d, %Y"), dated("%d %m %Y"),
     changed("InvoiceDate", lambda value, _: worded(value, "{day}. {month}. 24", ["Jän", "Feb", "Mär"])),
     changed("InvoiceDate", lambda value, _: worded(value, "{day} de {month} de 2024", ["enero", "fév", "mars"]))],
    ids=["year-first-short", "year-last-short", "eight-digits", "english", "spaces", "german", "spanish-french"],
)  # fmt: skip
def test_an_odd_writing_of_days_gives_the_same_days(tmp_path: Path, usual: Imported, content: str) -> None:
    assert bought(imported(tmp_path, content), hours=False).equals(bought(usual, hours=False))


def test_a_given_format_reads_what_is_written(tmp_path: Path, usual: Imported) -> None:
    for form in ("%d%m%Y%H%M%S", "%Y%m%dT%H%M%S"):
        found = imported(tmp_path, dated(form), columns={"timestamp": "InvoiceDate"}, date_format=form)
        assert bought(found).equals(bought(usual))
    text_of_years = dated("%y-%m-%d")
    found = imported(tmp_path, text_of_years, date_format="ymd")
    assert bought(found, hours=False).equals(bought(usual, hours=False))


@pytest.mark.parametrize(
    ("factor", "cell"),
    [(1000, lambda value, _: f"CHF {1000 * float(value):,.2f}".replace(",", "'")),
     (1e5, lambda value, _: f"{value[0]},{value[2:4]},000.00")],
    ids=["swiss", "indian"],
)  # fmt: skip
def test_thousands_are_grouped_in_many_ways(tmp_path: Path, usual: Imported, factor: float, cell: Cell) -> None:
    found = bought(imported(tmp_path, changed("UnitPrice", cell)))
    assert found.equals(bought(usual).with_columns((pl.col("unit_price") * factor).round(4)).sort(pl.all()))


WITH = "InvoiceDate is called so, but holds"
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no-header": ("\n".join(PLAIN.split("\n")[1:]), "the first line has '20.*' for a name; needed: a header"),
    "named-twice": (PLAIN.replace("Quantity", "UnitPrice", 1), "the header names it 2 times"),
    "one-column": (PLAIN.replace(",", "~"), "read as one column: give --separator"),
    "huge-epochs": (changed("InvoiceDate", lambda *_: "9" * 19), WITH),
    "day-and-month-of-eight-digits": (dated("%d%m%Y"), WITH),
    "two-writings": (changed("InvoiceDate", lambda v, n: moment(v).strftime("%d.%m.%Y") if n % 2 else v), "a date"),
    "no-such-day": (
        changed("InvoiceDate", lambda v, n: "2024-02-30" if n == 5 else v),
        "'2024-02-30'; allowed: a date",
    ),
    "percent": (changed("UnitPrice", lambda v, _: v + " %"), "UnitPrice is called so, but holds '.* %'"),
    "per-unit": (changed("UnitPrice", lambda v, _: v + " €/kg"), "UnitPrice is called so, but holds"),
    "words-for-numbers": (changed("Quantity", lambda v, _: "one"), "column Quantity: got 'one'; allowed: numbers"),
    "kilograms": (changed("Quantity", lambda v, _: v + " kg"), "column Quantity: got '. kg'; allowed: numbers"),
    "too-many": (changed("Quantity", lambda v, n: "3000000000" if n == 3 else v), "row 4: got '3000000000'"),
    "not-known": (changed("UnitPrice", lambda v, n: "#N/A" if n == 3 else v), "row 4: got '#N/A'"),
    "cut-ids": (changed("StockCode", lambda v, n: "4.71E+12"), "last digits a spreadsheet has cut"),
    "two-signs": (changed("UnitPrice", lambda v, n: ("€" if n % 3 else "$") + v), r"prices in EUR \(.*--currency EUR"),
    "two-currencies": (
        text([[*HEAD, "Currency"], *([*row, "EUR" if n % 3 else "USD"] for n, row in enumerate(BODY))]),
        r"prices in EUR \(.*and USD \(",
    ),
    "doubtful-thousands": (changed("UnitPrice", lambda v, _: f"{round(1000 * float(v)):,}"), "thousands, and no value"),
    "doubtful-years": (changed("InvoiceDate", lambda *_: "24-01-05"), "no value of the column"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "is no text"),
    "nothing-in-the-zip": (packed(("picture.png", "x")), "holds picture.png; needed: a file that ends in"),
    "archive-in-the-zip": (packed(("y.csv", packed(("x.csv", PLAIN)))), "another archive, y.csv"),
    "endless-line": (gzip.compress(b"0" * (1 << 22)), "first line has more than"),
    "gzip-bomb": (gzip.compress(b"0\n" * (1 << 26)), "has more than .* bytes unpacked"),
    "only-a-header": (",".join(HEAD), "no rows below the header"),
    "nothing-but-blanks": ("\n  \n", "holds nothing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_export_that_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, words = REFUSED[name]
    with pytest.raises((InvalidInput, CorruptFile), match=words) as error:
        imported(tmp_path, content)
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.xlsx", PLAIN), ("x.parquet", PLAIN), ("x.xls", "<table></table>"), ("x.json", "[]")],
)
def test_a_name_that_does_not_fit_is_named(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises((InvalidInput, CorruptFile), match=r"is no workbook|is no Parquet|a file that ends in"):
        imported(tmp_path, content, name)
    with pytest.raises(InvalidInput, match=r"FILE: got .*; allowed: a file, e\.g\. .*x\."):
        planned([tmp_path], ImportChoices())


@pytest.mark.parametrize(
    "mark",
    [lambda n, row: ["C" + row[0][1:] if n % 20 == 0 else row[0][1:], *row[1:], ""],
     lambda n, row: [*row, "Return" if n % 20 == 0 else "Sale"],
     lambda n, row: [*row, "storniert" if n % 20 == 0 else "bezahlt"],
     lambda n, row: [*row[:7], "-" + row[7] if n % 20 == 0 else row[7], row[8], ""]],
    ids=["credit-note", "type", "german-status", "negative"],
)  # fmt: skip
def test_returns_are_known_by_sign_receipt_or_status(
    tmp_path: Path, mark: Callable[[int, list[str]], list[str]]
) -> None:
    content = text([[*HEAD, "Order Status"], *(mark(n, row) for n, row in enumerate(BODY))])
    found = imported(tmp_path, content)
    (returns,) = [finding for finding in found.findings if finding.name == "returns"]
    assert returns.dropped == -(-len(BODY) // 20)
    assert len(found.tables.transactions) == len(BODY) - returns.dropped


@pytest.mark.parametrize("day", ["1900-01-01 00:00:00", "9999-12-31 00:00:00", "2042-01-05 10:00:00"])
def test_dates_years_away_from_all_others_are_left_out(tmp_path: Path, day: str) -> None:
    content = changed("InvoiceDate", lambda value, n: day if n == 5 else value)
    (found,) = [finding for finding in imported(tmp_path, content).findings if finding.name == "far_dates"]
    assert (found.dropped, found.advice) == (1, "--keep-far-dates keeps them")
    assert not [f for f in imported(tmp_path, content, drop_far_dates=False).findings if f.dropped]


def test_one_currency_can_be_chosen(tmp_path: Path) -> None:
    content = changed("UnitPrice", lambda value, n: ("€" if n % 3 else "$") + value)
    found = imported(tmp_path, content, currency="usd")
    assert len(found.tables.transactions) == -(-len(BODY) // 3)
    assert {f.name: f.dropped for f in found.findings if f.dropped} == {
        "other_currency": len(BODY) - -(-len(BODY) // 3)
    }


def test_an_archive_of_tables_is_one_export(tmp_path: Path, usual: Imported) -> None:
    half = len(BODY) // 2
    parts = packed(("a/one.csv", text([HEAD, *BODY[:half]])), ("b/two.csv", text([HEAD, *BODY[half:]])),
                   ("readme.txt", "hello"), ("__MACOSX/._one.csv", "\0\0"))  # fmt: skip
    found = imported(tmp_path, parts, "x.zip")
    assert bought(found).equals(bought(usual)) and found.plan.sources == ["one.csv", "two.csv"]
