"""The logit as a function linear in its parameters, and the way back to `Tastes`.

Prices enter relative to the regular price r under both transforms, x = log(p / r) or x = p / r - 1. All parameters
then live on one scale of utils, whatever the currency, and alpha is the taste at the regular price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.consumers.distil.design import last_purchase
from malles_env.market import Offer, Tastes
from malles_env.market.demand.choice import discount_depth, price_feature
from malles_env.market.tastes import PriceTransform
from malles_env.type_aliases import FloatArray

BETA_LOW = 1e-6
"""Least price sensitivity, utils per unit of relative price: demand never rises with the price."""
KAPPA_LOW = -20.0
"""Least log of the extra units per buyer: one unit always, to 9 digits."""
SPREAD = {"alpha": 1.0, "beta": 1.0, "gamma": 2.0, "rho": 5.0, "lambda_": 2.0}
"""How far coefficients of segments usually lie apart, in their own units; scales of the prior."""


@dataclass(frozen=True)
class Layout:
    """Places of the 2 J + 3 parameters of a segment: alpha (J), beta (J), gamma, rho, lambda.

    Attributes:
        products: J.
        transform: How prices enter.
    """

    products: int
    transform: PriceTransform

    @property
    def size(self) -> int:
        """P = 2 J + 3."""
        return 2 * self.products + 3

    @property
    def low(self) -> FloatArray:
        """Lower bounds that enforce the signs, ``(P,)``: beta above 0, gamma at least 0."""
        free = np.full(self.products, -np.inf)
        return np.concatenate([free, np.full(self.products, BETA_LOW), [0.0, -np.inf, -np.inf]])

    @property
    def spread(self) -> FloatArray:
        """Scales of the prior, ``(P,)``."""
        each = [np.full(self.products, SPREAD[name]) for name in ("alpha", "beta")]
        return np.concatenate([*each, [SPREAD[name] for name in ("gamma", "rho", "lambda_")]])

    @property
    def common(self) -> FloatArray:
        """Matrix from parameters with one beta for all products to all P parameters, ``(P, J + 4)``."""
        matrix = np.zeros((self.size, self.products + 4))
        matrix[: self.products, : self.products] = np.eye(self.products)
        matrix[self.products : 2 * self.products, self.products] = 1.0
        matrix[2 * self.products :, self.products + 1 :] = np.eye(3)
        return matrix

    def features(self, offer: Offer, segment: int) -> FloatArray:
        """Return what the parameters of a segment multiply, ``(N, J, P)``.

        Raises:
            InvalidInput: A loyalty row holds shares instead of one last purchase.
        """
        count, products = offer.prices.shape
        relative = relative_price(offer, self.transform)
        found = np.zeros((count, products, self.size))
        own = np.arange(products)
        found[:, own, own] = 1.0
        found[:, own, products + own] = -relative
        found[..., -3] = discount_depth(offer.prices, offer.regular_price)
        found[..., -2] = offer.mean_field - 1.0 / products
        bought = last_purchase(offer.loyalty[:, segment])
        found[np.flatnonzero(bought), bought[bought > 0] - 1, -1] = 1.0
        return found

    def tastes(self, theta: FloatArray, units: FloatArray, regular_price: FloatArray) -> Tastes:
        """Return the tastes that parameters stand for.

        Args:
            theta: Choice parameters, ``(S, P)``.
            units: kappa by product and delta, ``(S, J + 1)``.
            regular_price: Money, ``(J,)``.
        """
        alpha, beta = theta[:, : self.products], theta[:, self.products : -3]
        if self.transform == "linear":
            alpha, beta = alpha + beta, beta / regular_price
        return Tastes(
            alpha=alpha,
            beta=beta,
            gamma=theta[:, -3],
            rho=theta[:, -2],
            lambda_=np.clip(theta[:, -1], -20.0, 20.0),
            kappa=np.clip(units[:, :-1], KAPPA_LOW, 10.0),
            delta=units[:, -1],
            price_transform=self.transform,
        )


def relative_price(offer: Offer, transform: PriceTransform) -> FloatArray:
    """Return log(p / r) or p / r - 1, ``(N, J)``."""
    if transform == "log":
        return price_feature(offer.prices, offer.regular_price, "log")
    return offer.prices / offer.regular_price - 1.0
