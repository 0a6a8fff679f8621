"""The wording: what stands in a text and what must not."""

from __future__ import annotations

import pytest

from malles_env.preference.data.rewording import reworded
from malles_env.preference.data.shelves import product_table
from malles_env.preference.data.text import ProductText, market_text, product_text


@pytest.mark.parametrize(
    ("market", "category", "text"),
    [
        ("CONDIMENTS/SAUCES | CATSUP", "CONDIMENTS/SAUCES", "market: catsup (condiments/sauces)."),
        ("coffee", "COFFEE", "market: coffee."),
        ("coffee", "", "market: coffee."),
    ],
)
def test_market(market: str, category: str, text: str) -> None:
    assert market_text(market, category) == text
    assert market_text(market, category, " a family of five ") == f"{text} a family of five"


@pytest.mark.parametrize(
    ("product", "text"),
    [
        (ProductText("maker 131", False, 24, "OZ"), "maker 131, national brand, 24 oz"),
        (ProductText("store brand", True, 34.5, "oz"), "store brand, 34.5 oz"),
        (ProductText("Heinz"), "heinz, national brand"),
        (ProductText("maker 7", False, 6, "ct", "Decaf"), "maker 7, national brand, 6 ct, decaf"),
    ],
)
def test_product(product: ProductText, text: str) -> None:
    assert product_text(product) == text


def test_other_words_keep_the_numbers_and_the_order_of_products() -> None:
    products = [ProductText("maker 131", False, 24, "oz"), ProductText("store brand", True, 30, "oz")]
    goods = product_table(("market: catsup (sauces).",), [0, 0], products, [1.0, 2.0])
    other = reworded(goods, seed=1)
    assert other.prefixes != goods.prefixes and "catsup" in other.prefixes[0] and "sauces" in other.prefixes[0]
    for number, text in zip(("131", "30"), other.texts, strict=True):
        assert number in text
    assert other.texts == reworded(goods, seed=1).texts
    assert {reworded(goods, seed=seed).texts for seed in range(8)} - {goods.texts}
