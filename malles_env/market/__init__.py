"""The physics of a market period: choice, coupling, demand, stock and money. NumPy and Numba only."""

from malles_env.market.catalog import Catalog, Product
from malles_env.market.checks import TastesMode
from malles_env.market.demand.dynamics import Dynamics
from malles_env.market.demand.mean_field import MeanField
from malles_env.market.demand.reference import ReferencePrice
from malles_env.market.engine import Market
from malles_env.market.offer import Consumers, Offer, Response
from malles_env.market.pooled import PooledMarket, Pooling
from malles_env.market.population import Population
from malles_env.market.seller_rules.price_rules import PriceRules
from malles_env.market.seller_rules.promotion import Promotions
from malles_env.market.seller_rules.replenishment import Replenishment, Supply
from malles_env.market.seller_rules.tiers import Tier, Tiers
from malles_env.market.solvers.elasticity import Elasticities, elasticities
from malles_env.market.state import Demand, MarketState, Outcome
from malles_env.market.tastes import Tastes

__all__ = [
    "Catalog",
    "Consumers",
    "Demand",
    "Dynamics",
    "Elasticities",
    "Market",
    "MarketState",
    "MeanField",
    "Offer",
    "Outcome",
    "PooledMarket",
    "Pooling",
    "Population",
    "PriceRules",
    "Product",
    "Promotions",
    "ReferencePrice",
    "Replenishment",
    "Response",
    "Supply",
    "Tastes",
    "TastesMode",
    "Tier",
    "Tiers",
    "elasticities",
]
