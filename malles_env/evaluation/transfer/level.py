"""What a name says of a product's appeal to everybody: Gaussian-process regression of log attractions on readings.

Products whose names read alike sell alike: "JUMBO BAG PINK FLAMINGO" will sell about what other jumbo bags do. The
covariance of two appeals is v exp(-|x - y|^2 / (2 length^2)) + p log(price_x) log(price_y), x and y readings of unit
length and prices relative to the mean; v, length, p and the noise maximise the marginal likelihood (Rasmussen and
Williams 2006, chapters 2 and 5) under log-normal priors around 1, 1, .1 and .1, since a category holds few products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from malles_env.type_aliases import FloatArray

_PRIOR, _PRIOR_SD = np.log([1.0, 1.0, 0.1, 0.1]), 0.5
_BOUNDS = [(-7.0, 4.0), (-1.5, 2.0), (-9.0, 3.0), (-5.0, 2.0)]


@dataclass(frozen=True)
class Level:
    """How appeals vary with names and prices.

    Attributes:
        variance: v, utils squared.
        length: Of unit readings.
        price: p, utils squared.
        noise: Variance that no name explains, utils squared.
    """

    variance: float
    length: float
    price: float
    noise: float

    @classmethod
    def fit(cls, readings: FloatArray, log_price: FloatArray, appeal: FloatArray, sd: FloatArray) -> Level:
        """Return the most likely parameters.

        Args:
            readings: Centred readings of known products [J, width].
            log_price: Log prices less a mean that `predict` is given too [J].
            appeal: Their appeals [J].
            sd: Standard errors of these [J].
        """
        gaps = _gaps(readings, readings)

        def cost(theta: FloatArray) -> float:
            level = cls(*np.exp(theta).tolist())
            try:
                factor = np.linalg.cholesky(level._known(gaps, log_price, sd))
            except np.linalg.LinAlgError:
                return 1e12
            white = np.linalg.solve(factor, np.column_stack([appeal, np.ones(len(appeal))]))
            rest = white[:, 0] - white[:, 1] * (white[:, 0] @ white[:, 1]) / (white[:, 1] @ white[:, 1])
            unlikely = 0.5 * (((theta - _PRIOR) / _PRIOR_SD) ** 2).sum()
            return float(0.5 * rest @ rest + np.log(np.diag(factor)).sum() + unlikely)

        found = minimize(cost, _PRIOR, method="L-BFGS-B", bounds=_BOUNDS)
        return cls(*np.exp(found.x).tolist())

    def predict(
        self, readings: FloatArray, log_price: FloatArray, appeal: FloatArray, sd: FloatArray,
        new: FloatArray, new_log_price: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """Return what names and prices of new products say of their appeal, and its standard deviation [n].

        Args:
            readings: Of known products, as in `fit`.
            log_price: Likewise.
            appeal: Likewise.
            sd: Likewise.
            new: Centred readings of the new ones [n, width].
            new_log_price: Their log prices less the same mean [n].
        """
        factor = np.linalg.cholesky(self._known(_gaps(readings, readings), log_price, sd))
        across = self.covariance(_gaps(new, readings), new_log_price, log_price)
        white = np.linalg.solve(factor, np.column_stack([appeal, np.ones(len(appeal)), across.T]))
        mean = (white[:, 0] @ white[:, 1]) / (white[:, 1] @ white[:, 1])
        said = mean + (white[:, 0] - mean * white[:, 1]) @ white[:, 2:]
        own = self.variance + self.price * new_log_price**2 + self.noise
        return said, np.sqrt(np.maximum(own - (white[:, 2:] ** 2).sum(axis=0), self.noise))

    def covariance(self, gaps: FloatArray, log_price: FloatArray, other: FloatArray) -> FloatArray:
        """Return the covariance of appeals without noise; `gaps` are squared distances of readings."""
        return self.variance * np.exp(-0.5 * gaps / self.length**2) + self.price * log_price[:, None] * other

    def _known(self, gaps: FloatArray, log_price: FloatArray, sd: FloatArray) -> FloatArray:
        return self.covariance(gaps, log_price, log_price) + np.diag(sd**2 + self.noise)


def _gaps(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return squared distances of rows of unit length."""
    return np.maximum(2.0 - 2.0 * one @ other.T, 0.0)
