"""Which column is which: by its name in any language and case, by its content, as given; several files as one table."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from malles_env.data.exports import ImportChoices, planned
from malles_env.data.exports.choices import parse_map
from malles_env.data.exports.reading.columns import map_columns
from malles_env.errors import InvalidInput, MissingResource
from tests.data.exports import shop


def found(frame: pl.DataFrame, **given: str) -> dict[str, str]:
    return {name: column.source for name, column in map_columns(frame, given, "file").columns.items()}


SUPERSTORE = {
    "Row ID": 1, "Order ID": "CA-1", "Order Date": "2016-11-08", "Ship Date": "2016-11-11", "Ship Mode": "Second Class",
    "Customer ID": "CG-12520", "Customer Name": "Someone", "Segment": "Consumer", "City": "Henderson",
    "Postal Code": 42420, "Region": "South", "Product ID": "FUR-1", "Category": "Furniture",
    "Sub-Category": "Bookcases", "Product Name": "Somerset", "Sales": 261.96, "Quantity": 2, "Discount": 0.0,
    "Profit": 41.9,
}  # fmt: skip
TA_FENG = {
    "TRANSACTION_DT": "11/13/2000", "CUSTOMER_ID": "01104905", "AGE_GROUP": "45-49", "PIN_CODE": "115",
    "PRODUCT_SUBCLASS": 110411, "PRODUCT_ID": 4710199010372, "AMOUNT": 2, "ASSET": 24, "SALES_PRICE": 30,
}  # fmt: skip
MARKET = {
    "Invoice ID": "750-67-8428", "Branch": "A", "City": "Yangon", "Customer type": "Member", "Gender": "Female",
    "Product line": "Health and beauty", "Unit price": 74.69, "Quantity": 7, "Tax 5%": 26.1, "Total": 548.9,
    "Date": "1/5/2019", "Time": "13:08", "Payment": "Ewallet", "cogs": 522.8,
}  # fmt: skip


def test_columns_of_known_exports_are_found_by_name() -> None:
    assert found(pl.DataFrame([SUPERSTORE])) == {
        "household_id": "Customer ID", "basket_id": "Order ID", "timestamp": "Order Date", "product_id": "Product ID",
        "quantity": "Quantity", "line_total": "Sales", "title": "Product Name", "category": "Category",
        "market": "Sub-Category",
    }  # fmt: skip
    assert found(pl.DataFrame([TA_FENG])) == {
        "household_id": "CUSTOMER_ID", "timestamp": "TRANSACTION_DT", "product_id": "PRODUCT_ID", "quantity": "AMOUNT",
        "unit_price": "SALES_PRICE", "market": "PRODUCT_SUBCLASS",
    }  # fmt: skip
    supermarket = found(pl.DataFrame([MARKET]), product_id="Product line")
    # A customer's type is no customer.
    assert "household_id" not in supermarket
    assert supermarket["time"] == "Time"
    assert supermarket["store_id"] == "Branch"
    assert (supermarket["unit_price"], supermarket["line_total"]) == ("Unit price", "Total")


def test_a_number_is_known_by_any_sign_and_in_any_order() -> None:
    row = {
        "N° client": "7",
        "Ticket Nr": "3",
        "Date": "05/01/2024",
        "№ article": "a",
        "Quantité": 1,
        "Prix unitaire": 2.5,
    }
    assert found(pl.DataFrame([row])) == {
        "household_id": "N° client", "basket_id": "Ticket Nr", "timestamp": "Date", "product_id": "№ article",
        "quantity": "Quantité", "unit_price": "Prix unitaire",
    }  # fmt: skip
    german = {"Nr. Kunde": "7", "Beleg": "3", "Datum": "05.01.2024", "Artikel": "a", "Menge": 1, "Preis": 2.5}
    assert {name: found(pl.DataFrame([german]))[name] for name in ("household_id", "basket_id")} == {
        "household_id": "Nr. Kunde", "basket_id": "Beleg",
    }  # fmt: skip


def test_amount_is_packages_or_money_by_its_content() -> None:
    rows = pl.DataFrame({"date": ["2024-01-05"] * 4, "sku": ["a", "b", "a", "b"], "customer": ["x"] * 4,
                         "amount": [1, 2, 1, 3], "price": [2.5, 3.0, 2.5, 3.0]})  # fmt: skip
    assert found(rows)["quantity"] == "amount"
    money = rows.with_columns(pl.col("amount") * 2.99).drop("price")
    assert found(money)["line_total"] == "amount"
    assert "quantity" not in found(money)


def test_columns_without_names_are_guessed_by_content() -> None:
    lines = shop.receipts()
    frame = pl.DataFrame(
        {
            "c1": [line.receipt for line in lines],
            "c2": [line.when.strftime("%Y-%m-%d %H:%M") for line in lines],
            "c3": [line.customer for line in lines],
            "c4": [line.product for line in lines],
            "c5": [str(line.quantity) for line in lines],
            "c6": [f"{line.price:.2f}" for line in lines],
        }
    )
    mapped = map_columns(frame, {}, "file")
    assert {name: column.source for name, column in mapped.columns.items()} == {
        "household_id": "c3", "basket_id": "c1", "timestamp": "c2", "product_id": "c4", "quantity": "c5",
        "unit_price": "c6",
    }  # fmt: skip
    assert {column.how for column in mapped.columns.values()} == {"content"}
    assert "guessed by its content" in str(mapped)


def test_what_is_named_counts() -> None:
    frame = pl.DataFrame([SUPERSTORE])
    assert found(frame, market="region")["market"] == "Region"
    assert "market" not in found(frame, market="")
    with pytest.raises(InvalidInput, match=r"--map market: got 'Regoin'; allowed: a column of the files, e.g. Region"):
        found(frame, market="Regoin")
    assert parse_map(["household_id=A b,quantity=Q", "market="]) == {
        "household_id": "A b",
        "quantity": "Q",
        "market": "",
    }
    for wrong in ("household_id", "customer=A", "quantity=A,quantity=B"):
        with pytest.raises(InvalidInput, match="--map: got"):
            parse_map([wrong])


def test_what_is_missing_is_named() -> None:
    with pytest.raises(
        InvalidInput, match=r"no column for unit_price \(money per package\) or line_total; found: Date, Item"
    ):
        found(pl.DataFrame({"Date": ["2016-10-30"], "Item": ["Bread"], "Transaction": [1]}))
    with pytest.raises(InvalidInput, match="no column for timestamp"):
        found(pl.DataFrame({"Item": ["Bread"], "Price": [1.5], "Customer": [1]}))


def _files(tmp_path: Path, **tables: str) -> list[Path]:
    paths = []
    for name, text in tables.items():
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_text(text)
    return paths


def test_tables_are_joined_by_their_keys(tmp_path: Path) -> None:
    paths = _files(
        tmp_path,
        orders="order_id,customer_id,order_purchase_timestamp\no1,k1,2024-01-05 10:00:00\no2,k2,2024-01-06 10:00:00\n",
        items="order_id,product_id,price\no1,p1,2.5\no1,p2,3.5\no2,p1,2.5\no3,p1,2.5\n",
        products="product_id,product_category_name\np1,tea\np2,tea\n",
        customers="customer_id,customer_unique_id\nk1,u1\nk2,u1\n",
    )
    plan = planned(paths, ImportChoices())
    assert len(plan.frame) == 4
    assert plan.mapped.source("household_id") == "customer_unique_id"
    assert plan.mapped.source("category") == "product_category_name"
    assert "orders.csv: joined by order_id (1 rows have no match)" in str(plan)


def test_parts_are_put_below_each_other_and_strangers_refused(tmp_path: Path) -> None:
    one, two, other = _files(
        tmp_path,
        january="Date,SKU,Price,Customer\n2024-01-05,p1,2.5,c1\n",
        february="date,sku,price,customer\n2024-02-05,p1,2.5,c1\n",
        weather="Day,Rain\n2024-01-05,3\n",
    )
    plan = planned([one, two], ImportChoices())
    assert len(plan.frame) == 2
    assert "parts of one table" in str(plan)
    with pytest.raises(InvalidInput, match=r"weather.csv: cannot be joined .* \(shared: none\)"):
        planned([one, two, other], ImportChoices())


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="no such file"):
        planned([tmp_path / "none.csv"], ImportChoices())
    (tmp_path / "log.pdf").write_text("x")
    with pytest.raises(InvalidInput, match=r"FILE: got .*log.pdf.*ends in .csv"):
        planned([tmp_path / "log.pdf"], ImportChoices())
    (tmp_path / "log.csv").write_text("Date,SKU\n")
    with pytest.raises(InvalidInput, match="no rows below the header"):
        planned([tmp_path / "log.csv"], ImportChoices())
    with pytest.raises(InvalidInput, match="--sheet: got 'x'"):
        planned([tmp_path / "log.csv"], ImportChoices(sheet="x"))
