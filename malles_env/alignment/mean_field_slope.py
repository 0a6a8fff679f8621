"""How the whole utility of a taste model moves with the mean field: what the market's rho must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.alignment.dataset import TasteData
from malles_env.alignment.ensemble import HeadSet
from malles_env.alignment.heads import RHO_BOUND
from malles_env.alignment.inputs import Reader
from malles_env.alignment.objective import score

SHARE_STEP = 0.05
"""Shares are moved by this much down and up to read the response to the mean field."""
SLOPED = 8
"""Best sellers it is averaged over."""
AT_ONCE = 32
"""Households whose response is read in one batch, so that a large panel needs no more memory than a small one."""


def mean_field_slope(data: TasteData, heads: HeadSet, readings: Reader) -> torch.Tensor:
    """Return how a product's utility moves with its own windowed share, averaged over the best sellers [S].

    Besides rho the inner layers see what has been selling better than usual, so the slope of the whole utility is
    what the market's rho must be. It is bounded like rho, so that a segment has one mean-field equilibrium.

    Args:
        data: S households before one shelf.
        heads: The heads.
        readings: Readings of the goods.
    """
    best = np.argsort(-data.long_share[0], kind="stable")[:SLOPED]
    parts = np.split(np.arange(len(data)), range(AT_ONCE, len(data), AT_ONCE))
    slopes = torch.cat([_slopes(data.take(rows), best, heads, readings) for rows in parts], dim=1)
    return slopes.mean(0).clamp(-RHO_BOUND, RHO_BOUND)


def _slopes(data: TasteData, best: NDArray[np.int64], heads: HeadSet, readings: Reader) -> torch.Tensor:
    """Return the slope in each of some products' shares, from one batch with each share moved down and up [K, S]."""
    each = np.arange(len(best))
    step = np.array([-SHARE_STEP, SHARE_STEP], dtype=data.share.dtype)
    share = np.tile(data.share, (len(best), 2, 1, 1))  # best seller, down and up, household, product
    share[each, :, :, best] = np.clip(share[each, :, :, best] + step[:, None], 0.0, 1.0)
    moved = replace(data.take(np.tile(np.arange(len(data)), 2 * len(best))), share=share.reshape(-1, share.shape[-1]))
    utilities = score(moved, heads, readings).utilities.reshape(len(best), 2, len(data), -1)
    under, over = utilities[each, :, :, 1 + best].unbind(1)
    low, high = share[each, :, :, best].swapaxes(0, 1)
    return (over - under) / torch.as_tensor(high - low, device=over.device)
