"""Which questions to ask next: those that inform most about the answers in play, by the logit's Fisher information.

What one more answered question x does to segment s is known before it is asked: its information matrix is

    I_s(x) = sum over options of P (1 - P) in the features, X' (diag(P) - P P') X,

with P at the tastes fitted so far. ``expected error``: among a pool of candidates take the one that lowers most the
expected squared error of choice probabilities over states of play (I-optimal, also called V-optimal design). It is
greedy, one question after another, with the information of those already taken counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.consumers.distil.features import Layout
from malles_env.consumers.distil.fit import Experiment, Fit
from malles_env.evaluation.audit.subject import take
from malles_env.market import Offer
from malles_env.type_aliases import FloatArray, IntArray

SEGMENTS = 6
"""Segments whose information is counted; the largest ones."""
FLOOR = 1e-3
"""Information of the prior, in answers: keeps matrices regular while answers are few."""


@dataclass
class Knowledge:
    """What is known of one segment.

    Attributes:
        covariance: Of its parameters given the answers so far, ``(P, P)``.
        goal: Mean over states of play of J'J, with J the slope of choice probabilities, ``(P, P)``.
        factor: Of each candidate's information F F', ``(C, P, J)``.
        weight: Share of the population.
    """

    covariance: FloatArray
    goal: FloatArray
    factor: FloatArray
    weight: float

    def gains(self) -> FloatArray:
        """Return by how much each candidate's answer lowers the expected squared error, ``(C,)``."""
        spread = self.covariance @ self.factor
        inner = np.eye(self.factor.shape[2]) + self.factor.transpose(0, 2, 1) @ spread
        aimed = spread.transpose(0, 2, 1) @ self.goal @ spread
        gain: FloatArray = np.trace(np.linalg.solve(inner, aimed), axis1=1, axis2=2)
        return self.weight * gain

    def learn(self, candidate: int) -> None:
        """Count the candidate as answered."""
        factor = self.factor[candidate]
        spread = self.covariance @ factor
        inner = np.eye(factor.shape[1]) + factor.T @ spread
        self.covariance = self.covariance - spread @ np.linalg.solve(inner, spread.T)


def choose(fit: Fit, experiment: Experiment, pool: Offer, play: Offer, count: int) -> list[int]:
    """Return `count` candidates of the pool, best first.

    Args:
        fit: Tastes so far.
        experiment: The answers they rest on.
        pool: C candidates, at least `count`.
        play: States in which the fitted consumers shall be right; one last purchase per segment.
        count: Questions to choose.
    """
    known = [_knowledge(fit, experiment, pool, play, s) for s in _largest(experiment.weights)]
    chosen: list[int] = []
    for _ in range(count):
        gains = np.sum([each.gains() for each in known], axis=0)
        gains[chosen] = -np.inf
        best = int(np.argmax(gains))
        chosen.append(best)
        for each in known:
            each.learn(best)
    return chosen


def information(layout: Layout, theta: FloatArray, offer: Offer, segment: int) -> FloatArray:
    """Return factors F of each state's information matrix F F', ``(N, P, J)``.

    diag(P) - P P' over the J products has the factor diag(sqrt(P)) (I - c sqrt(P) sqrt(P)') with
    c = (1 - sqrt(P_0)) / (1 - P_0), as the columns sqrt(P) have squared length 1 - P_0.
    """
    features = layout.features(offer, segment)
    chance = _chances(features, theta, offer)
    root = np.sqrt(chance)
    inside = chance.sum(axis=1)
    cut = (1.0 - np.sqrt(np.maximum(1.0 - inside, 0.0))) / np.maximum(inside, 1e-12)
    whole = np.eye(chance.shape[1]) - cut[:, None, None] * root[:, :, None] * root[:, None, :]
    return features.transpose(0, 2, 1) @ (root[:, :, None] * whole)


def _knowledge(fit: Fit, experiment: Experiment, pool: Offer, play: Offer, segment: int) -> Knowledge:
    layout, theta = fit.layout, fit.theta[segment]
    seen = information(layout, theta, experiment.offer, segment)
    precision = np.einsum("npj,nqj->pq", seen, seen) + np.diag(FLOOR / layout.spread**2)
    slope = _slopes(layout, theta, play, segment)
    return Knowledge(
        covariance=np.linalg.inv(precision),
        goal=np.einsum("njp,njq->pq", slope, slope) / len(slope),
        factor=information(layout, theta, pool, segment),
        weight=float(experiment.weights[segment]),
    )


def _slopes(layout: Layout, theta: FloatArray, offer: Offer, segment: int) -> FloatArray:
    """Return how the choice probabilities of products answer to the parameters, ``(N, J, P)``."""
    features = layout.features(offer, segment)
    chance = _chances(features, theta, offer)
    mean = np.einsum("nj,njp->np", chance, features)
    slope: FloatArray = chance[:, :, None] * (features - mean[:, None, :])
    return slope


def _chances(features: FloatArray, theta: FloatArray, offer: Offer) -> FloatArray:
    utility = np.where(offer.available, features @ theta, -np.inf)
    shift = np.maximum(utility.max(axis=1, keepdims=True), 0.0)
    exp_u = np.exp(utility - shift)
    chance: FloatArray = exp_u / (np.exp(-shift) + exp_u.sum(axis=1, keepdims=True))
    return chance


def _largest(weights: FloatArray) -> IntArray:
    return np.sort(np.argsort(-weights, kind="stable")[:SEGMENTS])


def picked(pool: Offer, chosen: list[int]) -> Offer:
    """Return the chosen candidates."""
    return take(pool, np.asarray(chosen, dtype=np.int64))
