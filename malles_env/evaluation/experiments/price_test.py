"""What is tested: a change of some prices of one seller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.market.catalog import Catalog
from malles_env.type_aliases import BoolArray, FloatArray

OUTCOMES = ("profit", "revenue", "units")
"""What is measured, per week and sum over the seller's products; profit is after listing fees."""


@dataclass(frozen=True)
class PriceTest:
    """Control and treatment of a price test; build it with `price_test`.

    Attributes:
        catalog: Of the market.
        seller: Index of the seller whose outcomes are measured.
        products: Indices of the products whose prices change.
        change: Relative change of these prices, e.g. -0.1.
        control: Prices without the change, money, shape ``(J,)``.
        treatment: Prices with it, money, shape ``(J,)``.
        listed: What is on the shelf in both, shape ``(J,)``.
    """

    catalog: Catalog
    seller: int
    products: tuple[int, ...]
    change: float
    control: FloatArray
    treatment: FloatArray
    listed: BoolArray

    @property
    def seller_name(self) -> str:
        """Whose outcomes are measured."""
        return self.catalog.sellers[self.seller]

    @property
    def product_ids(self) -> tuple[str, ...]:
        """Names of the products whose prices change."""
        return tuple(self.catalog.product_ids[j] for j in self.products)


def price_test(
    catalog: Catalog,
    *,
    seller: str | None = None,
    products: Sequence[str] = (),
    change: float,
    prices: ArrayLike | None = None,
    listed: ArrayLike | None = None,
) -> PriceTest:
    """Return a price test after checking it.

    Args:
        catalog: Of the market.
        seller: Whose outcomes are measured; default the owner of `products`, or the first seller.
        products: Names of its products whose prices change; default all it lists.
        change: Relative change of their prices, more than -1 and not 0.
        prices: Control prices, money, broadcastable to ``(J,)``; default the regular prices within their bounds.
        listed: What is on the shelf, broadcastable to ``(J,)``; default everything.

    Raises:
        InvalidInput: No such seller or product, a product of another seller or not on the shelf, more products listed
            than the shelf holds, a change of nothing, or prices outside a product's bounds.
    """
    owner = _seller(catalog, seller, products)
    shape = (catalog.num_products,)
    usual = np.clip(catalog.regular_price, catalog.price_low, catalog.price_high)
    control = as_floats("prices", usual if prices is None else prices, shape, low=1e-9)
    shelf = np.array(np.broadcast_to(True if listed is None else np.asarray(listed, dtype=bool), shape))
    for n, most in enumerate(catalog.shelf):
        count = int(shelf[catalog.seller_of == n].sum())
        if count > most:
            raise invalid(f"listed products of {catalog.sellers[n]}", count, f"at most {int(most)}")
    changed = _products(catalog, owner, products, shelf)
    if not np.isfinite(change) or change <= -1.0 or change == 0.0:
        raise invalid("change", change, "a relative change of more than -100% that is not 0, e.g. -0.1 for -10%")
    treatment = control.copy()
    treatment[list(changed)] *= 1.0 + change
    for j in np.flatnonzero(shelf):
        low, high, name = float(catalog.price_low[j]), float(catalog.price_high[j]), catalog.product_ids[j]
        if not low <= control[j] <= high:
            raise invalid(f"prices.{name}", float(control[j]), f"its price bounds, {low:g} to {high:g}")
        if not low * (1 - 1e-9) <= treatment[j] <= high * (1 + 1e-9):
            bounds = " to ".join(f"{int(1000 * (end / control[j] - 1)) / 1000:+.1%}" for end in (low, high))
            allowed = f"{bounds}, which keeps {name} (now {control[j]:g}) within its price bounds, {low:g} to {high:g}"
            raise invalid("change", f"{change:+.1%}", allowed)
    treatment = np.where(shelf, np.clip(treatment, catalog.price_low, catalog.price_high), treatment)
    return PriceTest(catalog, owner, changed, float(change), control, treatment, shelf)


def _seller(catalog: Catalog, seller: str | None, products: Sequence[str]) -> int:
    if seller is not None and seller not in catalog.sellers:
        raise invalid("seller", seller, ", ".join(catalog.sellers))
    for name in products:
        if name not in catalog.product_ids:
            raise invalid("product", name, ", ".join(catalog.product_ids))
    if seller is not None:
        return catalog.sellers.index(seller)
    return int(catalog.seller_of[catalog.product_ids.index(products[0])]) if products else 0


def _products(catalog: Catalog, owner: int, products: Sequence[str], listed: BoolArray) -> tuple[int, ...]:
    owned = [int(j) for j in catalog.products_of(owner)]
    shelf = [j for j in owned if listed[j]]
    for name in products:
        j = catalog.product_ids.index(name)
        if j not in owned:
            names = ", ".join(catalog.product_ids[k] for k in owned)
            raise invalid("product", name, f"a product of {catalog.sellers[owner]}: {names}")
        if j not in shelf:
            names = ", ".join(catalog.product_ids[k] for k in shelf)
            raise invalid("product", name, f"a product on the shelf: {names or 'none is'}")
    chosen = tuple(catalog.product_ids.index(name) for name in dict.fromkeys(products)) or tuple(shelf)
    if not chosen:
        raise invalid("product", "none", f"a product of {catalog.sellers[owner]} on the shelf; it lists none")
    return chosen
