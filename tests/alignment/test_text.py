"""The words: buckets, what never appears, and one rendering for training and scenarios."""

from __future__ import annotations

import pytest

from malles_env.alignment.text import (
    Persona,
    ProductText,
    count_words,
    option_text,
    persona_text,
    product_text,
    relation_words,
)
from malles_env.errors import InvalidInput


def test_golden_texts() -> None:
    """The exact wording the shipped weights were trained on; changing it needs a new TEXT_VERSION."""
    persona = Persona("COFFEE | GROUND COFFEE", "COFFEE", 6, 36)
    product = ProductText("maker 131", False, 34.5, "oz")
    assert persona_text(persona) == (
        "market: ground coffee (coffee). bought six to eight times, in every sixth shopping week."
    )
    assert option_text(product, 3, 6) == (
        "maker 131, national brand, 34.5 oz: bought three times, half of its purchases."
    )
    assert option_text(product, 0, 6) == "maker 131, national brand, 34.5 oz: never bought."
    assert option_text(product, 0, 0) == "maker 131, national brand, 34.5 oz: no purchases yet."


def test_a_newcomer_says_how_long_it_was_seen() -> None:
    assert persona_text(Persona("catsup", "", 0, 12)) == (
        "market: catsup. not bought in a dozen or two shopping weeks."
    )


def test_private_label_is_named_once() -> None:
    assert product_text(ProductText("store brand", True, 12, "oz")) == "store brand, 12 oz"
    assert product_text(ProductText("Maker 7", True)) == "maker 7, store brand"


@pytest.mark.parametrize(("low", "high"), [(1, 2), (3, 4), (8, 9), (29, 30)])
def test_counts_grow_through_the_buckets(low: int, high: int) -> None:
    assert count_words(low) != count_words(high)


def test_more_bought_than_recorded_in_all_is_all() -> None:
    """Sampling can lose rare purchases from the total; the share never exceeds all."""
    assert relation_words(5, 3).endswith("all of its purchases")


def test_negative_counts_are_refused() -> None:
    with pytest.raises(InvalidInput, match="bought"):
        relation_words(-1, 3)


def test_empty_market_is_refused() -> None:
    with pytest.raises(InvalidInput, match="market"):
        Persona("  ", "", 0, 0)


def test_notes_are_kept() -> None:
    assert persona_text(Persona("catsup", "", 0, 1, note="two kids ")).endswith("weeks. two kids")
