"""Sellers that act inside an env: a simple default rule, and any policies with SB3's `predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from malles_env.envs.core.base_stock import BaseStock, expected_units
from malles_env.envs.core.hooks import as_policy
from malles_env.envs.core.market_batch import MarketBatch
from malles_env.envs.core.named import Beginner, Policy, named_seller
from malles_env.errors import invalid
from malles_env.type_aliases import BoolArray, FloatArray


class RegularPrice:
    """The default rival: regular prices for the products with the largest margins, up to shelf capacity.

    Where products are ordered, it orders as `BaseStock` does.

    Args:
        market_batch: Where it plays.
        seller: Whose products it sells.
    """

    def __init__(self, market_batch: MarketBatch, seller: int) -> None:
        prices, listed = market_batch.slot_layout.default_offer
        products = market_batch.slot_layout.products(seller)
        self.action = market_batch.actions.encode(seller, prices[products], listed[products])
        self._orders: BaseStock | None = None
        if market_batch.actions.orders:
            layout = market_batch.layout if market_batch.observation_fn is None else market_batch.plain_layout
            self._orders = BaseStock(layout, seller, expected_units(market_batch.market))
            self._encode = partial(market_batch.actions.encode, seller)
            self._usual = prices[products], listed[products]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the same prices and shelf for each market of the batch; see `Policy`."""
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        if self._orders is not None:
            blocks = self._orders.layout.blocks
            as_dict = isinstance(observation, dict)
            flat = np.concatenate([observation[block.name] for block in blocks], axis=1) if as_dict else first
            prices, listed = (np.tile(part, (len(first), 1)) for part in self._usual)
            return self._encode(prices, listed, order=self._orders.orders(flat, listed)), state
        if isinstance(self.action, dict):
            return {key: np.tile(value, (len(first), 1)) for key, value in self.action.items()}, state
        return np.tile(self.action, (len(first), 1)), state


AnySeller = Policy | str | Callable[[Any], Any]
Policies = AnySeller | Mapping[str, AnySeller] | None
"""Who plays the other sellers: one policy, function or seller's name for all of them, or one per agent."""


def _made(policy: Any, market_batch: MarketBatch, seller: int) -> Policy:
    if isinstance(policy, str):
        return named_seller(policy, market_batch, market_batch.slot_layout.agents[seller])
    return RegularPrice(market_batch, seller) if policy is None else policy


class Rivals:
    """The policies of all sellers but the learner's, with their memories.

    Args:
        market_batch: Where they play.
        learner: Number of the seller that is left to the learner; -1 for nobody.
        policies: None (all `RegularPrice`), one policy for every rival, or policies by agent name; agents not
            listed are `RegularPrice`. A policy may be a function from observations to actions, see `FunctionSeller`, or
            a seller's name, see `named_seller`; such sellers always see the
            flat observation of one period with ``"prices"`` monitoring, and those that draw at random draw anew
            from the seeds when all markets are given some.
        field: What errors call `policies`.

    Policies that are no names see what the market batch shows: the blocks by name where `MarketBatch.as_dict` says so.

    Raises:
        InvalidInput: An unknown agent or seller, the learner itself, or an object without `predict`.
    """

    def __init__(
        self,
        market_batch: MarketBatch,
        learner: int,
        policies: Policies,
        field: str = "rivals",
    ) -> None:
        agents = market_batch.slot_layout.agents
        names = [agent for n, agent in enumerate(agents) if n != learner]
        if policies is None:
            chosen: dict[str, Any] = {}
        elif isinstance(policies, Mapping):
            chosen = {name: as_policy(policy) for name, policy in policies.items()}
        else:
            chosen = dict.fromkeys(names, as_policy(policies))
        for name, policy in chosen.items():
            if name not in names:
                raise invalid(field, name, ", ".join(names) or "nobody: the seller is alone")
            if not isinstance(policy, (Policy, str)):
                allowed = "a seller's name, a function of observations, or an object with predict(observation, ...)"
                raise invalid(f"{field}[{name!r}]", policy, allowed)
        self._market_batch = market_batch
        self._named = {n for n, agent in enumerate(agents) if isinstance(chosen.get(agent), str)}
        own = market_batch.observation_fn is not None  # the default rival knows no observation of a user's own
        self._plain = {n for n, agent in enumerate(agents) if n in self._named or (own and agent not in chosen)}
        self.policies: dict[int, Policy] = {
            n: _made(chosen.get(agent), market_batch, n) for n, agent in enumerate(agents) if n != learner
        }
        self.forget(None)

    def reseed(self) -> None:
        """Give sellers by name that draw at random new streams, which the seeds of all markets decide."""
        for seller in self._named:
            if isinstance(getattr(self.policies[seller], "rng", None), np.random.Generator):
                words = [seller, *self._market_batch.episode.tolist()]
                self.policies[seller].rng = np.random.default_rng(words)  # type: ignore[attr-defined]

    def forget(self, markets: BoolArray | None) -> None:
        """Note that episodes start, in some markets or (None) in all."""
        if markets is None:
            self._states: dict[int, Any] = {}
            self._fresh = np.ones(self._market_batch.num_markets, dtype=bool)
        else:
            self._fresh = self._fresh | markets

    def act(self, rows: FloatArray, observations: np.ndarray, cycles: float) -> None:
        """Fill the rivals' actions.

        Args:
            rows: Actions of all sellers, shape ``(B, N, A)``.
            observations: Of all sellers, shape ``(B, N, D)``; each policy gets a copy of its own rows.
            cycles: Periods of an episode.

        Raises:
            InvalidInput: A policy answered with the wrong shape.
        """
        layout, begins = self._market_batch.layout, bool(self._fresh.any())
        as_is = layout.monitoring == "prices" and layout.history == 1 and self._market_batch.observation_fn is None
        plain = self._market_batch.observe_plainly(cycles) if self._plain and not as_is else observations
        for seller, policy in self.policies.items():
            seen: Any = (plain if seller in self._plain else observations)[:, seller].copy()
            if self._market_batch.as_dict and seller not in self._plain:
                seen = layout.split(seen)
            state = self._states.get(seller)
            if begins and isinstance(policy, Beginner):
                state = policy.begin(state, self._market_batch.episode, self._fresh)
            action, self._states[seller] = policy.predict(
                seen, state=state, episode_start=self._fresh, deterministic=True
            )
            self._market_batch.actions.put(rows, seller, action)
        self._fresh = np.zeros_like(self._fresh)
