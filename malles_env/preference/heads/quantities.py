"""How many units a buyer takes: a zero-truncated distribution over 1..Q that a discount shifts upwards."""

from __future__ import annotations

import torch

QUANTITIES = 24
"""Units distinguished; the last one stands for all larger ones: above it sit coding errors."""


def tilt(units: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Return log odds of 1..Q units tilted towards more of them.

    Exponential tilting by ``strength * log q``: the mean rises with `strength` (monotone likelihood ratio), so a
    discount never makes a buyer take fewer.

    Args:
        units: Log odds [..., Q].
        strength: At least 0 [...].
    """
    log_units = torch.log(torch.arange(1, QUANTITIES + 1, dtype=units.dtype, device=units.device))
    return units + strength[..., None] * log_units


def quantity_nll(odds: torch.Tensor, quantity: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of units bought [B], in nats.

    Args:
        odds: Log odds of 1..Q units [B, Q].
        quantity: Units bought, 1 or more [B].
    """
    place = quantity.clamp(1, QUANTITIES) - 1
    return torch.nn.functional.cross_entropy(odds, place, reduction="none")
