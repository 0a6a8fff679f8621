"""`PooledMarket`: markets in groups that share what their consumers feel, sell from one stock, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.market.demand.mean_field import NOBODY
from malles_env.market.engine import Market
from malles_env.market.seller_rules.tiers import Posted
from malles_env.market.state import Demand
from malles_env.type_aliases import BoolArray, FloatArray

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Pooling:
    """What the cells of a group have in common.

    A cell is a market of its own otherwise: prices, loyalty, references, pantries. Two cells with everything in common
    are one market whose consumers are split into two halves that see different prices; cells with nothing in common
    are separate stores.

    Attributes:
        cells: C, cells of a group, at least 1.
        spillover: Share of the mean field that is the group's, in [0, 1]: a cell's purchases enter its mean field as
            (1 - spillover) times its own shares plus spillover times the shares of the whole group.
        one_stock: Whether the group sells from one stock, the sum of the cells'. Where it runs short, all cells get
            the same part of what they want.
        one_season: Whether the group has the same traffic, see `Dynamics.season_sd`.

    Raises:
        InvalidInput: A setting out of range.
    """

    cells: int = 1
    spillover: float = 1.0
    one_stock: bool = True
    one_season: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.cells < 1:
            raise invalid("pooling.cells", self.cells, "a whole number of at least 1")
        if not 0.0 <= self.spillover <= 1.0:
            raise invalid("pooling.spillover", self.spillover, "a number from 0 to 1")


class PooledMarket(Market):
    """G groups of C markets (cells), each group coupled through what `Pooling` says; market b is cell b mod C.

    One period is that of `Market`: the same compiled answer of the consumers, the same draws and books. Between answer
    and books, stock is shared out over the cells of a group; after the books, the shares that enter the mean field are
    mixed. With one cell of size 1 it is `Market`, number for number.

    Args:
        like: A market whose catalog, population, consumers, coupling, reference prices and dynamics are taken.
        pooling: What cells share.
        groups: G.
        sizes: Consumers of each cell over the population's size, at least 0, broadcastable to ``(G, C)``. Stock and
            listing and promotion fees are those of the catalog times the size.
        demand: ``"multinomial"``, ``"gaussian"`` or ``"expected"``.

    Attributes:
        solves: Whether an equilibrium coupling is solved in each period; set it to False to let consumers feel the
            mean field that stands in the state.

    Quantity discounts cannot be posted in it: `step` refuses tier prices below list prices.

    Raises:
        InvalidInput: Consumers that must be asked, ``"exact"`` demand, draws of tastes, products that are ordered, or
            sizes out of range.
    """

    def __init__(
        self, like: Market, pooling: Pooling, *, groups: int, sizes: ArrayLike = 1.0, demand: Demand = "multinomial"
    ) -> None:
        """Check the settings and build the first state."""
        if groups < 1:
            raise invalid("groups", groups, "a whole number of at least 1")
        if demand == "exact":
            raise invalid("demand", demand, "multinomial, gaussian or expected")
        if like.tastes != "mean":
            raise invalid("tastes", like.tastes, "'mean'")
        if like.catalog.replenishment is not None:
            raise invalid("catalog.replenishment", "orders", "none, as groups of cells cannot order")
        self.pooling = pooling
        self.sizes = as_floats("sizes", sizes, (groups, pooling.cells), low=0.0).reshape(-1)
        self.solves = like.mean_field.coupling == "equilibrium"
        super().__init__(
            like.catalog,
            like.population,
            like.consumers,
            num_markets=groups * pooling.cells,
            demand=demand,
            mean_field=like.mean_field,
            reference_price=like.reference_price,
            dynamics=like.dynamics,
            initial_mean_field=like.initial_mean_field,
            usual_prices=like.usual_prices,
        )
        self._traffic = self.sizes.copy()
        if self._coefficients is None:
            raise invalid("consumers", type(like.consumers).__name__, "consumers whose tastes are known; see `distil`")

    def reset(self, seeds: int | Sequence[int] | None = None, markets: BoolArray | None = None) -> None:
        """Start new episodes, see `Market.reset`; cells of a group start together, so `markets` must be whole groups.

        Raises:
            InvalidInput: Seeds that are negative or of the wrong number, or part of a group.
        """
        chosen = np.ones(self.num_markets, dtype=bool) if markets is None else np.asarray(markets, dtype=bool)
        grouped = chosen.reshape(-1, self.pooling.cells)
        if (grouped.any(axis=1) != grouped.all(axis=1)).any():
            raise invalid("markets", chosen.tolist(), f"whole groups of {self.pooling.cells}")
        super().reset(seeds, chosen)
        self.restock(chosen)

    def restock(self, markets: BoolArray | None = None) -> None:
        """Put the first stock back, in all or some markets; whole units unless demand is the mean."""
        per_unit = np.where(np.isinf(self.catalog.stock), 0.0, self.catalog.stock)
        stock = (
            self._summed(self.sizes[:, None] * per_unit) if self.pooling.one_stock else self.sizes[:, None] * per_unit
        )
        stock = stock if self.demand == "expected" else np.round(stock)
        chosen = np.ones(self.num_markets, dtype=bool) if markets is None else markets
        self.state.stock[chosen] = np.where(np.isinf(self.catalog.stock), np.inf, stock)[chosen]

    def _summed(self, values: FloatArray) -> FloatArray:
        """Return the sum over each group's cells in the place of each cell, same shape ``(B, ...)``."""
        grouped = values.reshape(-1, self.pooling.cells, *values.shape[1:])
        total = np.broadcast_to(grouped.sum(axis=1, keepdims=True), grouped.shape)
        return np.array(total).reshape(values.shape)

    def _move_season(self, chosen: BoolArray, *, fresh: bool) -> None:
        super()._move_season(chosen, fresh=fresh)
        if self.pooling.one_season:
            first = self.state.season.reshape(-1, self.pooling.cells)[:, :1]
            self.state.season[:] = np.repeat(first, self.pooling.cells, axis=1).ravel()

    def _traffic_of(self, season: FloatArray) -> FloatArray:
        return self.sizes * super()._traffic_of(season)

    # -- one period ----------------------------------------------------------------------------------------------

    def _play(
        self, posted: Posted, prices: FloatArray, perceived: FloatArray, listed: BoolArray, flags: BoolArray,
        *results: FloatArray,
    ) -> bool:  # fmt: skip
        """Run the compiled answer, share out stock, keep the books and mix the mean field."""
        if posted is not None:
            raise invalid("tier prices below list prices", "posted", "none: groups of cells have no quantity discounts")
        from malles_env.market.kernels.period_kernel import FEES, UNITS, draw_rows, move_references, settle_rows

        books, sums, seen, seller_profit = results
        state, every, batch = self.state, np.arange(self.num_markets), self.num_markets
        share, extra, buyers, wanted = np.empty((4, *prices.shape))
        self._answer(perceived, listed, flags, share, extra, sums, seen)
        draw_rows(every, 0, batch, share, extra, sums, self._traffic, state.streams, self._terms, buyers, wanted)
        on_hand, centre = state.stock.copy(), state.centre.copy()
        if self.pooling.one_stock and self._can_run_short:
            state.stock[:] = self._allotted(on_hand, wanted)
        short = settle_rows(
            every, 0, batch, prices, listed, buyers, wanted, self._terms, self._traffic, state.stock, state.mean_field,
            state.centre, state.window, state.period, seen, books, seller_profit, self.solves,
        )  # fmt: skip
        if self.pooling.one_stock and self._can_run_short:
            gone = self._summed(wanted) >= on_hand  # what rounding leaves of a stock that is gone is no stock
            state.stock[:] = np.where(gone, 0.0, on_hand - self._summed(books[UNITS]))
        if self._terms.listing_fee.any():
            books[FEES] *= self.sizes[:, None]
            self._sum_profits(books, seller_profit)
        self._feel(buyers, centre, seen, books)
        sums[1] *= self._traffic
        coefficients = self._coefficients
        assert coefficients is not None
        if coefficients.compares:
            regular = coefficients.regular_price
            move_references(every, 0, batch, prices, listed, regular, self._terms, state.log_reference)
        return bool(short)

    def _answer(
        self, perceived: FloatArray, listed: BoolArray, flags: BoolArray, share: FloatArray, extra: FloatArray,
        sums: FloatArray, seen: FloatArray,
    ) -> None:  # fmt: skip
        """Fill the consumers' answer; in an equilibrium, iterate until the groups' shares are the perceived ones."""
        from malles_env.market.kernels.period_kernel import answer_blocks

        state, coefficients, settings = self.state, self._coefficients, self.mean_field
        assert coefficients is not None
        promoted = coefficients.promotes and flags is not self._no_flags
        lagged: Any = (False, *self._rules[promoted][1:])
        mean = state.mean_field.copy()
        residual, count = np.zeros(self.num_markets), np.zeros(self.num_markets)
        for _ in range(settings.max_iterations + 1 if self.solves else 1):
            pantry = state.pantry.copy()  # each round of the iteration moves it from where the period began
            answer_blocks(
                state.blocks, perceived, listed, flags, coefficients, lagged, state.stock, mean, state.centre,
                state.log_reference, pantry, state.loyalty, self._next_loyalty, share, extra, sums, seen,
            )  # fmt: skip
            if not self.solves:
                break
            step = self._mixed(share * (self._traffic * self.population.size)[:, None], mean) - mean
            largest = np.abs(step).max(axis=1).reshape(-1, self.pooling.cells).max(axis=1)
            residual = np.repeat(largest, self.pooling.cells)
            moving = residual >= settings.tolerance
            if not moving.any():
                break
            count += moving
            mean = mean + settings.relaxation * step * moving[:, None]
        sums[2], sums[3] = residual, count
        state.pantry = pantry

    def _allotted(self, on_hand: FloatArray, wanted: FloatArray) -> FloatArray:
        """Return what each cell gets of its group's stock: what it wants, or in a shortage its proportional part.

        In units that are drawn, parts are whole: those of the largest remainders are rounded up.
        """
        total = self._summed(wanted)
        part = wanted * np.minimum(1.0, on_hand / np.maximum(total, 1e-300))
        if self.demand == "expected":
            return np.where(total <= on_hand, wanted, part)
        shape = (-1, self.pooling.cells, wanted.shape[1])
        whole = np.floor(part)
        missing = np.where(np.isinf(on_hand), 0.0, on_hand - self._summed(whole)).reshape(shape)
        rank = np.argsort(np.argsort(-(part - whole).reshape(shape), axis=1, kind="stable"), axis=1, kind="stable")
        whole = whole + (rank < missing).reshape(wanted.shape)
        return np.where(total <= on_hand, wanted, whole)

    def _mixed(self, buyers: FloatArray, perceived: FloatArray) -> FloatArray:
        """Return the shares that enter each cell's mean field, ``(B, J)``; `perceived` stands where nobody bought."""
        shared = self._summed(buyers)
        if self.mean_field.shares == "buyers":
            own_of, shared_of = buyers.sum(axis=1), shared.sum(axis=1)
        else:
            own_of = self._traffic * self.population.size
            shared_of = self._summed(own_of)
        parts = []
        for bought, of in ((buyers, own_of), (shared, shared_of)):
            none = of < NOBODY
            parts.append(np.where(none[:, None], perceived, bought / np.where(none, 1.0, of)[:, None]))
        return (1.0 - self.pooling.spillover) * parts[0] + self.pooling.spillover * parts[1]

    def _feel(self, buyers: FloatArray, centre: FloatArray, seen: FloatArray, books: FloatArray) -> None:
        """Write the mixed shares where `settle_rows` wrote each cell's own: window, centre, mean field and books."""
        from malles_env.market.kernels.period_kernel import SHARE

        state, pace = self.state, self._terms.pace
        share = self._mixed(buyers, seen)
        books[SHARE] = share
        state.window[np.arange(self.num_markets), (state.period - 1) % self.window] = share
        state.centre[:] = centre + pace * (share - centre)
        if not self.solves:
            state.mean_field[:] = state.window.sum(axis=1) / self.window

    def _charge(self, listed: BoolArray, flags: BoolArray, books: FloatArray, seller_profit: FloatArray) -> None:
        from malles_env.market.kernels.period_kernel import FEES

        before = books[FEES].copy()
        super()._charge(listed, flags, books, seller_profit)
        books[FEES] = before + self.sizes[:, None] * (books[FEES] - before)
        self._sum_profits(books, seller_profit)

    def _sum_profits(self, books: FloatArray, seller_profit: FloatArray) -> None:
        from malles_env.market.kernels.period_kernel import COST, FEES, PROFIT, REVENUE

        books[PROFIT] = books[REVENUE] - books[COST] - books[FEES]
        owns = self.catalog.seller_of[:, None] == np.arange(self.num_sellers)
        seller_profit[:] = books[PROFIT] @ owns
