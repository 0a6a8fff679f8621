"""What a market refuses: parts that do not fit each other, and actions that are not allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import LARGEST_UTILITY, as_floats
from malles_env.market.catalog import Catalog
from malles_env.market.offer import Consumers
from malles_env.market.population import Population
from malles_env.market.state import DEMANDS, Demand, MarketState
from malles_env.market.tastes import Tastes, tastes_of
from malles_env.type_aliases import BoolArray, FloatArray

TastesMode = Literal["mean", "draws"]
MOST_NUMBERS = 1 << 28
"""Numbers that a batch of markets keeps from period to period, 2 GB of them."""
MOST_LOG_UNITS = 20.0
LARGEST_MONEY = 1e24
"""Of a period; divided by the smallest reward scale it still is a float32."""


def check_parts(
    catalog: Catalog, population: Population, consumers: Consumers, num_markets: int, demand: Demand
) -> None:
    """Check what a market is made of; the arguments are those of `malles_env.market.Market`.

    Raises:
        InvalidInput: Shapes that do not match, or a setting out of range.
    """
    if isinstance(num_markets, bool) or not isinstance(num_markets, (int, np.integer)) or num_markets < 1:
        raise invalid("num_markets", num_markets, "a whole number of at least 1")
    if not isinstance(demand, str) or demand not in DEMANDS:
        raise invalid("demand", demand, ", ".join(DEMANDS))
    if not isinstance(consumers, Consumers):
        raise invalid("consumers", consumers, "an object with num_segments, num_products and respond(offer)")
    shape = (population.num_segments, catalog.num_products)
    for name, found in (
        ("consumers", (consumers.num_segments, consumers.num_products)),
        ("population.initial_loyalty", (shape[0], population.initial_loyalty.shape[1] - 1)),
    ):
        if found != shape:
            raise invalid(f"{name} (segments, products)", found, f"{shape}, as in population and catalog")


def check_sizes(
    catalog: Catalog, population: Population, draws: Sequence[Tastes], num_markets: int, window: int
) -> None:
    """Check that a batch of markets fits into memory and that what it computes stays finite.

    Args:
        catalog: Gives prices, costs and fees.
        population: Gives the number of consumers.
        draws: The tastes; none where consumers are asked.
        num_markets: B.
        window: Periods of the mean field.

    Raises:
        InvalidInput: Too many numbers, utilities out of reach of exponentials, or sums of money that are no numbers.
    """
    kept = population.num_segments * (catalog.num_products + 1) + window * catalog.num_products
    if num_markets * kept > MOST_NUMBERS:
        raise invalid("num_markets", num_markets, f"at most {MOST_NUMBERS // kept:,} such markets at once")
    most_units = 1.0
    for tastes in draws:
        added = float(_most_added(catalog, tastes).max())
        if not added <= LARGEST_UTILITY:
            allowed = f"coefficients that add at most {LARGEST_UTILITY:g} to a utility at prices in their bounds"
            raise invalid("tastes", added, allowed)
        log_units = float(tastes.kappa.max()) + max(float(tastes.delta.max()), 0.0)
        if log_units > MOST_LOG_UNITS:
            raise invalid("tastes.kappa + tastes.delta", log_units, f"at most {MOST_LOG_UNITS:g}, the log of units")
        most_units = max(most_units, 1.0 + float(np.exp(log_units)))
        with np.errstate(over="ignore"):
            worth = tastes.worth_at_regular(catalog.regular_price)
        if not worth.max() <= LARGEST_MONEY:
            raise invalid("tastes.beta", float(tastes.beta[tastes.beta > 0.0].min()), "0, or a number less near to it")
    dearest = float(np.maximum(catalog.price_high, catalog.unit_cost).max())
    most = population.size * most_units * dearest
    if not most <= LARGEST_MONEY:
        raise invalid("population.size", population.size, f"so many that they spend at most {LARGEST_MONEY:g} a period")


def _most_added(catalog: Catalog, tastes: Tastes) -> FloatArray:
    """Return the most that price, discount, promotion and the others add to a utility, shape ``(S, J)``."""
    low, high, regular = catalog.price_low, catalog.price_high, catalog.regular_price
    if tastes.price_transform == "linear":
        below, width = regular - low, high - low
    else:
        below, width = np.log(regular / low), np.log(np.maximum(high, regular) / np.minimum(low, regular))
    pulls = sum(np.abs(getattr(tastes, name)) for name in ("gamma", "rho", "display", "feature"))
    moved = tastes.beta * np.maximum(below, 0.0) + (tastes.gain + tastes.loss) * width
    return np.asarray(moved + np.asarray(pulls)[:, None])


def drawn_tastes(
    catalog: Catalog, population: Population, consumers: Consumers, mode: TastesMode
) -> tuple[Tastes, ...]:
    """Return the tastes a market plays: the consumers' own, their draws, or none where they must be asked.

    Args:
        catalog: Of the market.
        population: Of the market.
        consumers: Who buys.
        mode: ``"mean"`` or ``"draws"``.

    Raises:
        InvalidInput: Another mode, consumers without draws, or draws that do not fit the market or one another.
    """
    if not isinstance(mode, str) or mode not in ("mean", "draws"):
        raise invalid("tastes", mode, "'mean' or 'draws'")
    tastes = tastes_of(consumers)
    if mode == "mean":
        return () if tastes is None else (tastes,)
    draws = tuple(getattr(consumers, "draws", ()))
    if not draws:
        raise invalid("tastes", mode, "'mean': these consumers carry no draws of their tastes")
    for d, draw in enumerate(draws):
        found, shape = (draw.num_segments, draw.num_products), (population.num_segments, catalog.num_products)
        if found != shape:
            raise invalid(f"draws[{d}] (segments, products)", found, f"{shape}, as in population and catalog")
        if draw.price_transform != draws[0].price_transform:
            raise invalid(f"draws[{d}].price_transform", draw.price_transform, f"{draws[0].price_transform!r}, as all")
    return draws


def checked_flags(name: str, value: ArrayLike | None, shape: tuple[int, ...]) -> BoolArray | None:
    """Return flags as a fresh array of `shape`, or None where there are none.

    Raises:
        InvalidInput: A shape that does not broadcast.
    """
    if value is None:
        return None
    try:
        return np.array(np.broadcast_to(np.asarray(value, dtype=bool), shape), order="C")
    except ValueError:
        raise invalid(name, np.shape(value), f"a shape that broadcasts to {shape}") from None


def checked_promotion(
    catalog: Catalog, display: ArrayLike | None, feature_ad: ArrayLike | None, listed: BoolArray
) -> BoolArray | None:
    """Return what is displayed and what is advertised as a fresh array ``(2, B, J)``, or None where nothing is.

    Args:
        catalog: Gives the sellers' slots, if they have any to keep to.
        display: Broadcastable to ``(B, J)``; None: none is.
        feature_ad: Likewise.
        listed: What is on the shelf, shape ``(B, J)``.

    Raises:
        InvalidInput: A shape that does not broadcast, or a seller who promotes more than it has slots for.
    """
    if display is None and feature_ad is None:
        return None
    given = (("display", display), ("feature_ad", feature_ad))
    rows = [checked_flags(name, value, listed.shape) for name, value in given]
    flags = np.stack([np.zeros_like(listed) if row is None else row for row in rows])
    if catalog.promotions is not None:
        catalog.promotions.check(flags & listed, catalog.sellers, catalog.seller_of)
    return flags


def checked_orders(catalog: Catalog, orders: ArrayLike | None, state: MarketState) -> FloatArray | None:
    """Return units ordered as a fresh array ``(B, J)``, or None where products are not ordered.

    Args:
        catalog: Says how products are ordered.
        orders: Broadcastable to ``(B, J)``; None: nothing is ordered.
        state: Stock on hand and on order.

    Raises:
        InvalidInput: Orders in a market without replenishment, a wrong shape, or a negative, fractional (where whole
            ones are due) or too large order.
    """
    given = catalog.replenishment
    if given is None:
        if orders is not None:
            raise invalid("orders", orders, "nothing, as the catalog has no replenishment")
        return None
    if orders is None:
        return np.zeros_like(state.stock)
    return given.checked(orders, given.room(state.stock, state.pipeline), catalog.product_ids)


def checked_actions(
    catalog: Catalog, prices: ArrayLike, listed: ArrayLike, num_markets: int
) -> tuple[FloatArray, BoolArray]:
    """Return prices and listings as fresh arrays of shape ``(B, J)``.

    Args:
        catalog: Gives J and the sellers' shelves.
        prices: Money, broadcastable to ``(B, J)``.
        listed: Which products are on the shelf, broadcastable to ``(B, J)``.
        num_markets: B.

    Raises:
        InvalidInput: A price that is not a positive finite number, a wrong shape, or a seller who lists more
            products than its shelf holds.
    """
    shape = (num_markets, catalog.num_products)
    checked = as_floats("prices", prices, shape, low=1e-12).copy()  # the kernel is compiled for writable arrays
    shelf = checked_flags("listed", listed, shape)
    assert shelf is not None
    for n in range(catalog.num_sellers):
        most = int(shelf[:, catalog.seller_of == n].sum(axis=1).max(initial=0))
        if most > catalog.shelf[n]:
            raise invalid(f"listed products of {catalog.sellers[n]}", most, f"at most {int(catalog.shelf[n])}")
    return checked, shelf
