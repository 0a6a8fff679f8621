"""What is bought together: vectors of products by who bought them, within their categories."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh

from malles_env.preference.data.dataset import TasteData
from malles_env.type_aliases import BoolArray, Float32Array, IntArray

FEWEST_CUSTOMERS, FEWEST_PRODUCTS = 5, 5
_RARE = 5.0
"""Customers added to every product's own, so that what few bought has a short vector."""


_ACTIVE = 0.25
"""Power of a customer's number of products that divides its row; one half, the usual one, has all customers alike."""


def who_bought(data: TasteData, until: int) -> BoolArray:
    """Return which customer bought which product, as far as occasions up to a week show [households, P].

    Args:
        data: Occasions; what a customer bought before counts with what it chose.
        until: Last week.
    """
    early = data.take(np.flatnonzero(data.period <= until))
    found = np.zeros((len(data.households), len(data.products)), dtype=bool)
    lists = [early.past] if early.other is None else [early.past, early.other]
    for products in lists:
        row, column = np.nonzero(products >= 0)
        found[early.household[row], products[row, column]] = True
    bought = np.flatnonzero(early.chosen > 0)
    found[early.household[bought], early.product[bought, early.chosen[bought] - 1]] = True
    return found


def taste_vectors(
    bought: BoolArray, market: IntArray, allowed: BoolArray, width: int = 64
) -> tuple[IntArray, Float32Array]:
    """Return vectors whose inner products say how much more two products share customers than others of their kind.

    Correspondence analysis of customers and products, with more weight on customers who bought much: what is left of
    purchases once a customer's and a product's number of them are accounted for. Means within categories are taken
    out, since a choice is among products of one.

    Args:
        bought: Which customer bought which product [households, P].
        market: Category of each product [P].
        allowed: Products that may count [P].
        width: Length of a vector.

    Returns:
        Rows of the products that enough customers bought [N], and their vectors [N, width].
    """
    rows = np.flatnonzero(allowed & (bought.sum(0) >= FEWEST_CUSTOMERS))
    table = bought[:, rows].astype(np.float32)
    table = table[table.sum(1) >= FEWEST_PRODUCTS]
    customers, products = table.sum(1), table.sum(0)
    expected = np.outer(customers, products) / table.sum()
    residual = (table - expected) / np.outer(customers**_ACTIVE, np.sqrt(products + _RARE))
    shared = within(within(residual.T @ residual, market[rows]).T, market[rows])
    width = min(width, len(rows))
    values, axes = eigh(shared, subset_by_index=[len(rows) - width, len(rows) - 1])
    return rows, np.ascontiguousarray((axes * np.sqrt(np.maximum(values, 0.0)))[:, ::-1], dtype=np.float32)


def within(values: Float32Array, market: IntArray) -> Float32Array:
    """Return rows less the mean of their category [N, K].

    Args:
        values: One row per product [N, K].
        market: Category of each [N].
    """
    return values - category_means(values, market)[market]


def category_means(values: Float32Array, market: IntArray) -> Float32Array:
    """Return the mean row of each category [M, K]; arguments as for `within`."""
    sums = np.zeros((int(market.max()) + 1, values.shape[1]), dtype=values.dtype)
    np.add.at(sums, market, values)
    means: Any = sums / np.maximum(np.bincount(market), 1)[:, None].astype(values.dtype)
    return means
