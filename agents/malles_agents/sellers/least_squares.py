"""Iterated least squares: a seller that refits a demand curve to its own sales and always plays what fits best."""

from __future__ import annotations

import numpy as np

from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.remembering import Memory, RememberingSeller
from malles_agents.sellers.rules import best_sellers
from malles_env.errors import invalid
from malles_env.type_aliases import BoolArray, FloatArray


class IteratedLeastSquares(RememberingSeller):
    """Fits log(units + 1/2) = a_j - b p_j / r_j to all it sold since the episode began, and asks c_j + r_j / b.

    The slope is common to its products, r being regular prices; with that demand the profit of a product is largest at
    c_j + r_j / b (unit cost before tax). It lists what sells best, asks regular prices first, a share less in the
    second period, and is greedy from then on: it never moves prices to learn, so it may stop learning early at wrong
    prices (Keskin and Zeevi 2014, den Boer and Zwart 2014). It knows nothing of rivals, loyalty or draws of the tastes.

    Args:
        view: Whose products it prices.
        first_cut: Share taken off in the second period, above 0 and below 1.
    """

    def __init__(self, view: SellerView, first_cut: float = 0.2) -> None:
        super().__init__(view)
        if not 0.0 < first_cut < 1.0:
            raise invalid("first_cut", first_cut, "a number above 0 and below 1")
        self.first_cut = first_cut
        self.listed = best_sellers(view, view.regular_price)

    def start(self, batch: int) -> Memory:
        """Return empty sums: periods, and of each product x, y, xx and xy."""
        shape = (batch, len(self.listed))
        return {"periods": np.zeros(batch)} | {name: np.zeros(shape) for name in ("x", "y", "xx", "xy")}

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Add the last period, then ask the best price of the refitted curve."""
        view, own = self.view, self.view.products
        x = seen.prices[:, own] / view.regular_price
        y = np.log(np.nan_to_num(seen.sales[:, own]) + 0.5)
        informative = ~fresh[:, None] & seen.listed[:, own] & self.listed
        for name, value in {"x": x, "y": y, "xx": x * x, "xy": x * y}.items():
            memory[name] += np.where(informative, value, 0.0)
        memory["periods"] += ~fresh
        slope = self._slope(memory)
        best = view.unit_cost / view.catalog.net_of_tax + view.regular_price / np.maximum(slope, 1e-6)[:, None]
        early = memory["periods"][:, None]
        prices = np.where(early == 0, view.regular_price, (1.0 - self.first_cut) * view.regular_price)
        prices = np.clip(np.where(early >= 2, best, prices), view.price_low, view.price_high)
        return prices, np.broadcast_to(self.listed, prices.shape)

    @staticmethod
    def _slope(memory: Memory) -> FloatArray:
        """Return b, shape ``(B,)``: within products, over all of them; 0 where prices never differed."""
        count = np.maximum(memory["periods"], 1.0)[:, None]
        across = (memory["xy"] - memory["x"] * memory["y"] / count).sum(axis=1)
        spread = (memory["xx"] - memory["x"] ** 2 / count).sum(axis=1)
        return np.where(spread > 1e-9, -across / np.maximum(spread, 1e-9), 0.0)
