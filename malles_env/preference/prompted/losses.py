"""Losses of a prompted consumer: listwise over labels, and S-DPO's equal form with a reference."""

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


def s_dpo_loss(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return ``-log sigmoid(-log sum_{d != c} exp(s_d - s_c))`` [M], as S-DPO writes it.

    Chen et al. 2024 (arXiv 2406.09215), equation 10, with ``s = beta (log pi - log pi_ref)``. It equals
    `listwise_loss`, since ``sigmoid(-log x) = 1 / (1 + x)``; the sum is taken by log-sum-exp.
    """
    own = scores.gather(1, chosen[:, None])
    others = torch.where(functional.one_hot(chosen, scores.shape[1]).bool(), -torch.inf, scores - own)
    return -functional.logsigmoid(-torch.logsumexp(others, dim=1))


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
