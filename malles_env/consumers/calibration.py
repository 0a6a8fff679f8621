"""Fits the level of tastes to observed market shares, product by product."""

from __future__ import annotations

import numpy as np

from malles_env.errors import invalid
from malles_env.market import Offer, Population, Tastes
from malles_env.market.arrays import as_floats
from malles_env.market.demand.choice import purchases
from malles_env.type_aliases import FloatArray


def shift_to_shares(
    tastes: Tastes,
    population: Population,
    regular_price: FloatArray,
    target: FloatArray,
    prices: FloatArray,
    mean_field: FloatArray,
    centre: FloatArray | None = None,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 5000,
) -> FloatArray:
    """Return the utils per product that make predicted shares equal to observed ones.

    The iteration shift += log(target) - log(predicted) is the contraction of Berry, Levinsohn and Pakes (1995), which
    has one fixed point. It moves the products' common level only: who likes what, and how strongly prices matter,
    stay as they are.

    Args:
        tastes: Coefficients of S segments over J products.
        population: Segment weights and initial loyalty.
        regular_price: Money, shape ``(J,)``.
        target: Shares of consumers, shape ``(J + 1,)``, index 0 buying nothing, all above 0, sum 1.
        prices: Prices at which they were observed, money, shape ``(J,)``.
        mean_field: Shares perceived then, shape ``(J,)``.
        centre: Shares at which they have no effect, shape ``(J,)``; None: 1/J each.
        tolerance: Largest difference of log shares at the end.
        max_iterations: Iterations after which it gives up.

    Returns:
        The shift, shape ``(J,)``.

    Raises:
        InvalidInput: A target share that is not positive, or no convergence.
    """
    products = tastes.num_products
    shares = as_floats("calibrate_to", target, (products + 1,), low=1e-9, high=1.0)
    if abs(shares.sum() - 1.0) > 1e-6:
        raise invalid("calibrate_to", float(shares.sum()), "shares that sum to 1")
    offer = Offer(
        np.asarray(prices, dtype=np.float64)[None],
        np.ones((1, products), dtype=bool),
        regular_price,
        np.asarray(mean_field, dtype=np.float64)[None],
        population.initial_loyalty[None],
        centre=None if centre is None else np.asarray(centre, dtype=np.float64)[None],
    )
    return _contracted(tastes, population.weights, offer, shares, tolerance, max_iterations)


def _contracted(
    tastes: Tastes, weights: FloatArray, offer: Offer, shares: FloatArray, tolerance: float, max_iterations: int
) -> FloatArray:
    """Return the fixed point of the contraction, from no shift."""
    shift = np.zeros(tastes.num_products)
    for _ in range(max_iterations):
        probability = purchases(tastes.shifted(shift), offer)[0][0]
        step = np.log(shares[1:]) - np.log(np.maximum(weights @ probability[:, 1:], 1e-300))
        shift += step
        if np.abs(step).max() < tolerance:
            return shift
    raise invalid(
        "calibrate_to", shares.tolist(), f"shares these tastes can reach (still {np.abs(step).max():.1e} off)"
    )
