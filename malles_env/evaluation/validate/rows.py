"""A market's purchases with their shelves as one long table, an alternative a row, and what other stores asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from malles_env.errors import CorruptFile, invalid
from malles_env.evaluation.validate.estimation.estimates import Clusters
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import polars as pl

    from malles_env.data.occasions import Occasions

FACTS = ("display", "feature ad", "last", "loyalty")
"""Controls of the conditional logits; loyalty is log((own purchases + market share) / (own purchases in all + 1))."""
PROMOTION = (0, 1)
"""Places of display and feature ad in `FACTS`."""
LEAST_SHARE = 0.01
"""Market share that an unpopular product counts with in loyalty, so that its logarithm is finite."""
LEAST_CHOICES = 20
"""Purchases that a product needs to get a constant of its own."""
_SAME_MOMENT = 8
"""Rows behind a history that may be baskets of the same moment."""
_CELL = ("product_id", "period")


@dataclass(frozen=True)
class ChoiceRows:
    """V purchases with N alternatives in all; rows of a visit stand together, visits ascend.

    Attributes:
        visit: Purchase of each row [N].
        column: Place on the shelf, from 0 [N].
        product: Code of the product, into `products` [N].
        chosen: One true row per visit [N].
        price: Shelf price of the occasions, money per package [N].
        regular: Regular price, money per package [N].
        own: Mean log price that other households paid in the visit's store and week; NaN where nobody did [N].
        other: Mean log price that other households paid in other stores in that week; NaN where nobody did [N].
        facts: The columns of `FACTS` [N, 4].
        household: Code of each visit's household [V].
        store: Code of its store [V].
        week: Its period [V].
        units: Packages bought [V].
        products: Names of the products.
        store_spread: Standard deviation of log prices paid across stores within product and week; NaN if no product
            was bought in two stores in one week.
    """

    visit: IntArray
    column: IntArray
    product: IntArray
    chosen: BoolArray
    price: FloatArray
    regular: FloatArray
    own: FloatArray
    other: FloatArray
    facts: FloatArray
    household: IntArray
    store: IntArray
    week: IntArray
    units: FloatArray
    products: tuple[str, ...]
    store_spread: float = float("nan")

    @property
    def visits(self) -> int:
        """Number of visits, those without rows included."""
        return len(self.household)

    @property
    def depth(self) -> FloatArray:
        """Discount depth max(0, 1 - p/r) [N]."""
        return np.maximum(0.0, 1.0 - self.price / self.regular)

    @property
    def clusters(self) -> Clusters:
        """Groupings of the visits for errors of choices: by household and by week."""
        return {"household": self.household, "week": np.unique(self.week, return_inverse=True)[1]}

    def moving(self, places: Iterable[int]) -> list[int]:
        """Return those of some places of `facts` that differ between the alternatives of a visit."""
        starts = np.flatnonzero(np.diff(self.visit, prepend=-1))
        wide = np.maximum.reduceat(self.facts, starts) - np.minimum.reduceat(self.facts, starts)
        return [k for k in places if (wide[:, k] > 0).any()]

    def keep(self, wanted: BoolArray) -> ChoiceRows:
        """Return some rows [N]; visits whose chosen row goes, or that keep one row only, lose all their rows.

        Choice among a subset of the alternatives follows the same conditional logit, given that the choice is in it.
        """
        rows = np.bincount(self.visit[wanted], minlength=self.visits)
        bought = np.bincount(self.visit[wanted & self.chosen], minlength=self.visits)
        at = wanted & ((rows > 1) & (bought == 1))[self.visit]
        names = ("visit", "column", "product", "chosen", "price", "regular", "own", "other", "facts")
        return replace(self, **{name: getattr(self, name)[at] for name in names})

    def settled(self, wanted: BoolArray) -> ChoiceRows:
        """Return `keep(wanted)` without products bought less than `LEAST_CHOICES` times in it."""
        rows = self.keep(wanted)
        while len(rows.visit):
            count = np.bincount(rows.product[rows.chosen], minlength=len(self.products))
            if (often := count[rows.product] >= LEAST_CHOICES).all():
                return rows
            rows = rows.keep(often)
        return rows

    def constants(self) -> FloatArray:
        """Return a dummy per product that has rows, but the first [N, P - 1]."""
        there, code = np.unique(self.product, return_inverse=True)
        return np.eye(len(there))[code][:, 1:]


def choice_rows(occasions: Occasions, market: str) -> ChoiceRows:
    """Return the purchases of a market.

    Prices of own and other stores come from the receipts behind the occasions: baskets that hold one product of the
    market. The visit's own household is left out of both, so that chosen and unchosen products are measured alike.

    Args:
        occasions: Choice occasions.
        market: Name of a market.

    Raises:
        InvalidInput: An unknown market, or one without purchases.
        CorruptFile: Occasions and purchases do not belong together.
    """
    import polars as pl

    part = occasions.select(markets=[market])
    visits = part.occasions.filter(pl.col("chosen") > 0).with_row_index("visit")
    if not len(visits):
        raise invalid("market", market, "a market with purchases")
    keys = ("occasion_id", "visit", "household_id", "store_id", "period", "chosen", "history_total")
    shelf = part.alternatives.join(visits.select(keys), on="occasion_id", maintain_order="left").sort(
        "visit", "position"
    )
    bought = shelf.filter(pl.col("position") == pl.col("chosen"))
    receipts = part.purchases[_receipt(part.purchases, visits["history_end"].to_numpy(), bought["product_id"])]
    receipts = bought.select(*_CELL, "household_id", "store_id").with_columns(log=receipts["unit_price"].log())
    own, other = _paid_by_others(shelf, receipts)
    products = tuple(shelf["product_id"].unique().sort().to_list())
    loyalty = (pl.col("bought") + pl.max_horizontal("long_share", LEAST_SHARE)) / (pl.col("history_total") + 1)
    facts = shelf.select("display", "feature_ad", "last", loyalty=loyalty.log()).cast(pl.Float64).to_numpy()
    return ChoiceRows(
        visit=shelf["visit"].to_numpy().astype(np.int64),
        column=shelf["position"].to_numpy().astype(np.int64) - 1,
        product=np.searchsorted(np.array(products), shelf["product_id"].to_numpy().astype(str)),
        chosen=(shelf["position"] == shelf["chosen"]).to_numpy(),
        price=shelf["price"].to_numpy(),
        regular=shelf["regular_price"].to_numpy(),
        own=own,
        other=other,
        facts=facts,
        household=np.unique(visits["household_id"].to_numpy(), return_inverse=True)[1],
        store=np.unique(visits["store_id"].to_numpy(), return_inverse=True)[1],
        week=visits["period"].to_numpy().astype(np.int64),
        units=visits["quantity"].to_numpy().astype(np.float64),
        products=products,
        store_spread=_spread(receipts),
    )


def _receipt(purchases: pl.DataFrame, end: IntArray, product: pl.Series) -> IntArray:
    """Return the row of `purchases` that each visit's purchase is: the first of its product behind its history [V].

    Raises:
        CorruptFile: There is none close by.
    """
    names, found = purchases["product_id"].to_numpy(), np.full(len(end), -1)
    # Two baskets of one household at one moment have the same history.
    for ahead in range(_SAME_MOMENT):
        row = np.minimum(end + ahead, len(names) - 1)
        found = np.where((found < 0) & (names[row] == product.to_numpy()), row, found)
    if (found < 0).any():
        raise CorruptFile("occasions: purchases.parquet does not hold the purchases of the occasions; build them again")
    return found


def _paid_by_others(shelf: pl.DataFrame, receipts: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return the mean log price that other households paid in the visit's store, and in other stores [N]."""
    import polars as pl

    sums = {}
    for name, keys in {
        "all": _CELL,
        "store": (*_CELL, "store_id"),
        "house": (*_CELL, "household_id"),
        "both": (*_CELL, "store_id", "household_id"),
    }.items():
        cells = receipts.group_by(keys).agg(pl.col("log").sum().alias("log"), pl.len().cast(pl.Float64).alias("n"))
        found = shelf.select(keys).join(cells, on=keys, how="left", maintain_order="left").fill_null(0.0)
        sums[name] = found.select("log", "n").to_numpy()
    here = sums["store"] - sums["both"]
    there = sums["all"] - sums["house"] - here
    return _mean(here), _mean(there)


def _mean(sums: FloatArray) -> FloatArray:
    known = sums[:, 1] > 0.5
    return np.where(known, sums[:, 0] / np.where(known, sums[:, 1], 1.0), np.nan)


def _spread(receipts: pl.DataFrame) -> float:
    """Return the pooled standard deviation of stores' median log prices around their product's and week's mean."""
    import polars as pl

    cells = receipts.group_by(*_CELL, "store_id").agg(pl.col("log").median())
    mean = pl.col("log").mean().over(_CELL)
    gap = cells.select(pl.col("log") - mean).to_numpy()
    free = len(gap) - cells.select(_CELL).n_unique()
    return float(np.sqrt((gap**2).sum() / free)) if free else float("nan")
