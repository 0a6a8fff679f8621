"""What layers that see display and advertising add to the worth of a promotion, as the market's formula needs it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.inputs import Reader
from malles_env.preference.heads.objective import Scored, score
from malles_env.type_aliases import IntArray

BEST = 8
"""Best sellers it is averaged over."""
AT_ONCE = 32
"""Households read in one batch, so that a large panel needs no more memory than a small one."""


def promotion_worth(data: TasteData, heads: HeadSet, readings: Reader) -> torch.Tensor:
    """Return what a product gains from being displayed, and advertised, beyond the heads' own coefficients [S, 2].

    Each of the best sellers is promoted alone on a shelf without promotions; the mean over them is what one number per
    household can say.

    Args:
        data: S households before one shelf.
        heads: The heads.
        readings: Readings of the products.
    """
    best = np.argsort(-data.long_share[0], kind="stable")[:BEST]
    parts = np.split(np.arange(len(data)), range(AT_ONCE, len(data), AT_ONCE))
    return torch.cat([_worth(data.take(rows), best, heads, readings) for rows in parts])


def _worth(data: TasteData, best: IntArray, heads: HeadSet, readings: Reader) -> torch.Tensor:
    """Return the same of a few households, from one batch: as it is, then each promoted by either means [S, 2]."""
    copies, each = 1 + 2 * len(best), np.arange(len(best))
    shape = (copies, *data.mask.shape)
    display, feature = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    display[1 + each, :, best] = True
    feature[1 + len(best) + each, :, best] = True
    many = data.take(np.tile(np.arange(len(data)), copies))
    flat = (-1, shape[-1])
    scored = score(replace(many, display=display.reshape(flat), feature_ad=feature.reshape(flat)), heads, readings)
    taste = _taste(scored).reshape(shape)[:, :, best]
    own = torch.stack([scored.prefix.display, scored.prefix.feature]).reshape(2, copies, -1)
    shown, advertised = taste[1 : 1 + len(best)], taste[1 + len(best) :]
    gains = []
    for place, (means, rows) in enumerate(((shown, 1 + each), (advertised, 1 + len(best) + each))):
        gain = means[each, :, each] - taste[0].T + own[place, rows] - own[place, 0]
        gains.append(gain.mean(0))
    return torch.stack(gains, dim=1)


def _taste(scored: Scored) -> torch.Tensor:
    return scored.option.alpha + scored.prefix.propensity[:, None]
