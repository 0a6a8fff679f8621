"""`Market`: a batch of B markets that live through periods together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from malles_env.market.arrays import as_floats
from malles_env.market.catalog import Catalog
from malles_env.market.checks import (
    TastesMode,
    check_parts,
    check_sizes,
    checked_actions,
    checked_orders,
    checked_promotion,
    drawn_tastes,
)
from malles_env.market.demand.dynamics import Dynamics
from malles_env.market.demand.mean_field import MeanField
from malles_env.market.demand.pantry import pantry_of
from malles_env.market.demand.reference import ReferencePrice, slow_states, with_reference
from malles_env.market.episodes import give_back, loyalty_of, new_streams, put_loyalty, redraw, restart, unset_state
from malles_env.market.generic_step import DrawnConsumers, draw_purchases, find_response, window_of
from malles_env.market.kernels.dispatch import play_blocks, rules_of, stock_room_of, terms_of
from malles_env.market.offer import Consumers, Offer, Response
from malles_env.market.population import Population
from malles_env.market.seller_rules.tiers import Posted, checked_tiers
from malles_env.market.state import LEDGER, Demand, MarketState, Outcome
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from malles_env.market.kernels.ordering import StockRoom
    from malles_env.market.kernels.period_kernel import Terms
    from malles_env.market.kernels.tier_response_kernel import TierTerms


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
        reference_price: How remembered prices matter; None: not at all, unless the tastes themselves have gain or loss.
            The first reference is the regular price. Where tastes are in log prices, strength s stands for a gain and
            a loss of s times beta (see `Tastes.comparing`).
        dynamics: How memories fade and traffic varies; None: the defaults of `Dynamics`, but with the memory of
            `reference_price` where that is given.
        tastes: ``"mean"``, or ``"draws"``: each market gets one of the consumers' `draws` per episode from its random
            stream, which nobody sees.
        initial_mean_field: Shares consumers see in the first period, shape ``(J,)``; default uniform.
        usual_prices: Prices at which a pantry stays as it is, money, shape ``(J,)``; default the regular ones. See
            `malles_env.market.demand.pantry.pantry_of`.

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
        dynamics: Dynamics | None = None,
        tastes: TastesMode = "mean",
        initial_mean_field: ArrayLike | None = None,
        usual_prices: ArrayLike | None = None,
    ) -> None:
        """Check that the parts fit and build the first state."""
        check_parts(catalog, population, consumers, num_markets, demand)
        self.tastes: TastesMode = tastes
        self._draws = drawn_tastes(catalog, population, consumers, tastes)
        self.catalog, self.population, self.consumers = catalog, population, consumers
        self.num_markets, self.demand = num_markets, demand
        self.mean_field = mean_field or MeanField()
        self.reference_price = reference_price
        self.dynamics = dynamics or _dynamics_of(reference_price)
        self._enters_late = bool(catalog.enters.any())
        self._can_run_short = bool(np.isfinite(catalog.stock).any())
        uniform = 1.0 / catalog.num_products
        start = uniform if initial_mean_field is None else initial_mean_field
        self.initial_mean_field = as_floats("initial_mean_field", start, (catalog.num_products,), low=0.0, high=1.0)
        usual = catalog.regular_price if usual_prices is None else usual_prices
        self.usual_prices = as_floats("usual_prices", usual, (catalog.num_products,), low=1e-12)
        self.window = window_of(self.mean_field, consumers, catalog, population, self.initial_mean_field)
        check_sizes(catalog, population, self._draws, num_markets, self.window)
        self.threads = 1
        self._prepare()
        self.state = unset_state(catalog, population, num_markets, self.window)
        self.state.streams[:] = new_streams(None, num_markets)
        self._next_loyalty = self.state.loyalty.copy()
        self._traffic, self._every = np.ones(num_markets), np.ones(num_markets, dtype=bool)
        self._no_flags = np.zeros((2, num_markets, catalog.num_products), dtype=bool)
        self.reset()

    def _prepare(self) -> None:
        from malles_env.market.kernels.response_kernel import coefficients

        linear = not self._draws or self._draws[0].price_transform == "linear"
        self._felt = self.reference_price if linear else None
        self._draws = with_reference(self._draws, self.reference_price)
        self._memories = slow_states(self._draws, self.reference_price, self.mean_field)
        population, regular = self.population, self.catalog.regular_price
        self._pantry = pantry_of(
            self._draws, self.dynamics.pantry_keep, population, regular, self.usual_prices, self.initial_mean_field,
            self.mean_field,
        )  # fmt: skip
        self._coefficients = None
        if self._draws and self.demand != "exact":
            self._coefficients = coefficients(self._draws, population, regular, self.dynamics.fade, self._pantry)
        self._rules = {promoted: rules_of(self.mean_field, promoted) for promoted in (False, True)}
        self._terms = terms_of(self.catalog, population, self.mean_field, self.demand, self.dynamics)
        self._stock_room = stock_room_of(self.catalog)
        self._tiers: TierTerms | None = None
        if self.catalog.tiers is not None:
            from malles_env.market.kernels.tier_response_kernel import tier_terms

            self._tiers = tier_terms(self.catalog, self._draws)

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
        return loyalty_of(self.state)

    @property
    def log_reference(self) -> FloatArray:
        """Log of reference over regular price now, shape ``(B, J)``; 0 where reference prices do not matter."""
        if self._felt is None:
            return self.state.log_reference
        return np.asarray(np.log(self.state.reference / self.catalog.regular_price))

    @property
    def is_plain(self) -> bool:
        """Whether a period is the compiled one and nothing else.

        So with one draw of known tastes, prices perceived as they are, steady traffic, nobody who enters late, and no
        loyalty to be given back to those who found the stock gone.
        """
        runs_short = self._can_run_short and (self._tracks_loyalty or self._pantry is not None)
        beside = self._felt is not None or self._varies or self._enters_late or runs_short
        return self._coefficients is not None and len(self._draws) == 1 and not beside and self._tiers is None

    def compiled_parts(self) -> tuple[Any, tuple[Any, ...], Terms, StockRoom | None]:
        """Return what the kernels get once: coefficients, rules (nothing promoted), terms, and the stock room."""
        return self._coefficients, self._rules[False], self._terms, self._stock_room

    def compiled_state(self) -> tuple[FloatArray, MarketState, FloatArray]:
        """Return what the kernels move: traffic, the state, and where loyalty after the period is to be written."""
        return self._traffic, self.state, self._next_loyalty

    def move_on(self, stock: FloatArray, pipeline: FloatArray) -> None:
        """Take over what kernels outside this class have played: stock, pipeline, and the loyalty they wrote."""
        state = self.state
        state.stock, state.pipeline = stock, pipeline
        state.loyalty, self._next_loyalty = self._next_loyalty, state.loyalty

    @property
    def memories(self) -> tuple[str, ...]:
        """Which slow states there are that a seller can know: ``"long_share"``, ``"reference"``."""
        return self._memories

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
        if len(self._draws) > 1:
            redraw(self.state, chosen, len(self._draws))
        centre = self.mean_field.first_centre(self.initial_mean_field)
        restart(self.state, chosen, self.catalog, self.population, self.initial_mean_field, centre)
        if len(self._draws) > 1:
            self._next_loyalty = self.state.loyalty.copy()
        self._move_season(chosen, fresh=True)

    @property
    def _varies(self) -> bool:
        return self.dynamics.season_sd > 0.0 and self.demand != "expected"

    def _traffic_of(self, season: FloatArray) -> FloatArray:
        """Return consumers over the population's size in each market for log traffic of shape ``(B,)``."""
        return self.dynamics.traffic(season)

    def _move_season(self, chosen: BoolArray, *, fresh: bool) -> None:
        if not self._varies:
            return
        from malles_env.market.kernels.period_kernel import move_seasons

        state, settings = self.state, self.dynamics
        move_seasons(state.streams, settings.season_sd, settings.season_persistence, chosen, fresh, state.season)

    # -- one period ----------------------------------------------------------------------------------------------

    def step(
        self,
        prices: ArrayLike,
        listed: ArrayLike,
        display: ArrayLike | None = None,
        feature_ad: ArrayLike | None = None,
        orders: ArrayLike | None = None,
        cycles: float = np.inf,
        tier_prices: ArrayLike | None = None,
    ) -> Outcome:
        """Play one period in every market.

        Args:
            prices: Money, broadcastable to ``(B, J)``, finite and more than 0 (also where not listed).
            listed: Which products are on the shelf, broadcastable to ``(B, J)``.
            display: Which are displayed in the shop, likewise; None: none is.
            feature_ad: Which are advertised in the leaflet, likewise.
            orders: Units ordered, likewise; only where the catalog has replenishment. None: nothing is.
            cycles: Periods of an episode, which is over when so many have been played since the reset: what is left is
                then sold for its salvage value. By default episodes go on for ever.
            tier_prices: Money per unit of orders that reach a product's threshold, broadcastable to ``(B, J)``; None:
                the list prices, no quantity discount.

        Returns:
            What happened, as fresh arrays.

        Raises:
            InvalidInput: A price that is not a positive finite number, a wrong shape, a seller who lists more products
                than its shelf holds, promotes more than it has slots for, or orders more than there is room for, or a
                tier price above the list price, below the deepest discount, or of a product without tiers.
        """
        money, shelf = checked_actions(self.catalog, prices, listed, self.num_markets)
        flags = checked_promotion(self.catalog, display, feature_ad, shelf)
        units = checked_orders(self.catalog, orders, self.state)
        tier = checked_tiers(self.catalog.tiers, self.catalog.product_ids, tier_prices, money, shelf)
        return self.advance(money, shelf, flags, units, cycles, tier)

    def advance(
        self, prices: FloatArray, listed: BoolArray, promoted: BoolArray | None = None,
        orders: FloatArray | None = None, cycles: float = np.inf, tier: FloatArray | None = None,
    ) -> Outcome:  # fmt: skip
        """Play one period with actions known to be valid: float64 and bool arrays of shape ``(B, J)``.

        `promoted` has shape ``(2, B, J)``: what is displayed, then what is advertised; None: nothing. The environments
        call this after decoding an action; use `step` for anything that comes from outside. `orders` (units,
        ``(B, J)``) and `cycles` count only where the catalog has replenishment; orders are placed as far as there is
        room. `tier` are tier prices, shape ``(B, J)``; None: list prices.
        """
        if self._stock_room is None:
            return self._advance(prices, listed, promoted, tier)
        before = self.state.stock, self.state.pipeline
        stocked = self._stock_room.take_in(self.state, orders)
        try:
            return self._advance(prices, listed, promoted, tier, stocked, cycles)
        except BaseException:  # consumers that could not be asked: the period can be played again
            self.state.stock, self.state.pipeline = before
            raise

    def _advance(
        self, prices: FloatArray, listed: BoolArray, promoted: BoolArray | None, tier: FloatArray | None,
        stocked: FloatArray | None = None, cycles: float = np.inf,
    ) -> Outcome:  # fmt: skip
        batch, products = prices.shape
        if self._varies:  # from the state, which may have been put back since the last period
            self._traffic = self._traffic_of(self.state.season)
        if self._enters_late:
            listed = listed & (self.state.period[:, None] >= self.catalog.enters)
            promoted = promoted if promoted is None else promoted & listed
        perceived = prices if self._felt is None else self._felt.perceived(prices, self.state.reference)
        books = np.empty((LEDGER, batch, products))
        sums, seen = np.empty((4, batch)), np.empty((batch, products))
        seller_profit = np.zeros((batch, self.num_sellers))
        answered: Response | None = None
        kept = self._can_run_short and (self._tracks_loyalty or self._pantry is not None)
        before = (self.state.centre, self.state.log_reference, self.state.pantry)
        remembered = tuple(part.copy() for part in before) if kept else None
        flags = self._no_flags if promoted is None else promoted
        posted: Posted = None
        at_tier = None if self._tiers is None else np.zeros((batch, products))
        if self._tiers is not None and tier is not None and np.any(tier < prices):
            posted = tier, at_tier, self._tiers
        if self._coefficients is not None:
            short = self._play(posted, prices, perceived, listed, flags, books, sums, seen, seller_profit)
        else:
            short, answered = self._ask(posted, prices, perceived, listed, flags, books, sums, seen, seller_profit)
        if self.catalog.promotions is not None and promoted is not None:
            self._charge(listed, promoted, books, seller_profit)
        if short and remembered is not None:
            offer = self._offer(posted, prices, perceived, listed, flags, seen, *remembered)
            self._return_unserved(offer, books, answered)
        if stocked is not None and self._stock_room is not None:
            self._stock_room.pay(self.state, cycles, books, stocked, seller_profit)
        if self._felt is not None:
            moved = self._felt.moved(prices, self.state.reference)
            self.state.reference = np.where(listed, moved, self.state.reference)
        self.state.loyalty, self._next_loyalty = self._next_loyalty, self.state.loyalty
        self._move_season(self._every, fresh=False)
        demand, units, lost, revenue, cost, fees, profit, share = books
        return Outcome(
            prices, listed, demand, units, lost, revenue, cost, fees, profit, share,
            seller_profit, sums[1], sums[0], seen, sums[2], sums[3], promoted,
            None if self._tiers is None else prices if tier is None else tier, at_tier,
            *(() if stocked is None else stocked),
        )  # fmt: skip

    def _play(
        self, posted: Posted, prices: FloatArray, perceived: FloatArray, listed: BoolArray, flags: BoolArray,
        *results: FloatArray,
    ) -> bool:  # fmt: skip
        """Run the compiled period, on several threads if `threads` says so and there are blocks for them."""
        state, coefficients = self.state, self._coefficients
        assert coefficients is not None
        promoted = coefficients.promotes and flags is not self._no_flags
        given = (
            state.blocks, prices, perceived, listed, flags, coefficients, self._rules[promoted], self._terms,
            self._traffic, state.stock, state.mean_field, state.centre, state.log_reference, state.pantry, state.window,
            state.period, state.streams, state.loyalty, self._next_loyalty, *results,
        )  # fmt: skip
        return play_blocks(self.threads, state.blocks.number, given, posted or ())

    def _charge(self, listed: BoolArray, flags: BoolArray, books: FloatArray, seller_profit: FloatArray) -> None:
        """Let sellers pay for the listed products they promote."""
        from malles_env.market.kernels.period_kernel import charge

        promotions = self.catalog.promotions
        assert promotions is not None
        fees = float(promotions.display_fee), float(promotions.feature_fee)
        charge(listed, flags, *fees, self._terms.seller_of, books, seller_profit)

    @property
    def _tracks_loyalty(self) -> bool:
        return self._coefficients is None or self._coefficients.loyal

    def _offer(
        self, posted: Posted, prices: FloatArray, perceived: FloatArray, available: BoolArray, flags: BoolArray,
        mean_field: FloatArray, centre: FloatArray, log_reference: FloatArray, pantry: FloatArray,
    ) -> Offer:  # fmt: skip
        """Return what consumers are shown; centre, log reference and pantry are those of the state's form."""
        regular = self.catalog.regular_price
        compares = self._felt is None and "reference" in self._memories
        reference = log_reference + np.log(regular) if compares else None
        stock = None if self._pantry is None else pantry
        tier, thresholds = None, None
        if posted is not None and self.catalog.tiers is not None:  # perceived in the same ratio to the list price
            tier, thresholds = perceived * (posted[0] / prices), self.catalog.tiers.thresholds(self.catalog.product_ids)
        return Offer(
            perceived, available, regular, mean_field, self.loyalty, flags[0], flags[1], reference, centre, stock, tier,
            thresholds,
        )  # fmt: skip

    def _answering(self, markets: IntArray) -> Consumers:
        """Return who answers in some markets: each by its own draw where there are draws."""
        return DrawnConsumers(self._draws, self.state.draw[markets]) if self._draws else self.consumers

    def _ask(
        self, posted: Posted, prices: FloatArray, perceived: FloatArray, listed: BoolArray, flags: BoolArray,
        books: FloatArray, sums: FloatArray, seen: FloatArray, seller_profit: FloatArray,
    ) -> tuple[bool, Response]:  # fmt: skip
        """Play a period with consumers that must be asked, or with exact draws per segment.

        Asking comes first: consumers that fail leave the market as it was, and the period can be played again.

        Returns:
            Whether any sale was lost, and the response.
        """
        from malles_env.market.kernels.period_kernel import move_references, settle_rows

        state, weights, batch = self.state, self.population.weights, len(prices)
        every = np.arange(batch)
        available, felt_shares = listed & (state.stock > 0), state.mean_field.copy()
        before = state.centre.copy(), state.log_reference.copy(), state.pantry.copy()
        offer = self._offer(posted, prices, perceived, available, flags, felt_shares, *before)
        offer, response, sums[2], sums[3] = find_response(self._answering(every), offer, weights, self.mean_field)
        seen[:] = offer.mean_field
        sums[0] = response.probability[:, :, 0] @ weights
        sums[1] = response.surplus @ weights * self.population.size * self._traffic
        put_loyalty(state, every, self.dynamics.faded(response.loyalty), self._next_loyalty)
        if self._pantry is not None:
            state.pantry = self._pantry.of(state.draw).moved(state.pantry, response)
        buyers, wanted = draw_purchases(
            response, self.population, self.demand, self._terms, self._traffic, state.streams, sums, offer, posted
        )
        short = settle_rows(
            every, 0, batch, prices, listed, buyers, wanted, self._terms, self._traffic, state.stock, state.mean_field,
            state.centre, state.window, state.period, seen, books, seller_profit,
            self.mean_field.coupling == "equilibrium",
        )  # fmt: skip
        if posted is not None:
            from malles_env.market.kernels.tier_period_kernel import settle_tiers

            settle_tiers(prices, *posted, available, self._terms, books, seller_profit)
        if offer.reference is not None:
            move_references(
                every, 0, batch, prices, listed, self.catalog.regular_price, self._terms, state.log_reference
            )
        return short, response

    def _return_unserved(self, offer: Offer, books: FloatArray, answered: Response | None) -> None:
        """Give back the loyalty of buyers who found the stock gone, and take what they did not get from pantries.

        They keep their last purchase; which one is known only per segment, so they rejoin their segment's shares of
        last purchases in proportion. Consumers that were asked are not asked again: `answered` is what they said.
        """
        from malles_env.market.kernels.period_kernel import DEMAND, LOST, UNITS

        rows = np.flatnonzero((books[LOST] > 0).any(axis=1))
        offer = offer.take(rows)
        if answered is None:
            offer = replace(offer, available=offer.available & (self.state.stock[rows] + books[UNITS][rows] > 0))
            response = self._answering(rows).respond(offer)
            probability, quantity = response.probability, response.quantity
        else:
            probability, quantity = answered.probability[rows], answered.quantity[rows]
        unserved = books[LOST][rows] / np.maximum(books[DEMAND][rows], 1e-300)
        lost = probability[:, :, 1:] * unserved[:, None, :]
        if self._tracks_loyalty:
            give_back(self.state, self._next_loyalty, rows, offer.loyalty, (1.0 - self.dynamics.fade) * lost)
        if self._pantry is not None:
            usual = self._pantry.of(self.state.draw[rows]).usual
            self.state.pantry[rows] -= (lost * quantity).sum(axis=2) / usual


def _dynamics_of(reference_price: ReferencePrice | None) -> Dynamics:
    return Dynamics() if reference_price is None else Dynamics(reference_memory=reference_price.memory)
