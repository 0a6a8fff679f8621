"""A few categories of the wholesaler's log as one market: products, weekly sales, launches, orders and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from malles_env.data.sources.gifts.catalogue import Catalogue
from malles_env.data.sources.gifts.categories import OTHER
from malles_env.data.sources.gifts.shelves import availability
from malles_env.errors import InvalidInput, invalid
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

BURN_IN = 4
"""A product first sold in one of the log's first weeks was there before: it is no launch."""
PRIOR = 0.5
"""Purchases added to each product's, so that one that was never sold has a finite appeal."""
_ROUNDS = 2000


@dataclass(frozen=True)
class GiftMarket:
    """J products of some categories and the customers who bought them.

    Attributes:
        log: The log.
        categories: Names of the categories.
        product: Codes in the log [J].
        first: Week of the first sale [J].
        counts: Purchases (one per customer, day and product) by week [J, weeks + 1].
        available: Whether others' purchases say that it was on sale [J, weeks + 1].
        lines: household, day, period, place (of the product among the J), pieces; one row per purchase.
        orders: household, day, period, bought (purchases of the J in that order); one row per customer and day.
    """

    log: Catalogue
    categories: tuple[str, ...]
    product: IntArray
    first: IntArray
    counts: FloatArray
    available: BoolArray
    lines: pl.DataFrame
    orders: pl.DataFrame

    @classmethod
    def of(cls, log: Catalogue, categories: Sequence[str], *, fewest: int = 30, reach: int = 2) -> GiftMarket:
        """Return the market of some categories.

        Args:
            log: The log.
            categories: Their names.
            fewest: Purchases that a product needs to be one of the market.
            reach: A product somebody else bought within this many weeks counts as on sale.

        Raises:
            InvalidInput: No such category, or fewer than two products are left.
        """
        known = [name for name in log.markets if name != OTHER]
        for name in categories:
            if name not in known:
                raise invalid("market", name, f"categories of the log, separated by commas: {', '.join(known)}")
        codes = sorted({known.index(name) for name in categories})
        bought = log.bought.filter(pl.col("market").is_in(codes))
        found = bought.group_by("product").agg(lines=pl.len(), first=pl.col("period").min())
        found = found.filter(pl.col("lines") >= fewest).sort("product")
        if len(found) < 2:
            raise InvalidInput(
                f"market {', '.join(categories)}: {len(found)} products have {fewest} purchases; allowed: 2"
            )
        product = found["product"].to_numpy().astype(np.int64)
        case = log.products["case"].gather(pl.Series(product)).to_numpy()
        lines = bought.filter(pl.col("product").is_in(product.tolist())).with_columns(
            place=pl.col("product").replace_strict(product.tolist(), range(len(product)), return_dtype=pl.Int64)
        )
        pieces = lines["cases"].to_numpy() * case[lines["place"].to_numpy()]
        lines = lines.select("household", "day", "period", "place").with_columns(pieces=pl.Series(pieces))
        counts = np.zeros((len(product), log.weeks + 1))
        np.add.at(counts, (lines["place"].to_numpy(), lines["period"].to_numpy()), 1.0)
        own = lines.group_by("household", "day").agg(bought=pl.len().cast(pl.Int64))
        orders = log.bought.group_by("household", "day").agg(pl.col("period").first())
        orders = orders.join(own, on=["household", "day"], how="left").with_columns(pl.col("bought").fill_null(0))
        first = found["first"].to_numpy().astype(np.int64)
        there = availability(log, reach)[product] | (counts > 0)
        return cls(log, tuple(categories), product, first, counts, there, lines, orders.sort("household", "day"))

    def __len__(self) -> int:
        """J."""
        return len(self.product)

    @property
    def titles(self) -> list[str]:
        """Names of the products [J], runs of spaces made one."""
        return [" ".join(name.split()) for name in self.log.products["title"].gather(pl.Series(self.product))]

    @property
    def prices(self) -> FloatArray:
        """Usual list prices, money per piece [J]."""
        return self.log.products["regular_price"].to_numpy()[self.product].astype(np.float64)

    @property
    def launched(self) -> BoolArray:
        """Whether the log holds the first sale [J]."""
        return self.first > BURN_IN

    def tiers(self) -> list[tuple[int, float] | None]:
        """Return from how many pieces on each product is cheaper, and the largest such discount as a share [J]."""
        codes = self.log.products["product_id"].gather(pl.Series(self.product)).to_list()
        schedule = self.log.tiers.filter(pl.col("from_quantity") > 1)
        found: list[tuple[int, float] | None] = []
        for code, price in zip(codes, self.prices.tolist(), strict=True):
            own = schedule.filter(pl.col("product_id") == code).sort("lines", descending=True)
            if not len(own):
                found.append(None)
                continue
            lowest = own["unit_price"].to_numpy().min()
            found.append((int(own["from_quantity"][0]), float(1.0 - lowest / price)))
        return found

    def known(self, products: IntArray | BoolArray, until: int) -> GiftMarket:
        """Return the market of some of the products as it stood after week `until`."""
        rows = np.flatnonzero(products) if np.asarray(products).dtype == bool else np.asarray(products)
        weeks = np.arange(self.counts.shape[1]) <= until
        place = pl.Series(rows)
        lines = self.lines.filter((pl.col("period") <= until) & pl.col("place").is_in(place.implode())).with_columns(
            pl.col("place").replace_strict(rows.tolist(), range(len(rows)), return_dtype=pl.Int64)
        )
        return GiftMarket(
            self.log, self.categories, self.product[rows], self.first[rows], self.counts[rows] * weeks,
            self.available[rows] & weeks, lines, self.orders.filter(pl.col("period") <= until),
        )  # fmt: skip


def appeals(
    counts: FloatArray, available: BoolArray, offset: FloatArray | float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Return each product's log attraction by maximum likelihood, and its standard error [J].

    Week by week the purchases are multinomial over what was on sale (minorise-maximise for multinomial logit; Hunter
    2004), with half a purchase added to each product's. Log attractions have a logsumexp of 0.

    Args:
        counts: Purchases by product and week [J, W].
        available: What was on sale [J, W].
        offset: Utils that are known beside them, e.g. of prices, broadcastable to [J, W].
    """
    on_sale, total = available * np.exp(offset), counts.sum(axis=0)
    value = np.full(len(counts), 1.0 / len(counts))
    sold = counts.sum(axis=1) + PRIOR
    for _ in range(_ROUNDS):
        shelf = np.maximum(value @ on_sale, 1e-300)
        fresh = sold / np.maximum(on_sale @ (total / shelf), 1e-300)
        fresh /= fresh.sum()
        if np.abs(np.log(fresh / value)).max() < 1e-10:
            break
        value = fresh
    shelf = np.maximum(value @ on_sale, 1e-300)
    share = value[:, None] * on_sale / shelf
    information = (total * share * (1.0 - share)).sum(axis=1)
    return np.log(value), 1.0 / np.sqrt(np.maximum(information, PRIOR))
