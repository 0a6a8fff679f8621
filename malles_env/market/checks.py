"""What a market refuses: parts that do not fit each other, and actions that are not allowed."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import BoolArray, FloatArray, as_floats
from malles_env.market.catalog import Catalog
from malles_env.market.offer import Consumers
from malles_env.market.population import Population
from malles_env.market.state import DEMANDS, Demand, MarketState
from malles_env.market.tastes import Tastes, tastes_of

TastesMode = Literal["mean", "draws"]


def check_parts(
    catalog: Catalog, population: Population, consumers: Consumers, num_markets: int, demand: Demand
) -> None:
    """Check what a market is made of; the arguments are those of `malles_env.market.Market`.

    Raises:
        InvalidInput: Shapes that do not match, or a setting out of range.
    """
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
    if mode not in ("mean", "draws"):
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
