"""The facts of many occasions as one long table, an alternative a row, without padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.features import (
    LIVE_FEATURES,
    OPTION_FEATURES,
    QUANTITY_FEATURES,
    SHELF_FEATURES,
    features,
)
from malles_env.type_aliases import FloatArray, IntArray

COLUMNS = (*OPTION_FEATURES, *LIVE_FEATURES)
"""Facts that differ between the options of a shelf, in the order of `Table.options`."""
AT = {name: at for at, name in enumerate(COLUMNS)}
SHELF_AT = {name: at for at, name in enumerate(SHELF_FEATURES)}
QUANTITY_AT = {name: at for at, name in enumerate(QUANTITY_FEATURES)}
_STEP = 2048


@dataclass(frozen=True)
class Table:
    """N alternatives of B occasions.

    Attributes:
        options: Facts of the alternatives, `COLUMNS` [N, F].
        quantity: Facts for the number of units, `QUANTITY_FEATURES` [N, K].
        shelf: Facts of the households, `SHELF_FEATURES` [B, G].
        starts: First row of each occasion [B].
        row: Occasion of each alternative [N].
        column: Its place on the padded shelf, from 0 [N].
        picked: Row of the chosen alternative, -1 for no purchase [B].
        shape: Shape of the padded shelves (B, J).
    """

    options: FloatArray
    quantity: FloatArray
    shelf: FloatArray
    starts: IntArray
    row: IntArray
    column: IntArray
    picked: IntArray
    shape: tuple[int, int]

    def wide(self, values: FloatArray) -> FloatArray:
        """Return values of the alternatives [N] on padded shelves [B, J], -inf in the padding."""
        grid = np.full(self.shape, -np.inf)
        grid[self.row, self.column] = values
        return grid

    def shares(self, scores: FloatArray) -> FloatArray:
        """Return the softmax of scores [N] within each shelf."""
        top = np.maximum.reduceat(scores, self.starts)
        mass = np.exp(scores - top[self.row])
        whole: FloatArray = mass / np.add.reduceat(mass, self.starts)[self.row]
        return whole

    def nll(self, scores: FloatArray) -> float:
        """Return the mean negative log-likelihood of the purchases under scores [N], in nats."""
        bought = self.picked[self.picked >= 0]
        return float(-np.log(np.maximum(self.shares(scores)[bought], 1e-12)).mean())


def table(data: TasteData) -> Table:
    """Return the table of some occasions."""
    cuts = np.split(np.arange(len(data)), range(_STEP, len(data), _STEP))
    options, quantity, shelf = [], [], []
    for rows in cuts:
        part = data.take(rows)
        known = features(part)
        options.append(np.concatenate([known.option[part.mask], known.live[part.mask]], axis=1))
        quantity.append(known.quantity[part.mask])
        shelf.append(known.shelf)
    row, column = np.nonzero(data.mask)
    sizes = data.mask.sum(1)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # Options stand first on their shelves, so a place is an offset.
    picked = np.where(data.chosen > 0, starts + data.chosen - 1, -1)
    return Table(
        np.concatenate(options),
        np.concatenate(quantity),
        np.concatenate(shelf),
        starts,
        row,
        column,
        picked,
        data.mask.shape,  # type: ignore[arg-type]
    )


def purchases(data: TasteData, limit: int | None = None, seed: int = 0) -> TasteData:
    """Return the occasions with a purchase, at most `limit` of them drawn at random, in their order."""
    rows = np.flatnonzero(data.chosen > 0)
    if limit is not None and limit < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    return data.take(rows)


def thinned(data: TasteData, limit: int, seed: int = 0) -> TasteData:
    """Return at most `limit` occasions drawn at random, in their order."""
    if len(data) <= limit:
        return data
    return data.take(np.sort(np.random.default_rng(seed).choice(len(data), limit, replace=False)))
