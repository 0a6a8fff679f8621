"""The known tastes and shelves a synthetic log is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.type_aliases import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class SyntheticTruth:
    """The tastes the log was drawn from: u_j = alpha - beta log(p / r) + loyalty 1[j = last] + promotion.

    Attributes:
        markets: Names of the markets [M].
        product_ids: Products of each market [M][J].
        alpha: Utility of each product against buying nothing, at its regular price [M, K, J], K classes.
        beta: Price sensitivity, positive [K].
        loyalty: Worth of the product bought last [K].
        promotion: Worth of a display [1 number].
        regular_price: Regular prices, money [M, J].
        class_of: Taste class of each household [H].
        class_weights: Share of each class [K], sums to 1.
        mean_extra_units: Packages beyond the first follow a Poisson distribution with this mean.
    """

    markets: tuple[str, ...]
    product_ids: tuple[tuple[str, ...], ...]
    alpha: FloatArray
    beta: FloatArray
    loyalty: FloatArray
    promotion: float
    regular_price: FloatArray
    class_of: IntArray
    class_weights: FloatArray
    mean_extra_units: float


@dataclass(frozen=True)
class Week:
    """Shelf of one period: prices [M, S, J] and displays [M, S, J]."""

    prices: FloatArray
    displays: BoolArray


def draw_truth(rng: np.random.Generator, households: int, markets: int, products: int, classes: int) -> SyntheticTruth:
    """Draw tastes and regular prices.

    Args:
        rng: Source of randomness.
        households: Number of households H.
        markets: Number of markets M.
        products: Products per market J.
        classes: Taste classes K.

    Returns:
        The truth.
    """
    quality = rng.normal(0.0, 0.7, (markets, 1, products)) + rng.normal(0.0, 0.7, (markets, classes, products))
    weights = np.full(classes, 1.0 / classes)
    return SyntheticTruth(
        markets=tuple(
            f"PANTRY | MARKET {m}" if m < markets - 1 or markets == 1 else f"SNACKS | MARKET {m}"
            for m in range(markets)
        ),
        product_ids=tuple(tuple(f"p{m}-{j}" for j in range(products)) for m in range(markets)),
        # Centred so that a household buys in about a third of its shopping weeks.
        alpha=quality - 0.9 - np.log(products),
        beta=np.linspace(1.5, 4.0, classes),
        loyalty=np.linspace(1.5, 0.5, classes),
        promotion=0.4,
        regular_price=np.round(rng.uniform(1.5, 6.0, (markets, products)), 2),
        class_of=rng.choice(classes, households, p=weights),
        class_weights=weights,
        mean_extra_units=0.3,
    )


def draw_week(rng: np.random.Generator, truth: SyntheticTruth, stores: int) -> Week:
    """Draw the shelf of one period: chain-wide prices, and displays of half the discounted products.

    Args:
        rng: Source of randomness.
        truth: The markets.
        stores: Number of stores S.

    Returns:
        Prices and displays [M, S, J].
    """
    markets, products = truth.regular_price.shape
    discount = np.where(rng.random((markets, products)) < 0.25, rng.uniform(0.1, 0.4, (markets, products)), 0.0)
    chain = np.round(truth.regular_price * (1.0 - discount), 2)
    shown = (discount[:, None, :] > 0) & (rng.random((markets, stores, products)) < 0.5)
    return Week(np.repeat(chain[:, None, :], stores, axis=1), shown)
