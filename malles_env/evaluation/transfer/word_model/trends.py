"""What sells by its words: everybody's purchases of other categories, carried over to names that read alike."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from malles_env.data.occasions import Occasions
from malles_env.type_aliases import Float32Array, IntArray

WINDOW = 8
"""Weeks that count as lately."""
DISTANCES = (0.03, 0.05, 0.1)
"""How far a product's sales reach, as cosines."""
COLUMNS = tuple(f"{when}, {distance}" for distance in DISTANCES for when in ("lately", "so far"))
_PRIOR, _PRIOR_COSINE = 5.0, 0.3
"""Average products at this cosine that every name is thought to have as kin, so that few kin count little."""


class Sold(NamedTuple):
    """Everybody's purchases of a product: customers and days on which it was bought.

    Attributes:
        name: The product's name.
        category: Its category.
        recent: In the last `WINDOW` weeks.
        total: So far.
    """

    name: str
    category: str
    recent: float
    total: float


def weekly_sales(occasions: Occasions) -> Float32Array:
    """Return everybody's purchases by product and week, all categories [P, weeks + 2].

    Args:
        occasions: Whose product list gives the rows.
    """
    place = {name: at for at, name in enumerate(occasions.products["product_id"].to_list())}
    product = np.array([place[name] for name in occasions.purchases["product_id"].to_list()], dtype=np.int64)
    week = occasions.purchases["period"].to_numpy()
    counts = np.zeros((len(place), int(week.max()) + 2), dtype=np.float32)
    np.add.at(counts, (product, week), 1.0)
    return counts


def sales_before(counts: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return purchases in the `WINDOW` weeks before each week, and in all weeks before it, both [P, weeks].

    Args:
        counts: Purchases by product and week, from week 0 [P, weeks].
    """
    total = np.zeros_like(counts)
    total[:, 1:] = counts.cumsum(1)[:, :-1]
    before = np.zeros_like(total)
    before[:, WINDOW:] = total[:, :-WINDOW]
    return total - before, total


def word_trends(meaning: Float32Array, market: IntArray, recent: Float32Array, total: Float32Array) -> Float32Array:
    """Return how products of other categories sell whose names read alike, against their category's mean in logs.

    Args:
        meaning: Centred readings of length 1 [P, width].
        market: Category of each product [P].
        recent: Purchases lately, by week [P, weeks].
        total: Purchases so far [P, weeks].

    Returns:
        One column per distance and window, `COLUMNS` [P, weeks, 6]; a product's own category never counts.
    """
    cosine = meaning @ meaning.T
    relative = [_relative(values, market) for values in (recent, total)]
    columns = []
    for distance in DISTANCES:
        kernel = np.exp((cosine - 1.0) / distance)
        columns += [_elsewhere(kernel, market, values, there, distance) for values, there in relative]
    return np.stack(columns, axis=-1)


def _relative(sold: Float32Array, market: IntArray) -> tuple[Float32Array, Float32Array]:
    """Return log sales less the mean over what sold in the category, 0 where nothing did, and where it did."""
    there = (sold > 0).astype(np.float32)
    logs = np.log1p(sold) * there
    sums, counts = (np.zeros((int(market.max()) + 1, sold.shape[1]), np.float32) for _ in range(2))
    np.add.at(sums, market, logs)
    np.add.at(counts, market, there)
    relative: Any = (logs - (sums / np.maximum(counts, 1))[market]) * there
    return relative, there


def _few(distance: float) -> float:
    """Return the weight of the average products that every name is thought to have as kin."""
    return _PRIOR * math.exp((_PRIOR_COSINE - 1.0) / distance)


def _elsewhere(
    kernel: Float32Array, market: IntArray, values: Float32Array, there: Float32Array, distance: float
) -> Float32Array:
    """Return the kernel mean of values over products of other categories, drawn towards 0 where few are near."""
    mass, near = kernel @ values, kernel @ there
    for at in np.unique(market):
        own = np.flatnonzero(market == at)
        within = kernel[np.ix_(own, own)]
        mass[own] -= within @ values[own]
        near[own] -= within @ there[own]
    found: Float32Array = mass / (near + _few(distance))
    return found


def trends_of_names(
    option: Float32Array,
    sold: Float32Array,
    market: IntArray,
    recent: NDArray[np.floating],
    total: NDArray[np.floating],
) -> Float32Array:
    """Return the columns of `word_trends` for names of one more category [J, 6].

    Args:
        option: Centred readings of the names [J, width].
        sold: Those of products of other categories [N, width].
        market: Their categories [N].
        recent: Their purchases lately [N].
        total: Their purchases so far [N].
    """
    cosine = option @ sold.T
    relative = [_relative(values[:, None].astype(np.float32), market) for values in (recent, total)]
    columns = []
    for distance in DISTANCES:
        kernel = np.exp((cosine - 1.0) / distance)
        columns += [(kernel @ values / (kernel @ there + _few(distance)))[:, 0] for values, there in relative]
    return np.stack(columns, axis=-1).astype(np.float32)
