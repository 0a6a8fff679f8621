"""Shelves: the distinct products of a data set, in words and in numbers that never change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from malles_env._moved import old_names
from malles_env.preference.data.packing import Request
from malles_env.preference.data.text import ProductText, product_text
from malles_env.type_aliases import BoolArray, Float32Array, IntArray

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ProductTable:
    """P products under M prefixes (a market, perhaps with a note); a product belongs to one prefix.

    Attributes:
        prefixes: The prefix texts [M].
        texts: The product texts [P]; two lines of one maker and size may share theirs.
        names: Names of the lines, which distinguish two with the same text [P].
        prefix: Index into `prefixes` [P].
        brand: Integer code of the brand [P].
        private: Store brand [P].
        log_size: Log of the package size, NaN where unknown [P].
        log_variants: Log of the number of products pooled in the line [P].
        log_regular: Log of the regular price in money [P].
    """

    prefixes: tuple[str, ...]
    texts: tuple[str, ...]
    names: tuple[str, ...]
    prefix: IntArray
    brand: IntArray
    private: BoolArray
    log_size: Float32Array
    log_variants: Float32Array
    log_regular: Float32Array

    def __len__(self) -> int:
        """P."""
        return len(self.texts)

    def requests(self, products: IntArray | None = None) -> tuple[list[Request], IntArray, IntArray]:
        """Return what a backbone must read, each text once under its prefix.

        Args:
            products: Rows wanted; None means all.

        Returns:
            The requests, the row of each product [P] in the concatenated option states (-1 where not read) and the
            row of each prefix [M] in the prefix states (-1 likewise).
        """
        wanted = np.arange(len(self)) if products is None else np.unique(products)
        options: dict[int, dict[str, None]] = {}
        for at in wanted:
            options.setdefault(int(self.prefix[at]), {})[self.texts[at]] = None
        place = {
            (prefix, text): row
            for row, (prefix, text) in enumerate((p, t) for p, texts in options.items() for t in texts)
        }
        product_row = np.full(len(self), -1)
        product_row[wanted] = [place[int(self.prefix[at]), self.texts[at]] for at in wanted]
        prefix_row = np.full(len(self.prefixes), -1)
        prefix_row[list(options)] = np.arange(len(options))
        return (
            [Request(self.prefixes[prefix], tuple(texts)) for prefix, texts in options.items()],
            product_row,
            prefix_row,
        )


def product_table(
    prefixes: tuple[str, ...],
    prefix: IntArray,
    products: list[ProductText],
    regular: NDArray[np.floating[Any]],
    names: Sequence[str] | None = None,
) -> ProductTable:
    """Return the table of products given one by one.

    Args:
        prefixes: The prefix texts [M].
        prefix: Index into them [P].
        products: The products [P].
        regular: Regular prices, money [P].
        names: Names of the lines [P]; by default they are numbered.
    """
    size = np.array([product.size_value for product in products], dtype=np.float64)
    brands = [product.brand.strip().lower() for product in products]
    codes = {brand: at for at, brand in enumerate(dict.fromkeys(brands))}
    return ProductTable(
        prefixes=prefixes,
        texts=tuple(product_text(product) for product in products),
        names=tuple(str(at) for at in range(len(products))) if names is None else tuple(names),
        prefix=np.asarray(prefix, dtype=np.int64),
        brand=np.array([codes[brand] for brand in brands], dtype=np.int64),
        private=np.array([product.private_label for product in products], dtype=bool),
        log_size=np.log(np.where(size > 0, size, np.nan)).astype(np.float32),
        log_variants=np.log([max(product.variants, 1) for product in products]).astype(np.float32),
        log_regular=np.log(np.asarray(regular, dtype=np.float64)).astype(np.float32),
    )


def product_words(row: dict[str, Any]) -> ProductText:
    """Return the product text of a row of `Occasions.products`; one without a brand is described by its title."""
    return ProductText(
        brand=str(row["brand"] or ""),
        words="" if row["brand"] else str(row["title"]),
        private_label=bool(row["private_label"]),
        size_value=float(row["size_value"] or 0.0),
        size_unit=str(row["size_unit"] or ""),
        variants=int(row["variants"] or 1),
    )


def listed_words(products: pl.DataFrame) -> list[ProductText]:
    """Return the product texts of `Occasions.products`, row by row."""
    return [product_words(row) for row in products.iter_rows(named=True)]


__getattr__ = old_names(__name__)
