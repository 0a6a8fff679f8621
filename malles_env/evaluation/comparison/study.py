"""Occasions of the protocol's splits as taste data, with codes of households and products that never move."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np
import polars as pl

from malles_env.data.occasions import Occasions
from malles_env.evaluation.protocol import Protocol, draw_occasions, protocol, split_rows
from malles_env.preference.data.dataset import TasteData, from_occasions
from malles_env.type_aliases import BoolArray, Float32Array, IntArray


@dataclass(frozen=True)
class Judged:
    """Test occasions.

    Attributes:
        data: The occasions, purchases and no-purchase visits.
        buyer: The household had bought in the market before the test: it has no-purchase visits too [B].
    """

    data: TasteData
    buyer: BoolArray


@dataclass
class Study:
    """Occasions, and the protocol they are judged by.

    Attributes:
        occasions: All of them.
        rules: The protocol.
    """

    occasions: Occasions
    rules: Protocol = field(default_factory=protocol)
    _listed: TasteData | None = field(default=None, init=False, repr=False)

    @cached_property
    def digest(self) -> str:
        """What the occasions hold: two logs of one name and size are distinguished."""
        whole = hashlib.sha256()
        for part in fields(self.occasions):
            frame = getattr(self.occasions, part.name)
            if isinstance(frame, pl.DataFrame):
                whole.update(f"{part.name} {frame.columns}".encode())
                whole.update(frame.hash_rows(seed=0).to_numpy().tobytes())
        return whole.hexdigest()

    def training(self, split: str) -> tuple[TasteData, TasteData]:
        """Return training and validation occasions; a cold split's are cold.

        Both hold all purchases and `train_visits` of the no-purchase visits.
        """
        rows, rule = split_rows(self.occasions, split, self.rules), self.rules.rule(split)
        parts = [self._thinned(np.flatnonzero(mask)) for mask in (rows.train, rows.validation)]
        return (parts[0].cold(), parts[1].cold()) if rule.cold else (parts[0], parts[1])

    def judging(self, split: str, *, limit: int | None = None, seed: int | None = None) -> Judged:
        """Return test occasions of a split.

        Args:
            split: One of `SPLITS`.
            limit: Purchases, at most; None means the protocol's number.
            seed: Seed of the draw; None means the protocol's.
        """
        rule = self.rules.rule(split)
        allowed = split_rows(self.occasions, split, self.rules).test
        seed = self.rules.draw_seed if seed is None else seed
        rows = draw_occasions(self.occasions, allowed, rule.purchases if limit is None else limit, seed)
        data = self.data(rows)
        buyer = self.occasions.occasions["buyer"].to_numpy()[rows].astype(bool)
        return Judged(data.cold() if rule.cold else data, buyer)

    def data(self, rows: IntArray) -> TasteData:
        """Return occasions as taste data.

        Households, markets, products and their regular prices are coded over all occasions, so that every part has the
        same codes and a backbone reads the same texts for all of them.
        """
        data, whole = self._plain(rows), self._listing()
        households = self.occasions.occasions["household_id"]
        everybody = households.unique().sort()
        code = everybody.search_sorted(households[rows]).to_numpy().astype(np.int64)
        names = tuple(str(name) for name in everybody)
        market = np.array([whole.markets.index(name) for name in data.markets])[data.market]
        prefix = np.array([whole.products.prefixes.index(text) for text in data.products.prefixes])[data.prefix]
        return replace(
            data,
            household=code,
            households=names,
            products=whole.products,
            markets=whole.markets,
            market=market,
            prefix=prefix,
        )

    def _plain(self, rows: IntArray) -> TasteData:
        kept = self.occasions.occasions[rows]
        shelf = self.occasions.alternatives
        shelf = shelf.filter(shelf["occasion_id"].is_in(kept["occasion_id"].implode()))
        return from_occasions(replace(self.occasions, occasions=kept, alternatives=shelf))

    def _listing(self) -> TasteData:
        """Return one occasion of each market, with the products of all."""
        if self._listed is None:
            _, first = np.unique(self.occasions.occasions["market"].to_numpy(), return_index=True)
            plain = self._plain(np.sort(first))
            self._listed = replace(plain, products=replace(plain.products, log_regular=self._regular()))
        return self._listed

    def _regular(self) -> Float32Array:
        """Return the log of each product's regular price when last seen before the test (at all, if only there)."""
        when = self.occasions.occasions.select("occasion_id", "period", late=pl.col("split") == "test")
        shelf = self.occasions.alternatives.lazy().select("occasion_id", "product_id", "regular_price")
        # The latest before the test wins; among test periods the first.
        rank = pl.when("late").then(-1000 - pl.col("period")).otherwise(pl.col("period"))
        last = (
            shelf.join(when.lazy(), on="occasion_id", maintain_order="left")
            .group_by("product_id")
            .agg(pl.col("regular_price").get(rank.arg_max()))
            .collect()
        )
        products = self.occasions.products.select("product_id")
        listed = products.join(last, on="product_id", how="left", maintain_order="left")
        return np.log(listed["regular_price"].fill_null(1.0).to_numpy()).astype(np.float32)

    def _thinned(self, rows: IntArray) -> TasteData:
        """Return occasions with a share of the no-purchase visits, their utility offset accordingly."""
        share = self.rules.train_visits
        bought = self.occasions.occasions["chosen"].to_numpy()[rows] > 0
        drawn = np.random.default_rng(self.rules.draw_seed).random(len(rows)) < share
        data = self.data(rows[bought | drawn])
        return replace(data, log_sampling=data.log_sampling + np.float32(np.log(share)))
