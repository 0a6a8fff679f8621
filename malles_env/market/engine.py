"""`Market`: a batch of B markets that live through periods together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from malles_env.market.arrays import BoolArray, FloatArray, as_floats
from malles_env.market.asking import draw_purchases, find_response, window_of
from malles_env.market.catalog import Catalog
from malles_env.market.checks import check_parts, checked_actions
from malles_env.market.compiled import play_blocks, rules_of, terms_of
from malles_env.market.episodes import give_back, loyalty_by_market, new_streams, put_loyalty, restart, unset_state
from malles_env.market.mean_field import MeanField
from malles_env.market.offer import Consumers, Offer
from malles_env.market.population import Population
from malles_env.market.reference import ReferencePrice
from malles_env.market.state import BOOKS, Demand, Outcome
from malles_env.market.tastes import Tastes


class Market:
    """A batch of B independent markets with the same catalog, population and consumers.

    Consumers that carry `tastes` (a `Tastes`) are answered by the compiled kernel; any others are asked through
    `Consumers.respond`. Both give the same numbers for the same tastes.

    Args:
        catalog: Products and sellers.
        population: Segments; its J must match the catalog.
        consumers: Who buys.
        num_markets: B.
        demand: ``"multinomial"`` draws buyers from the population's mean choice probabilities, ``"exact"`` from each
            segment's own (slow, the reference), ``"gaussian"`` from the matching normal, ``"expected"`` takes the
            mean without noise (fractional units).
        mean_field: Coupling settings.
        reference_price: How remembered prices matter; None: not at all. The first reference is the regular price.
        initial_mean_field: Shares consumers see in the first period, shape ``(J,)``; default uniform.

    Attributes:
        threads: CPU threads that share a batch, 1 by default; may be set at any time and changes no number.

    Raises:
        InvalidInput: Shapes that do not match, or a setting out of range.
    """

    def __init__(
        self,
        catalog: Catalog,
        population: Population,
        consumers: Consumers,
        *,
        num_markets: int = 1,
        demand: Demand = "multinomial",
        mean_field: MeanField | None = None,
        reference_price: ReferencePrice | None = None,
        initial_mean_field: ArrayLike | None = None,
    ) -> None:
        """Check that the parts fit and build the first state."""
        check_parts(catalog, population, consumers, num_markets, demand)
        self.catalog, self.population, self.consumers = catalog, population, consumers
        self.num_markets, self.demand = num_markets, demand
        self.mean_field = mean_field or MeanField()
        self.reference_price = reference_price
        self._enters_late = bool(catalog.enters.any())
        uniform = 1.0 / catalog.num_products
        start = uniform if initial_mean_field is None else initial_mean_field
        self.initial_mean_field = as_floats("initial_mean_field", start, (catalog.num_products,), low=0.0, high=1.0)
        self.window = window_of(self.mean_field, consumers, catalog, population, self.initial_mean_field)
        self.threads = 1
        self._prepare()
        self.state = unset_state(catalog, population, num_markets, self.window)
        self.state.streams[:] = new_streams(None, num_markets)
        self._next_loyalty = self.state.loyalty.copy()
        self.reset()

    def _prepare(self) -> None:
        from malles_env.market.kernel import coefficients

        tastes = getattr(self.consumers, "tastes", None)
        fast = isinstance(tastes, Tastes) and self.demand != "exact"
        self._coefficients = (
            coefficients(tastes, self.population, self.catalog.regular_price) if fast and tastes is not None else None
        )
        self._rules = rules_of(self.mean_field)
        self._terms = terms_of(self.catalog, self.population, self.mean_field, self.demand)

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def num_segments(self) -> int:
        """S."""
        return self.population.num_segments

    @property
    def num_products(self) -> int:
        """J."""
        return self.catalog.num_products

    @property
    def num_sellers(self) -> int:
        """N."""
        return self.catalog.num_sellers

    @property
    def loyalty(self) -> FloatArray:
        """Share of each segment by last purchase now, a fresh array of shape ``(B, S, J + 1)``.

        When no segment is loyal (all lambda are 0) the kernel does not track it and this stays the initial one.
        """
        return np.ascontiguousarray(loyalty_by_market(self.state.loyalty)[: self.num_markets])

    def reset(self, seeds: int | Sequence[int] | None = None, markets: BoolArray | None = None) -> None:
        """Start new episodes.

        Args:
            seeds: One whole number (market b gets seed + b), one per market, or None: a market keeps its stream,
                which came from the system's entropy when it was made.
            markets: Which markets to reset, shape ``(B,)``; all by default.

        Raises:
            InvalidInput: Seeds that are negative or of the wrong number.
        """
        chosen = np.ones(self.num_markets, dtype=bool) if markets is None else np.asarray(markets, dtype=bool)
        if seeds is not None:
            self.state.streams[chosen] = new_streams(seeds, self.num_markets)[chosen]
        restart(self.state, chosen, self.catalog, self.population, self.initial_mean_field)

    # -- one period ----------------------------------------------------------------------------------------------

    def step(self, prices: ArrayLike, listed: ArrayLike) -> Outcome:
        """Play one period in every market.

        Args:
            prices: Money, broadcastable to ``(B, J)``, finite and more than 0 (also where not listed).
            listed: Which products are on the shelf, broadcastable to ``(B, J)``.

        Returns:
            What happened, as fresh arrays.

        Raises:
            InvalidInput: A price that is not a positive finite number, a wrong shape, or a seller who lists more
                products than its shelf holds.
        """
        return self.advance(*checked_actions(self.catalog, prices, listed, self.num_markets))

    def advance(self, prices: FloatArray, listed: BoolArray) -> Outcome:
        """Play one period with actions known to be valid: float64 and bool arrays of shape ``(B, J)``.

        The environments call this after decoding an action; use `step` for anything that comes from outside.
        """
        batch, products = prices.shape
        if self._enters_late:
            listed = listed & (self.state.period[:, None] >= self.catalog.enters)
        felt = prices
        if self.reference_price is not None:
            felt = self.reference_price.felt(prices, self.state.reference)
        books = np.empty((BOOKS, batch, products))
        sums, seen = np.empty((4, batch)), np.empty((batch, products))
        seller_profit = np.zeros((batch, self.num_sellers))
        answered: FloatArray | None = None
        if self._coefficients is not None:
            short = self._play(prices, felt, listed, books, sums, seen, seller_profit)
        else:
            short, answered = self._ask(prices, felt, listed, books, sums, seen, seller_profit)
        if short and self._tracks_loyalty:
            self._return_unserved(felt, listed, books, seen, answered)
        if self.reference_price is not None:
            moved = self.reference_price.moved(prices, self.state.reference)
            self.state.reference = np.where(listed, moved, self.state.reference)
        self.state.loyalty, self._next_loyalty = self._next_loyalty, self.state.loyalty
        demand, units, lost, revenue, cost, fees, profit, share = books
        return Outcome(
            prices, listed, demand, units, lost, revenue, cost, fees, profit, share,
            seller_profit, sums[1], sums[0], seen, sums[2], sums[3],
        )  # fmt: skip

    def _play(self, prices: FloatArray, felt: FloatArray, listed: BoolArray, *results: FloatArray) -> bool:
        """Run the compiled period, on several threads if `threads` says so and there are blocks for them."""
        state = self.state
        given = (
            prices, felt, listed, self._coefficients, self._rules, self._terms, state.stock, state.mean_field,
            state.window, state.period, state.streams, state.loyalty, self._next_loyalty, *results,
        )  # fmt: skip
        return play_blocks(self.threads, len(state.loyalty), given)

    @property
    def _tracks_loyalty(self) -> bool:
        return self._coefficients is None or self._coefficients.loyal

    def _ask(
        self, prices: FloatArray, felt: FloatArray, listed: BoolArray, books: FloatArray, sums: FloatArray,
        seen: FloatArray, seller_profit: FloatArray,
    ) -> tuple[bool, FloatArray]:  # fmt: skip
        """Play a period with consumers that must be asked, or with exact draws per segment.

        Asking comes first: consumers that fail leave the market as it was, and the period can be played again.

        Returns:
            Whether any sale was lost, and the choice probabilities, shape ``(B, S, J + 1)``.
        """
        from malles_env.market.settle import settle_rows

        state = self.state
        available, regular = listed & (state.stock > 0), self.catalog.regular_price
        offer = Offer(felt, available, regular, state.mean_field.copy(), self.loyalty)
        offer, response, sums[2], sums[3] = find_response(
            self.consumers, offer, self.population.weights, self.mean_field
        )
        weights = self.population.weights
        seen[:] = offer.mean_field
        sums[0] = response.probability[:, :, 0] @ weights
        sums[1] = response.surplus @ weights * self.population.size
        put_loyalty(self._next_loyalty, np.arange(self.num_markets), response.loyalty)
        buyers, wanted = draw_purchases(response, self.population, self.demand, self._terms, state.streams, sums)
        short = settle_rows(
            0, len(prices), prices, listed, buyers, wanted, self._terms, state.stock, state.mean_field, state.window,
            state.period, seen, books, seller_profit, self.mean_field.coupling == "equilibrium",
        )  # fmt: skip
        return short, response.probability

    def _return_unserved(
        self,
        prices: FloatArray,
        listed: BoolArray,
        books: FloatArray,
        seen: FloatArray,
        answered: FloatArray | None,
    ) -> None:
        """Give back the loyalty of buyers who found the stock gone.

        They keep their last purchase; which one is known only per segment, so they rejoin their segment's shares of
        last purchases in proportion. Consumers that were asked are not asked again: `answered` is what they said.
        """
        from malles_env.market.settle import DEMAND, LOST, UNITS

        rows = np.flatnonzero((books[LOST] > 0).any(axis=1))
        before = self.loyalty[rows]
        if answered is None:
            available = listed[rows] & (self.state.stock[rows] + books[UNITS][rows] > 0)
            offer = Offer(prices[rows], available, self.catalog.regular_price, seen[rows], before)
            probability = self.consumers.respond(offer).probability
        else:
            probability = answered[rows]
        unserved = books[LOST][rows] / np.maximum(books[DEMAND][rows], 1e-300)
        lost = probability[:, :, 1:] * unserved[:, None, :]
        give_back(self._next_loyalty, rows, before, lost)
