"""The MNL-bandit: which assortment to list when attractions must be learned (Agrawal et al. 2019)."""

from __future__ import annotations

import numpy as np

from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.remembering import Memory, RememberingSeller
from malles_env.errors import invalid
from malles_env.market.solvers import assortment
from malles_env.type_aliases import BoolArray, FloatArray


def optimistic(estimate: FloatArray, tries: FloatArray, periods: float, scale: float = 48.0) -> FloatArray:
    """Return v + sqrt(c v L / T) + c L / T, L = ln(sqrt(N) l + 1): upper bounds of attractions.

    The paper's constant c is 48 and far too careful at practical horizons; 1 does well.

    Args:
        estimate: v, picks per no-purchase, shape ``(..., N)``.
        tries: T, no-purchases while listed, shape ``(..., N)``; 0 gives infinity.
        periods: l, epochs so far, at least 1.
        scale: c.
    """
    log = np.log(np.sqrt(estimate.shape[-1]) * periods + 1.0)
    safe = np.maximum(tries, 1e-12)
    bound = estimate + np.sqrt(scale * estimate * log / safe) + scale * log / safe
    return np.where(tries > 0, bound, np.inf)


class MnlBandit(RememberingSeller):
    """Learns its products' attractions at regular prices and lists the assortment that is best if they are as high.

    In a market of many consumers a period is many epochs at once: the estimate is units sold per consumer who did not
    buy from this seller, T counts those consumers, and the assortment solves the capacitated problem exactly
    (`malles_env.market.solvers.assortment.capacity`). Each episode it starts from nothing.

    Args:
        view: Whose products it lists, at their regular prices.
        scale: The constant c of `optimistic`.
    """

    def __init__(self, view: SellerView, scale: float = 1.0) -> None:
        super().__init__(view)
        if not 0 < scale < np.inf:
            raise invalid("mnl-bandit scale", scale, "a finite number of more than 0")
        self.scale, self.size = scale, view.scenario.population_size
        self.prices = np.clip(view.regular_price, view.price_low, view.price_high)

    def start(self, batch: int) -> Memory:
        """Return products never listed."""
        shape = (batch, len(self.view.products))
        return {"sold": np.zeros(shape), "others": np.zeros(shape), "time": np.ones(batch)}

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Count the last period's sales, then list the optimistic assortment."""
        own, rows = self.view.products, np.flatnonzero(~fresh)
        sales, shown = np.nan_to_num(seen.sales[:, own]), seen.listed[:, own]
        others = np.maximum(self.size - sales.sum(axis=1, keepdims=True), 1.0)
        memory["sold"][rows] += (sales * shown)[rows]
        memory["others"][rows] += (others * shown)[rows]
        memory["time"][rows] += 1
        listed = np.array([self._best(memory, row) for row in range(len(sales))])
        return np.broadcast_to(self.prices, listed.shape), listed

    def _best(self, memory: Memory, row: int) -> BoolArray:
        tries = memory["others"][row]
        estimate = memory["sold"][row] / np.maximum(tries, 1e-12)
        bound = optimistic(estimate, tries, float(memory["time"][row]), self.scale)
        listed = np.zeros(len(tries), dtype=bool)
        untried = np.flatnonzero(~np.isfinite(bound))
        if len(untried):
            listed[untried[: self.view.capacity]] = True
            return listed
        margin = self.view.catalog.net_of_tax * self.prices - self.view.unit_cost
        found = assortment.capacity(margin, np.maximum(bound, 1e-12), self.view.capacity)
        listed[found.products] = True
        return listed
