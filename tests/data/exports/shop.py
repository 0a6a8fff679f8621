"""A made-up shop whose receipts are written in the dialects of real exports."""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GOODS = [
    ("t1", "Assam 100 g", "Tee", "Alpha"), ("t2", "Ceylon 100 g", "Tee", "Alpha"), ("t3", "Darjeeling", "Tee", "Beta"),
    ("t4", "Earl Grey", "Tee", "Beta"), ("t5", "Rooibos", "Tee", "Gamma"), ("t6", "Sencha", "Tee", "Gamma"),
    ("k1", "Butterkeks", "Kekse", "Delta"), ("k2", "Zwieback", "Kekse", "Delta"),
    ("k3", "Löffelbiskuit", "Kekse", "Echo"),
]  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line of a receipt."""

    receipt: str
    customer: str
    when: dt.datetime
    product: str
    title: str
    market: str
    brand: str
    quantity: int
    price: float

    @property
    def total(self) -> float:
        return round(self.quantity * self.price, 2)


def receipts(weeks: int = 30, customers: int = 60, seed: int = 0, several: float = 0.25) -> list[Line]:
    """Return lines in the order of time: prices change on Mondays, and some lines hold several packages."""
    draw, lines, number = random.Random(seed), [], 1000
    for week in range(weeks):
        for customer in range(customers):
            if draw.random() > 0.6:
                continue
            number += 1
            day = draw.choice(range(6))
            when = dt.datetime(2024, 1, 1) + dt.timedelta(
                days=7 * week + day, hours=draw.randrange(9, 19), minutes=draw.randrange(60)
            )
            for code, title, market, brand in draw.sample(GOODS, draw.choice([1, 1, 2])):
                base = 1.2 + 0.35 * GOODS.index((code, title, market, brand))
                price = round(base * (0.8 if (week + len(title)) % 4 == 0 else 1.0), 2)
                quantity = draw.choice([2, 3]) if draw.random() < several else 1
                lines.append(Line(f"R{number}", f"C{customer:03}", when, code, title, market, brand, quantity, price))
    return sorted(lines, key=lambda line: line.when)


def table(header: str, lines: list[Line], cells: Callable[[Line], list[str]], separator: str = ",") -> str:
    """Return a text table with one row per line of the receipts."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\r\n")
    writer.writerow(header.split(","))
    writer.writerows(cells(line) for line in lines)
    return out.getvalue()


def comma(value: float) -> str:
    """Return a number as Germans write it, e.g. 1.234,50."""
    return f"{value:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")


def german(lines: list[Line]) -> bytes:
    """Return an export with semicolons, decimal commas, dd.mm.yyyy, cp1252 and German names."""
    header = "Bonnummer,Kundennummer,Datum,Artikelnr,Bezeichnung,Warengruppe,Marke,Menge,Einzelpreis"

    def cells(x: Line) -> list[str]:
        return [
            x.receipt,
            x.customer,
            x.when.strftime("%d.%m.%Y %H:%M"),
            x.product,
            x.title,
            x.market,
            x.brand,
            str(x.quantity),
            comma(x.price) + " €",
        ]

    text = table(header, lines, cells, ";")
    return text.encode("cp1252")


def american(lines: list[Line]) -> bytes:
    """Return an export with US dates, line totals for prices, and a byte-order mark."""
    header = "TRANSACTION_DT,CUSTOMER_ID,RECEIPT_NO,PRODUCT_SUBCLASS,PRODUCT_ID,PRODUCT_NAME,BRAND,AMOUNT,SALES_PRICE"

    def cells(x: Line) -> list[str]:
        return [
            x.when.strftime("%-m/%-d/%Y %-I:%M %p"),
            x.customer,
            x.receipt,
            x.market,
            x.product,
            x.title,
            x.brand,
            str(x.quantity),
            f"${x.total:.2f}",
        ]

    text = table(header, lines, cells)
    return b"\xef\xbb\xbf" + text.encode()


def plain(lines: list[Line]) -> bytes:
    """Return an export in ISO dates and English names."""
    header = "InvoiceNo,CustomerID,InvoiceDate,StockCode,Description,Category,Brand,Quantity,UnitPrice"

    def cells(x: Line) -> list[str]:
        return [
            x.receipt,
            x.customer,
            x.when.strftime("%Y-%m-%d %H:%M:%S"),
            x.product,
            x.title,
            x.market,
            x.brand,
            str(x.quantity),
            f"{x.price:.2f}",
        ]

    text = table(header, lines, cells)
    return text.encode()


def workbook(lines: list[Line], path: Path) -> Path:
    """Write an .xlsx whose first sheet is a cover, with real dates and numbers in the second."""
    import xlsxwriter

    with xlsxwriter.Workbook(str(path)) as book:
        cover, sheet = book.add_worksheet("Cover"), book.add_worksheet("Sales")
        cover.write_column(0, 0, ["Sales report", "made on Monday", "see the second sheet"])
        dates = book.add_format({"num_format": "dd/mm/yyyy hh:mm"})
        sheet.write_row(0, 0, ["Order ID", "Customer ID", "Order Date", "Product ID", "Product Name", "Category",
                               "Sub-Category", "Brand", "Quantity", "Sales"])  # fmt: skip
        for row, x in enumerate(lines, start=1):
            sheet.write_row(row, 0, [x.receipt, x.customer])
            sheet.write_datetime(row, 2, x.when, dates)
            sheet.write_row(row, 3, [x.product, x.title, "Food", x.market, x.brand, x.quantity, x.total])
    return path
