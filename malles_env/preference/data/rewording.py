"""The same products in other words, for the consistency term of training and for audits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from malles_env.preference.data.shelves import ProductTable

_PREFIXES = (
    "market: {name} ({category}).",
    "{name} in the aisle {category}.",
    "shelf with {name}, category {category}.",
)
_SWAPS = (("store brand", "own label"), ("national brand", "name brand"), ("maker ", "manufacturer "))


def reworded(products: ProductTable, *, seed: int = 0) -> ProductTable:
    """Return products whose texts say the same in other words: another order, another phrase for labels and makers.

    Args:
        products: The products.
        seed: Seed of the wordings drawn.
    """
    rng = np.random.default_rng([seed, 3])
    prefixes = tuple(_prefix(text, rng) for text in products.prefixes)
    texts = tuple(_product(text, rng) for text in products.texts)
    return replace(products, prefixes=prefixes, texts=texts)


def _prefix(text: str, rng: np.random.Generator) -> str:
    body = text.removeprefix("market: ")
    name, _, rest = body.partition(".")
    name, _, category = name.partition(" (")
    if not category:
        return text.replace("market:", "shelf with", 1)
    form = _PREFIXES[1 + int(rng.integers(len(_PREFIXES) - 1))]
    return form.format(name=name, category=category.rstrip(")")) + rest


def _product(text: str, rng: np.random.Generator) -> str:
    parts = text.split(", ")
    for old, new in _SWAPS:
        if rng.random() < 0.5:
            parts = [part.replace(old, new) for part in parts]
    if len(parts) > 1:
        at = int(rng.integers(1, len(parts)))
        parts = parts[at:] + parts[:at]
    return ", ".join(parts)
