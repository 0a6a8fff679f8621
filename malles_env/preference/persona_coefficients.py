"""TasteReading: the coefficients a taste model predicts from personas and products, as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass

from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class TasteReading:
    """Coefficients of the market's utility for S personas and J products.

    ``u_sj|k = alpha_sj - beta_sj log(p_j/r_j) + gamma_s d_j + lambda_s 1[j = k]
    + display_s D_j + feature_s F_j + rho_s (mbar_j - l_j)``,
    with D and F 1 where displayed and advertised, mbar the windowed and l the long-run share;
    buying nothing has utility 0, and a buyer takes ``1 + Poisson(exp(kappa_sj + delta_s d_j))`` units.

    Attributes:
        alpha: Taste [S, J] at the long-run shares, popularity as a structural attribute included.
        beta: Price sensitivity [S, J], above 0.
        gamma: Worth of the discount depth beyond the lower price [S], above 0; without display and advertising.
        display: Utility of being displayed [S].
        feature: Utility of being advertised [S].
        rho: Pull of a windowed share beyond its long-run one [S], between -1.9 and 1.9: one number per market.
        lambda_: Pull of the last purchase [S].
        kappa: Log of the mean units beyond the first, at the regular price [S, J].
        delta: Its response to the discount depth [S], at least 0.

    `TasteModel.read_draws` puts an axis of D draws before all of these.
    """

    alpha: FloatArray
    beta: FloatArray
    gamma: FloatArray
    display: FloatArray
    feature: FloatArray
    rho: FloatArray
    lambda_: FloatArray
    kappa: FloatArray
    delta: FloatArray
