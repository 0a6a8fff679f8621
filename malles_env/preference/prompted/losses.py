"""Losses of a prompted consumer: listwise over labels (with a reference: S-DPO, Chen et al. 2024), and of units."""

from __future__ import annotations

import torch
from torch.nn import functional


def listwise_loss(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return the contrastive loss of each occasion [M], in nats: minus log softmax at what was chosen.

    Args:
        scores: [M, J + 1], outside option first, -inf where no option is.
        chosen: 0 for the outside option, else the option's 1-based place [M].
    """
    return functional.cross_entropy(scores, chosen, reduction="none")


def reference_scores(log_policy: torch.Tensor, log_reference: torch.Tensor, beta: float) -> torch.Tensor:
    """Return ``beta (log pi - log pi_ref)``, -inf where no option is."""
    absent = torch.isinf(log_policy)
    return torch.where(absent, log_policy, beta * (log_policy - torch.where(absent, 0.0, log_reference)))


def unit_loss(log_probability: torch.Tensor, quantity: torch.Tensor) -> torch.Tensor:
    """Return minus the log probability of the units bought [U]; more than nine count as nine.

    Args:
        log_probability: Over 1..9 units [U, 9].
        quantity: Units bought, 1 or more [U].
    """
    return functional.nll_loss(log_probability, quantity.clamp(1, log_probability.shape[1]) - 1, reduction="none")
