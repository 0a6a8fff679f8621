"""Sellers that follow a rule: regular prices, cost plus a mark-up, random, or given prices for ever."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from malles_agents.seller_view import SellerView
from malles_env.errors import invalid
from malles_env.type_aliases import BoolArray, FloatArray

Predicted = tuple[np.ndarray, Any]


class RuleSeller:
    """A seller that decides prices and assortment in physical units and answers SB3's `predict`.

    It promotes nothing, and orders, where products are ordered, as `malles_env.envs.core.base_stock.BaseStock` does.

    Attributes:
        view: Whose products it prices.
        lots: Whether it orders in lots.
    """

    lots = False

    def __init__(self, view: SellerView) -> None:
        self.view = view

    def decide(self, observation: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return prices in money and listings, each ``(B, J_n)``, for observations ``(B, D)``."""
        raise NotImplementedError

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Predicted:
        """Answer one observation ``(D,)`` or a batch ``(B, D)`` with actions of the env, as SB3 models do.

        Args:
            observation: Flat observation(s) of this seller.
            state: Ignored and handed back: rules keep no hidden state.
            episode_start: Ignored.
            deterministic: Ignored; only the random seller draws.

        Returns:
            Action(s) of the seller's action space, and `state`.
        """
        batch = np.atleast_2d(observation)
        action = self.view.act(batch, *self.decide(batch), lots=self.lots)
        return (action if np.ndim(observation) > 1 else action[0]), state


class StationarySeller(RuleSeller):
    """Always the same prices and assortment.

    Args:
        view: Whose products it prices.
        prices: Money, broadcastable to ``(J_n,)``; clipped into the price bounds.
        listed: Which products it lists, shape ``(J_n,)``; default the best sellers, up to capacity.

    Raises:
        InvalidInput: A price that is not a positive number, or a wrong shape.
    """

    def __init__(self, view: SellerView, prices: Any, listed: Any = None) -> None:
        super().__init__(view)
        try:
            array = np.array(np.broadcast_to(np.asarray(prices, dtype=np.float64), view.products.shape))
        except ValueError:
            raise invalid("prices", prices, f"{len(view.products)} numbers") from None
        if not np.isfinite(array).all() or (array <= 0).any():
            raise invalid("prices", array.tolist(), "finite numbers above 0")
        self.prices = np.clip(array, view.price_low, view.price_high)
        self.listed = best_sellers(view, self.prices) if listed is None else np.asarray(listed, dtype=bool)

    def decide(self, observation: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Repeat the prices and listings for each row."""
        shape = (len(observation), len(self.prices))
        return np.broadcast_to(self.prices, shape), np.broadcast_to(self.listed, shape)

    @cached_property
    def _action(self) -> Any:
        return self.view.encode(self.prices, self.listed)

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Predicted:
        """Answer with the one action there is, encoded once unless it orders or is a dict."""
        if self.view.orders or isinstance(self._action, dict):
            return super().predict(observation, state, episode_start, deterministic)
        if np.ndim(observation) == 1:
            return self._action.copy(), state
        return np.tile(self._action, (len(observation), 1)), state


def fixed_price(view: SellerView, price: float | None = None) -> StationarySeller:
    """Return the seller that keeps its regular prices, or `price` (money) for every product."""
    return StationarySeller(view, view.regular_price if price is None else price)


def lot_size(view: SellerView) -> StationarySeller:
    """Return the seller that keeps regular prices and orders in lots (`malles_env.envs.core.base_stock`)."""
    seller = fixed_price(view)
    seller.lots = True
    return seller


def discount(view: SellerView, depth: float = 0.35) -> StationarySeller:
    """Return the seller that takes the share `depth` off its regular prices in every period.

    Raises:
        InvalidInput: The depth is outside [0, 1).
    """
    if not 0.0 <= depth < 1.0:
        raise invalid("discount depth", depth, "at least 0 and less than 1, e.g. 0.35 for 35% off")
    return StationarySeller(view, (1.0 - depth) * view.regular_price)


def cost_plus(view: SellerView, markup: float = 0.5) -> StationarySeller:
    """Return the seller that asks unit cost times (1 + markup).

    Raises:
        InvalidInput: The mark-up is negative or no number.
    """
    if not np.isfinite(markup) or markup < 0:
        raise invalid("cost-plus mark-up", markup, "a number of at least 0, e.g. 0.5 for half the cost on top")
    floor = np.maximum(view.unit_cost * (1.0 + markup), 1e-12)
    return StationarySeller(view, floor)


class RandomSeller(RuleSeller):
    """Prices uniform between the bounds, a random full shelf; one stream per agent, so runs repeat by seed."""

    def __init__(self, view: SellerView, seed: int = 0) -> None:
        super().__init__(view)
        self.rng = np.random.default_rng([seed, view.index])

    def decide(self, observation: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Draw prices and a shelf for each row."""
        view, shape = self.view, (len(observation), len(self.view.products))
        prices = self.rng.uniform(view.price_low, view.price_high, shape)
        rank = self.rng.random(shape).argsort(axis=1).argsort(axis=1)
        return prices, rank < view.capacity


def best_sellers(view: SellerView, prices: FloatArray) -> BoolArray:
    """Return the shelf a simple seller fills: the products with the largest past share times margin, up to capacity.

    Past shares are the population's last purchases; ties and unknown products go by margin, then by order.

    Args:
        view: Products, costs and past shares.
        prices: Money, shape ``(J_n,)``.
    """
    margin = view.catalog.net_of_tax * prices - view.unit_cost
    order = np.lexsort((np.arange(len(margin)), -margin, -view.past_share * margin))
    listed = np.zeros(len(margin), dtype=bool)
    listed[order[: view.capacity]] = True
    return listed
