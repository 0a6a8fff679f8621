"""Off-policy estimators of a policy's value per episode, from logged play with propensities.

With importance ratios rho_t = pi(a_t | x_t) / b(a_t | x_t) of the policy pi and the logging policy b, rewards r_t, a
model q of values, v(x) = E_pi q(x, a), and n episodes of T periods, the terms of one episode are::

    form episode: W_t = rho_0 ... rho_t, q_t the value of an action and of all that pi does afterwards
      ips    sum_t W_t r_t                                per decision (Precup, Sutton and Singh 2000)
      snips  sum_t W_t r_t / mean over episodes of W_t    weighted per decision (ibid.)
      dm     v_0(x_0)                                     fitted Q evaluation
      dr     v_0(x_0) + sum_t W_t (r_t + v_{t+1}(x_{t+1}) - q_t(x_t, a_t))
             (Jiang and Li 2016; Thomas and Brunskill 2016)
    form bandit: W_t = rho_t, q_t the reward of the period alone
      the same with v_{t+1} = 0, and sum_t v_t in the place of v_0 (Dudik, Langford and Li 2011; Swaminathan and
      Joachims 2015 for snips)

The bandit form takes the situations in the log as given. It is right where prices do not change what comes later; where
they do (loyalty, the mean field, stock, rivals who answer) it is biased, and has the smaller variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.type_aliases import FloatArray

ESTIMATORS = ("dm", "ips", "snips", "dr")
FORMS = ("episode", "bandit")


@dataclass(frozen=True)
class Values:
    """What a model of values says of logged play.

    Attributes:
        taken: q of the logged actions, shape ``(n, T)``.
        expected: v of the situations they were taken in, shape ``(n, T)``.
    """

    taken: FloatArray
    expected: FloatArray


def weights(log_ratio: FloatArray, form: str) -> FloatArray:
    """Return W of each period, shape ``(n, T)``.

    Args:
        log_ratio: Logarithms of rho, shape ``(n, T)``; minus infinity where the policy never does what was logged.
        form: ``"episode"`` or ``"bandit"``.
    """
    return np.exp(log_ratio if form == "bandit" else log_ratio.cumsum(axis=1))


def terms(name: str, form: str, weight: FloatArray, rewards: FloatArray, values: Values | None) -> FloatArray:
    """Return the terms whose mean over episodes is the estimate, shape ``(n,)``; for ``snips`` see `estimate`.

    Args:
        name: ``"dm"``, ``"ips"`` or ``"dr"``.
        form: ``"episode"`` or ``"bandit"``.
        weight: From `weights`.
        rewards: Of the logged play, shape ``(n, T)``.
        values: What the model says; needed for ``dm`` and ``dr``.
    """
    if name == "ips":
        return np.asarray((weight * rewards).sum(axis=1))
    assert values is not None
    whole, later = values.expected[:, 0], np.zeros_like(rewards)
    if form == "bandit":
        whole = values.expected.sum(axis=1)
    else:
        later[:, :-1] = values.expected[:, 1:]
    if name == "dm":
        return np.asarray(whole)
    return np.asarray(whole + (weight * (rewards + later - values.taken)).sum(axis=1))


def self_normalised(weight: FloatArray, rewards: FloatArray, counts: FloatArray | None = None) -> FloatArray:
    """Return SNIPS: each period's weighted mean reward, summed; NaN where no episode has any weight left.

    Args:
        weight: From `weights`, shape ``(n, T)``.
        rewards: Of the logged play, likewise.
        counts: How often each episode counts, shape ``(..., n)``; default once.

    Returns:
        Shape ``(...)``.
    """
    often = np.ones(len(weight)) if counts is None else counts
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(((often @ (weight * rewards)) / (often @ weight)).sum(axis=-1))


def effective_size(weight: FloatArray) -> float:
    """Return the effective number of episodes (Kish 1965): the least over periods of (sum W)^2 / sum W^2."""
    square, total = (weight**2).sum(axis=0), weight.sum(axis=0)
    return float(np.min(np.divide(total**2, square, out=np.zeros_like(square), where=square > 0.0)))


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval.

    Attributes:
        estimator: One of ESTIMATORS.
        form: One of FORMS.
        value: Per episode; NaN where the log says nothing of the policy.
        low, high: Ends of the interval.
        effective: Effective number of episodes behind it; NaN for ``dm``, which weighs nothing.
    """

    estimator: str
    form: str
    value: float
    low: float
    high: float
    effective: float


def bootstrap_counts(episodes: int, resamples: int, seed: int) -> FloatArray:
    """Return how often each episode is drawn in each of so many resamples, shape ``(resamples, n)``."""
    drawn = np.random.default_rng(seed).multinomial(episodes, np.full(episodes, 1.0 / episodes), size=resamples)
    return drawn.astype(np.float64)


def with_interval(
    estimator: str, form: str, weight: FloatArray, rewards: FloatArray, values: Values | None, counts: FloatArray,
    level: float = 0.95,
) -> Estimate:  # fmt: skip
    """Return an estimate and its percentile bootstrap interval over episodes (Efron and Tibshirani 1993, chapter 13).

    The model of values is not fitted anew for each resample: what `dr` averages is unbiased whatever the model, as long
    as an episode's own is fitted to others. For ``dm``, which lives of its model, see `value_model.direct`.

    Args:
        estimator: ``"ips"``, ``"snips"`` or ``"dr"``.
        form: One of FORMS.
        weight: From `weights`.
        rewards: Of the logged play.
        values: What the model says; needed for ``dr``.
        counts: From `bootstrap_counts`.
        level: Of the interval.

    Returns:
        NaN where in some period no episode has any weight left: no log of the policy is left, whatever its model says.
    """
    effective = effective_size(weight)
    if effective == 0.0:
        return Estimate(estimator, form, np.nan, np.nan, np.nan, 0.0)
    if estimator == "snips":
        value, again = float(self_normalised(weight, rewards)), self_normalised(weight, rewards, counts)
    else:
        each = terms(estimator, form, weight, rewards, values)
        value, again = float(each.mean()), counts @ each / len(each)
    low, high = np.nanquantile(again, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(estimator, form, value, float(low), float(high), effective)
