"""How what consumers carry from period to period fades, and how many of them come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.errors import invalid
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Settings of the states behind the utility of `Tastes`.

    Attributes:
        reference_memory: mu of R' = mu R + (1 - mu) log p, the log reference price of a listed product, in [0, 1);
            matters only to tastes with gain or loss.
        fade: Share of the consumers who forget their last purchase in a period, in [0, 1): inertia that fades.
        season_sd: Standard deviation of log traffic, at least 0. Traffic is the number of consumers over the usual
            one: exp(xi - season_sd^2 / 2), whose mean is 1, with xi a stationary first-order autoregression drawn
            per episode. One year of data identifies no calendar, so seasons are random. ``"expected"`` demand has
            the mean, 1.
        season_persistence: Autocorrelation of xi from one period to the next, in [0, 1).
        pantry_keep: Share of the stock at home that is still there a period later, in [0, 1); matters only to tastes
            with a pantry, see `malles_env.market.demand.pantry.Pantry`.

    Raises:
        InvalidInput: A setting out of range.
    """

    reference_memory: float = 0.8
    fade: float = 0.0
    season_sd: float = 0.0
    season_persistence: float = 0.0
    pantry_keep: float = 0.8

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("reference_memory", "fade", "season_persistence", "pantry_keep"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise invalid(f"dynamics.{name}", getattr(self, name), "at least 0 and less than 1")
        if not 0.0 <= self.season_sd <= 2.0:
            raise invalid("dynamics.season_sd", self.season_sd, "a number from 0 to 2")

    def traffic(self, season: FloatArray) -> FloatArray:
        """Return consumers over the usual number of them for log traffic xi of any shape."""
        return np.asarray(np.exp(season - 0.5 * self.season_sd**2))

    def faded(self, loyalty: FloatArray) -> FloatArray:
        """Return loyalty shares ``(..., J + 1)`` after the share `fade` of the loyal forgot."""
        kept = (1.0 - self.fade) * loyalty
        kept[..., 0] += self.fade
        return kept
