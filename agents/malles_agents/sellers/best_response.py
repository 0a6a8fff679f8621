"""The myopic best response: best prices and assortment for this period against the rivals' last ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import RuleSeller, best_sellers
from malles_env.market.solvers.ascent import Box, climb
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

CHUNK = 128
MOST_REMEMBERED = 20_000


class BestResponse(RuleSeller):
    """Knows demand, looks one period ahead, and expects the rivals to repeat their last prices and listings.

    It maximises the expected profit of the coming period with the scenario's own consumers, at the mean field, stock,
    long-run shares and reference prices it observes. What it does not see it takes from the scenario: each segment's
    last purchases are those of the first period. Answers are remembered by what was observed (prices to 0.1% of their
    range, shares to 0.02), so it stops computing where rivals stand still. Where products are ordered it reckons as if
    each unit were bought when it is sold, and stock never ran out.

    Args:
        view: Whose products it prices; `view.consumers` are the ones it knows.
        tolerance: Last price step as a share of each price interval.
    """

    def __init__(self, view: SellerView, tolerance: float = 1e-3) -> None:
        super().__init__(view)
        self.tolerance = tolerance
        self.box = Box(view.price_low, view.price_high, view.unit_cost, view.capacity)
        self.market = view.scenario.without_replenishment().market(CHUNK, "expected", view.consumers)
        self._known: dict[bytes, tuple[FloatArray, BoolArray]] = {}
        self._last: tuple[FloatArray, BoolArray] | None = None

    def decide(self, observation: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return the best response of each row, ``(B, J_n)`` each."""
        seen = self.view.read(observation)
        rivals = np.where(seen.listed, seen.prices, self.market.catalog.regular_price)
        rivals[:, self.view.products] = 0.0
        memories = [_coarse(seen.long_share), self._rounded(seen.reference)]
        stock = np.full_like(seen.stock, np.inf) if self.view.orders else seen.stock
        table = np.concatenate(
            [self._rounded(rivals), seen.listed, _coarse(seen.mean_field), stock, *map(np.nan_to_num, memories)],
            axis=1,
        )
        table[:, rivals.shape[1] + self.view.products] = 0.0
        keys = [row.tobytes() for row in np.ascontiguousarray(table)]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            self._answer(list(new), np.array(list(new.values())), table)
        answers = [self._known[key] for key in keys]
        return np.array([prices for prices, _ in answers]), np.array([listed for _, listed in answers])

    def _rounded(self, prices: FloatArray) -> FloatArray:
        catalog = self.market.catalog
        grain = (catalog.price_high - catalog.price_low) / 1000.0
        return np.round(prices / grain) * grain

    def _answer(self, keys: list[bytes], rows: IntArray, table: FloatArray) -> None:
        """Compute and remember the best responses to `rows` of `table`."""
        if len(self._known) > MOST_REMEMBERED:
            self._known.clear()
        prices, listed, *state = np.split(table[rows], 6, axis=1)
        game = _Period(self, prices, listed.astype(bool), state)
        first = self._last is None
        start = (self.view.regular_price, best_sellers(self.view, self.view.regular_price))
        from_prices, from_listed = self._last or start
        shape = (len(rows), len(self.view.products))
        found = climb(
            game.value, self.box, np.broadcast_to(from_prices, shape), np.broadcast_to(from_listed, shape),
            step=0.2 if first else 0.05, tolerance=self.tolerance,
            assortments=self.view.capacity < shape[1] or first,
        )  # fmt: skip
        self._last = found.prices[-1].copy(), found.listed[-1].copy()
        for index, key in enumerate(keys):
            self._known[key] = found.prices[index], found.listed[index]


class _Period:
    """Expected profit of one period for many candidate actions against the situations in which they are taken."""

    def __init__(
        self, seller: BestResponse, prices: FloatArray, listed: BoolArray, state: Sequence[FloatArray]
    ) -> None:
        self.market, self.view = seller.market, seller.view
        self.prices, self.listed = prices, listed
        self.mean_field, self.stock, self.long_share, self.reference = state
        self.prices[:, self.view.products] = self.market.catalog.regular_price[self.view.products]

    def value(self, rows: IntArray, prices: FloatArray, listed: BoolArray) -> FloatArray:
        """Return the seller's profit in money of each candidate in situation ``rows[i]``, shape ``(n,)``."""
        parts = [slice(i, i + CHUNK) for i in range(0, len(rows), CHUNK)]
        return np.concatenate([self._play(rows[part], prices[part], listed[part]) for part in parts])

    def _play(self, rows: IntArray, prices: FloatArray, listed: BoolArray) -> FloatArray:
        count, own = len(rows), self.view.products
        filled = rows[np.minimum(np.arange(CHUNK), count - 1)]
        all_prices, all_listed = self.prices[filled], self.listed[filled]
        all_prices[:count, own], all_listed[:count, own] = prices, listed
        market = self.market
        market.reset()
        state, memories = market.state, market.memories
        state.mean_field[:], state.stock[:] = self.mean_field[filled], self.stock[filled]
        if "long_share" in memories:
            state.centre[:] = self.long_share[filled]
        if "reference" in memories:
            state.reference[:] = self.reference[filled]
            state.log_reference[:] = np.log(self.reference[filled] / market.catalog.regular_price)
        return market.advance(all_prices, all_listed).seller_profit[:count, self.view.index]


def _coarse(shares: FloatArray) -> FloatArray:
    return np.round(shares * 50.0) / 50.0
