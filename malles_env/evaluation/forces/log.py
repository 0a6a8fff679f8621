"""A market's visits of the learned weeks, its weekly shelf prices, and the splits that forces are judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.evaluation.baselines.table import AT, COLUMNS, Table, table
from malles_env.evaluation.forces.likelihood import Choices, Shared, Split
from malles_env.preference.data.dataset import TasteData, from_occasions
from malles_env.type_aliases import FloatArray, IntArray

if TYPE_CHECKING:
    import polars as pl

    from malles_env.data.occasions import Occasions

LEAST_PURCHASES = 500
"""A market with fewer purchases in the learned weeks says nothing of its forces."""
REPEATS = 3
"""Random two-fold splits of households that gains are averaged over, so that one draw decides less."""
BLOCKS = 8
"""Blocks of weeks; each of the later half is forecast from all weeks before it."""
LEARNED = ("train", "validation")
"""Splits that are looked at; the test weeks are for nobody's decisions."""
PRODUCT_SPREAD = 1.0
"""Standard deviation of products' own effects around what the facts say of them, in utils: a product that the rows
fitted to hardly show must not stand at an accidental level."""
LEFT_OUT = ("log weeks since bought", "log trend")
"""Facts that say what a force says: how inertia fades, and the mean field once more."""


@dataclass(frozen=True)
class MarketLog:
    """One market's visits, B of them, N options on their shelves.

    Attributes:
        market: Its name.
        data: The visits; periods are those of the learned weeks.
        rows: Their facts.
        store: Code of the store [B].
        week: Period from 0, the first learned one [B].
        product: Code of the product [N].
        prices: Weekly log(p/r) by store, product and week; NaN where none is known [S, J, T].
        before: Mean log(p/r) of the product in the weeks before the learned ones, NaN where it sold in none [J].
        fold: Household's side in each of `REPEATS` two-fold splits, 0 or 1 [B, REPEATS].
    """

    market: str
    data: TasteData
    rows: Table
    store: IntArray
    week: IntArray
    product: IntArray
    prices: FloatArray
    before: FloatArray
    fold: IntArray

    @property
    def weeks(self) -> int:
        """Number of weeks T."""
        return self.prices.shape[2]

    def fact(self, name: str) -> FloatArray:
        """Return a fact of the options [N]."""
        return self.rows.options[:, AT[name]].astype(np.float64)

    def purchases(self) -> MarketLog:
        """Return the visits at which something was bought."""
        kept = self.data.chosen > 0
        data = self.data.take(kept)
        own = {name: getattr(self, name)[kept] for name in ("store", "week", "fold")}
        return replace(self, data=data, rows=table(data), product=self.product[kept[self.rows.row]], **own)

    def at(self, values: FloatArray, back: int = 0) -> FloatArray:
        """Return what stands in [S, J, T] for each option, `back` weeks before its visit; NaN before the first [N]."""
        week = self.week[self.rows.row] - back
        found = values[self.store[self.rows.row], self.product, np.maximum(week, 0)]
        return np.where(week >= 0, found, np.nan)

    def choices(self) -> Choices:
        """Return the shelves of purchases, an option a row; all visits must be purchases."""
        visit = self.rows.row
        picked = np.zeros(len(visit))
        picked[self.rows.picked] = 1.0
        return Choices(visit, picked, np.zeros(len(visit)), self.data.household[visit], self.week[visit])

    def features(self, *without: str) -> Shared:
        """Return the facts that every force is estimated beside, and an effect per product."""
        kept = [at for at, name in enumerate(COLUMNS) if name not in (*LEFT_OUT, *without)]
        kinds = self.product[:, None] == np.arange(self.prices.shape[1])
        columns = np.concatenate([self.rows.options[:, kept], kinds], axis=1).astype(np.float64)
        precision = np.repeat([0.0, PRODUCT_SPREAD**-2.0], [len(kept), kinds.shape[1]])
        return Shared(columns, precision)

    def splits(self) -> dict[str, list[Split]]:
        """Return visits fitted to and judged on [B] each, by kind of split.

        `households`: each half of the households judged by a fit to the other, `REPEATS` times. `time`: weeks in
        `BLOCKS` blocks, each of the later half judged by a fit to all weeks before it (a rolling origin).
        """
        sides = [(draw != side, draw == side) for draw in self.fold.T for side in (0, 1)]
        blocks = np.array_split(np.arange(self.weeks), BLOCKS)[BLOCKS // 2 :]
        spans = [(self.week < block[0], (self.week >= block[0]) & (self.week <= block[-1])) for block in blocks]
        return {"households": sides, "time": spans}

    def row_splits(self, kind: str) -> list[Split]:
        """Return the same for the options [N] each."""
        return [(train[self.rows.row], test[self.rows.row]) for train, test in self.splits()[kind]]


def read_market(occasions: Occasions, market: str, seed: int = 0) -> MarketLog:
    """Return a market's visits of the training and validation weeks.

    Args:
        occasions: Choice occasions.
        market: A name of theirs.
        seed: Seed of the two-fold splits of households.

    Raises:
        InvalidInput: No such market, too few purchases or weeks in it.
    """
    check_market(occasions, market)
    learned = occasions.select(split=LEARNED, markets=[market])
    bought = int((learned.occasions["chosen"] > 0).sum())
    if bought < LEAST_PURCHASES:
        raise invalid(f"market {market!r}", f"{bought} purchases in the learned weeks", f"at least {LEAST_PURCHASES}")
    data = from_occasions(learned)
    week = data.period - data.period.min()
    if week.max() + 1 < 2 * BLOCKS:
        raise invalid(f"market {market!r}", f"{week.max() + 1} weeks", f"at least {2 * BLOCKS}")
    for block in np.array_split(np.arange(week.max() + 1), BLOCKS):
        if not (data.chosen[np.isin(week, block)] > 0).any():
            raise invalid(f"market {market!r}", f"no purchase in {len(block)} weeks in a row", "some in each block")
    rows = table(data)
    _, store = np.unique(learned.occasions["store_id"].to_numpy(), return_inverse=True)
    kinds, product = np.unique(data.product[data.mask], return_inverse=True)
    rng, households = np.random.default_rng(seed), data.household.max() + 1
    fold = np.stack([rng.permutation(households) % 2 for _ in range(REPEATS)], axis=1)
    prices = weekly_prices(
        store[rows.row], product, week[rows.row], rows.options[:, AT["log price"]].astype(np.float64)
    )
    regular = np.ones(len(kinds))
    regular[product] = data.regular_price[data.mask]
    names = [data.products.names[kind] for kind in kinds]
    before = _earlier_prices(occasions.purchases, names, int(data.period.min())) - np.log(regular)
    return MarketLog(market, data, rows, store, week, product, prices, before, fold[data.household])


def check_market(occasions: Occasions, market: str) -> None:
    """Refuse a market that the occasions do not have.

    Raises:
        InvalidInput: No such market; the message names near ones.
    """
    names = occasions.markets
    if market not in names:
        near = get_close_matches(market, names, 3, 0.3)
        words = f"; near: {', '.join(repr(name) for name in near)}" if near else ""
        raise InvalidInput(f"market: got {market!r}; allowed: one of the {len(names)} in the occasions{words}")


def weekly_prices(store: IntArray, product: IntArray, week: IntArray, log_price: FloatArray) -> FloatArray:
    """Return median shelf prices by store, product and week, the chain's median where the store shows none [S, J, T].

    Args:
        store: Of each option seen on a shelf [N].
        product: [N].
        week: From 0 [N].
        log_price: log(p/r) [N].
    """
    shape = int(store.max()) + 1, int(product.max()) + 1, int(week.max()) + 1
    chain = _medians((product * shape[2] + week), log_price, shape[1] * shape[2]).reshape(shape[1:])
    own = _medians((store * shape[1] + product) * shape[2] + week, log_price, int(np.prod(shape))).reshape(shape)
    return np.where(np.isnan(own), chain, own)


def _earlier_prices(purchases: pl.DataFrame, names: list[str], first: int) -> FloatArray:
    """Return mean log prices over the weeks before `first`, a median of purchases a week; NaN for none [J]."""
    import polars as pl

    weekly = (
        purchases.filter(pl.col("period") < first)
        .group_by("product_id", "period")
        .agg(pl.col("unit_price").median().log())
        .group_by("product_id")
        .agg(pl.col("unit_price").mean())
    )
    found = dict(weekly.iter_rows())
    return np.array([found.get(name, np.nan) for name in names])


def _medians(cell: IntArray, values: FloatArray, cells: int) -> FloatArray:
    order = np.lexsort((values, cell))
    size = np.bincount(cell, minlength=cells)
    first = np.cumsum(size) - size
    some = size > 0
    out = np.full(cells, np.nan)
    low, high = first[some] + (size[some] - 1) // 2, first[some] + size[some] // 2
    ranked = values[order].astype(np.float64)
    out[some] = (ranked[low] + ranked[high]) / 2
    return out
