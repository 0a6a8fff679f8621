"""TasteReading: the coefficients a taste model reads off personas and products, as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TasteReading:
    """Coefficients of the market's utility for S personas and J products.

    ``u_sj|k = alpha_sj - beta_sj log(p_j/r_j) + gamma_s d_j + rho_s (mbar_j - 1/J) + lambda_s 1[j = k]``,
    buying nothing has utility 0, and a buyer takes ``1 + Poisson(exp(kappa_sj + delta_s d_j))`` units.

    Attributes:
        alpha: Taste [S, J], popularity as a structural attribute included.
        beta: Price sensitivity [S, J], above 0.
        gamma: Worth of the discount depth beyond the lower price [S], above 0.
        rho: Pull of the mean field [S], between -1.9 and 1.9.
        lambda_: Pull of the last purchase [S].
        kappa: Log of the mean units beyond the first, at the regular price [S, J].
        delta: Its response to the discount depth [S], above 0.
    """

    alpha: FloatArray
    beta: FloatArray
    gamma: FloatArray
    rho: FloatArray
    lambda_: FloatArray
    kappa: FloatArray
    delta: FloatArray
