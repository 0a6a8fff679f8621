"""Kinship: how like what a household bought before a product's name reads, in its own category and in others.

What a household takes in one category says what it will take in another only through what the products have in common,
and that is in their names. So a reading is centred within its category (which leaves what distinguishes its products)
and compared by cosine with the readings of what was bought. The comparison has no parameters of its own: in a category
that was never trained on it means what it meant in those that were.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

FEATURES = ("largest", "mean of the 5 largest", "mean")
"""Of the cosines between a product and what was bought; all 0 where nothing was."""
_TOP = 5


@dataclass(frozen=True)
class Kin:
    """What was bought, as rows of the products' readings, -1 in the padding.

    Attributes:
        market: Category of each product [P].
        other: Bought before in other categories [B, E].
        own: Bought before in the category, where that is known [B, H].
    """

    market: torch.Tensor
    other: torch.Tensor
    own: torch.Tensor


def meanings(readings: torch.Tensor, market: torch.Tensor) -> torch.Tensor:
    """Return readings less the mean of their category, of length 1 [P, width].

    Args:
        readings: One per product [P, width].
        market: Category of each product [P].
    """
    size = int(market.max()) + 1
    sums = torch.zeros(size, readings.shape[1], dtype=readings.dtype, device=readings.device)
    counts = torch.bincount(market, minlength=size).clamp(min=1).to(readings.dtype)
    means = sums.index_add(0, market, readings) / counts[:, None]
    return functional.normalize(readings - means[market], dim=1)


def likeness(meaning: torch.Tensor, option: torch.Tensor, bought: torch.Tensor) -> torch.Tensor:
    """Return `FEATURES` of each option [B, J, 3].

    Args:
        meaning: Of each product, see `meanings` [P, width].
        option: Products on the shelf [B, J].
        bought: Products bought before, -1 in the padding [B, E].
    """
    if not bought.shape[1]:
        return torch.zeros(*option.shape, len(FEATURES), dtype=meaning.dtype, device=meaning.device)
    there = (bought >= 0)[:, None, :]
    cosine = meaning[option] @ meaning[bought.clamp(min=0)].transpose(1, 2)
    top = cosine.masked_fill(~there, -torch.inf).topk(min(_TOP, bought.shape[1]), dim=-1).values
    real = top.isfinite()
    nearest = top.masked_fill(~real, 0.0)
    mean = (cosine * there).sum(-1) / there.sum(-1).clamp(min=1)
    return torch.stack([nearest[..., 0], nearest.sum(-1) / real.sum(-1).clamp(min=1), mean], dim=-1)


def kin_features(meaning: torch.Tensor, option: torch.Tensor, kin: Kin) -> torch.Tensor:
    """Return the features of other categories, then those of the own one [B, J, 6]."""
    return torch.cat([likeness(meaning, option, kin.other), likeness(meaning, option, kin.own)], dim=-1)
