"""What stands between a language model's label probabilities and demand: temperature, offsets, shifts.

Utility of option j for segment s is ``log P(label j) / T_s + offset_s [j = 0] + shift_j + rho_s (mbar_j - 1/J)``, and
the choice probability its softmax over what is on the shelf. With T = 1 and zeros it is what the model said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.type_aliases import FloatArray, IntArray

UNITS = np.arange(1.0, 10.0)
"""Units that the labels 1 to 9 stand for."""
PER_SEGMENT = ("temperature", "outside", "rho", "price_sensitivity")
"""Numbers that each segment has of its own."""


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

    def choice(self, log_choice: FloatArray, segment: IntArray, perceived: FloatArray) -> FloatArray:
        """Return choice probabilities.

        Args:
            log_choice: Log label probabilities, minus infinity for what is not on the shelf, shape ``(M, J + 1)``.
            segment: Segment of each row, shape ``(M,)``.
            perceived: ``mbar - 1/J`` of each row, shape ``(M, J)``.
        """
        utility = log_choice / self.temperature[segment][:, None]
        utility[:, 0] += self.outside[segment]
        utility[:, 1:] += self.shift + self.rho[segment][:, None] * perceived
        return softmax(utility)

    def units(self, log_units: FloatArray) -> FloatArray:
        """Return probabilities of 1 to 9 units from their log probabilities, shape ``(..., 9)`` both."""
        return softmax(log_units / self.unit_temperature - self.unit_tilt * (UNITS - 1.0))

    def mean_units(self, log_units: FloatArray) -> FloatArray:
        """Return mean units of log probabilities over 1 to 9 units, shape ``(..., 9)`` to ``(...)``."""
        return self.units(log_units) @ UNITS

    def of_each(self, segments: int) -> Calibration:
        """Return the numbers of a single segment (S = 1) for each of `segments` ones."""
        each: dict[str, Any] = {name: np.repeat(getattr(self, name), segments) for name in PER_SEGMENT}
        return replace(self, **each)

    def money_per_util(self, regular_price: FloatArray) -> FloatArray:
        """Return the money a consumer of each segment gives up for one util, shape ``(S,)``.

        ``1 / mean_j(beta_s / r_j)``, for one unit at log prices. NaN where no sensitivity to prices
        was measured, or one that is not positive: utils have no price then.
        """
        rate = self.price_sensitivity * np.mean(1.0 / regular_price)
        return np.where(rate > 0, 1.0 / np.where(rate > 0, rate, 1.0), np.nan)


def softmax(utility: FloatArray) -> FloatArray:
    """Return the softmax over the last axis; at least one entry must be finite."""
    lifted = np.exp(utility - utility.max(axis=-1, keepdims=True))
    return lifted / lifted.sum(axis=-1, keepdims=True)
