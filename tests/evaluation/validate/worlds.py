"""Purchases drawn from known truths: prices that answer to demand, deals that sales announce, kinked responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.validate.rows import ChoiceRows
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class World:
    """Log prices [weeks, stores, products] at the regular price 0, and utilities beside the constants, likewise."""

    log_price: FloatArray
    utility: FloatArray
    measured: FloatArray


def endogenous(
    seed: int, *, beta: float = -3.0, shock: float = 6.0, noise: float = 0.0, stores: int = 8, weeks: int = 48,
    products: int = 6,
) -> World:  # fmt: skip
    """A store's own part of the price moves with local demand by `shock`; the chain's part is a cost.

    `noise` is the standard deviation of an error with which the store's price is measured.
    """
    rng = np.random.default_rng(seed)
    shape = (weeks, stores, products)
    chain = rng.normal(0.0, 0.12, (weeks, 1, products))
    local = rng.normal(0.0, 0.08, shape)
    price = chain + local
    return World(price, beta * price + shock * local, price + rng.normal(0.0, noise, shape) if noise else price)


def deals(
    seed: int, *, beta: float = -3.0, before: float = 0.0, after: float = 0.0, kink: float = 0.0, weeks: int = 49,
    products: int = 8,
) -> World:  # fmt: skip
    """Prices 5% around the regular one, and deals of two weeks, 15% to 40% deep, the same in all stores.

    `before` and `after` add to the utility in the four weeks before a deal starts, and after it stops; `kink` times log
    price adds to the utility of deals alone.
    """
    rng = np.random.default_rng(seed)
    price = rng.uniform(-0.05, 0.05, (weeks, products))
    lead, tail = np.zeros((2, weeks, products))
    on = np.zeros((weeks, products), dtype=bool)
    for j in range(products):
        week = int(rng.integers(2, 8))
        while week < weeks:
            on[week : week + 2, j] = True
            price[week : week + 2, j] = np.log(1 - rng.uniform(0.15, 0.4))
            lead[max(0, week - 4) : week, j], tail[week + 2 : week + 6, j] = 1.0, 1.0
            week += int(rng.integers(6, 20))
    utility = beta * price + kink * price * on + (before * lead + after * tail) * ~on
    return World(price[:, None], utility[:, None], price[:, None])


def purchases(world: World, seed: int, visits: int, *, units: float = 0.0) -> ChoiceRows:
    """Draw visits of 400 households, who choose by a logit with constants, and table them."""
    rng = np.random.default_rng([seed, 1])
    weeks, stores, products = world.log_price.shape
    week, store = rng.integers(weeks, size=visits), rng.integers(stores, size=visits)
    constants = np.linspace(0.0, 1.0, products)
    utility = constants + world.utility[week, store] + rng.gumbel(size=(visits, products))
    chosen = utility.argmax(1)
    rows = np.repeat(np.arange(visits), products)
    column = np.tile(np.arange(products), visits)
    measured = world.measured[week, store]
    total = world.log_price.sum(1, keepdims=True)
    other = (total - world.log_price) / max(stores - 1, 1) if stores > 1 else np.full_like(world.log_price, np.nan)
    order = np.argsort(week, kind="stable")
    return ChoiceRows(
        visit=rows,
        column=column,
        product=column,
        chosen=(np.arange(products) == chosen[order][:, None]).ravel(),
        price=np.exp(measured[order]).ravel(),
        regular=np.ones(len(rows)),
        own=measured[order].ravel(),
        other=other[week, store][order].ravel(),
        facts=np.zeros((len(rows), 4)),
        household=rng.permutation(np.arange(visits) % 400),
        store=store[order],
        week=week[order] + 5,
        units=1.0 + rng.poisson(units, visits),
        products=tuple(f"product {j}" for j in range(products)),
        store_spread=float(world.measured.std(1, ddof=1).mean()) if stores > 1 else float("nan"),
    )
