"""What can be sold: products, who sells them, at what cost and within which price bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from malles_env.errors import invalid
from malles_env.market.arrays import MOST, as_floats
from malles_env.market.seller_rules.price_rules import PriceRules
from malles_env.market.seller_rules.promotion import Promotions
from malles_env.market.seller_rules.replenishment import Replenishment
from malles_env.market.seller_rules.tiers import Tiers
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Product:
    """One product of one seller.

    Attributes:
        product_id: Unique name, used in observations, logs and files.
        seller: Name of the seller who sets its price.
        unit_cost: Cost of one unit in money, at least 0.
        regular_price: Undiscounted price in money, more than 0; discounts are measured against it.
        price_low: Lowest price the seller may ask, in money; default half the regular price.
        price_high: Highest price the seller may ask, in money; default twice the regular price.
        stock: Units on hand at the start of an episode; infinite when never short.
        listing_fee: Money paid for each period in which the product is listed.
        title: The words a person reads.
        enters: First period in which it may be listed; before, its listing is ignored.
    """

    product_id: str
    seller: str
    unit_cost: float
    regular_price: float
    price_low: float | None = None
    price_high: float | None = None
    stock: float = np.inf
    listing_fee: float = 0.0
    title: str = ""
    enters: int = 0


@dataclass(frozen=True)
class Catalog:
    """All products of a market as arrays of length J, and its N sellers.

    Attributes:
        products: The J products; their order is the product axis of every array in this package.
        capacity: Most products a seller may list at once, per seller name; a seller not named may list all.
        sellers: Seller names in order of first appearance.
        seller_of: Seller index of each product, shape ``(J,)``.
        unit_cost: Cost of one unit, money, shape ``(J,)``.
        regular_price: Undiscounted price, money, shape ``(J,)``.
        price_low: Lowest price that may be asked, money, shape ``(J,)``.
        price_high: Highest price that may be asked, money, shape ``(J,)``.
        listing_fee: Money per listed product and period, shape ``(J,)``.
        stock: Units at the start of an episode, shape ``(J,)``; may be infinite.
        shelf: Most products each seller may list, shape ``(N,)``.
        sales_tax: Tax on sales as a share of the price before tax, at least 0; prices include it, and a seller keeps
            price / (1 + sales_tax).
        unit_tax: The part of every unit cost that is tax, money; welfare counts it as revenue.
        promotions: What display and advertising cost sellers, and their slots; None: sellers cannot promote.
        price_rules: What prices have to obey beside their bounds; None: nothing.
        replenishment: How products are ordered; None: they are not, and each unit costs its unit cost when it is sold.
            Otherwise it costs that, less the unit tax, when it is ordered.
        tiers: Which products may carry a quantity discount; None: none may.
        enters: First period in which each product may be listed, shape ``(J,)``.

    Raises:
        InvalidInput: No product, a repeated product name, a negative cost, crossed price bounds and the like.
    """

    products: tuple[Product, ...]
    capacity: dict[str, int] = field(default_factory=dict)
    sales_tax: float = 0.0
    unit_tax: float = 0.0
    promotions: Promotions | None = None
    price_rules: PriceRules | None = None
    replenishment: Replenishment | None = None
    tiers: Tiers | None = None
    sellers: tuple[str, ...] = field(init=False)
    seller_of: IntArray = field(init=False, repr=False)
    unit_cost: FloatArray = field(init=False, repr=False)
    regular_price: FloatArray = field(init=False, repr=False)
    price_low: FloatArray = field(init=False, repr=False)
    price_high: FloatArray = field(init=False, repr=False)
    stock: FloatArray = field(init=False, repr=False)
    listing_fee: FloatArray = field(init=False, repr=False)
    shelf: IntArray = field(init=False, repr=False)
    enters: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the products and build the arrays."""
        products = tuple(self.products)
        if not products:
            raise invalid("products", list(products), "at least one product")
        ids = [product.product_id for product in products]
        for name in ids:
            if ids.count(name) > 1:
                raise invalid("products.product_id", name, "a name used once")
        sellers = tuple(dict.fromkeys(product.seller for product in products))
        set_ = object.__setattr__
        set_(self, "products", products)
        set_(self, "sellers", sellers)
        set_(self, "seller_of", _frozen([sellers.index(product.seller) for product in products]))
        self._set("unit_cost", [p.unit_cost for p in products])
        self._set("regular_price", [p.regular_price for p in products], low=1e-9)
        lows = [p.regular_price / 2 if p.price_low is None else p.price_low for p in products]
        highs = [p.regular_price * 2 if p.price_high is None else p.price_high for p in products]
        self._set("price_low", lows, low=1e-9)
        self._set("price_high", highs)
        self._set("stock", self._first_stock(), finite=False)
        self._set("listing_fee", [p.listing_fee for p in products])
        for j, (low, high) in enumerate(zip(self.price_low, self.price_high, strict=True)):
            if high <= low:
                raise invalid(f"products[{j}].price_high", float(high), f"more than price_low = {low}")
        set_(self, "shelf", _frozen(self._shelf(sellers)))
        if not 0.0 <= self.sales_tax <= MOST:
            raise invalid("sales_tax", self.sales_tax, f"0 to {MOST:g}, e.g. 0.2 for a fifth on top")
        if not 0.0 <= self.unit_tax <= self.unit_cost.min():
            raise invalid("unit_tax", self.unit_tax, f"0 to {self.unit_cost.min():g}, as it is part of each unit cost")
        for j, product in enumerate(products):
            if product.enters < 0:
                raise invalid(f"products[{j}].enters", product.enters, "a whole number of at least 0")
        set_(self, "enters", _frozen([product.enters for product in products]))
        if self.promotions is not None:
            self.promotions.budget(sellers)
        if self.tiers is not None:
            self.tiers.check(ids)
        if self.price_rules is not None:
            boxes = zip(self.price_low, self.price_high, self.unit_cost, strict=True)
            for j, (low, high, cost) in enumerate(boxes):
                for problem in self.price_rules.problems(j, float(low), float(high), float(cost), self.net_of_tax):
                    raise problem

    def _set(self, name: str, values: Sequence[float], low: float = 0.0, *, finite: bool = True) -> None:
        high = MOST if finite else np.inf
        array = as_floats(f"products.{name}", values, (len(self.products),), low=low, high=high, finite=finite)
        object.__setattr__(self, name, array)

    def _first_stock(self) -> list[float]:
        stock = [product.stock for product in self.products]
        if self.replenishment is None:
            return stock
        supplies = self.replenishment.supplies
        if len(supplies) != len(stock):
            raise invalid("replenishment", f"{len(supplies)} supplies", f"{len(stock)}, one per product")
        for j, units in enumerate(stock):
            if units != np.inf:
                raise invalid(f"products[{j}].stock", units, "nothing beside replenishment, whose initial says it")
        return [float(supply.initial) for supply in supplies]

    def _shelf(self, sellers: tuple[str, ...]) -> list[int]:
        for name, limit in self.capacity.items():
            if name not in sellers:
                raise invalid("capacity", name, f"one of the sellers {', '.join(sellers)}")
            if limit < 1:
                raise invalid(f"capacity.{name}", limit, "a whole number of at least 1")
        counts = np.bincount(self.seller_of, minlength=len(sellers))
        return [min(int(counts[n]), self.capacity.get(name, int(counts[n]))) for n, name in enumerate(sellers)]

    @property
    def num_products(self) -> int:
        """J, the number of products."""
        return len(self.products)

    @property
    def net_of_tax(self) -> float:
        """Share of the price that the seller keeps after sales tax."""
        return 1.0 / (1.0 + self.sales_tax)

    @property
    def num_sellers(self) -> int:
        """N, the number of sellers."""
        return len(self.sellers)

    @property
    def product_ids(self) -> tuple[str, ...]:
        """The J product names."""
        return tuple(product.product_id for product in self.products)

    def products_of(self, seller: int) -> IntArray:
        """Return the indices of the products that seller number `seller` owns, ascending."""
        return np.flatnonzero(self.seller_of == seller)


def _frozen(values: Sequence[int]) -> IntArray:
    array = np.asarray(values, dtype=np.int64)
    array.setflags(write=False)
    return array
