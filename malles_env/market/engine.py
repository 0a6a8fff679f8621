"""`Market`: a batch of B markets that live through periods together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import BoolArray, FloatArray, IntArray, as_floats
from malles_env.market.asking import find_response, whole_sizes
from malles_env.market.catalog import Catalog
from malles_env.market.mean_field import MeanField
from malles_env.market.offer import Consumers, Offer
from malles_env.market.population import Population
from malles_env.market.reference import ReferencePrice
from malles_env.market.state import BOOKS, DEMANDS, Demand, MarketState, Outcome
from malles_env.market.tastes import Tastes

MOST_LANES = 64
"""Markets that the kernel walks together; more gained nothing, and their working arrays still fit the cache."""


@cache
def _compiled() -> Any:
    """Return the compiled period; its first call in a process loads machine code, or compiles it once per machine."""
    from malles_env.market.settle import play

    return play


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads that all markets of this process share."""
    return ThreadPoolExecutor(thread_name_prefix="market")


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
        if num_markets < 1:
            raise invalid("num_markets", num_markets, "a whole number of at least 1")
        if demand not in DEMANDS:
            raise invalid("demand", demand, ", ".join(DEMANDS))
        shape = (population.num_segments, catalog.num_products)
        for name, found in (
            ("consumers", (consumers.num_segments, consumers.num_products)),
            ("population.initial_loyalty", (shape[0], population.initial_loyalty.shape[1] - 1)),
        ):
            if found != shape:
                raise invalid(f"{name} (segments, products)", found, f"{shape}, as in population and catalog")
        self.catalog, self.population, self.consumers = catalog, population, consumers
        self.num_markets, self.demand = num_markets, demand
        self.mean_field = mean_field or MeanField()
        self.reference_price = reference_price
        self._enters_late = bool(catalog.enters.any())
        uniform = 1.0 / catalog.num_products
        start = uniform if initial_mean_field is None else initial_mean_field
        self.initial_mean_field = as_floats("initial_mean_field", start, (catalog.num_products,), low=0.0, high=1.0)
        self.window = self.mean_field.periods(population.size * float(1.0 - self.initial_mean_field.max()))
        self._lanes = min(num_markets, MOST_LANES)
        self.threads = 1
        self._prepare()
        self.reset()

    def _prepare(self) -> None:
        from malles_env.market.kernel import coefficients
        from malles_env.market.settle import EXPECTED, GAUSSIAN, MULTINOMIAL, Terms

        settings, catalog, population = self.mean_field, self.catalog, self.population
        tastes = getattr(self.consumers, "tastes", None)
        fast = isinstance(tastes, Tastes) and self.demand != "exact"
        self._coefficients = (
            coefficients(tastes, population, catalog.regular_price) if fast and tastes is not None else None
        )
        self._rules = (
            settings.coupling == "equilibrium",
            settings.shares == "buyers",
            settings.relaxation,
            settings.tolerance,
            settings.max_iterations,
        )
        mode = {"expected": EXPECTED, "gaussian": GAUSSIAN}.get(self.demand, MULTINOMIAL)
        self._terms = Terms(
            catalog.unit_cost,
            catalog.listing_fee,
            catalog.seller_of,
            population.size,
            mode,
            settings.shares == "buyers",
            catalog.kept,
        )

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
        blocks = np.moveaxis(self.state.loyalty, 3, 1)
        return np.ascontiguousarray(blocks.reshape(-1, *blocks.shape[2:])[: self.num_markets])

    def _put_loyalty(self, blocks: FloatArray, markets: IntArray, values: FloatArray) -> None:
        blocks[markets // self._lanes, :, :, markets % self._lanes] = values

    def reset(self, seeds: int | Sequence[int] | None = None, markets: BoolArray | None = None) -> None:
        """Start new episodes.

        Args:
            seeds: One whole number (market b gets seed + b), one per market, or None: a market keeps its stream,
                and takes one from the system's entropy if it has none yet.
            markets: Which markets to reset, shape ``(B,)``; all by default.

        Raises:
            InvalidInput: Seeds that are negative or of the wrong number.
        """
        from malles_env.market.sampling import seed_streams

        batch = self.num_markets
        first_time = not hasattr(self, "state")
        if first_time:
            self.state = self._first_state()
        chosen = np.ones(batch, dtype=bool) if markets is None else np.asarray(markets, dtype=bool)
        state = self.state
        if seeds is not None or first_time:
            state.streams[chosen] = seed_streams(self._seeds(seeds))[chosen]
        state.stock[chosen] = self.catalog.stock
        state.mean_field[chosen] = self.initial_mean_field
        state.window[chosen] = self.initial_mean_field
        state.period[chosen] = 0
        state.reference[chosen] = self.catalog.regular_price
        self._put_loyalty(state.loyalty, np.flatnonzero(chosen), self.population.initial_loyalty)

    def _seeds(self, seeds: int | Sequence[int] | None) -> list[int]:
        batch = self.num_markets
        if seeds is None:
            entropy = np.random.SeedSequence().generate_state(batch, np.uint64)
            return [int(word) for word in entropy]
        numbers = [int(seeds) + b for b in range(batch)] if isinstance(seeds, (int, np.integer)) else list(seeds)
        if len(numbers) != batch:
            raise invalid("seeds", numbers, f"{batch} whole numbers, one per market")
        for number in numbers:
            if int(number) < 0:
                raise invalid("seed", number, "a whole number of at least 0")
        return numbers

    def _first_state(self) -> MarketState:
        batch, products, lanes = self.num_markets, self.num_products, self._lanes
        blocks = -(-batch // lanes)
        loyalty = np.empty((blocks, self.num_segments, products + 1, lanes))
        loyalty[:] = self.population.initial_loyalty[None, :, :, None]
        self._next_loyalty = loyalty.copy()
        return MarketState(
            stock=np.empty((batch, products)),
            mean_field=np.empty((batch, products)),
            window=np.empty((batch, self.window, products)),
            period=np.zeros(batch, dtype=np.int64),
            streams=np.zeros((batch, 4), dtype=np.uint64),
            loyalty=loyalty,
            reference=np.empty((batch, products)),
        )

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
        shape = (self.num_markets, self.num_products)
        checked = as_floats("prices", prices, shape, low=1e-12).copy()  # the kernel is compiled for writable arrays
        try:
            shelf = np.array(np.broadcast_to(np.asarray(listed, dtype=bool), shape))
        except ValueError:
            raise invalid("listed", np.shape(listed), f"a shape that broadcasts to {shape}") from None
        for n in range(self.num_sellers):
            counts = shelf[:, self.catalog.seller_of == n].sum(axis=1)
            if counts.max(initial=0) > self.catalog.shelf[n]:
                raise invalid(
                    f"listed products of {self.catalog.sellers[n]}", int(counts.max()),
                    f"at most {int(self.catalog.shelf[n])}",
                )  # fmt: skip
        return self.advance(checked, shelf)

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
        state, play, blocks = self.state, _compiled(), len(self.state.loyalty)
        given = (
            prices, felt, listed, self._coefficients, self._rules, self._terms, state.stock, state.mean_field,
            state.window, state.period, state.streams, state.loyalty, self._next_loyalty, *results,
        )  # fmt: skip
        if self.threads == 1 or blocks == 1:
            return play(0, blocks, *given)
        cuts = np.linspace(0, blocks, min(self.threads, blocks) + 1).astype(int).tolist()
        parts = [_pool().submit(play, low, high, *given) for low, high in itertools.pairwise(cuts)]
        return max(part.result() for part in parts)

    @property
    def _tracks_loyalty(self) -> bool:
        return self._coefficients is None or self._coefficients.loyal

    def _offer(self, prices: FloatArray, available: BoolArray, mean_field: FloatArray) -> Offer:
        return Offer(prices, available, self.catalog.regular_price, mean_field, self.loyalty)

    def _ask(
        self, prices: FloatArray, felt: FloatArray, listed: BoolArray, books: FloatArray, sums: FloatArray,
        seen: FloatArray, seller_profit: FloatArray,
    ) -> tuple[bool, FloatArray]:  # fmt: skip
        """Play a period with consumers that must be asked, or with exact draws per segment.

        Asking comes first: consumers that fail leave the market as it was, and the period can be played again.

        Returns:
            Whether any sale was lost, and the choice probabilities, shape ``(B, S, J + 1)``.
        """
        from malles_env.market.settle import draw_exact, draw_rows, settle_rows

        state = self.state
        offer = self._offer(felt, listed & (state.stock > 0), state.mean_field.copy())
        offer, response, sums[2], sums[3] = find_response(
            self.consumers, offer, self.population.weights, self.mean_field
        )
        weights, inside = self.population.weights, response.probability[:, :, 1:]
        seen[:] = offer.mean_field
        sums[0] = response.probability[:, :, 0] @ weights
        sums[1] = response.surplus @ weights * self.population.size
        self._put_loyalty(self._next_loyalty, np.arange(self.num_markets), response.loyalty)
        buyers, wanted = np.empty_like(prices), np.empty_like(prices)
        if self.demand == "exact":
            sizes = whole_sizes(weights, self.population.size)
            draw_exact(
                np.ascontiguousarray(response.probability),
                response.quantity,
                sizes,
                state.streams,
                buyers,
                wanted,
            )
        else:
            extra = np.einsum("s,bsj->bj", weights, inside * (response.quantity - 1.0))
            share = np.einsum("s,bsj->bj", weights, inside)
            draw_rows(0, len(prices), share, extra, sums, state.streams, self._terms, buyers, wanted)
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
        after = np.moveaxis(self._next_loyalty, 3, 1).reshape(-1, *before.shape[1:])[rows]
        after[:, :, 1:] -= lost
        after += lost.sum(axis=2, keepdims=True) * before
        self._put_loyalty(self._next_loyalty, rows, after)
