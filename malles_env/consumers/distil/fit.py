"""Maximum-likelihood tastes from answered offers, with a mild prior whose strength cross-validation chooses.

Three levels hold each other up when answers are few: all segments with one price sensitivity, then with one per
product, then each segment by itself; each level's prior is centred on the level above it. Exact answers of logit
consumers are distinguished from the prior by cross-validation, which then chooses next to none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.consumers.distil.features import Layout
from malles_env.consumers.distil.newton import Loss, Prior, choice_loss, minimise, units_loss
from malles_env.errors import invalid
from malles_env.evaluation.audit.subject import Answers, take
from malles_env.market import Offer, Tastes
from malles_env.market.demand.choice import discount_depth
from malles_env.market.tastes import PriceTransform
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

STRENGTHS = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
"""Strengths of the prior that are tried, in answers."""
TRANSFORMS: tuple[PriceTransform, ...] = ("log", "linear")
CHOSEN_WEIGHTS = (1.0, 0.1)
"""What an answer to an actively chosen question may count beside a drawn one.

The most informative questions lie at the edges. Where a logit fits everywhere they inform most; where it does not, they
bend the fit away from the states of play, and drawn questions, held out, show it.
"""
FOLDS = 4
POOL_PULL = 0.1
"""Strength of the pool's own prior relative to the segments': it rests on all their answers."""


@dataclass(frozen=True)
class Experiment:
    """Offers with one last purchase per segment, and what S segments answered to each.

    Attributes:
        offer: N states.
        answers: Choice probabilities ``(N, S, J + 1)`` and mean units ``(N, S, J)``.
        weights: Share of the population in each segment, ``(S,)``.
        chosen: Which questions were chosen actively rather than drawn from the design, ``(N,)``; None: none.
    """

    offer: Offer
    answers: Answers
    weights: FloatArray
    chosen: BoolArray | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.offer.prices)

    def take(self, rows: IntArray) -> Experiment:
        """Return the states at `rows`."""
        answers = Answers(self.answers.probability[rows], self.answers.quantity[rows])
        return Experiment(take(self.offer, rows), answers, self.weights, self.actively[rows])

    @property
    def actively(self) -> BoolArray:
        """Which questions were chosen actively, ``(N,)``."""
        return np.zeros(len(self), dtype=bool) if self.chosen is None else self.chosen


@dataclass(frozen=True)
class Fit:
    """Fitted parameters.

    Attributes:
        layout: What they mean.
        theta: Choice parameters, ``(S, P)``.
        units: kappa by product and delta, ``(S, J + 1)``.
        strength: Strength of the prior, in answers.
        loss: Mean divergence of answers from the fit (Kullback-Leibler, nats per answer), over segments by weight; on
            held-out answers where cross-validation chose the strength, else 0.
        chosen_weight: How much answers to actively chosen questions count beside drawn ones.
    """

    layout: Layout
    theta: FloatArray
    units: FloatArray
    strength: float
    loss: float = 0.0
    chosen_weight: float = 1.0

    def tastes(self, regular_price: FloatArray) -> Tastes:
        """Return the tastes."""
        return self.layout.tastes(self.theta, self.units, regular_price)


def fit(experiment: Experiment, transform: PriceTransform | None = None, strength: float | None = None) -> Fit:
    """Return the tastes most likely behind the answers.

    Args:
        experiment: At least one answered state.
        transform: How prices enter; None takes what predicts held-out answers better.
        strength: Strength of the prior, in answers; None takes what predicts held-out answers best.

    Raises:
        InvalidInput: No answers, or a loyalty row that holds shares.
    """
    if not len(experiment):
        raise invalid("questions", 0, "at least one answered question")
    chosen: PriceTransform = transform or _better_transform(experiment)
    loss, best, beside = 0.0, strength, 1.0
    if best is None:
        loss, best = min((held_out_loss(experiment, chosen, each), each) for each in STRENGTHS)
        if experiment.actively.any():
            weighed = ((held_out_loss(experiment, chosen, best, each), each) for each in CHOSEN_WEIGHTS)
            loss, beside = min(weighed)
    layout = Layout(experiment.offer.prices.shape[1], chosen)
    theta = fit_choice(experiment, layout, best, beside)
    return Fit(layout, theta, fit_units(experiment, best), best, loss, beside)


def _better_transform(experiment: Experiment) -> PriceTransform:
    losses = [held_out_loss(experiment, form, STRENGTHS[1]) for form in TRANSFORMS]
    return TRANSFORMS[int(np.argmin(losses))]


def held_out_loss(
    experiment: Experiment, transform: PriceTransform, strength: float, chosen_weight: float = 1.0
) -> float:
    """Return the mean divergence of answers to drawn questions from fits that did not see them, nats per answer.

    A single answer is judged by a fit to itself.
    """
    layout = Layout(experiment.offer.prices.shape[1], transform)
    drawn = np.flatnonzero(~experiment.actively)
    parts = np.array_split(np.random.default_rng(0).permutation(drawn), min(FOLDS, len(drawn)))
    total = 0.0
    for held in parts:
        seen = experiment.take(np.setdiff1d(np.arange(len(experiment)), held) if len(parts) > 1 else held)
        theta = fit_choice(seen, layout, strength, chosen_weight)
        losses = choice_losses(experiment.take(held), layout)
        total += sum(w * loss(row)[0] for w, loss, row in zip(experiment.weights, losses, theta, strict=True))
    return total / len(drawn)


def choice_losses(experiment: Experiment, layout: Layout, chosen_weight: float = 1.0) -> list[Loss]:
    """Return each segment's loss."""
    available, probability = experiment.offer.available, experiment.answers.probability
    weight = np.where(experiment.actively, chosen_weight, 1.0)
    return [
        choice_loss(layout.features(experiment.offer, segment), available, probability[:, segment], weight)
        for segment in range(probability.shape[1])
    ]


def fit_choice(experiment: Experiment, layout: Layout, strength: float, chosen_weight: float = 1.0) -> FloatArray:
    """Return each segment's choice parameters, ``(S, P)``.

    Args:
        experiment: Answered states.
        layout: Meaning of the parameters.
        strength: Strength of the prior, in answers.
        chosen_weight: How much answers to actively chosen questions count.
    """
    losses = choice_losses(experiment, layout, chosen_weight)
    precision = strength / layout.spread**2
    pool = _fit_pool(losses, experiment.weights, layout, POOL_PULL * precision)
    prior = Prior(pool, precision)
    return np.array([minimise(prior.added_to(loss), pool, layout.low) for loss in losses])


def fit_units(experiment: Experiment, strength: float) -> FloatArray:
    """Return kappa by product and delta of each segment, ``(S, J + 1)``.

    Args:
        experiment: Answered states.
        strength: Strength of the prior, in answers; the centre is the mean over all segments and products.
    """
    available = experiment.offer.available
    extra = np.maximum(experiment.answers.quantity - 1.0, 0.0)
    depth = discount_depth(experiment.offer.prices, experiment.offer.regular_price)
    count, products = depth.shape
    features = np.concatenate([np.broadcast_to(np.eye(products), (count, products, products)), depth[..., None]], 2)
    mean = float(extra.transpose(0, 2, 1)[available].mean())
    centre = np.append(np.full(products, np.log(max(mean, 1e-9))), 0.0)
    low = np.append(np.full(products, -np.inf), 0.0)
    # A floor under the precision bounds kappa where no extra unit was ever answered.
    prior = Prior(centre, np.full(products + 1, max(strength, 1e-6) * max(mean, 1e-9)))
    return np.array(
        [
            minimise(prior.added_to(units_loss(features, available, extra[:, segment])), centre, low)
            for segment in range(extra.shape[1])
        ]
    )


def _fit_pool(losses: list[Loss], weights: FloatArray, layout: Layout, precision: FloatArray) -> FloatArray:
    """Return one set of parameters for all segments: first one beta for all products, then one each."""
    whole, common = _average(losses, weights), layout.common

    def narrow(small: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        value, gradient, hessian = whole(common @ small)
        return value, common.T @ gradient, common.T @ hessian @ common

    start = np.zeros(common.shape[1])
    start[layout.products] = 1.0
    pull = np.append(precision[: layout.products], [precision[layout.products], *precision[-3:]])
    low = np.append(layout.low[: layout.products], [layout.low[layout.products], *layout.low[-3:]])
    top = common @ minimise(Prior(start, pull).added_to(narrow), start, low)
    return minimise(Prior(top, precision).added_to(whole), top, layout.low)


def _average(losses: list[Loss], weights: FloatArray) -> Loss:
    def loss(theta: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        parts = [each(theta) for each in losses]
        value = float(weights @ np.array([part[0] for part in parts]))
        gradient = np.einsum("s,sp->p", weights, np.array([part[1] for part in parts]))
        return value, gradient, np.einsum("s,spq->pq", weights, np.array([part[2] for part in parts]))

    return loss
