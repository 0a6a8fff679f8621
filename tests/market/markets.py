"""Markets for tests: the textbook duopoly and random ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from malles_env.consumers import LogitConsumers
from malles_env.market import Catalog, Market, Offer, Population, Product, Tastes


class Asked:
    """The same consumers without `tastes`, so that the market has to ask them through the protocol."""

    def __init__(self, tastes: Tastes) -> None:
        self._inner = LogitConsumers(tastes)
        self.num_segments, self.num_products = tastes.num_segments, tastes.num_products

    def respond(self, offer: Offer):
        return self._inner.respond(offer)


def duopoly(**options) -> Market:
    """Calvano et al. (2020): a = 2, a0 = 0, mu = 0.25, c = 1."""
    catalog = Catalog(tuple(Product(f"product_{n}", f"seller_{n}", 1.0, 2.0, 1.0, 2.5) for n in range(2)))
    tastes = Tastes(alpha=np.full((1, 2), 8.0), beta=4.0, price_transform="linear")
    return Market(catalog, Population.uniform(2), LogitConsumers(tastes), **({"demand": "expected"} | options))


def random_tastes(
    rng: np.random.Generator,
    segments: int,
    products: int,
    *,
    linear: bool = False,
    rho: float = 0.5,
    quantities: bool = True,
) -> Tastes:
    classes = rng.integers(0, 3, segments)
    return Tastes(
        alpha=rng.normal(-1, 1.5, (segments, products)),
        beta=rng.uniform(0.3, 3, (3, products))[classes],
        gamma=rng.uniform(0, 2, 3)[classes],
        rho=rho * rng.uniform(-1, 1, 3)[classes],
        lambda_=rng.uniform(-1, 2, segments),
        kappa=rng.normal(-1, 1, (segments, products)) if quantities else -np.inf,
        delta=rng.uniform(0, 1, 3)[classes],
        price_transform="linear" if linear else "log",
    )


def random_market(
    seed: int = 0,
    segments: int = 5,
    products: int = 6,
    *,
    asked: bool = False,
    linear: bool = False,
    rho: float = 0.5,
    stock: float = np.inf,
    size: float = 1000.0,
    fee: float = 0.0,
    quantities: bool = True,
    pantry: float = 0.0,
    **options,
) -> Market:
    rng = np.random.default_rng(seed)
    catalog = Catalog(
        tuple(
            Product(
                f"p{j}",
                f"seller_{j % 3}",
                float(rng.uniform(0.5, 1.5)),
                float(rng.uniform(1.5, 3)),
                stock=stock,
                listing_fee=fee,
            )
            for j in range(products)
        )
    )
    tastes = replace(
        random_tastes(rng, segments, products, linear=linear, rho=rho, quantities=quantities), pantry=pantry
    )
    loyalty = rng.dirichlet(np.ones(products + 1), segments)
    population = Population(size=size, weights=rng.uniform(0.1, 1, segments), initial_loyalty=loyalty)
    consumers = Asked(tastes) if asked else LogitConsumers(tastes)
    return Market(catalog, population, consumers, **options)


def random_actions(rng: np.random.Generator, market: Market) -> tuple[np.ndarray, np.ndarray]:
    shape = (market.num_markets, market.num_products)
    prices = market.catalog.regular_price * rng.uniform(0.5, 1.5, shape)
    return prices, rng.random(shape) < 0.8
