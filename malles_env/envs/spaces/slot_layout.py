"""Which product stands in which slot of a seller's actions and observations."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from malles_env._moved import old_names
from malles_env.errors import invalid
from malles_env.market import Catalog
from malles_env.type_aliases import FloatArray, IntArray

NOTHING = -1


class SlotLayout:
    """Where the products of each of the N sellers of a catalog stand in actions and observations.

    Every seller has W slots, W being the largest number of products that one seller owns; a seller with fewer
    leaves its last slots empty. So all sellers share their spaces, and one policy can serve each of them.

    Attributes:
        agents: ``"seller_0"`` to ``"seller_<N-1>"``; seller n of the catalog plays ``"seller_n"``.
        own: Product in each slot, or -1, shape ``(N, W)``.
        view: The same, own slots first, then those of the next sellers in a circle, shape ``(N, N * W)``.
        table: Lowest price, width of the price box, unit cost, regular price held in the box; money, ``(4,
            J)``.
        shelf: Shelf capacity of each seller, shape ``(N,)``.
        seller_of: Seller of each product, shape ``(J,)``.
        promotion_slots: How many products each seller may display (row 0) and advertise (row 1), shape ``(2, N)``;
            None where sellers cannot promote.
        deepest_tier: Deepest quantity discount of each product, share of its list price, 0 where it carries none, shape
            ``(J,)``; None where no product carries one.
        largest_order: Most units of one order, shape ``(J,)``; None where products are not ordered.
        whole_orders: Whether orders are whole numbers.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        products = [catalog.products_of(n) for n in range(catalog.num_sellers)]
        self.slots = max(len(indices) for indices in products)
        self.own = np.full((catalog.num_sellers, self.slots), NOTHING, dtype=np.int64)
        for n, indices in enumerate(products):
            self.own[n, : len(indices)] = indices
        self.view = np.stack([np.roll(self.own, -n, axis=0).reshape(-1) for n in range(catalog.num_sellers)])
        self.agents = tuple(f"seller_{n}" for n in range(catalog.num_sellers))
        low, high = catalog.price_low, catalog.price_high
        regular = np.clip(catalog.regular_price, low, high)
        self.table = np.ascontiguousarray([low, high - low, catalog.unit_cost, regular])
        # writable copies: the catalog's arrays are read-only until pickled, and the kernels compile for each kind
        self.shelf, self.seller_of = catalog.shelf.copy(), catalog.seller_of.copy()
        promotions = catalog.promotions
        self.promotion_slots = None if promotions is None else promotions.budget(catalog.sellers)
        tiers = catalog.tiers
        self.deepest_tier = None if tiers is None else tiers.deepest(catalog.product_ids)
        given = catalog.replenishment
        self.largest_order = None if given is None else given.of("largest")
        self.whole_orders = given is not None and given.whole_units

    @property
    def count(self) -> int:
        """N."""
        return len(self.agents)

    def products(self, seller: int) -> IntArray:
        """Return the products of a seller, shape ``(J_n,)``."""
        return self.own[seller][self.own[seller] != NOTHING]

    def tier_slots(self, seller: int) -> IntArray:
        """Return the slots of a seller whose products may carry a quantity discount."""
        most = np.zeros(self.catalog.num_products) if self.deepest_tier is None else self.deepest_tier
        return np.flatnonzero(most[self.products(seller)])

    def index(self, agent: str) -> int:
        """Return the number of an agent.

        Raises:
            InvalidInput: There is no such agent.
        """
        if not isinstance(agent, str) or agent not in self.agents:
            raise invalid("agent", agent, ", ".join(self.agents))
        return self.agents.index(agent)

    @cached_property
    def default_offer(self) -> tuple[FloatArray, np.ndarray]:
        """Regular prices (money) and the shelf of largest margins at them, both ``(J,)``; launches come last."""
        margin, listed = self.table[3] - self.table[2], np.zeros(self.catalog.num_products, dtype=bool)
        for n in range(self.count):
            products = self.products(n)
            best = products[np.lexsort((-margin[products], self.catalog.enters[products] > 0))]
            listed[best[: self.catalog.shelf[n]]] = True
        return self.table[3].copy(), listed


__getattr__ = old_names(__name__)
