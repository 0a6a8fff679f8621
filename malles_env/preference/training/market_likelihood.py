"""Penalised likelihood of one market's own terms, with everything else that moves its choices given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.type_aliases import FloatArray, IntArray

_STEPS = 50
_CLOSE = 1e-5
"""Utils: a fit whose last step is smaller has settled."""


@dataclass(frozen=True)
class MarketLog:
    """What one market's B occasions say of its K terms; the first is the log multiplier of beta.

    Attributes:
        utility: Utilities with all terms at 0, outside option first, -inf where no option is [B, J + 1].
        slope: beta log(p/r) [B, J].
        design: What the other terms are multiplied with, 0 where no option is [B, J, K - 1].
        chosen: 0 for nothing, else the 1-based place [B].
        weight: Weight of each occasion [B].
    """

    utility: FloatArray
    slope: FloatArray
    design: FloatArray
    chosen: IntArray
    weight: FloatArray

    def weighed(self, weight: FloatArray) -> MarketLog:
        """Return the occasions with other weights; those of weight 0 are left out."""
        kept = weight > 0
        rows = {name: getattr(self, name)[kept] for name in ("utility", "slope", "design", "chosen")}
        return replace(self, **rows, weight=weight[kept])


@dataclass(frozen=True)
class Prior:
    """Independent normal priors of the K terms, and the box they must stay in.

    Attributes:
        centre: [K].
        spread: Standard deviations [K].
        bound: Largest absolute values [K].
    """

    centre: FloatArray
    spread: FloatArray
    bound: FloatArray


def fit_terms(log: MarketLog, prior: Prior, start: FloatArray) -> FloatArray:
    """Return the terms [K] with the largest likelihood of joint choice and of choice given a purchase, times the prior.

    Fisher scoring with halved steps, projected onto the box: a term at its bound that the gradient pushes outwards
    stays there while the others move.

    Args:
        log: The market's occasions.
        prior: Of the terms.
        start: Where to begin [K].
    """
    terms = np.clip(start, -prior.bound, prior.bound)
    value, gradient, information = _likelihood(log, prior, terms)
    for _ in range(_STEPS):
        step = _step(terms, gradient, information, prior.bound)
        scale = 1.0
        while scale > 1e-4:
            moved = np.clip(terms + scale * step, -prior.bound, prior.bound)
            after = _likelihood(log, prior, moved)
            if after[0] >= value - 1e-9 * (1.0 + abs(value)):
                break
            scale /= 2
        else:
            break
        settled = bool(np.abs(moved - terms).max() < _CLOSE)
        terms, (value, gradient, information) = moved, after
        if settled:
            break
    return terms


def _step(terms: FloatArray, gradient: FloatArray, information: FloatArray, bound: FloatArray) -> FloatArray:
    """Return the scoring step [K], 0 for a term that would leave its box."""
    free = ~((np.abs(terms) >= bound) & (np.sign(gradient) == np.sign(terms)))
    step = np.zeros_like(terms)
    if free.any():
        step[free] = np.linalg.solve(information[np.ix_(free, free)], gradient[free])
    return step


def _likelihood(log: MarketLog, prior: Prior, terms: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Return the penalised log-likelihood, its gradient [K] and its expected information [K, K]."""
    grown = np.exp(terms[0])
    moved = log.design @ terms[1:] - log.slope * (grown - 1.0)
    utility = log.utility.copy()
    utility[:, 1:] += moved
    slopes = np.concatenate([(-grown * log.slope)[..., None], log.design], axis=2)
    off = (terms - prior.centre) / prior.spread
    value, gradient = -0.5 * float(off @ off), -off / prior.spread
    information = np.diag(prior.spread**-2.0)
    bought = np.flatnonzero(log.chosen > 0)
    whole = (utility, slopes, log.chosen, log.weight, True)
    inside = (utility[bought, 1:], slopes[bought], log.chosen[bought] - 1, log.weight[bought], False)
    for part in (whole, inside):
        said, pull, known = _multinomial(*part)
        value, gradient, information = value + said, gradient + pull, information + known
    return value, gradient, information


def _multinomial(
    utility: FloatArray, slopes: FloatArray, chosen: IntArray, weight: FloatArray, outside: bool
) -> tuple[float, FloatArray, FloatArray]:
    """Return a logit's log-likelihood, gradient and expected information; an outside option has no slopes."""
    if not len(utility):
        return 0.0, np.zeros(slopes.shape[2]), np.zeros((slopes.shape[2],) * 2)
    rows = np.arange(len(utility))
    top = utility.max(1, keepdims=True)
    odds = np.exp(utility - top)
    total = odds.sum(1, keepdims=True)
    value = float(weight @ (utility[rows, chosen] - top[:, 0] - np.log(total[:, 0])))
    share = (odds / total)[:, int(outside) :]
    place = chosen - int(outside)
    taken = slopes[rows, np.maximum(place, 0)] * (place >= 0)[:, None]
    mean = np.matmul(share[:, None], slopes)[:, 0]
    flat = slopes * np.sqrt(share * weight[:, None])[..., None]
    flat = flat.reshape(-1, slopes.shape[2])
    heavy = mean * np.sqrt(weight)[:, None]
    return value, weight @ (taken - mean), flat.T @ flat - heavy.T @ heavy
