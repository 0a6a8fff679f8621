"""Sellers who know the consumers and choose what to list: exactly for all segments, or in order of revenue."""

from __future__ import annotations

import numpy as np

from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.remembering import Memory, RememberingSeller
from malles_env.errors import invalid
from malles_env.market.solvers.mixture import Mixture
from malles_env.market.tastes import tastes_of
from malles_env.type_aliases import BoolArray, FloatArray


def mixture_of(view: SellerView, prices: FloatArray) -> Mixture:
    """Return the seller's products before the segments at some prices, in the absence of others.

    Loyalty, reference prices and the mean field are left out: what is listed now does not change what sells later.

    Args:
        view: Whose products, and who buys.
        prices: Money, shape ``(J_n,)``.

    Raises:
        InvalidInput: Consumers that must be asked.
    """
    tastes = tastes_of(view.consumers)
    if tastes is None:
        raise invalid("seller", "best-assortment", "a scenario whose consumers have tastes")
    own = view.products
    utility = tastes.alpha + tastes.utility_of_price(_all_prices(view, prices)[None], view.catalog.regular_price)[0]
    if tastes.price_transform == "linear":
        utility = utility - tastes.beta * view.catalog.regular_price
    units = 1.0 + np.exp(tastes.kappa[:, own])
    margin = units * (view.catalog.net_of_tax * prices - view.unit_cost)
    fee = view.catalog.listing_fee[own] / view.scenario.population_size
    return Mixture(margin, np.exp(utility[:, own]), view.scenario.population().weights, fee)


def _all_prices(view: SellerView, prices: FloatArray) -> FloatArray:
    every = view.catalog.regular_price.copy()
    every[view.products] = prices
    return every


class AssortmentSeller(RememberingSeller):
    """Lists the same prices always and, of what has been launched, an assortment that a rule chooses.

    Args:
        view: Whose products it lists.
        markup: Factor on its regular prices; clipped into the price bounds.
    """

    def __init__(self, view: SellerView, markup: float = 1.0) -> None:
        super().__init__(view)
        if not 0.0 < markup < np.inf:
            raise invalid("best-assortment markup", markup, "a finite number above 0")
        self.prices = np.clip(markup * view.regular_price, view.price_low, view.price_high)
        self.mixture = mixture_of(view, self.prices)
        self._known: dict[int, BoolArray] = {}

    def shelf(self, period: int) -> BoolArray:
        """Return what it lists in a period, ``(J_n,)``; solved once per set of launches."""
        there = self.view.catalog.enters[self.view.products] <= period
        key = int(there.sum())
        if key not in self._known:
            self._known[key] = self.choose(there) if key else np.zeros(len(there), dtype=bool)
        return self._known[key]

    def choose(self, there: BoolArray) -> BoolArray:
        """Return the assortment out of products that are there, ``(J_n,)``."""
        raise NotImplementedError

    def start(self, batch: int) -> Memory:
        """Return episodes in their first period."""
        return {"period": np.zeros(batch, dtype=np.int64)}

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Return prices and what is listed in the period that each row is in, and count it."""
        listed = np.stack([self.shelf(int(period)) for period in memory["period"]])
        memory["period"] += 1
        return np.broadcast_to(self.prices, listed.shape), listed


class BestAssortment(AssortmentSeller):
    """Lists the exactly best assortment for all segments, see `malles_env.market.solvers.mixture.Mixture`."""

    def __init__(self, view: SellerView, markup: float = 1.0) -> None:
        super().__init__(view, markup)
        self._bounds: dict[int, float] = {}

    def choose(self, there: BoolArray) -> BoolArray:
        """Return the best assortment."""
        found = self.mixture.best(self.view.capacity, there)
        self._bounds[int(there.sum())] = found.bound
        return found.offered

    def bound(self, period: int) -> float:
        """Return what no assortment of what is there in a period earns more than, money per consumer."""
        self.shelf(period)
        return self._bounds.get(int((self.view.catalog.enters[self.view.products] <= period).sum()), 0.0)


class RevenueOrdered(AssortmentSeller):
    """Lists the products of the largest margins, as many as are best, up to capacity (Talluri and van Ryzin 2004)."""

    def choose(self, there: BoolArray) -> BoolArray:
        """Return the best of the nested sets."""
        share = self.mixture.weights @ self.mixture.attraction
        margin = self.mixture.weights @ (self.mixture.margin * self.mixture.attraction) / share
        order = [j for j in np.argsort(-margin, kind="stable") if there[j]][: self.view.capacity]
        sets = np.zeros((len(order), len(there)), dtype=bool)
        for count in range(len(order)):
            sets[count:, order[count]] = True
        best: BoolArray = sets[int(self.mixture.profit(sets).argmax())]
        return best
