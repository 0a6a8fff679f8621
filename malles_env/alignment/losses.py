"""Training losses: listwise choice over outside option and shelf, shifted-Poisson quantity, mild priors."""

from __future__ import annotations

import torch
from torch.nn import functional

from malles_env.alignment.heads import PrefixTastes

LARGEST_QUANTITY = 24
"""Observed quantities are cut here: above it sit coding errors, which a Poisson would chase."""


def choice_loss(utilities: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return the listwise contrastive loss per occasion [B], in nats.

    Args:
        utilities: [B, J + 1], outside option first, -inf where no option is.
        chosen: 0 for the outside option, else the option's 1-based place [B].
    """
    return functional.cross_entropy(utilities, chosen, reduction="none")


def quantity_loss(log_rate: torch.Tensor, quantity: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of units bought, in nats, up to a constant of the data.

    Units are 1 + Poisson(rate), the zero-truncated form of the market's demand.

    Args:
        log_rate: kappa + delta d of the chosen option [B].
        quantity: Units bought, 1 or more [B].
    """
    extra = (quantity.clamp(max=LARGEST_QUANTITY) - 1).to(log_rate.dtype)
    return torch.exp(log_rate) - extra * log_rate


def sensitivity_prior(tastes: PrefixTastes, beta_centre: float, gamma_scale: float) -> torch.Tensor:
    """Return a penalty that keeps sensitivities in an economic range where the data say little [B].

    Regular prices move rarely, so log price and discount are nearly collinear. Log-normal around
    `beta_centre` for beta, half-normal with scale `gamma_scale` for gamma: what can be told as a price
    response is told as one.
    """
    beta = 0.5 * (torch.log(tastes.beta + 1e-6) - torch.log(torch.tensor(beta_centre))) ** 2
    return beta / 0.5**2 + 0.5 * (tastes.gamma / gamma_scale) ** 2
