"""One product from a stock that cannot be refilled: the exact optimum and the exact best constant price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.errors import invalid
from malles_env.market import Consumers
from malles_env.market.solvers.dynamic import StockPlan, finite_stock_plan
from malles_env.market.tastes import tastes_of
from malles_env.scenarios import Scenario
from malles_env.type_aliases import FloatArray

POINTS = 121
"""Prices of the grid."""


@dataclass(frozen=True)
class StockProblem:
    """What backward induction needs to know of a market, see `finite_stock_plan`.

    Attributes:
        prices: The grid, money, shape ``(m,)``.
        share: Choice probability at each price, shape ``(m,)``.
        size, stock, periods, unit_cost: Consumers per period, units at the start, T, and money per unit.
    """

    prices: FloatArray
    share: FloatArray
    size: int
    stock: int
    periods: int
    unit_cost: float

    @staticmethod
    def fits(scenario: Scenario, consumers: Consumers | None = None) -> bool:
        """Return whether a scenario is such a problem: one product, a stock of whole units, and no memory but it."""
        catalog = scenario.catalog()
        if catalog.num_products != 1 or not np.isfinite(catalog.stock).all():
            return False
        found = consumers or scenario.build_consumers()
        tastes = tastes_of(found)
        return (
            tastes is not None
            and forgetful(scenario, found)
            and not np.isfinite(tastes.kappa).any()  # nobody takes more than one unit
            and scenario.dynamics().season_sd == 0.0
            and catalog.promotions is None
            and catalog.price_rules is None
            and catalog.tiers is None
            and not catalog.listing_fee.any()
            and float(catalog.stock[0]).is_integer()
            and float(scenario.population_size).is_integer()
        )

    @classmethod
    def of(cls, scenario: Scenario, consumers: Consumers | None = None) -> StockProblem:
        """Return the problem of a scenario, on a grid of 121 prices.

        Raises:
            InvalidInput: It is no such problem.
        """
        if not cls.fits(scenario, consumers):
            raise invalid("scenario", scenario.name, "one product with a stock of whole units and no other memory")
        catalog = scenario.catalog()
        prices = np.linspace(catalog.price_low[0], catalog.price_high[0], POINTS)
        market = scenario.market(num_markets=POINTS, demand="expected", consumers=consumers)
        share = market.step(prices[:, None], True).demand[:, 0] / scenario.population_size
        return cls(
            prices, share, int(scenario.population_size), int(catalog.stock[0]), scenario.max_cycles,
            float(catalog.unit_cost[0]),
        )  # fmt: skip

    def plan(
        self, *, only: int | None = None, periods: int | None = None, terminal: FloatArray | None = None
    ) -> StockPlan:
        """Return the best plan.

        Args:
            only: Number of the only price to ask; default the best price in every situation.
            periods: Weeks to go; default T.
            terminal: See `finite_stock_plan`.
        """
        chosen = slice(None) if only is None else slice(only, only + 1)
        return finite_stock_plan(
            self.prices[chosen], self.share[chosen], size=self.size, stock=self.stock, periods=periods or self.periods,
            unit_cost=self.unit_cost, terminal=terminal,
        )  # fmt: skip

    def constant(self) -> tuple[int, float]:
        """Return the number of the best constant price on the grid, and its expected profit, money per episode."""
        profit = [float(self.plan(only=n).value[-1, -1]) for n in range(len(self.prices))]
        best = int(np.argmax(profit))
        return best, profit[best]

    def played(self, scenario: Scenario, plan: StockPlan, episodes: int = 64, seed: int = 0) -> FloatArray:
        """Return the prices that following a plan of all T weeks asks in sampled episodes, money, ``(T, episodes)``."""
        market = scenario.market(num_markets=episodes)
        market.reset(seed)
        path = np.empty((self.periods, episodes))
        for week in range(self.periods):
            path[week] = plan.price(self.periods - week, market.state.stock[:, 0])
            market.step(path[week][:, None], True)
        return path


def forgetful(scenario: Scenario, consumers: Consumers | None = None) -> bool:
    """Return whether nothing but a stock carries over from period to period: no loyalty, reference or pantry."""
    tastes = tastes_of(consumers or scenario.build_consumers())
    return (
        tastes is not None
        and scenario.reference_price is None
        and not tastes.compares_prices
        and not np.any(tastes.lambda_)
        and not np.any(tastes.rho)
        and not np.any(tastes.pantry)
        and not scenario.policy.entry
        and scenario.replenishment is None
    )
