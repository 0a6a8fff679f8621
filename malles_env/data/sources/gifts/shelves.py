"""Which products a customer could have taken instead: available by others' purchases, and not bought that day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from malles_env.data import hashing
from malles_env.data.sources.gifts.catalogue import Catalogue, GiftSettings
from malles_env.type_aliases import BoolArray, IntArray

FEWEST_CUSTOMERS = 2
"""Customers who must have bought a product around a week for it to count as available: so one other than who asks."""
_NONE = (np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Draw:
    """Shelves of V visits, n options in all.

    Attributes:
        kept: Rows of the visits that have a shelf [V].
        chosen: Position of what was bought, from 1 [V].
        row: Visit of each option, counting from 0 among those kept [n].
        position: Its position, from 1 [n].
        product: Its code [n].
    """

    kept: IntArray
    chosen: IntArray
    row: IntArray
    position: IntArray
    product: IntArray


def availability(log: Catalogue, reach: int) -> BoolArray:
    """Return whether two customers or more bought a product within `reach` weeks of a week [P, weeks + 1]."""
    pairs = log.bought.select("product", "household", "period").unique()
    shifts = pl.DataFrame({"shift": np.arange(-reach, reach + 1)})
    near = pairs.join(shifts, how="cross").with_columns(pl.col("period") + pl.col("shift"))
    near = near.filter(pl.col("period").is_between(1, log.weeks))
    many = near.group_by("product", "period").agg(pl.col("household").n_unique().alias("customers"))
    many = many.filter(pl.col("customers") >= FEWEST_CUSTOMERS)
    there = np.zeros((len(log.market), log.weeks + 1), dtype=bool)
    there[many["product"].to_numpy(), many["period"].to_numpy()] = True
    return there


def draw_shelves(log: Catalogue, visits: pl.DataFrame, settings: GiftSettings) -> Draw:
    """Return a shelf for each visit whose product was available, with enough others that were not bought.

    Args:
        log: The log.
        visits: household, day, period, product, market; by period and market.
        settings: Sizes, reach and seed.
    """
    there = availability(log, settings.reach)
    baskets = _Baskets(log)
    household, day, period, product, market = (
        visits[name].to_numpy() for name in ("household", "day", "period", "product", "market")
    )
    parts: list[tuple[IntArray, IntArray]] = []
    group = period * len(log.markets) + market
    cuts = np.flatnonzero(np.diff(group, prepend=-1))
    for rows in np.split(np.arange(len(visits)), cuts[1:]) if len(visits) else ():
        week = int(period[rows[0]])
        on_sale = np.flatnonzero((log.market == market[rows[0]]) & there[:, week])
        own = np.searchsorted(on_sale, product[rows])
        listed = np.take(on_sale, own, mode="clip") == product[rows] if len(on_sale) else np.zeros(len(rows), bool)
        rows = rows[listed]
        if not len(rows):
            continue
        own_key = hashing.mix(settings.seed + 1, household[rows], day[rows], product[rows])
        keys = hashing.mix(0, (own_key[:, None] ^ on_sale.astype(np.uint64)).ravel()).reshape(len(rows), len(on_sale))
        taken = baskets.hold(household[rows], day[rows], on_sale)
        last = np.where(taken, np.iinfo(np.uint64).max, keys)
        last[np.arange(len(rows)), np.searchsorted(on_sale, product[rows])] = 0
        order = np.argsort(last, axis=1)[:, : settings.options]
        real = np.take_along_axis(last, order, 1) < np.iinfo(np.uint64).max
        enough = real.sum(1) >= settings.fewest_options
        visit, column = np.nonzero(real & enough[:, None])
        parts.append((rows[visit], on_sale[order[visit, column]]))
    visit, option = (np.concatenate(columns) for columns in zip(_NONE, *parts, strict=True))
    return _numbered(visit, option, product, settings.seed)


def _numbered(visit: IntArray, option: IntArray, product: IntArray, seed: int) -> Draw:
    """Return the options in an order of its own; that of the draw would give away which one was chosen."""
    order = np.lexsort((hashing.mix(seed + 2, visit, option), visit))
    visit, option = visit[order], option[order]
    kept, row, size = np.unique(visit, return_inverse=True, return_counts=True)
    position = np.arange(len(visit)) - np.repeat(np.cumsum(size) - size, size) + 1
    return Draw(kept, position[option == product[visit]], row, position, option)


class _Baskets:
    """Which products a customer bought on a day."""

    def __init__(self, log: Catalogue) -> None:
        household, day, product = (log.bought[name].to_numpy() for name in ("household", "day", "product"))
        self._days, self._products = int(day.max()) + 1, len(log.market)
        self._keys = np.sort(self._key(household, day) + product)

    def _key(self, household: IntArray, day: IntArray) -> IntArray:
        return (household * self._days + day) * self._products

    def hold(self, household: IntArray, day: IntArray, products: IntArray) -> BoolArray:
        """Return whether each customer [n] bought each product [J] on its day [n, J]."""
        asked = self._key(household, day)[:, None] + products
        place = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        return self._keys[place] == asked
