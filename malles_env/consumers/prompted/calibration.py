"""What stands between a language model's label probabilities and demand: temperature, offsets, and how they are fitted.

Utility of option j for segment s is ``log P(label j) / T_s + offset_s [j = 0] + shift_j + rho_s (mbar_j - 1/J)``, and
the choice probability its softmax over what is on the shelf. With T = 1 and zeros it is what the model said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import FloatArray, IntArray, as_floats

UNITS = np.arange(1.0, 10.0)
"""Units that the labels 1 to 9 stand for."""


@dataclass(frozen=True)
class Calibration:
    """Numbers fitted on data. Scalars broadcast over segments.

    Attributes:
        temperature: T, more than 0, shape ``(S,)``. Below 1 sharpens.
        outside: Utils added to buying nothing, shape ``(S,)``.
        shift: Utils added to each product, shape ``(J,)``.
        rho: Pull of the mean field as a number, utils per unit of share, shape ``(S,)``.
        price_sensitivity: Measured utils per unit of log price, shape ``(S,)``, for the surplus alone; 0 where it was
            not measured.
        unit_temperature: Temperature of the units' probabilities, more than 0.
        unit_tilt: Utils taken off for each unit beyond the first.

    Raises:
        InvalidInput: A number out of range or a wrong shape.
    """

    temperature: FloatArray
    outside: FloatArray
    shift: FloatArray
    rho: FloatArray
    price_sensitivity: FloatArray
    unit_temperature: float = 1.0
    unit_tilt: float = 0.0

    @classmethod
    def of(
        cls,
        segments: int,
        products: int,
        *,
        temperature: ArrayLike = 1.0,
        outside: ArrayLike = 0.0,
        shift: ArrayLike = 0.0,
        rho: ArrayLike = 0.0,
        price_sensitivity: ArrayLike = 0.0,
        unit_temperature: float = 1.0,
        unit_tilt: float = 0.0,
    ) -> Calibration:
        """Return a checked calibration of S segments and J products; the defaults change nothing."""
        if not (unit_temperature > 0 and np.isfinite(unit_temperature)):
            raise invalid("calibration.unit_temperature", unit_temperature, "more than 0")
        if not np.isfinite(unit_tilt):
            raise invalid("calibration.unit_tilt", unit_tilt, "a number")
        return cls(
            as_floats("calibration.temperature", temperature, (segments,), low=1e-3, high=1e3),
            as_floats("calibration.outside", outside, (segments,)),
            as_floats("calibration.shift", shift, (products,)),
            as_floats("calibration.rho", rho, (segments,)),
            as_floats("calibration.price_sensitivity", price_sensitivity, (segments,)),
            float(unit_temperature),
            float(unit_tilt),
        )

    def choice(self, log_choice: FloatArray, segment: IntArray, felt: FloatArray) -> FloatArray:
        """Return choice probabilities.

        Args:
            log_choice: Log label probabilities, minus infinity for what is not on the shelf, shape ``(M, J + 1)``.
            segment: Segment of each row, shape ``(M,)``.
            felt: ``mbar - 1/J`` of each row, shape ``(M, J)``.
        """
        utility = log_choice / self.temperature[segment][:, None]
        utility[:, 0] += self.outside[segment]
        utility[:, 1:] += self.shift + self.rho[segment][:, None] * felt
        return softmax(utility)

    def mean_units(self, log_units: FloatArray) -> FloatArray:
        """Return mean units of log probabilities over 1 to 9 units, shape ``(..., 9)`` to ``(...)``."""
        return softmax(log_units / self.unit_temperature - self.unit_tilt * (UNITS - 1.0)) @ UNITS

    def money_per_util(self, regular_price: FloatArray) -> FloatArray:
        """Return the money a consumer of each segment gives up for one util, shape ``(S,)``.

        As `Tastes.money_per_util` with log prices: ``1 / mean_j(beta_s / r_j)``. NaN where no sensitivity to prices
        was measured, or one that is not positive: utils have no price then.
        """
        rate = self.price_sensitivity * np.mean(1.0 / regular_price)
        return np.where(rate > 0, 1.0 / np.where(rate > 0, rate, 1.0), np.nan)


def softmax(utility: FloatArray) -> FloatArray:
    """Return the softmax over the last axis; at least one entry must be finite."""
    lifted = np.exp(utility - utility.max(axis=-1, keepdims=True))
    return lifted / lifted.sum(axis=-1, keepdims=True)


def fit_choices(
    log_choice: FloatArray,
    segment: IntArray,
    chosen: IntArray,
    *,
    segments: int,
    weight: FloatArray | None = None,
    shift: bool = False,
    ridge: float = 1e-3,
) -> Calibration:
    """Return the maximum-likelihood calibration on N choice occasions.

    Temperature and outside offset per segment and, if wanted, one shift per product. In ``1 / T`` the likelihood is
    that of a conditional logit, which is concave, so there is one maximum.

    Args:
        log_choice: Log label probabilities, minus infinity for what was not on the shelf, shape ``(N, J + 1)``.
        segment: Segment of each occasion, shape ``(N,)``.
        chosen: 0 for nothing, else the product's number from 1, shape ``(N,)``; must have been on the shelf.
        segments: S.
        weight: Occasions that each row stands for, shape ``(N,)``.
        shift: Whether products get shifts.
        ridge: Weight of the squared distance from changing nothing, per occasion; keeps numbers finite that the
            data leave open.

    Raises:
        InvalidInput: No occasions, or something chosen that was not there.
    """
    from scipy.optimize import minimize

    rows, options = log_choice.shape
    if not rows:
        raise invalid("occasions", 0, "at least one")
    there = np.isfinite(log_choice)
    if not there[np.arange(rows), chosen].all():
        raise invalid("chosen", int(np.argmin(there[np.arange(rows), chosen])), "options that were on the shelf")
    told = np.where(there, log_choice, 0.0)
    share = np.ones(rows) if weight is None else np.asarray(weight, dtype=np.float64)
    share = share / share.sum()
    start = np.concatenate([np.ones(segments), np.zeros(segments + (options - 1) * shift)])

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        utility = theta[:segments][segment][:, None] * told
        utility[:, 0] += theta[segments : 2 * segments][segment]
        if shift:
            utility[:, 1:] += theta[2 * segments :]
        probability = softmax(np.where(there, utility, -np.inf))
        picked = probability[np.arange(rows), chosen]
        slope = probability.copy()
        slope[np.arange(rows), chosen] -= 1.0
        slope *= share[:, None]
        grown = np.bincount(segment, (slope * told).sum(axis=1), segments)
        moved = np.bincount(segment, slope[:, 0], segments)
        gradient = np.concatenate([grown, moved, slope[:, 1:].sum(axis=0)] if shift else [grown, moved])
        away = theta - start
        value = float(-(share * np.log(np.maximum(picked, 1e-300))).sum() + 0.5 * ridge * away @ away)
        return value, gradient + ridge * away

    bounds = [(1e-2, 1e2)] * segments + [(None, None)] * (len(start) - segments)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000}).x
    return Calibration.of(
        segments,
        options - 1,
        temperature=1.0 / best[:segments],
        outside=best[segments : 2 * segments],
        shift=best[2 * segments :] if shift else 0.0,
    )


def fit_units(log_units: FloatArray, quantity: IntArray, ridge: float = 1e-3) -> tuple[float, float]:
    """Return temperature and tilt of the units by maximum likelihood; more than nine units count as nine.

    Args:
        log_units: Log probabilities over 1 to 9 units, shape ``(N, 9)``.
        quantity: Units bought, 1 or more, shape ``(N,)``.
        ridge: As in `fit_choices`.

    Raises:
        InvalidInput: No purchases.
    """
    from scipy.optimize import minimize

    if not len(quantity):
        raise invalid("quantity", 0, "at least one purchase")
    at = np.clip(np.asarray(quantity), 1, 9) - 1

    def loss(theta: FloatArray) -> float:
        probability = softmax(theta[0] * log_units - theta[1] * (UNITS - 1.0))
        picked = probability[np.arange(len(at)), at]
        away = theta - (1.0, 0.0)
        return float(-np.log(np.maximum(picked, 1e-300)).mean() + 0.5 * ridge * away @ away)

    best = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(1e-2, 1e2), (-50.0, 50.0)]).x
    return float(1.0 / best[0]), float(best[1])
