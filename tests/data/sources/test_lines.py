"""Package sizes and lines."""

from __future__ import annotations

import polars as pl
import pytest

from malles_env.data.parsing.packages import parse_package
from malles_env.data.sources.lines import assign_lines


@pytest.mark.parametrize(
    ("text", "words", "total"),
    [
        ("24 OZ", "24 oz", 24.0),
        ("12 PK/12 OZ", "12 x 12 oz", 144.0),
        ("6-12 OZ", "6 x 12 oz", 72.0),
        ("12 OZ/4 PK", "4 x 12 oz", 48.0),
        ("4/187 ML", "4 x 187 ml", 748.0),
        ("1/2 GAL", "0.5 gal", 0.5),
        ("10 3/4 OZ", "10.75 oz", 10.75),
        (".23 oz", "0.23 oz", 0.23),
        ("GAL", "1 gal", 1.0),
        ("57 SQ FT", "57 sq ft", 57.0),
        ("P    16 OZ", "16 oz", 16.0),
    ],
)
def test_package_sizes(text: str, words: str, total: float) -> None:
    package = parse_package(text)
    assert package is not None
    assert str(package) == words
    assert package.total == pytest.approx(total)


@pytest.mark.parametrize("text", [None, "", "LARGE", "910844 PK", "0 OZ"])
def test_unreadable_sizes_are_none(text: str | None) -> None:
    assert parse_package(text) is None


#            id   size   regular price, sold, market
PRODUCTS = [
    ("red", 12.0, 4.00, 30, "A"),
    ("green", 12.0, 4.10, 20, "A"),
    ("nearly", 12.5, 3.90, 5, "A"),
    ("case", 12.0, 9.00, 25, "A"),
    ("small", 8.0, 3.95, 9, "A"),
    ("elsewhere", 12.0, 4.00, 9, "B"),
    ("unsized", None, 4.00, 9, "A"),
    ("unsold", 12.0, None, 0, "A"),
]


def _log(order: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    names, sizes, prices, sold, markets = zip(*PRODUCTS, strict=True)
    products = pl.DataFrame({"product_id": names, "market": markets, "size_value": sizes}).with_columns(
        brand=pl.lit("maker 1"), private_label=pl.lit(False), size_unit=pl.lit("oz")
    )
    rows = [(name, price, 1) for name, price, n in zip(names, prices, sold, strict=True) for _ in range(n)]
    # Later sales at another price, which must not matter.
    rows += [(name, 99.0, 50) for name in names for _ in range(200)]
    transactions = pl.DataFrame(rows, schema=["product_id", "regular_price", "period"], orient="row")
    return products.sample(fraction=1.0, shuffle=True, seed=order), transactions.sample(
        fraction=1.0, shuffle=True, seed=order
    )


@pytest.mark.parametrize("order", range(5))
def test_flavours_are_pooled_and_price_tiers_kept_apart(order: int) -> None:
    lines = dict(assign_lines(*_log(order), reference_end=40).select("product_id", "line").iter_rows())
    assert lines == {
        "red": "red",
        "green": "red",
        "nearly": "red",
        "case": "case",
        "small": "small",
        "elsewhere": "elsewhere",
        "unsized": "unsized",
        "unsold": "red",
    }


def test_no_tolerance_merges_nothing() -> None:
    products, transactions = _log(0)
    lines = assign_lines(products, transactions, reference_end=40, size_tolerance=0.0, price_tolerance=0.0)
    assert lines.filter(pl.col("product_id") != "unsold")["line"].n_unique() == 7
