"""Open-loop plans of one seller, week by week, and what they earn: many at once under common random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from malles_agents.planning.common_random import same_draws
from malles_agents.registry import Seller
from malles_agents.seller_view import SellerView
from malles_env.envs.core.vector_core import VectorCore
from malles_env.scenarios import Scenario
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

BATCHES = (16, 64, 128, 256)
"""Plans valued side by side: the smallest batch that holds those that are left; changes speed only."""


@dataclass(frozen=True)
class Paths:
    """R plans of K weeks for a seller's J products; what a plan asks in a week does not depend on what the seller sees.

    Attributes:
        prices: Money, shape ``(R, K, J)``.
        listed: Shape ``(R, K, J)``.
        promoted: What is displayed, then what is advertised, shape ``(2, R, K, J)``.
    """

    prices: FloatArray
    listed: BoolArray
    promoted: BoolArray

    @classmethod
    def constant(cls, prices: FloatArray, listed: BoolArray) -> Paths:
        """Return the single plan of one week with given prices and listings, ``(J,)`` each, and no promotion."""
        shape = (1, 1, len(prices))
        return cls(
            np.array(prices, dtype=np.float64).reshape(shape), np.array(listed, dtype=bool).reshape(shape),
            np.zeros((2, *shape), dtype=bool),
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Paths]) -> Paths:
        """Return the plans of several, which have the same number of weeks."""
        return cls(
            np.concatenate([part.prices for part in parts]), np.concatenate([part.listed for part in parts]),
            np.concatenate([part.promoted for part in parts], axis=1),
        )  # fmt: skip

    def __len__(self) -> int:
        """Return R."""
        return len(self.prices)

    @property
    def weeks(self) -> int:
        """K."""
        return self.prices.shape[1]

    def take(self, rows: IntArray | Sequence[int]) -> Paths:
        """Return the plans with these numbers."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Paths(self.prices[chosen], self.listed[chosen], self.promoted[:, chosen])

    def at(self, weeks: IntArray) -> Paths:
        """Return the plans made of these weeks, counted from 0."""
        return Paths(self.prices[:, weeks], self.listed[:, weeks], self.promoted[:, :, weeks])

    def tiled(self, weeks: int) -> Paths:
        """Return the plans repeated, or cut, to so many weeks."""
        return self.at(np.arange(weeks) % self.weeks)

    def then(self, tail: Paths) -> Paths:
        """Return these plans, each followed by the single plan `tail`."""
        after = tail.take(np.zeros(len(self), dtype=np.int64))
        return Paths(
            np.concatenate([self.prices, after.prices], axis=1), np.concatenate([self.listed, after.listed], axis=1),
            np.concatenate([self.promoted, after.promoted], axis=2),
        )  # fmt: skip

    def priced(self, prices: FloatArray) -> Paths:
        """Return the plans with other prices ``(R, K, J)``."""
        return replace(self, prices=prices)


class PathValue:
    """Profit of plans: one market per plan, expected demand, and the same random numbers of rivals for all.

    Where products are ordered, orders are those of `malles_env.envs.core.base_stock.BaseStock`.

    Rivals act on what they see, so those that react are met as they are. A plan always has the same value, whichever
    plans are valued beside it: without that, the luck of one market's draws would pass for skill.

    Args:
        scenario: The market.
        agent: Whose plans.
        rivals: Seller per other agent.
        consumers: Built consumers, to avoid building them anew.
        max_cycles: T, weeks of an episode; default the scenario's.

    Attributes:
        view: Whose plans they are.
        weeks: T.
        played: Plans valued so far.
    """

    def __init__(
        self,
        scenario: Scenario,
        agent: str,
        rivals: dict[str, Seller],
        *,
        consumers: Any = None,
        max_cycles: int | None = None,
    ) -> None:
        self.view = SellerView.of(scenario, agent, consumers=consumers)
        self.rivals = rivals
        self._batches: dict[int, VectorCore] = {}
        self._cycles = max_cycles
        self.weeks = self._batch(1).max_cycles
        self.played = 0

    def _batch(self, plans: int) -> VectorCore:
        """Return the smallest batch of markets that holds so many plans, or the largest there is."""
        size = next((size for size in BATCHES if size >= plans), BATCHES[-1])
        if size not in self._batches:
            self._batches[size] = VectorCore(
                self.view.scenario, size, learner=self.view.agent, rivals=self.rivals, max_cycles=self._cycles,
                demand="expected", consumers=self.view.consumers, autoreset=False,
            )  # fmt: skip
        return self._batches[size]

    @property
    def slots(self) -> IntArray | None:
        """Most products the seller may display, and advertise, shape ``(2,)``; None where nothing can be promoted."""
        slots = self._batch(1).market_batch.slot_layout.promotion_slots
        return None if slots is None else np.asarray(slots[:, self.view.index])

    def __call__(self, plans: Paths) -> FloatArray:
        """Return the profit of each plan of T weeks in each week, money, shape ``(R, T)``."""
        size = BATCHES[-1]
        parts = [plans.take(range(i, min(i + size, len(plans)))) for i in range(0, len(plans), size)]
        self.played += len(plans)
        return np.concatenate([self._play(part)[0] for part in parts])

    def asked(self, plan: Paths) -> tuple[FloatArray, BoolArray]:
        """Return prices (money) and listings that a single plan leads to under the market's rules, ``(T, J)`` each."""
        return self._play(plan.take([0]))[1:]

    def _play(self, plans: Paths) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Return profits ``(R, T)``, and prices and listings of the first plan ``(T, J)``."""
        batch, view = self._batch(len(plans)), self.view
        fill = np.minimum(np.arange(batch.market_batch.num_markets), len(plans) - 1)
        flags = plans.promoted if self.slots is not None else None
        actions = None if view.orders else view.encode(plans.prices, plans.listed, promoted=flags)
        profit, prices, listed = [], [], []
        with same_draws(self.rivals.values(), shared=True):
            seen = batch.reset([0] * len(fill))  # one seed for all: rivals that start by it start alike
            for week in range(self.weeks):
                if actions is None:  # what is ordered depends on what was sold
                    shown = None if flags is None else flags[:, fill, week]
                    asked = view.act(seen[:, 0], plans.prices[fill, week], plans.listed[fill, week], promoted=shown)
                else:
                    asked = actions[fill, week]
                turn = batch.step(asked)
                seen, outcome = turn.observations, turn.outcome
                profit.append(outcome.seller_profit[: len(plans), view.index])
                prices.append(outcome.prices[0, view.products])
                listed.append(outcome.listed[0, view.products])
        return np.stack(profit, axis=1), np.array(prices), np.array(listed)
