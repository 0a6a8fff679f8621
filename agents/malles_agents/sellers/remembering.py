"""Sellers with a memory: what they keep per market travels in SB3's `state` and starts anew with each episode."""

from __future__ import annotations

from typing import Any

import numpy as np

from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.rules import Predicted, RuleSeller
from malles_env.type_aliases import BoolArray, FloatArray

Memory = dict[str, np.ndarray]


class RememberingSeller(RuleSeller):
    """A seller whose decision depends on what it has seen since the episode began.

    Subclasses say with what memory an episode starts and how an observation changes memory and prices. A memory is a
    dict of arrays with one row per market. The first observation of an episode shows prices nobody asked, so
    `decide_in` gets which rows are new.

    Attributes:
        view: Whose products it prices.
    """

    def start(self, batch: int) -> Memory:
        """Return the memory of `batch` new episodes, each array of length `batch`."""
        raise NotImplementedError

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Return prices and listings ``(B, J_n)``; changes `memory` in place.

        Args:
            seen: What the observations say.
            memory: One row per market.
            fresh: Rows whose episode has just begun, shape ``(B,)``.
        """
        raise NotImplementedError

    def decide(self, observation: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return what it does in the first period of an episode."""
        return self._decide(observation, None, None)[:2]

    def _decide(
        self, observation: FloatArray, state: Memory | None, episode_start: np.ndarray | None
    ) -> tuple[FloatArray, BoolArray, Memory]:
        batch = len(observation)
        first = self.start(batch)
        known = state is not None and all(len(rows) == batch for rows in state.values())
        fresh = np.ones(batch, dtype=bool)
        if known:
            fresh = np.zeros(batch, dtype=bool) if episode_start is None else np.array(episode_start, dtype=bool)
        memory = {name: rows.copy() for name, rows in (state if known and state is not None else first).items()}
        for name, rows in memory.items():
            rows[fresh] = first[name][fresh]
        prices, listed = self.decide_in(self.view.read(observation), memory, fresh)
        return prices, listed, memory

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Predicted:
        """Answer one observation ``(D,)`` or a batch ``(B, D)``, see `RuleSeller.predict`.

        Args:
            observation: Flat observation(s) of this seller.
            state: What the last call returned, or None at the start.
            episode_start: Rows whose episode has just begun, shape ``(B,)``; None: none of them, if there is a state.
            deterministic: Ignored; sellers that explore draw from their own stream.

        Returns:
            Action(s), and the memory to hand in next time.
        """
        batch = np.atleast_2d(observation)
        prices, listed, memory = self._decide(batch, state, episode_start)
        action = self.view.act(batch, prices, listed)
        return (action if np.ndim(observation) > 1 else action[0]), memory


def own_profit(view: SellerView, seen: Seen) -> FloatArray:
    """Return the seller's profit of the period that the observations show, money, shape ``(B,)``.

    Fees for promotion, orders and what stock costs are in it; salvage is not, as it comes when an episode is over.
    """
    own, catalog = view.products, view.catalog
    sold, revenue = np.nan_to_num(seen.sales[:, own]), catalog.net_of_tax * seen.prices[:, own]
    profit = revenue * sold - catalog.listing_fee[own] * seen.listed[:, own]
    if catalog.promotions is not None and seen.promoted is not None:
        display, feature = seen.promoted[:, :, own]
        profit -= catalog.promotions.display_fee * display + catalog.promotions.feature_fee * feature
    if catalog.replenishment is None or seen.ordered is None:
        return np.asarray((profit - view.unit_cost * sold).sum(axis=1))
    given, ordered, before_tax = catalog.replenishment, seen.ordered[:, own], view.unit_cost - catalog.unit_tax
    ordering = before_tax * ordered + given.of("fixed_cost")[own] * (ordered > 0.0)
    holding = given.of("holding_cost")[own] * seen.stock[:, own]
    return np.asarray((profit - catalog.unit_tax * sold - ordering - holding).sum(axis=1))
