"""Training losses: listwise choice over outside option and shelf, with or without a reference, and mild priors."""

from __future__ import annotations

import torch
from torch.nn import functional

from malles_env.preference.heads.coefficients import OptionTastes, PrefixTastes


def choice_loss(utilities: torch.Tensor, chosen: torch.Tensor, reference: torch.Tensor | None = None) -> torch.Tensor:
    """Return the listwise contrastive loss per occasion [B], in nats.

    With `reference` the scores are differences to a reference model's; that is S-DPO (Chen et al. 2024) with all other
    alternatives as rejected ones: ``-log sigmoid(-log sum_r exp(D_r - D_c)) = -log softmax(D)_c``.

    Args:
        utilities: [B, J + 1], outside option first, -inf where no option is.
        chosen: 0 for the outside option, else the option's 1-based place [B].
        reference: A frozen model's utilities of the same form [B, J + 1].
    """
    scores = utilities if reference is None else utilities - reference.masked_fill(torch.isinf(reference), 0.0)
    return functional.cross_entropy(scores, chosen, reduction="none")


def inside_loss(utilities: torch.Tensor, chosen: torch.Tensor, reference: torch.Tensor | None = None) -> torch.Tensor:
    """Return the same loss among the options alone, of the occasions with a purchase [number of purchases].

    Args:
        utilities: [B, J + 1], as for `choice_loss`.
        chosen: [B].
        reference: As for `choice_loss`.
    """
    bought = chosen > 0
    given = None if reference is None else reference[bought, 1:]
    return choice_loss(utilities[bought, 1:], chosen[bought] - 1, given)


def sensitivity_prior(
    prefix: PrefixTastes, option: OptionTastes, mask: torch.Tensor, beta_centre: float, gamma_scale: float
) -> torch.Tensor:
    """Return a penalty that keeps sensitivities in an economic range where the data say little [B].

    Regular prices move rarely, so log price and discount are nearly collinear. Log-normal around `beta_centre` for
    beta, half-normal with scale `gamma_scale` for gamma: what can be explained by a price response is.
    """
    centre = torch.log(torch.tensor(beta_centre))
    beta = 0.5 * (torch.log(option.beta + 1e-6) - centre) ** 2 * mask
    return beta.sum(1) / mask.sum(1) / 0.5**2 + 0.5 * (prefix.gamma / gamma_scale) ** 2


def consistency_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the Jensen-Shannon divergence of two answers to one shelf [B], in nats.

    Args:
        first: Utilities of one wording [B, J + 1].
        second: Of another [B, J + 1].
    """
    one, two = first.softmax(1), second.softmax(1)
    middle = torch.log(0.5 * (one + two) + 1e-12)

    def divergence(share: torch.Tensor) -> torch.Tensor:
        return (share * (torch.log(share + 1e-12) - middle)).sum(1)

    return 0.5 * (divergence(one) + divergence(two))
