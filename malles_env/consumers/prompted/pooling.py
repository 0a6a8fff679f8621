"""Calibration of each persona, drawn towards one for all by as much as held-out households ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.consumers.prompted.calibration import Calibration
from malles_env.consumers.prompted.likelihood import fit_choices, fit_units
from malles_env.consumers.prompted.scores import log_probability
from malles_env.consumers.prompted.visits import VisitAnswers
from malles_env.errors import invalid
from malles_env.type_aliases import FloatArray, IntArray

PULLS = (1.0, 4.0, 16.0, 64.0, np.inf)
"""Strengths tried: a persona's 1 / T and offsets are normal around the pool's with this precision; inf: the pool's."""
POOL_PRECISION = 0.1
"""Precision of the pool around what the model said: a visit or two outweigh it."""
SHIFT_PRECISION = 1.0
"""Precision of product shifts around 0."""


@dataclass(frozen=True)
class Tried:
    """A candidate and how it did on households it was not fitted to.

    Attributes:
        pull: Strength of the pool over a persona.
        shift: Whether products got shifts.
        nats: Mean over the folds' visits, lower is better; NaN where there were too few households for folds.
    """

    pull: float
    shift: bool
    nats: float


@dataclass(frozen=True)
class Pooled:
    """What was fitted.

    Attributes:
        pool: One temperature and one outside offset for all.
        personas: One of each per segment.
        chosen: The candidate that `personas` was fitted with.
        tried: All candidates.
    """

    pool: Calibration
    personas: Calibration
    chosen: Tried
    tried: tuple[Tried, ...]


def fit_pooled(
    asked: VisitAnswers,
    segments: int,
    *,
    rho: bool = False,
    pulls: tuple[float, ...] = PULLS,
    shifts: tuple[bool, ...] = (False, True),
    folds: int = 5,
    seed: int = 0,
) -> Pooled:
    """Return the calibration of S personas fitted to visits.

    Two maximum-likelihood fits with a ridge: first one temperature and outside offset for everybody, then one per
    persona, drawn towards those. How strongly, and whether products get shifts, is what predicts best in folds of
    households; ties go to the simpler candidate. Units have one temperature and tilt.

    Args:
        asked: Visits and what the model said to them.
        segments: S; a persona without visits keeps the pool's numbers.
        rho: Whether the mean field is fitted as a number, too.
        pulls: Candidates, from weak to strong, above 0.
        shifts: Candidates.
        folds: At least 2; fewer where there are fewer households.
        seed: Seed of the folds.

    Raises:
        InvalidInput: No visits, or candidates out of range.
    """
    if not pulls or min(pulls) <= 0 or not shifts:
        raise invalid("pulls, shifts", (pulls, shifts), "at least one of each, pulls above 0")
    if folds < 2:
        raise invalid("folds", folds, "at least 2")
    fold = _folds(asked.visits.household, folds, seed)
    strongest_first = tuple(sorted(pulls, reverse=True))
    tried = tuple(
        Tried(pull, shift, nats)
        for shift in sorted(shifts)
        for pull, nats in zip(
            strongest_first, _held_out(asked, fold, segments, strongest_first, shift, rho), strict=True
        )
    )
    best = min(tried, key=lambda one: one.nats if np.isfinite(one.nats) else np.inf)
    pool = _pool(asked, segments, best.shift, rho)
    personas = _personas(asked, segments, pool, best.pull, rho)
    rows = asked.bought
    if len(rows):
        temperature, tilt = fit_units(asked.log_units[rows], asked.visits.quantity[rows], POOL_PRECISION / len(rows))
        pool = replace(pool, unit_temperature=temperature, unit_tilt=tilt)
        personas = replace(personas, unit_temperature=temperature, unit_tilt=tilt)
    return Pooled(pool, personas, best, tried)


def _pool(asked: VisitAnswers, segments: int, shift: bool, rho: bool) -> Calibration:
    """Return the fit of one temperature and outside offset, for each of the segments."""
    visits, count = asked.visits, max(len(asked.visits), 1)
    return fit_choices(
        asked.log_choice,
        np.zeros(len(visits), dtype=np.int64),
        visits.chosen,
        segments=1,
        offset=visits.offset,
        perceived=visits.perceived if rho else None,
        shift=shift,
        ridge=POOL_PRECISION / count,
        shift_ridge=SHIFT_PRECISION / count,
    ).of_each(segments)


def _personas(asked: VisitAnswers, segments: int, pool: Calibration, pull: float, rho: bool) -> Calibration:
    """Return the fit of each persona, drawn towards the pool.

    The shifts stay the pool's: they are facts of products, and few visits of one persona should not move them.
    """
    if not np.isfinite(pull):
        return pool
    visits = asked.visits
    return fit_choices(
        asked.log_choice,
        visits.segment,
        visits.chosen,
        segments=segments,
        offset=visits.offset,
        perceived=visits.perceived if rho else None,
        ridge=pull / max(len(visits), 1),
        towards=pool,
    )


def _folds(household: IntArray, folds: int, seed: int) -> IntArray:
    """Return the fold of each visit; visits of one household are never apart."""
    names, place = np.unique(household, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return (order % max(min(folds, len(names)), 1))[place]


def _held_out(
    asked: VisitAnswers, fold: IntArray, segments: int, pulls: tuple[float, ...], shift: bool, rho: bool
) -> list[float]:
    """Return the mean nats of visits in folds that no fit saw, for each pull; the pool of a fold is fitted once."""
    parts = np.unique(fold)
    if len(parts) < 2:
        return [float("nan")] * len(pulls)
    nats: FloatArray = np.zeros((len(pulls), len(fold)))
    for part in parts:
        inside, outside = asked.take(np.flatnonzero(fold != part)), np.flatnonzero(fold == part)
        left, pool = asked.take(outside), _pool(inside, segments, shift, rho)
        for at, pull in enumerate(pulls):
            fitted = _personas(inside, segments, pool, pull, rho)
            nats[at, outside] = -log_probability(left, fitted)[np.arange(len(outside)), left.visits.chosen]
    return [float(mean) for mean in nats.mean(axis=1)]
