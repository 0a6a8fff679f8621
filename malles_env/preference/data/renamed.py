"""Controls of what words are worth: the same products with names that went to others, or with none."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from malles_env.errors import invalid
from malles_env.preference.data.shelves import ProductTable

Names = Literal["true", "shuffled", "anonymous"]
NAMES: tuple[Names, ...] = ("true", "shuffled", "anonymous")


def renamed(products: ProductTable, names: Names, *, seed: int = 0) -> ProductTable:
    """Return products whose texts are true, shuffled among the products of each market, or mere numbers.

    Shuffled texts leave the set of words that a market's shelf holds as it is, and anonymous ones nothing at all; both
    keep every number, so what a model predicts worse under them is what it read in the words.

    Args:
        products: The products.
        names: Which.
        seed: Seed of the shuffle.

    Raises:
        InvalidInput: Other names.
    """
    if names not in NAMES:
        raise invalid("names", names, ", ".join(NAMES))
    if names == "true":
        return products
    rng = np.random.default_rng([seed, 5])
    texts = np.array(products.texts, dtype=object)
    for prefix in np.unique(products.prefix):
        own = np.flatnonzero(products.prefix == prefix)
        texts[own] = texts[rng.permutation(own)] if names == "shuffled" else [f"product {n}" for n in range(len(own))]
    return replace(products, texts=tuple(texts))
