"""How well calibrated answers agree with what households did, beside other calibrations on the same visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from malles_env.consumers.prompted.calibration import Calibration
from malles_env.consumers.prompted.visits import VisitAnswers
from malles_env.type_aliases import FloatArray, IntArray

if TYPE_CHECKING:
    from malles_env.evaluation.metrics import Estimate

MEASURES = {
    "hit": "share of purchases in which the likeliest product was bought",
    "nats": "of a purchase, given that something was bought",
    "nats_all": "of a visit, buying nothing included",
    "units_nats": "of the units of a purchase, nine standing for more",
    "units_error": "absolute error of the median units, summed, over the units bought",
}
"""What is measured; all but hit are better when lower."""


@dataclass(frozen=True)
class Score:
    """One calibration on visits, by measure of `MEASURES`; those of units are left out where they were not asked.

    Attributes:
        values: Means, standard errors clustered by household.
        gains: The same minus those of the row it is held against, visit by visit; empty for that row itself.
    """

    values: dict[str, Estimate]
    gains: dict[str, Estimate]


def scores(asked: Mapping[str, VisitAnswers], fitted: Mapping[str, Calibration], against: str) -> dict[str, Score]:
    """Return how each row agrees with the visits, and its difference from one of them.

    Args:
        asked: Row -> answers; the visits of all rows are the same.
        fitted: Row -> calibration.
        against: Row that the others are held against.
    """
    base = _values(asked[against], fitted[against])
    found = {}
    for name in asked:
        own = _values(asked[name], fitted[name])
        shared = [measure for measure in own if measure in base]
        gaps = {} if name == against else {key: replace(own[key], top=own[key].top - base[key].top) for key in shared}
        found[name] = Score(_estimates(own), _estimates(gaps))
    return found


def log_probability(asked: VisitAnswers, fitted: Calibration) -> FloatArray:
    """Return log choice probabilities in the sample of visits, its offset included, shape ``(N, J + 1)``."""
    visits = asked.visits
    with np.errstate(divide="ignore"):
        log = np.log(fitted.choice(asked.log_choice, visits.segment, visits.perceived))
    log[:, 0] += visits.offset
    whole: FloatArray = log - np.logaddexp.reduce(log, axis=1, keepdims=True)
    return whole


@dataclass(frozen=True)
class _Ratio:
    """What a measure sums up: top over bottom, and whose visits these were."""

    top: FloatArray
    bottom: FloatArray
    household: IntArray


def _values(asked: VisitAnswers, fitted: Calibration) -> dict[str, _Ratio]:
    visits, log = asked.visits, log_probability(asked, fitted)
    rows = np.flatnonzero(visits.chosen > 0)
    inside = log[rows, 1:] - np.logaddexp.reduce(log[rows, 1:], axis=1, keepdims=True)
    mine = inside[np.arange(len(rows)), visits.chosen[rows] - 1]
    tied = np.isclose(inside, mine[:, None], rtol=0.0, atol=1e-12).sum(axis=1)
    first = (inside > mine[:, None] + 1e-12).sum(axis=1) == 0
    found = {
        "hit": (np.where(first, 1.0 / np.maximum(tied, 1), 0.0), rows),
        "nats": (-mine, rows),
        "nats_all": (-log[np.arange(len(visits)), visits.chosen], np.arange(len(visits))),
    }
    values = {name: _Ratio(top, np.ones(len(top)), visits.household[at]) for name, (top, at) in found.items()}
    return values | _unit_values(asked, fitted)


def _unit_values(asked: VisitAnswers, fitted: Calibration) -> dict[str, _Ratio]:
    rows = asked.bought
    if not len(rows):
        return {}
    share, bought = fitted.units(asked.log_units[rows]), np.clip(asked.visits.quantity[rows], 1, 9)
    who = asked.visits.household[rows]
    nats = -np.log(np.maximum(share[np.arange(len(rows)), bought - 1], 1e-300))
    median = 1 + (share.cumsum(axis=1) < 0.5 - 1e-12).sum(axis=1)
    units = asked.visits.quantity[rows].astype(np.float64)
    return {
        "units_nats": _Ratio(nats, np.ones(len(rows)), who),
        "units_error": _Ratio(np.abs(median - units), units, who),
    }


def _estimates(values: Mapping[str, _Ratio]) -> dict[str, Estimate]:
    from malles_env.evaluation.metrics import clustered_ratio

    return {name: clustered_ratio(one.top, one.bottom, one.household) for name, one in values.items()}
