"""Maximum likelihood: the calibration under which real choice occasions are likeliest, given what a model said."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.consumers.prompted.calibration import UNITS, Calibration, softmax
from malles_env.errors import invalid
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

SLOPES = (1e-2, 1e2)
"""Bounds of 1 / T: above 0, so that what the model finds worse is never made better by the calibration."""


def fit_choices(
    log_choice: FloatArray,
    segment: IntArray,
    chosen: IntArray,
    *,
    segments: int,
    weight: FloatArray | None = None,
    offset: FloatArray | None = None,
    perceived: FloatArray | None = None,
    shift: bool = False,
    ridge: float = 1e-3,
    shift_ridge: float | None = None,
    towards: Calibration | None = None,
) -> Calibration:
    """Return the maximum-likelihood calibration on N choice occasions.

    Temperature and outside offset per segment and, if wanted, a pull of the mean field per segment and one shift per
    product. In ``1 / T`` the likelihood is that of a conditional logit, which is concave, so there is one maximum.

    Args:
        log_choice: Log label probabilities, minus infinity for what was not on the shelf, shape ``(N, J + 1)``.
        segment: Segment of each occasion, shape ``(N,)``.
        chosen: 0 for nothing, else the product's number from 1, shape ``(N,)``; must have been on the shelf.
        segments: S.
        weight: Occasions that each row stands for, shape ``(N,)``.
        offset: Utils by which buying nothing is likelier in the sample than in life, shape ``(N,)``; not part of the
            result. Undoes a sample that has too many or too few purchases.
        perceived: ``mbar - 1/J`` of each row, shape ``(N, J)``; given where rho is to be fitted.
        shift: Whether products get shifts.
        ridge: Weight of the squared distance (of 1 / T, the others as they are) from `towards`, per occasion; keeps
            numbers finite that the data leave open.
        shift_ridge: The same for the shifts; None: `ridge`.
        towards: Where the ridge pulls to, and what stays as it is where nothing is fitted; None changes nothing.

    Raises:
        InvalidInput: No occasions, or something chosen that was not there.
    """
    rows, options = log_choice.shape
    if not rows:
        raise invalid("occasions", 0, "at least one")
    there = _on_shelf(log_choice, chosen)
    centre = towards or Calibration.of(segments, options - 1)
    share = np.ones(rows) if weight is None else np.asarray(weight, dtype=np.float64)
    moved = np.zeros(rows) if offset is None else np.asarray(offset, dtype=np.float64)
    pull = np.repeat([ridge, ridge if shift_ridge is None else shift_ridge], [3 * segments, options - 1])
    log_known = np.where(there, log_choice, 0.0)
    pulled = np.zeros((rows, options - 1)) if perceived is None else perceived
    task = _Task(log_known, there, segment, chosen, share / share.sum(), moved, pulled, segments, _packed(centre), pull)
    free = np.repeat([True, True, perceived is not None, shift], [segments, segments, segments, options - 1])
    return _unpacked(task.minimum(free), centre)


def _on_shelf(log_choice: FloatArray, chosen: IntArray) -> BoolArray:
    """Return what was on the shelf [N, J + 1], where that is true of all that was chosen."""
    there: BoolArray = np.isfinite(log_choice)
    found = there[np.arange(len(there)), chosen]
    if not found.all():
        raise invalid("chosen", int(np.argmin(found)), "options that were on the shelf")
    return there


def _packed(calibration: Calibration) -> FloatArray:
    """Return 1 / T, outside and rho of the segments and the shifts one after the other, shape ``(3 S + J,)``."""
    slope = 1.0 / calibration.temperature
    return np.concatenate([slope, calibration.outside, calibration.rho, calibration.shift])


def _unpacked(theta: FloatArray, centre: Calibration) -> Calibration:
    """Return the calibration packed in `theta`; what is not in there is that of `centre`."""
    fitted = 3 * len(centre.temperature)
    slope, outside, rho = np.split(theta[:fitted], 3)
    return replace(centre, temperature=1.0 / slope, outside=outside, rho=rho, shift=theta[fitted:])


@dataclass(frozen=True)
class _Task:
    """What is minimised: mean nats of the choices and the ridge, as `fit_choices` has them."""

    log_known: FloatArray
    there: BoolArray
    segment: IntArray
    chosen: IntArray
    share: FloatArray
    offset: FloatArray
    perceived: FloatArray
    segments: int
    centre: FloatArray
    pull: FloatArray

    def loss(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return value and gradient at `theta`, packed as by `_packed`."""
        slope, outside, rho = np.split(theta[: 3 * self.segments], 3)
        at, rows = self.segment, np.arange(len(self.chosen))
        utility = slope[at][:, None] * self.log_known
        utility[:, 0] += outside[at] + self.offset
        utility[:, 1:] += theta[3 * self.segments :] + rho[at][:, None] * self.perceived
        probability = softmax(np.where(self.there, utility, -np.inf))
        picked = probability[rows, self.chosen]
        probability[rows, self.chosen] -= 1.0
        probability *= self.share[:, None]
        parts = ((probability * self.log_known).sum(1), probability[:, 0], (probability[:, 1:] * self.perceived).sum(1))
        gradient = [np.bincount(at, part, self.segments) for part in parts]
        away = theta - self.centre
        value = -(self.share * np.log(np.maximum(picked, 1e-300))).sum() + 0.5 * (self.pull * away) @ away
        return float(value), np.concatenate([*gradient, probability[:, 1:].sum(0)]) + self.pull * away

    def minimum(self, free: BoolArray) -> FloatArray:
        """Return the packed numbers of least loss; those that are not `free` stay at the centre."""
        from scipy.optimize import minimize

        bounds = [
            (value, value) if not open_ else SLOPES if at < self.segments else (None, None)
            for at, (value, open_) in enumerate(zip(self.centre, free, strict=True))
        ]
        best: FloatArray = minimize(
            self.loss, self.centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000}
        ).x
        return best


def fit_units(log_units: FloatArray, quantity: IntArray, ridge: float = 1e-3) -> tuple[float, float]:
    """Return temperature and tilt of the units by maximum likelihood; more than nine units count as nine.

    Args:
        log_units: Log probabilities over 1 to 9 units, shape ``(N, 9)``.
        quantity: Units bought, 1 or more, shape ``(N,)``.
        ridge: As in `fit_choices`.

    Raises:
        InvalidInput: No purchases.
    """
    from scipy.optimize import minimize

    if not len(quantity):
        raise invalid("quantity", 0, "at least one purchase")
    at = np.clip(np.asarray(quantity), 1, 9) - 1

    def loss(theta: FloatArray) -> float:
        probability = softmax(theta[0] * log_units - theta[1] * (UNITS - 1.0))
        picked = probability[np.arange(len(at)), at]
        away = theta - (1.0, 0.0)
        return float(-np.log(np.maximum(picked, 1e-300)).mean() + 0.5 * ridge * away @ away)

    best = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[SLOPES, (-50.0, 50.0)]).x
    return float(1.0 / best[0]), float(best[1])
