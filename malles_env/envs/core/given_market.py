"""A `Market` made in Python in the place of a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from malles_env.market import Market

if TYPE_CHECKING:
    from malles_env.market import Consumers, Demand, TastesMode


@dataclass(frozen=True)
class GivenMarket:
    """What environments need of a scenario, taken from a market; the market itself is not played.

    Attributes:
        made: Its catalog, population, consumers and settings are those of every market played.
        max_cycles: Periods of an episode unless an environment is given others.
        reward_scale: Money of profit per unit of reward: rewards are profits.
        name, title: Words for pictures.
    """

    made: Market
    max_cycles: int = 52
    reward_scale: float = 1.0
    name: str = "market"
    title: str = "Market"

    def market(
        self,
        num_markets: int = 1,
        demand: Demand | None = None,
        consumers: Consumers | None = None,
        tastes: TastesMode | None = None,
    ) -> Market:
        """Return `num_markets` markets like the given one, reset; what is None is as there."""
        made = self.made
        return Market(
            made.catalog,
            made.population,
            made.consumers if consumers is None else consumers,
            num_markets=num_markets,
            demand=made.demand if demand is None else demand,
            mean_field=made.mean_field,
            reference_price=made.reference_price,
            dynamics=made.dynamics,
            tastes=made.tastes if tastes is None else tastes,
            initial_mean_field=made.initial_mean_field,
            usual_prices=made.usual_prices,
        )
