"""What is said of a force: effect, errors, held-out gains, and the fixed rule by which it is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from malles_env.errors import InvalidInput
from malles_env.evaluation.metrics import Estimate

STRICT = 2.0
"""A force is kept if its gain over unseen households exceeds this many standard errors and that over later weeks is
above 0. Fixed before any market was looked at; raising or lowering it afterwards would void the test."""
ROUNDING = 1e-6
"""Gains up to here are none, whatever their error."""
LAG_TEST = -2.0
"""The pantry is kept only if, besides, past deals lower present units with a t value below this."""
BLOCK: dict[str, tuple[str, ...]] = {
    "promotion": ("display", "feature"),
    "reference_price": ("gain", "loss", "memory"),
    "inertia": ("fade", "loyalty"),
    "seasons": ("sd", "persistence"),
    "pantry": ("theta", "keep"),
}
"""Parts of a scenario's `forces` and the parameters each takes from an estimate."""


@dataclass(frozen=True)
class ForceEstimate:
    """One force in one market.

    Attributes:
        name: `promotion`, `reference_price`, `inertia`, `seasons`, `mean_field` or `pantry`.
        effect: Value by parameter; empty where the log cannot say.
        error: Standard error by parameter, clustered.
        gains: Held-out gain in nats per purchase and its standard error, by split (`households`, `time`); empty where
            the log cannot say.
        kept: Whether it passed the rule.
        reason: Why it was kept or not, in words.
    """

    name: str
    effect: Mapping[str, float]
    error: Mapping[str, float]
    gains: Mapping[str, tuple[float, float]]
    kept: bool
    reason: str


@dataclass(frozen=True)
class Finding:
    """What an estimator found, before the rule.

    Attributes:
        name: The force.
        effect: Value by parameter.
        error: Standard error by parameter.
        gains: Held-out gain over households that were not fitted to (`households`) and over weeks after those fitted
            to (`time`).
        against: Reasons against keeping it that the gains do not show, e.g. an effect at its bound.
    """

    name: str
    effect: Mapping[str, float]
    error: Mapping[str, float]
    gains: Mapping[str, Estimate]
    against: tuple[str, ...] = field(default=())


def absent(name: str, why: str) -> ForceEstimate:
    """Return the estimate of a force that a log cannot say anything of."""
    return ForceEstimate(name, {}, {}, {}, False, f"not in this log: {why}")


def judge(found: Finding, market: str) -> ForceEstimate:
    """Apply the rule: see `STRICT`.

    Args:
        found: The estimate.
        market: Name of the market, for errors.

    Raises:
        InvalidInput: A number that is not finite.
    """
    gains = {split: (found.gains[split].mean, found.gains[split].se) for split in ("households", "time")}
    _check_finite(found, gains, market)
    against = list(found.against)
    value, error = gains["households"]
    if not value > max(STRICT * error, ROUNDING):
        against.append(f"gain over new households not above {STRICT:g} standard errors")
    if not gains["time"][0] > 0:
        against.append("no gain over later weeks")
    reason = "; ".join(against) or "gains over new households and over later weeks"
    return ForceEstimate(found.name, dict(found.effect), dict(found.error), gains, not against, reason)


def as_block(estimates: Sequence[ForceEstimate]) -> dict[str, dict[str, float]]:
    """Return the `forces` of a scenario: what was kept, three significant digits; empty where nothing was.

    The mean field is no part of it, as its slope is one of the tastes.
    """
    return {
        found.name: {name: float(f"{found.effect[name]:.3g}") for name in BLOCK[found.name]}
        for found in estimates
        if found.kept and found.name in BLOCK
    }


def _check_finite(found: Finding, gains: Mapping[str, tuple[float, float]], market: str) -> None:
    named = {**found.effect, **{f"error of {name}": value for name, value in found.error.items()}}
    for split, pair in gains.items():
        named |= {f"gain ({split})": pair[0], f"error of the gain ({split})": pair[1]}
    for name, value in named.items():
        if not math.isfinite(value):
            raise InvalidInput(f"market {market!r}, force {found.name}: {name} is {value}; allowed: a finite number")
