"""Best response, Bertrand-Nash equilibrium, joint monopoly: the games' answers for any consumers with known tastes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.solvers.ascent import Box, Climb, climb
from malles_env.market.solvers.game import Game, exact_derivatives
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

WIDE = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One owner's best prices and listings against given ones of the others.

    Attributes:
        prices: Of all products, money, shape ``(J,)``; the others' as given.
        listed: Shape ``(J,)``.
        profit: Of the owner, money per period.
        gain: Profit above that of the prices and listings given, money per period.
    """

    prices: FloatArray
    listed: BoolArray
    profit: float
    gain: float


@dataclass(frozen=True, slots=True)
class Equilibrium:
    """Prices from which no owner wants to move.

    Attributes:
        prices: Money, shape ``(J,)``: of the equilibria found the one with the smallest residual.
        listed: Shape ``(J,)``.
        profit: Of each owner, money per period, shape ``(N,)``.
        residual: Largest profit an owner could gain by moving alone, as a share of its profit (exploitability).
        equilibria: Distinct price vectors reached, shape ``(E, J)``; NaN where not listed.
        agree: Share of the starts that reached each, shape ``(E,)``.
        iterations: Rounds that the longest start took.
    """

    prices: FloatArray
    listed: BoolArray
    profit: FloatArray
    residual: float
    equilibria: FloatArray
    agree: FloatArray
    iterations: int


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """The two ends of the profit gain: competition and the cartel."""

    nash: Equilibrium
    monopoly: Equilibrium


def best_response(
    game: Game,
    owner: int,
    prices: ArrayLike,
    listed: ArrayLike | None = None,
    *,
    owners: ArrayLike | None = None,
    bounded: bool = True,
    assortment: bool = False,
    tolerance: float = 1e-9,
    step: float = 0.1,
) -> Reply:
    """Return the prices (and listings) that are best for one owner while the others keep theirs.

    Where demand is plain mixed logit the first-order condition is solved by the zeta iteration of Morrow and Skerlos
    (2011); everywhere else, and after it, a direct search climbs, which copes with kinks at regular prices, with
    bounds, loyalty and coupling.

    Args:
        game: What constant prices earn.
        owner: Who moves.
        prices: Of all products, money, shape ``(J,)``; the owner's own are the start.
        listed: Shape ``(J,)``; default everything.
        owners: Owner of each product, whole numbers from 0; default the catalog's sellers.
        bounded: Keep prices within the catalog's bounds.
        assortment: Choose the listings too, up to the shelf capacity.
        tolerance: Last price step as a share of each price interval.
        step: First price step as a share of each price interval.

    Raises:
        InvalidInput: There is no such owner.
    """
    of = game.catalog.seller_of if owners is None else np.asarray(owners)
    own = np.flatnonzero(of == owner)
    if not len(own):
        raise invalid("owner", owner, f"one of {', '.join(map(str, np.unique(of)))}")
    money = np.array(prices, dtype=np.float64)
    shelf = np.ones(len(money), dtype=bool) if listed is None else np.array(listed, dtype=bool)
    before = float(game.product_profit(money, shelf)[0, own].sum())
    box = _box(game, own, of, bounded)
    if game.smooth_logit and not assortment:
        money = _zeta(game, money, shelf, of, own, box)
    found = _search(game, own, box, money, shelf, step, tolerance, assortment)
    money[own], shelf[own] = found.prices[0], found.listed[0]
    return Reply(money, shelf, float(found.value[0]), float(found.value[0]) - before)


def nash(
    game: Game,
    *,
    owners: ArrayLike | None = None,
    listed: ArrayLike | None = None,
    bounded: bool = True,
    assortment: bool = False,
    starts: int = 3,
    seed: int = 0,
    tolerance: float = 1e-8,
    rounds: int = 200,
) -> Equilibrium:
    """Return a Bertrand-Nash equilibrium, sought from several starts by best responses in turn.

    Args:
        game: What constant prices earn.
        owners: Owner of each product; default the catalog's sellers. Give two sellers one number to merge them.
        listed: Shape ``(J,)``; default all, or with `assortment` the products with the largest margins.
        bounded: Keep prices within the catalog's bounds.
        assortment: Owners choose their listings too; a pure equilibrium may then not exist, see `residual`.
        starts: Starting price vectors: regular prices, then random ones.
        seed: Of the random starts.
        tolerance: The turns end when no price moved by more than this share of its interval.
        rounds: Most turns of all owners.
    """
    of = game.catalog.seller_of if owners is None else np.asarray(owners)
    rng = np.random.default_rng(seed)
    catalog, ends = game.catalog, []
    for start in range(starts):
        uniform = rng.uniform(catalog.price_low, catalog.price_high)
        money = np.clip(catalog.regular_price, catalog.price_low, catalog.price_high) if start == 0 else uniform
        shelf = _first_shelf(game, of, assortment) if listed is None else np.array(listed, dtype=bool)
        ends.append(_take_turns(game, of, money, shelf, bounded, assortment, tolerance, rounds))
    return _gather(game, of, ends)


def monopoly(
    game: Game,
    *,
    listed: ArrayLike | None = None,
    bounded: bool = True,
    assortment: bool = False,
    starts: int = 3,
    seed: int = 0,
) -> Equilibrium:
    """Return the prices that maximise joint profit: the best of several climbs; see `nash` for the arguments.

    `profit` is that of the catalog's sellers. Each seller's shelf capacity holds.
    """
    of = np.zeros(game.catalog.num_products, dtype=np.int64)
    found = nash(game, owners=of, listed=listed, bounded=bounded, assortment=assortment, starts=starts, seed=seed)
    return Equilibrium(
        found.prices, found.listed, game.profit(found.prices, found.listed)[0], found.residual, found.equilibria,
        found.agree, found.iterations,
    )  # fmt: skip


def benchmarks(game: Game, *, assortment: bool | None = None, starts: int = 2, seed: int = 0) -> Benchmarks:
    """Return Nash equilibrium and joint monopoly within the catalog's bounds.

    Args:
        game: What constant prices earn.
        assortment: Whether sellers choose listings; default where some seller cannot list all it owns.
        starts: As in `nash`.
        seed: As in `nash`.
    """
    catalog = game.catalog
    owned = np.bincount(catalog.seller_of)
    choose = bool((catalog.shelf < owned).any()) or bool(catalog.listing_fee.any())
    choose = choose if assortment is None else assortment
    return Benchmarks(
        nash(game, assortment=choose, starts=starts, seed=seed),
        monopoly(game, assortment=choose, starts=starts, seed=seed),
    )


def _box(game: Game, own: IntArray, of: IntArray, bounded: bool) -> Box:
    catalog = game.catalog
    low, high = catalog.price_low[own], catalog.price_high[own]
    if not bounded:
        low, high = np.minimum(low, 1e-3 * high), WIDE * high
    # one owner of several sellers' products still fills each seller's own shelf: capacity is theirs together
    sellers = np.unique(catalog.seller_of[own])
    return Box(low, high, catalog.unit_cost[own], int(min(catalog.shelf[sellers].sum(), len(own))))


def _first_shelf(game: Game, of: IntArray, assortment: bool) -> BoolArray:
    catalog = game.catalog
    shelf = np.ones(catalog.num_products, dtype=bool)
    if assortment:
        margin = catalog.regular_price - catalog.unit_cost
        for seller in range(catalog.num_sellers):
            products = catalog.products_of(seller)
            shelf[products[np.argsort(-margin[products], kind="stable")[catalog.shelf[seller] :]]] = False
    return shelf


def _search(
    game: Game, own: IntArray, box: Box, prices: FloatArray, listed: BoolArray, step: float, tolerance: float,
    assortment: bool,
) -> Climb:  # fmt: skip
    seller_of, shelf = game.catalog.seller_of[own], game.catalog.shelf

    def value(rows: IntArray, money: FloatArray, chosen: BoolArray) -> FloatArray:
        all_prices, all_listed = np.tile(prices, (len(rows), 1)), np.tile(listed, (len(rows), 1))
        all_prices[:, own], all_listed[:, own] = money, chosen
        found = game.product_profit(all_prices, all_listed)[:, own].sum(axis=1)
        for seller in np.unique(seller_of):
            found = np.where(chosen[:, seller_of == seller].sum(axis=1) > shelf[seller], -np.inf, found)
        return np.asarray(found)

    return climb(
        value, box, prices[None, own], listed[None, own], step=step, tolerance=tolerance, rounds=200,
        assortments=assortment,
    )  # fmt: skip


def _zeta(
    game: Game, prices: FloatArray, listed: BoolArray, of: IntArray, own: IntArray, box: Box, rounds: int = 500
) -> FloatArray:
    """Return prices with the owner's set by p = c + zeta(p); the others keep theirs."""
    # a sales tax leaves the share `kept` of a price, which acts like a higher unit cost
    money, cost = prices.copy(), game.catalog.unit_cost / game.catalog.net_of_tax
    moving = own[listed[own]]
    keep = np.isin(own, moving)
    for _ in range(rounds):
        share, slope, cross = exact_derivatives(game, money, listed)
        margin = money[moving] - cost[moving]
        answer = cost[moving] + (cross[np.ix_(moving, moving)] @ margin + share[moving]) / slope[moving]
        new = np.clip(answer, box.low[keep], box.high[keep])
        moved = float(np.abs(new - money[moving]).max(initial=0.0))
        money[moving] = new
        if moved < 1e-13:
            break
    return money


def _take_turns(
    game: Game, of: IntArray, money: FloatArray, shelf: BoolArray, bounded: bool, assortment: bool, tolerance: float,
    rounds: int,
) -> tuple[FloatArray, BoolArray, int]:  # fmt: skip
    span = game.catalog.price_high - game.catalog.price_low
    exact = game.smooth_logit and not assortment
    step, owners = 0.2, np.unique(of)
    turns = 0
    while turns < rounds:
        turns += 1
        before, listed_before = money.copy(), shelf.copy()
        for owner in owners:
            own = np.flatnonzero(of == owner)
            if exact:
                money = _zeta(game, money, shelf, of, own, _box(game, own, of, bounded))
                continue
            reply = best_response(
                game, int(owner), money, shelf, owners=of, bounded=bounded, assortment=assortment,
                tolerance=max(tolerance / 4, min(step / 64, 1e-3)), step=step,
            )  # fmt: skip
            money, shelf = reply.prices, reply.listed
        moved = float((np.abs(money - before) / span)[shelf].max(initial=0.0))
        step = float(np.clip(2.0 * moved, 4.0 * tolerance, 0.2))
        if moved < tolerance and np.array_equal(shelf, listed_before):
            break
    return money, shelf, turns


def _gather(game: Game, of: IntArray, ends: list[tuple[FloatArray, BoolArray, int]]) -> Equilibrium:
    span = game.catalog.price_high - game.catalog.price_low
    offers = [np.where(shelf, money, np.nan) for money, shelf, _ in ends]
    first: list[int] = []
    labels = []
    for i, prices in enumerate(offers):
        near = [
            k for k, f in enumerate(first)
            if np.array_equal(ends[i][1], ends[f][1])
            and np.nanmax(np.abs(prices - offers[f]) / span, initial=0.0) < 1e-4
        ]  # fmt: skip
        if not near:
            first.append(i)
        labels.append(near[0] if near else len(first) - 1)
    profits = [game.profit(ends[i][0], ends[i][1], of)[0] for i in first]
    residuals = [_residual(game, of, *ends[i][:2]) for i in first]
    # with one owner there is nothing to agree on: the highest summit is the answer
    best = int(np.argmax([p.sum() for p in profits])) if len(np.unique(of)) == 1 else int(np.argmin(residuals))
    money, shelf, _ = ends[first[best]]
    return Equilibrium(
        money, shelf, profits[best], residuals[best], np.array([offers[i] for i in first]),
        np.bincount(labels) / len(labels), max(turns for _, _, turns in ends),
    )  # fmt: skip


def _residual(game: Game, of: IntArray, money: FloatArray, shelf: BoolArray) -> float:
    """Return the largest share of its profit that an owner gains by a fresh search over its prices."""
    gains = []
    for owner in np.unique(of):
        reply = best_response(game, int(owner), money, shelf, owners=of, tolerance=1e-5)
        gains.append(reply.gain / max(abs(reply.profit), 1e-300))
    return float(max(gains))
