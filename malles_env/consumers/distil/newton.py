"""Maximum likelihood of concave models under lower bounds, by projected Newton steps with exact derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malles_env.type_aliases import BoolArray, FloatArray

Derivatives = tuple[float, FloatArray, FloatArray]
Loss = Callable[[FloatArray], Derivatives]
MAX_STEPS = 200


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior that pulls each parameter towards a centre.

    Attributes:
        centre: ``(P,)``.
        precision: ``(P,)``, in answers: 1 pulls as strongly as one answer whose loss has curvature 1.
    """

    centre: FloatArray
    precision: FloatArray

    def added_to(self, loss: Loss) -> Loss:
        """Return the loss plus the prior's."""

        def whole(theta: FloatArray) -> Derivatives:
            value, gradient, hessian = loss(theta)
            away = theta - self.centre
            pull = self.precision * away
            return value + 0.5 * float(away @ pull), gradient + pull, hessian + np.diag(self.precision)

        return whole


def choice_loss(
    features: FloatArray, available: BoolArray, probability: FloatArray, weight: FloatArray | float = 1.0
) -> Loss:
    """Return the cross-entropy of answered distributions under a logit, minus their entropy; summed over answers.

    Args:
        features: ``(N, J, P)``.
        available: ``(N, J)``.
        probability: Answers, ``(N, J + 1)``, index 0 the outside option.
        weight: How much each answer counts, ``(N,)``.
    """
    count, products, size = features.shape
    inside = np.where(available, probability[:, 1:], 0.0)
    known = np.concatenate([probability[:, :1], inside], axis=1)
    scale = np.broadcast_to(weight, count)[:, None]
    entropy = -float(np.sum(scale * known * np.log(np.where(known > 0, known, 1.0))))
    inside = scale * inside
    flat = features.reshape(-1, size)
    total = scale * known.sum(axis=1, keepdims=True)

    def loss(theta: FloatArray) -> Derivatives:
        utility = np.where(available, (flat @ theta).reshape(count, products), -np.inf)
        shift = np.maximum(utility.max(axis=1, keepdims=True), 0.0)
        exp_u = np.exp(utility - shift)
        whole = np.exp(-shift) + exp_u.sum(axis=1, keepdims=True)
        chance = exp_u / whole
        log_whole = np.log(whole) + shift
        spoken = float(np.sum(total * log_whole) - np.sum(inside * np.where(available, utility, 0.0)))
        gradient = (total * chance - inside).reshape(-1) @ flat
        weighted = total * chance
        mean = np.matmul(chance[:, None, :], features)[:, 0]
        hessian = flat.T @ (weighted.reshape(-1, 1) * flat) - mean.T @ (total * mean)
        return spoken - entropy, gradient, hessian

    return loss


def units_loss(features: FloatArray, available: BoolArray, extra: FloatArray) -> Loss:
    """Return the Poisson pseudo-likelihood of mean extra units under exp(kappa + delta d), summed over listed products.

    It is consistent for the mean whatever the distribution (Gourieroux, Monfort and Trognon 1984).

    Args:
        features: ``(N, J, J + 1)``.
        available: ``(N, J)``.
        extra: Mean units beyond the first, ``(N, J)``.
    """
    rows = features[available]
    seen = np.maximum(extra[available], 0.0)

    def loss(theta: FloatArray) -> Derivatives:
        index = np.clip(rows @ theta, -40.0, 40.0)
        mean = np.exp(index)
        gradient = (mean - seen) @ rows
        return float(np.sum(mean - seen * index)), gradient, rows.T @ (mean[:, None] * rows)

    return loss


def minimise(loss: Loss, start: FloatArray, low: FloatArray, tolerance: float = 1e-10) -> FloatArray:
    """Return the minimum of a convex loss over theta >= low (Bertsekas 1982).

    Parameters at their bound whose gradient points outwards stay there; the others take a Newton step, halved until
    the loss falls enough, and are cut at their bounds.

    Args:
        loss: Value, gradient and positive definite Hessian.
        start: ``(P,)``.
        low: Lower bounds, ``(P,)``.
        tolerance: Ends when no parameter moves further, or when the loss is predicted to fall by less.
    """
    theta = np.maximum(start, low)
    value, gradient, hessian = loss(theta)
    for _ in range(MAX_STEPS):
        free = (theta > low + 1e-12) | (gradient < 0.0)
        step = np.zeros_like(theta)
        inner = hessian[np.ix_(free, free)]
        step[free] = -np.linalg.solve(inner + 1e-12 * np.eye(len(inner)), gradient[free])
        found = _shortened(loss, theta, low, step, value, gradient)
        if found is None:
            break
        moved, (fallen, gradient, hessian) = found
        still = np.abs(moved - theta).max() < tolerance or value - fallen < tolerance * 1e-2
        theta, value = moved, fallen
        if still:
            break
    return theta


def _shortened(
    loss: Loss, theta: FloatArray, low: FloatArray, step: FloatArray, value: float, gradient: FloatArray
) -> tuple[FloatArray, Derivatives] | None:
    """Return the first point along the step at which the loss falls enough; None when none does."""
    size = 1.0
    for _ in range(40):
        moved = np.maximum(theta + size * step, low)
        found = loss(moved)
        if np.isfinite(found[0]) and found[0] <= value + 1e-4 * float(gradient @ (moved - theta)):
            return moved, found
        size *= 0.5
    return None
