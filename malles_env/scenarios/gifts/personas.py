"""Segments of the wholesaler's customers: grouped by their likes as purchases elsewhere show them, in names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from malles_env.data.sources.gifts.market import GiftMarket
from malles_env.errors import invalid
from malles_env.evaluation.transfer.names import Likeness, centred, kinship, read_names
from malles_env.scenarios.from_log.clusters import cluster
from malles_env.type_aliases import FloatArray, IntArray

FEWEST_NAMES = 10
"""Different products of other categories that a customer must have bought to be grouped."""
HISTORY = 50
"""Names in a segment's history."""
MIN_CELL = 5
"""Customers behind every name in a history: nothing in a file is about fewer."""
FEWEST_CUSTOMERS = 20
"""In a segment."""
LARGE = 30.0
"""Pieces per purchase from which a customer counts as one of large orders."""
_DIRECTIONS = 10
_TOP = 1
"""Which feature groups customers: the mean of the 5 largest cosines."""


@dataclass(frozen=True)
class NameEmbeddings:
    """All names of the log as an encoder reads them, centred within categories.

    Attributes:
        meaning: Of all products [P, width].
        raw: Before centring [P, width].
    """

    meaning: FloatArray
    raw: FloatArray

    @classmethod
    def of(cls, market: GiftMarket, model: str = "minilm") -> NameEmbeddings:
        """Read the names with an encoder."""
        return cls.centred(market, read_names(market.log.products["title"].to_list(), model))

    @classmethod
    def centred(cls, market: GiftMarket, raw: FloatArray) -> NameEmbeddings:
        """Centre readings [P, width]; the market's own products on one another, whatever their categories."""
        group = market.log.market.copy()
        group[market.product] = group.max() + 1
        middle = np.zeros((int(group.max()) + 1, raw.shape[1]))
        np.add.at(middle, group, raw)
        middle /= np.maximum(np.bincount(group), 1)[:, None]
        return cls(centred(raw, middle[group]), raw)


@dataclass(frozen=True)
class Personas:
    """S segments.

    Attributes:
        customer: Codes of the grouped customers, ascending [C].
        segment: Segment of each [C].
        large: Whether a segment's customers place large orders [S].
        history: Codes of the products in each segment's history, the most typical first.
    """

    customer: IntArray
    segment: IntArray
    large: np.ndarray
    history: tuple[IntArray, ...]

    @classmethod
    def of(
        cls, market: GiftMarket, reading: NameEmbeddings, groups: tuple[int, int], *, until: int, seed: int = 0
    ) -> Personas:
        """Group the customers by purchases up to a week.

        Args:
            market: The log; purchases of its own products are never looked at, but for the sizes of orders.
            reading: All names.
            groups: Segments wanted of customers with small orders, and of those with large ones.
            until: Last week that counts.
            seed: Of the grouping.

        Raises:
            InvalidInput: Too few customers.
        """
        bought = _elsewhere(market, until)
        if bought["household"].n_unique() < FEWEST_CUSTOMERS:
            allowed = f"{FEWEST_CUSTOMERS} customers who bought {FEWEST_NAMES} products of other categories"
            raise invalid("customers", bought["household"].n_unique(), allowed)
        customer, start = np.unique(bought["household"].to_numpy(), return_index=True)
        baskets = np.split(bought["product"].to_numpy(), start[1:])
        own = reading.meaning[market.product]
        liking = kinship(own, [reading.meaning[basket] for basket in baskets])[:, :, _TOP]
        liking = liking - liking.mean(axis=1, keepdims=True)
        liking = liking - liking.mean(axis=0)
        left, size, _ = np.linalg.svd(liking, full_matrices=False)
        features = (left * size)[:, :_DIRECTIONS]
        big = _pieces(market, customer, until) >= LARGE
        if min(big.sum(), (~big).sum()) < FEWEST_CUSTOMERS:  # too few for segments of their own
            big = np.full(len(big), big.mean() > 0.5)
        segment = np.zeros(len(customer), dtype=np.int64)
        large: list[bool] = []
        for kind, count in zip((False, True), groups, strict=True):
            rows = np.flatnonzero(big == kind)
            if not len(rows):
                continue
            labels = cluster(features[rows], count, min_size=FEWEST_CUSTOMERS, seed=seed)
            segment[rows] = labels + len(large)
            large += [kind] * (int(labels.max()) + 1)
        history = _histories(baskets, segment, len(large), len(market.log.market))
        return cls(customer, segment, np.array(large), history)

    def __len__(self) -> int:
        """S."""
        return len(self.large)

    def features(self, reading: NameEmbeddings, product: IntArray) -> FloatArray:
        """Return how like each history products read, less the mean over segments [S, J, F]; from names alone."""
        known = reading.raw[product]
        return Likeness(known, tuple(reading.raw[names] for names in self.history)).features(known)

    def of_customers(self, household: IntArray) -> IntArray:
        """Return the segment of customers, -1 where they are not grouped."""
        at = np.minimum(np.searchsorted(self.customer, household), len(self.customer) - 1)
        return np.where(self.customer[at] == household, self.segment[at], -1)


def _elsewhere(market: GiftMarket, until: int) -> pl.DataFrame:
    """Return the different products of other categories by customer, of those with enough of them."""
    codes = [market.log.markets.index(name) for name in market.categories]
    bought = market.log.bought.filter((pl.col("period") <= until) & ~pl.col("market").is_in(codes))
    bought = bought.select("household", "product").unique()
    enough = pl.len().over("household") >= FEWEST_NAMES
    return bought.filter(enough).sort("household", "product")


def _pieces(market: GiftMarket, customer: IntArray, until: int) -> FloatArray:
    """Return each customer's pieces per purchase in the market, 0 for who bought nothing in it [C]."""
    known = market.lines.filter(pl.col("period") <= until).group_by("household").agg(pl.col("pieces").mean())
    found = pl.DataFrame({"household": customer}).join(known, on="household", how="left", maintain_order="left")
    return found["pieces"].fill_null(0.0).to_numpy()


def _histories(baskets: list[IntArray], segment: IntArray, segments: int, products: int) -> tuple[IntArray, ...]:
    """Return the names most typical of each segment: by count times the log of how much more often it buys them."""
    counts = np.zeros((segments, products))
    for group in range(segments):
        own = [basket for basket, label in zip(baskets, segment, strict=True) if label == group]
        counts[group] = np.bincount(np.concatenate(own), minlength=products)
    expected = counts.sum(axis=0) * counts.sum(axis=1, keepdims=True) / counts.sum()
    score = counts * np.log(np.maximum(counts, 1e-9) / np.maximum(expected, 1e-9))
    score = np.where(counts >= MIN_CELL, score, -np.inf)
    order = np.argsort(-score, axis=1, kind="stable")[:, :HISTORY]
    return tuple(row[np.isfinite(score[group, row])] for group, row in enumerate(order))
