"""Conditional logit by Newton steps, with constrained columns, clustered errors and held-out gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from malles_env.evaluation.metrics import Estimate, clustered_ratio
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

Split = tuple[BoolArray, BoolArray]
"""Rows fitted to and rows judged on."""
RIDGE = 1e-3
"""Precision of a normal prior on each coefficient, columns scaled to a spread of 1: settles collinear columns only."""
_STEPS = 40
_ENOUGH = 1e-4


@dataclass(frozen=True)
class Choices:
    """N rows in groups; in each group what was bought falls on rows with probability softmax(utility + offset).

    A group is a shelf at a purchase (one unit falls on one row), or a week whose units fall on visits: the conditional
    likelihood of a Poisson regression with an effect per week.

    Attributes:
        group: Group of each row, rows of a group side by side [N].
        bought: Units, at least 0 [N].
        offset: Known part of the utility [N].
        household: Code [N].
        week: [N].
    """

    group: IntArray
    bought: FloatArray
    offset: FloatArray
    household: IntArray
    week: IntArray

    def take(self, rows: BoolArray) -> Choices:
        """Return some rows; groups keep what is left of them."""
        return Choices(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def places(self) -> tuple[IntArray, IntArray]:
        """Return the first row of each group, and each row's group from 0."""
        starts = np.flatnonzero(np.diff(self.group, prepend=self.group[0] - 1))
        row = np.zeros(len(self.group), dtype=np.int64)
        row[starts[1:]] = 1
        return starts, np.cumsum(row)


class Shared(NamedTuple):
    """Columns that the models with and without a force have in common.

    Attributes:
        columns: [N, F].
        precision: Of a normal prior around 0 on each coefficient, 0 for none [F].
    """

    columns: FloatArray
    precision: FloatArray

    def beside(self, columns: FloatArray) -> Shared:
        """Return these columns and others without a prior [N, E]."""
        free = np.zeros(columns.shape[1])
        return Shared(np.concatenate([self.columns, columns], axis=1), np.concatenate([self.precision, free]))


@dataclass(frozen=True)
class Model:
    """Columns of a utility.

    Attributes:
        shared: Columns that other models have, too [N, F].
        own: Columns of the force [N, K].
        signed: Whether the coefficients of `own` must be at least 0.
        prior: Standard deviation of a normal prior around 0 on them; None for none.
    """

    shared: Shared
    own: FloatArray
    signed: bool = True
    prior: float | None = None

    @property
    def first(self) -> int:
        """Place of the force's first column F."""
        return len(self.shared.precision)

    def columns(self, rows: BoolArray) -> FloatArray:
        """Return the columns of some rows, those of the force last [n, F + K]."""
        return np.concatenate([self.shared.columns[rows], self.own[rows]], axis=1)

    def precision(self, spread: FloatArray) -> FloatArray:
        """Return the priors' precision for columns divided by `spread`, derivatives of the force behind them [E]."""
        own = 0.0 if self.prior is None else self.prior**-2.0
        raw = np.zeros(len(spread))
        raw[: self.first] = self.shared.precision
        raw[self.first : self.first + self.own.shape[1]] = own
        return RIDGE + raw / spread**2


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        weights: Coefficients [F + K].
        value: Log-likelihood without priors.
    """

    weights: FloatArray
    value: float


def log_shares(scores: FloatArray, choices: Choices) -> FloatArray:
    """Return log probabilities of the rows within their groups [N]."""
    starts, row = choices.places()
    whole = scores + choices.offset
    top = np.maximum.reduceat(whole, starts)
    inside: FloatArray = whole - (top + np.log(np.add.reduceat(np.exp(whole - top[row]), starts)))[row]
    return inside


def fit(model: Model, choices: Choices, rows: BoolArray, start: FloatArray | None = None) -> Fit:
    """Maximise the likelihood; signed columns that want a negative coefficient are left out, worst first.

    Args:
        model: The columns.
        choices: All rows.
        rows: Those to fit to [N].
        start: Coefficients to start from.
    """
    columns, part = model.columns(rows), choices.take(rows)
    spread = columns.std(0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    precision, first = model.precision(spread), model.first
    columns /= spread
    free = np.ones(columns.shape[1], dtype=bool)
    weights = np.zeros(len(free)) if start is None else start * spread
    while True:
        weights[~free] = 0.0
        weights[free] = _newton(columns[:, free], part, precision[free], weights[free])
        own = np.where(free[first:], weights[first:], np.inf)
        if not model.signed or not len(own) or own.min() >= 0:
            break
        free[first + int(own.argmin())] = False
    value = float(part.bought @ log_shares(columns @ weights, part))
    return Fit(weights / spread, value)


def best(models: Sequence[Model], choices: Choices, rows: BoolArray) -> tuple[int, Fit]:
    """Climb a grid of models from its middle to the likeliest, the first of equals; return its place and its fit."""
    fits: dict[int, Fit] = {}

    def value(at: int) -> float:
        if at not in fits:
            fits[at] = fit(models[at], choices, rows, fits[top].weights if fits else None)
        return fits[at].value

    top = len(models) // 2
    value(top)
    while True:
        near = [at for at in (top - 1, top, top + 1) if 0 <= at < len(models)]
        higher = max(near, key=lambda at: (value(at), -at))
        if higher == top:
            return top, fits[top]
        top = higher


def gains(
    plain: Model,
    models: Sequence[Model],
    choices: Choices,
    splits: Sequence[Split],
    purchases: FloatArray,
    weekly: bool,
) -> Estimate:
    """Return how many nats per purchase the likeliest of `models` gains over `plain` on rows not fitted to.

    Args:
        plain: The model without the force.
        models: With the force, one per value of its grid; the training rows choose.
        choices: All rows.
        splits: Rows fitted to and judged on; a row that is judged several times counts with its mean.
        purchases: Purchases each row stands for [N].
        weekly: Whether the error is the larger of household and week clustering instead of household alone.
    """
    value, times = np.zeros(len(purchases)), np.zeros(len(purchases))
    for train, test in splits:
        base = fit(plain, choices, train)
        at, found = best(models, choices, train)
        part = choices.take(test)
        better = log_shares(models[at].columns(test) @ found.weights, part)
        value[test] += part.bought * (better - log_shares(plain.columns(test) @ base.weights, part))
        times += test
    judged = times > 0
    value, part = value[judged] / times[judged], choices.take(judged)
    return per_purchase(value, purchases[judged], (part.household, part.week) if weekly else (part.household,))


def per_purchase(value: FloatArray, purchases: FloatArray, clusters: Sequence[IntArray]) -> Estimate:
    """Return summed values over purchases, both [N], with the largest of several clusterings' errors."""
    found = [clustered_ratio(value, purchases, cluster) for cluster in clusters]
    return Estimate(found[0].mean, max(estimate.se for estimate in found))


def covariances(model: Model, found: Fit, choices: Choices, extra: FloatArray, weekly: bool) -> tuple[FloatArray, ...]:
    """Return covariances of the coefficients, clustered by household and, if asked, by week.

    Args:
        model: The model, fitted to all rows.
        found: Its fit.
        choices: All rows.
        extra: Derivatives of the utility by further parameters, put behind the coefficients [N, E].
        weekly: Whether to return the second one.
    """
    everything = np.ones(len(choices.group), dtype=bool)
    columns = np.concatenate([model.columns(everything), extra], axis=1)
    spread = np.where(columns.std(0) > 1e-6, columns.std(0), 1.0)
    starts, row = choices.places()
    share = np.exp(log_shares(model.columns(everything) @ found.weights, choices))
    mass = np.add.reduceat(choices.bought, starts)[row] * share
    columns /= spread
    columns -= np.add.reduceat(share[:, None] * columns, starts)[row]
    bread = np.linalg.inv(columns.T @ (mass[:, None] * columns) + np.diag(model.precision(spread)))
    scores = (choices.bought - mass)[:, None] * columns
    clusters = (choices.household, choices.week) if weekly else (choices.household,)
    return tuple(bread @ _meat(scores, cluster) @ bread / np.outer(spread, spread) for cluster in clusters)


def errors(matrices: Sequence[FloatArray]) -> FloatArray:
    """Return the larger standard error of each coefficient."""
    return np.sqrt(np.max([np.diag(matrix) for matrix in matrices], axis=0))


def _meat(scores: FloatArray, cluster: IntArray) -> FloatArray:
    names, code = np.unique(cluster, return_inverse=True)
    sums = np.stack([np.bincount(code, weights=column) for column in scores.T], axis=1)
    return sums.T @ sums * len(names) / max(len(names) - 1, 1)


def _newton(columns: FloatArray, part: Choices, precision: FloatArray, start: FloatArray) -> FloatArray:
    starts, row = part.places()
    whole = np.add.reduceat(part.bought, starts)
    reached = part.bought @ columns
    if not np.isfinite(columns).all():
        return np.full(len(start), np.nan)

    def value(weights: FloatArray) -> tuple[float, FloatArray]:
        inside = log_shares(columns @ weights, part)
        return float(part.bought @ inside - 0.5 * precision @ weights**2), np.exp(inside)

    weights = start
    now, share = value(weights)
    for _ in range(_STEPS):
        mass = whole[row] * share
        slope = reached - columns.T @ mass - precision * weights
        means = np.add.reduceat(share[:, None] * columns, starts)
        curve = columns.T @ (mass[:, None] * columns) - means.T @ (whole[:, None] * means) + np.diag(precision)
        step = np.linalg.solve(curve, slope)
        if slope @ step < _ENOUGH:
            break
        size = 1.0
        while size > 1e-4:
            later, share = value(weights + size * step)
            if later > now:
                break
            size /= 2
        weights, now = weights + size * step, later
    return weights
