"""Off-policy evaluation of policies from a log, beside what the same policies really earn in the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.logged.estimators import (
    ESTIMATORS,
    FORMS,
    Estimate,
    bootstrap_counts,
    self_normalised,
    terms,
    weights,
    with_interval,
)
from malles_agents.logged.log import Log
from malles_agents.logged.recorder import Table as Market
from malles_agents.logged.stochastic import StochasticSeller, as_target
from malles_agents.logged.value_model import Table, crossed, direct, fit, market_features, said
from malles_agents.registry import check_name
from malles_agents.standard_errors import mean_se
from malles_agents.training.train import HELD_OUT
from malles_env.errors import MissingResource, invalid
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import FloatArray

LEAST = 4
"""Episodes below which nothing is estimated."""


@dataclass(frozen=True)
class Settings:
    """How policies are evaluated.

    Attributes:
        truth: Episodes that a policy plays in the simulator; 0: none, no truth.
        resamples: Of the bootstrap over episodes.
        refits: Of these, how many fit the model of values anew, for the direct method's interval.
        draws: Actions of the policy in each logged situation, over which values are averaged.
        seed: Of resamples, draws and the simulator's episodes.
        level: Of the intervals.
    """

    truth: int = 512
    resamples: int = 1000
    refits: int = 50
    draws: int = 8
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InvalidInput: One is out of range.
        """
        least = {"truth": 0, "resamples": 10, "refits": 2, "draws": 1, "seed": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise invalid(name, getattr(self, name), f"a whole number of at least {low}")


@dataclass(frozen=True)
class Met:
    """Logged play as a policy to evaluate meets it.

    Attributes:
        log_ratio: Logarithm of the policy's density over the logging policy's, shape ``(n, T)``.
        taken: Features of the logged actions, shape ``(n, T, K)``.
        expected: Their mean over the policy's own actions, likewise.
        rewards: Money, shape ``(n, T)``.
        never: Share of the policy's own actions that the logging policy never takes; NaN where that is not at hand.
    """

    log_ratio: FloatArray
    taken: FloatArray
    expected: FloatArray
    rewards: FloatArray
    never: float

    def part(self, episodes: np.ndarray) -> Met:
        """Return some of the episodes."""
        return Met(
            self.log_ratio[episodes], self.taken[episodes], self.expected[episodes], self.rewards[episodes], self.never
        )


@dataclass(frozen=True)
class Truth:
    """What a policy really earns: money per episode.

    Attributes:
        mean: Over episodes.
        error: Standard error of the mean; NaN with one episode.
        episodes: How many.
    """

    mean: float
    error: float
    episodes: int


@dataclass(frozen=True)
class Found:
    """What a log says of one policy.

    Attributes:
        policy: Its name.
        estimates: One per estimator and form.
        truth: What the simulator says; None: not asked.
        logged: Mean money per episode in the log, of the logging policy.
        overlap: Share of logged actions that the policy could have taken.
        never: Share of the policy's actions that the logging policy never takes; NaN where that is not at hand.
        errors: Root mean squared error against the truth by log size, estimator and form, as a share of the truth;
            empty if not asked.
    """

    policy: str
    estimates: tuple[Estimate, ...]
    truth: Truth | None
    logged: float
    overlap: float
    never: float
    errors: dict[int, dict[tuple[str, str], float]]


def read_log(path: Path, agent: str | None = None) -> Log:
    """Return the log of a seller from a Parquet file or a folder of Minari data sets.

    Raises:
        MissingResource: Nothing stands there, or what reads it is not installed.
        CorruptFile: It cannot be read.
        InvalidInput: The seller is not in it, or it has no propensities.
    """
    if path.is_dir():
        from malles_agents.logged.minari_sets import read_minari

        return read_minari(path, agent)
    if not path.exists():
        raise MissingResource(f"{path}: no such file or folder; `malles record` writes logs")
    from malles_agents.logged.parquet import read_parquet

    return read_parquet(path, agent)


def market_of(log: Log, scenario: str | None = None) -> Scenario:
    """Return the market that a log was played in.

    Args:
        log: Which.
        scenario: Name or path; default what the log says.

    Raises:
        InvalidInput: It is another market than the log's.
    """
    market = load_scenario(scenario or log.world.scenario)
    if market.digest() != log.world.scenario_hash:
        allowed = f"the version that the log was played in (hash {log.world.scenario_hash})"
        raise invalid("scenario", f"{scenario or log.world.scenario} (hash {market.digest()})", allowed)
    return market


def meet(log: Log, target: StochasticSeller, market: Market, *, draws: int, seed: int) -> Met:
    """Let a policy go through logged play: what it would have done, and how likely that is.

    Args:
        log: Logged play.
        target: The policy.
        market: Where it was played.
        draws: Actions drawn of the policy in each situation.
        seed: Of these.
    """
    view, logging = market.views[log.agent], market.sellers.get(log.agent)
    features, rng = market_features(view), np.random.default_rng(seed)
    fresh, states, columns = np.ones(len(log), dtype=bool), [None, None], []
    for t in range(log.rewards.shape[1]):
        seen, action = np.ascontiguousarray(log.seen[:, t]), log.actions[:, t]
        mine, states[0] = target.distribution(seen, states[0], fresh)
        drawn = [mine.draw(rng) for _ in range(draws)]
        expected, unknown = np.mean([features(seen, one) for one in drawn], axis=0), np.nan
        if isinstance(logging, StochasticSeller):
            theirs, states[1] = logging.distribution(seen, states[1], fresh)
            unknown = float(np.mean([np.isneginf(theirs.log_density(one)) for one in drawn]))
        columns.append((mine.log_density(action), features(seen, action), expected, unknown))
        fresh = np.zeros(len(log), dtype=bool)
    density, taken, means, missed = zip(*columns, strict=True)
    ratio = np.stack(density, axis=1) - log.log_propensity
    return Met(ratio, np.stack(taken, axis=1), np.stack(means, axis=1), log.profit, float(np.mean(missed)))


def estimates(met: Met, settings: Settings) -> tuple[Estimate, ...]:
    """Return all estimates with intervals."""
    table = Table.of(met.taken, met.expected, met.rewards)
    counts = bootstrap_counts(len(met.rewards), settings.resamples, settings.seed)
    found = []
    for form in FORMS:
        weight, values = weights(met.log_ratio, form), crossed(table, form)
        found.append(direct(table, form, refits=settings.refits, seed=settings.seed))
        found += [
            with_interval(name, form, weight, met.rewards, values, counts, settings.level) for name in ESTIMATORS[1:]
        ]
    return tuple(found)


def points(met: Met) -> dict[tuple[str, str], float]:
    """Return all estimates without intervals, by estimator and form; NaN for weights without any overlap."""
    table, found = Table.of(met.taken, met.expected, met.rewards), {}
    ones, overlap = np.ones(len(met.rewards)), bool(np.isfinite(met.log_ratio).any())
    for form in FORMS:
        weight = weights(met.log_ratio, form)
        direct_values = said(table, fit(table, form, ones))
        found["dm", form] = float(terms("dm", form, weight, met.rewards, direct_values).mean())
        weighted = {
            "ips": terms("ips", form, weight, met.rewards, None).mean(),
            "snips": self_normalised(weight, met.rewards),
            "dr": terms("dr", form, weight, met.rewards, crossed(table, form)).mean(),
        }
        found |= {(name, form): float(value) if overlap else np.nan for name, value in weighted.items()}
    return found


def errors_by_size(
    met: Met, truth: float, *, repeats: int = 20, seed: int = 0
) -> dict[int, dict[tuple[str, str], float]]:
    """Return root mean squared errors as shares of the truth, for logs of 1/64 to 1/2 of the episodes.

    Args:
        met: Logged play.
        truth: Money per episode.
        repeats: Logs of each size, drawn from the whole one without replacement.
        seed: Of the draws.
    """
    count, rng = len(met.rewards), np.random.default_rng(seed)
    sizes = sorted({count >> k for k in range(1, 7) if count >> k >= LEAST})
    found = {}
    for size in sizes:
        logs = [rng.permutation(count)[:size] for _ in range(repeats)]
        rows = [points(met.part(episodes)) for episodes in logs]
        found[size] = {
            key: float(np.sqrt(np.mean([(row[key] - truth) ** 2 for row in rows]))) / abs(truth) for key in rows[0]
        }
    return found


def judge(
    log: Log, policies: list[str], settings: Settings | None = None, *, scenario: str | None = None, sizes: bool = False
) -> list[Found]:
    """Estimate what policies would have earned in the place of the one that was logged, and what they really earn.

    Args:
        log: Logged play.
        policies: Sellers by name.
        settings: How; default as they stand.
        scenario: Name or path of the market, where the log's own is no longer found.
        sizes: Whether to compute errors by log size, too; needs the truth.

    Raises:
        InvalidInput: A policy that cannot be evaluated from this log, too few episodes, or another market.
    """
    settings = settings or Settings()
    if len(log) < LEAST:
        raise invalid("episodes of the log", len(log), f"at least {LEAST}")
    if not policies:
        raise invalid("policy", "", "at least one seller, e.g. gaussian:0.2:nash")
    for spec in policies:
        check_name(spec)
    found = market_of(log, scenario)
    try:
        market = Market(log.world, found)
    except MissingResource:  # the log holds its propensities, so the policy that wrote it need not be here
        market = Market(log.world, found, absent=log.agent)
    targets = {spec: as_target(market.make(spec, log.agent), market.views[log.agent], spec) for spec in policies}
    return [_judged(log, spec, target, market, settings, sizes) for spec, target in targets.items()]


def _judged(log: Log, spec: str, target: StochasticSeller, market: Market, settings: Settings, sizes: bool) -> Found:
    met = meet(log, target, market, draws=settings.draws, seed=settings.seed)
    truth = true_value(log, target, market, settings) if settings.truth else None
    by_size = errors_by_size(met, truth.mean, seed=settings.seed) if sizes and truth is not None else {}
    return Found(
        spec, estimates(met, settings), truth, float(log.profit.sum(axis=1).mean()),
        float(np.isfinite(met.log_ratio).mean()), met.never, by_size,
    )  # fmt: skip


def true_value(log: Log, target: StochasticSeller, market: Market, settings: Settings) -> Truth:
    """Let a policy play in the logged seller's place, on seeds that no log and no training uses."""
    sellers: dict[str, Any] = {**market.sellers, log.agent: target}
    (played,) = market.play(sellers, (log.agent,), settings.truth, HELD_OUT + settings.seed)
    profit = played.profit.sum(axis=1)
    return Truth(*mean_se(profit), len(profit))
