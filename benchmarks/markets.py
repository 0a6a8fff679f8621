"""The market that all speed measurements use."""

from __future__ import annotations

import numpy as np

from malles_env.consumers import LogitConsumers
from malles_env.market import Catalog, Demand, Market, Population, Product, Tastes
from malles_env.scenarios import Scenario, load_scenario

SEGMENTS, PRODUCTS, SELLERS, CONSUMERS, CLASSES = 64, 16, 4, 100_000, 8


def tastes(*, loyal: bool = False, quantities: bool = False) -> Tastes:
    """Return random tastes of 64 segments in 8 sensitivity classes over 16 products."""
    rng = np.random.default_rng(0)
    of = np.arange(SEGMENTS) % CLASSES
    return Tastes(
        alpha=rng.normal(-1.0, 1.0, (SEGMENTS, PRODUCTS)),
        beta=np.linspace(1.0, 3.0, CLASSES)[of],
        gamma=np.linspace(0.0, 1.0, CLASSES)[of],
        rho=0.5,
        lambda_=1.0 if loyal else 0.0,
        kappa=-0.7 if quantities else -np.inf,
        delta=0.5,
    )


def batched_market(num_markets: int, demand: Demand, *, loyal: bool = False, quantities: bool = False) -> Market:
    """Return a batch of these markets with a mean field over 8 periods."""
    products = tuple(Product(f"product_{j}", f"seller_{j % SELLERS}", 1.0, 2.0) for j in range(PRODUCTS))
    weights = np.random.default_rng(1).random(SEGMENTS)
    population = Population.uniform(PRODUCTS, size=CONSUMERS, weights=weights)
    consumers = LogitConsumers(tastes(loyal=loyal, quantities=quantities))
    return Market(Catalog(products), population, consumers, num_markets=num_markets, demand=demand)


def forced_market(num_markets: int) -> Market:
    """Return a batch of the soft-drinks market with expected demand, every force switched on, and draws of tastes."""
    forces = {
        "promotion": {"display": 0.4, "feature": 0.3},
        "reference_price": {"gain": 1.1, "loss": 0.5},
        "inertia": {"fade": 0.1},
        "seasons": {"sd": 0.1, "persistence": 0.5},
        "pantry": {"theta": 0.3, "keep": 0.8},
    }
    fields = load_scenario("soft-drinks").model_dump() | {"forces": forces}
    return Scenario.model_validate(fields).market(num_markets, "expected", tastes="draws")


def gift_market(num_markets: int, *, bare: bool) -> Market:
    """Return a batch of the market made of words, or of its size with random tastes, no launches and no tiers."""
    given = load_scenario("gifts")
    if not bare:
        return given.market(num_markets)
    products = tuple(product.model_copy(update={"enters": 0}) for product in given.products)
    shape = (len(given.segments), len(products))
    rng = np.random.default_rng(0)
    plain = Tastes(alpha=rng.normal(-5.0, 1.0, shape), beta=1.6, kappa=rng.normal(2.0, 0.3, shape))
    return given.model_copy(update={"products": products, "tiers": None}).market(
        num_markets, consumers=LogitConsumers(plain)
    )


def scenario(*, promotions: bool = False, replenishment: bool = False) -> Scenario:
    """Return the same market as a scenario, for the environments.

    With `promotions` sellers display and advertise; with `replenishment` they order stock, two periods ahead.
    """
    given = tastes()
    promoting: dict[str, object] = {"promotions": {"display_fee": 20.0, "feature_fee": 50.0}} if promotions else {}
    if replenishment:
        promoting["replenishment"] = {"storage": 30_000.0, "lead_time": 2, "fixed_cost": 50.0, "holding_cost": 0.01}
    worth = {"display": 0.4, "feature": 0.3} if promotions else {}
    return Scenario.model_validate(
        {
            **promoting,
            "name": "benchmark",
            "sellers": [{"name": f"seller_{n}"} for n in range(SELLERS)],
            "products": [
                {"product_id": f"product_{j}", "seller": f"seller_{j // (PRODUCTS // SELLERS)}", "unit_cost": 1.0,
                 "regular_price": 2.0, "price_low": 1.0, "price_high": 4.0}
                for j in range(PRODUCTS)
            ],
            "segments": [{"name": f"segment_{s}", "weight": 1.0} for s in range(SEGMENTS)],
            "population_size": float(CONSUMERS),
            "consumers": {
                "kind": "logit",
                "tastes": {"alpha": given.alpha.tolist(), "beta": given.beta[:, 0].tolist(),
                           "gamma": given.gamma.tolist(), "rho": 0.5, **worth},
            },
        }
    )  # fmt: skip
