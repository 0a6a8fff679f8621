"""The coefficient arrays of random-utility demand; the only thing a fast consumer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.type_aliases import FloatArray, IntArray

PriceTransform = Literal["log", "linear"]


@dataclass(frozen=True)
class Tastes:
    """Coefficients of S segments over J products.

    The utility of product j for segment s whose last purchase was k is

        u = alpha_sj - beta_sj f(p_j) + gamma_s d_j + display_s D_j + feature_s F_j
            + gain_sj (R_j - log p_j)+ - loss_sj (log p_j - R_j)+ - pantry_s I_s
            + rho_s (mbar_j - l_j) + lambda_s 1[j = k],   u_0 = 0

    with f(p) = log(p / regular price) or p, d the discount depth, D and F whether the product is displayed and
    advertised, R the log reference price, l the mean field's centre (the long-run share, or 1/J in textbook markets;
    see `MeanField.centre`), and I the segment's stock at home above the usual one (see
    `malles_env.market.demand.pantry`). A buyer takes 1 + Poisson(q - 1) units, q_sj = 1 + exp(kappa_sj + delta_s d_j).
    The multinomial logit form is McFadden (1974), the mean-field term Brock and Durlauf (2001), the asymmetric
    reference price Hardie, Johnson and Fader (1993).

    Attributes:
        alpha: Taste for each product in utils, shape ``(S, J)``.
        beta: Price sensitivity, at least 0: utils per unit of log price, or per unit of money when linear;
            shape ``(S, J)`` (``(S,)`` and scalars broadcast).
        gamma: Response to discount depth alone, without the display or advertising that may come with it, utils per
            unit of depth, shape ``(S,)``.
        rho: Mean-field coupling, utils per unit of share, shape ``(S,)``.
        lambda_: Loyalty to the last purchase, utils, shape ``(S,)``.
        kappa: Log of the mean extra units per buyer, shape ``(S, J)``; minus infinity means always one unit.
        delta: Response of the extra units to discount depth, shape ``(S,)``.
        display: Worth of being displayed, utils, shape ``(S,)``.
        feature: Worth of being advertised, utils, shape ``(S,)``.
        gain: Worth of a price below the reference price, utils per unit of log price, at least 0, shape ``(S, J)``
            (``(S,)`` and scalars broadcast); log prices only.
        loss: Cost of a price above the reference price, likewise.
        pantry: theta, what a period's usual use at home takes from the utility of every product, utils, from 0 to 50,
            shape ``(S,)``.
        price_transform: ``"log"`` or ``"linear"``.
        sensitivity_class: Index of the class of segments that share all coefficients but alpha, lambda, kappa and
            pantry, shape ``(S,)``.

    Raises:
        InvalidInput: A coefficient is not a number or has the wrong shape, beta, gain or loss is negative, or a
            reference price stands beside linear prices.
    """

    alpha: FloatArray
    beta: FloatArray
    gamma: FloatArray = field(default_factory=lambda: np.zeros(1))
    rho: FloatArray = field(default_factory=lambda: np.zeros(1))
    lambda_: FloatArray = field(default_factory=lambda: np.zeros(1))
    kappa: FloatArray = field(default_factory=lambda: np.full((1, 1), -np.inf))
    delta: FloatArray = field(default_factory=lambda: np.zeros(1))
    price_transform: PriceTransform = "log"
    display: FloatArray = field(default_factory=lambda: np.zeros(1))
    feature: FloatArray = field(default_factory=lambda: np.zeros(1))
    gain: FloatArray = field(default_factory=lambda: np.zeros((1, 1)))
    loss: FloatArray = field(default_factory=lambda: np.zeros((1, 1)))
    pantry: FloatArray = field(default_factory=lambda: np.zeros(1))
    sensitivity_class: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check and broadcast the arrays."""
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.ndim != 2 or 0 in alpha.shape:
            raise invalid("tastes.alpha", alpha.shape, "shape (S, J) with S, J >= 1")
        if self.price_transform not in ("log", "linear"):
            raise invalid("tastes.price_transform", self.price_transform, "'log' or 'linear'")
        segments = len(alpha)
        set_ = object.__setattr__
        set_(self, "alpha", as_floats("tastes.alpha", alpha, alpha.shape))
        for name in ("beta", "gain", "loss"):
            value = as_floats(f"tastes.{name}", _rows(getattr(self, name), segments), alpha.shape, low=0.0)
            set_(self, name, value)
        for name in ("gamma", "rho", "lambda_", "delta", "display", "feature"):
            limit = 50.0 if name == "lambda_" else np.inf
            value = as_floats(f"tastes.{name}", getattr(self, name), (segments,), low=-limit, high=limit)
            set_(self, name, value)
        set_(self, "pantry", as_floats("tastes.pantry", self.pantry, (segments,), low=0.0, high=50.0))
        if self.price_transform == "linear" and self.compares_prices:
            raise invalid("tastes.gain, tastes.loss", "above 0", "0 with linear prices; see ReferencePrice.strength")
        kappa = as_floats("tastes.kappa", _rows(self.kappa, segments), alpha.shape, high=50.0, finite=False)
        set_(self, "kappa", kappa)
        set_(self, "sensitivity_class", sensitivity_classes([self]))

    @property
    def num_segments(self) -> int:
        """S."""
        return self.alpha.shape[0]

    @property
    def num_products(self) -> int:
        """J."""
        return self.alpha.shape[1]

    @property
    def compares_prices(self) -> bool:
        """Whether a reference price matters to anybody."""
        return bool(np.any(self.gain) or np.any(self.loss))

    def utility_of_price(self, prices: FloatArray, regular_price: FloatArray) -> FloatArray:
        """Return the utility that prices give above the regular ones, ``(B, S, J)``: -beta (f(p) - f(r)) + gamma d."""
        above = np.log(prices / regular_price) if self.price_transform == "log" else prices - regular_price
        depth = np.maximum(0.0, 1.0 - prices / regular_price)
        return np.asarray(self.gamma[:, None] * depth[:, None, :] - self.beta * above[:, None, :])

    def worth_at_regular(self, regular_price: FloatArray) -> FloatArray:
        """Return the money one util of each product is worth at its regular price, shape ``(S, J)``.

        1 / beta with linear prices, r / beta with log prices. A product whose price does not matter has no such rate
        and gets 0.
        """
        money = 1.0 if self.price_transform == "linear" else regular_price
        return np.where(self.beta > 0, money / np.where(self.beta > 0, self.beta, 1.0), 0.0)

    def money_per_util(self, regular_price: FloatArray) -> FloatArray:
        """Return the money a consumer of each segment gives up for one util, shape ``(S,)``.

        It is the mean over purchases, at regular prices with everything on the shelf, of the units bought times
        `worth_at_regular`: with linear prices, the same beta for all products and one unit per buyer 1 / beta (Small
        and Rosen 1981).
        """
        utility = self.alpha - (self.beta * regular_price if self.price_transform == "linear" else 0.0)
        share = np.exp(utility - utility.max(axis=1, keepdims=True))
        worth = (1.0 + np.exp(self.kappa)) * self.worth_at_regular(regular_price)
        return np.asarray((share * worth).sum(axis=1) / share.sum(axis=1))

    def comparing(self, strength: float) -> Tastes:
        """Return the same tastes with a symmetric reference price: gain and loss grow by `strength` times beta.

        In logs this is what a perceived price of log p + strength (log p - R) adds to utility, and like it, it has no
        region in which a high remembered price makes a price feel like nothing.
        """
        more = strength * self.beta
        return replace(self, gain=self.gain + more, loss=self.loss + more)

    def shifted(self, shift: ArrayLike) -> Tastes:
        """Return the same tastes with `shift` (shape ``(J,)`` or ``(S, J)``, utils) added to alpha."""
        return replace(self, alpha=self.alpha + np.asarray(shift, dtype=np.float64))


def sensitivity_classes(draws: Sequence[Tastes]) -> IntArray:
    """Return which segments share all coefficients but alpha, lambda, kappa and pantry in all `draws`, ``(S,)``."""
    names = ("beta", "gain", "loss", "gamma", "rho", "delta", "display", "feature")
    rows = np.column_stack([getattr(tastes, name) for tastes in draws for name in names])
    _, classes = np.unique(rows, axis=0, return_inverse=True)
    return np.ascontiguousarray(classes.reshape(-1), dtype=np.int64)


def tastes_of(consumers: object) -> Tastes | None:
    """Return the consumers' coefficients, or None where they must be asked."""
    tastes = getattr(consumers, "tastes", None)
    return tastes if isinstance(tastes, Tastes) else None


def _rows(value: ArrayLike, segments: int) -> FloatArray:
    """Read a vector of length S as one number per segment rather than per product."""
    array = np.asarray(value, dtype=np.float64)
    return array[:, None] if array.ndim == 1 and len(array) == segments else array
