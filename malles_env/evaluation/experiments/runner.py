"""Runs a price test in each design many times and judges it against the effect that the market really has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.experiments.channels import (
    Channels,
    ControlWorld,
    active_channels,
    control_world,
    play,
    play_drawn,
    shapley,
    subsets,
)
from malles_env.evaluation.experiments.designs import DESIGNS, Design, UserSplit
from malles_env.evaluation.experiments.intervals import Estimates
from malles_env.evaluation.experiments.price_test import PriceTest
from malles_env.market import Market, Pooling
from malles_env.type_aliases import FloatArray, OnMessage

SETTLING = 520
"""Weeks after which a lasting change is taken to have settled; its effect is the mean of the last year of them."""
SETTLED = 1e-6
"""Largest change of that mean against the year before, as a share of the outcome's level."""


@dataclass(frozen=True)
class ExperimentSettings:
    """How long an experiment lasts and how often it is repeated.

    Attributes:
        horizon: Weeks of the experiment.
        replications: Times it is run, at least 2.
        warmup: Weeks at control prices from the market's start to the experiment.
        seed: Of assignments, store sizes and purchases.

    Raises:
        InvalidInput: A setting out of range.
    """

    horizon: int = 24
    replications: int = 400
    warmup: int = 104
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("horizon", 1), ("replications", 2), ("warmup", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise invalid(name, getattr(self, name), f"a whole number of at least {least}")


@dataclass(frozen=True)
class Truth:
    """What the change does where everybody always sees it, against nobody ever; expected demand, K outcomes.

    Attributes:
        effect: Mean over the weeks of the experiment, shape ``(K,)``: the global treatment effect.
        steady: After `SETTLING` weeks, shape ``(K,)``; None where stock is limited or the market does not settle.
        by_week: In each week of the experiment, shape ``(T, K)``.
        control: Mean without the change, shape ``(K,)``.
    """

    effect: FloatArray
    steady: FloatArray | None
    by_week: FloatArray
    control: FloatArray


@dataclass(frozen=True)
class Part:
    """One channel's part in a design's bias, shape ``(K,)`` each.

    Attributes:
        part: Its Shapley value; the parts of all channels sum to the bias.
        part_se: Monte Carlo standard error.
        held: Bias in the world in which this channel alone is held, against that world's true effect.
        held_se: Monte Carlo standard error.
    """

    part: FloatArray
    part_se: FloatArray
    held: FloatArray
    held_se: FloatArray


@dataclass(frozen=True)
class DesignResult:
    """How a design did.

    Attributes:
        design: Which, with its settings.
        estimates: Of all replications, shape ``(R, K)``; the first is the experiment that is shown.
        expected_bias: Bias without the noise of purchases, over assignments, shape ``(K,)``.
        expected_bias_se: Monte Carlo standard error; 0 where assignments do not matter.
        parts: By channel.
    """

    design: Design
    estimates: Estimates
    expected_bias: FloatArray
    expected_bias_se: FloatArray
    parts: dict[str, Part]


@dataclass(frozen=True)
class Report:
    """What came out.

    Attributes:
        test: What was tested.
        settings: How.
        truth: What is true.
        channels: Channels that the market has.
        designs: By name.
    """

    test: PriceTest
    settings: ExperimentSettings
    truth: Truth
    channels: tuple[str, ...]
    designs: dict[str, DesignResult]


def run(
    market: Market,
    test: PriceTest,
    designs: Sequence[Design],
    settings: ExperimentSettings | None = None,
    notify: OnMessage = lambda words: None,
) -> Report:
    """Run a price test in some designs.

    Args:
        market: Any market of the kind to experiment in; its own state and demand do not matter.
        test: What is tested.
        designs: At least one, each name once.
        settings: Weeks, replications and seed.
        notify: Called with what is being done, in words.

    Raises:
        InvalidInput: Settings that do not fit, or consumers that must be asked.
    """
    settings = settings or ExperimentSettings()
    names = [design.name for design in designs]
    if not names or len(set(names)) < len(names):
        raise invalid("designs", names, "at least one of each: " + ", ".join(DESIGNS))
    for design in designs:
        design.check(settings.horizon)
        if design.before > settings.warmup:
            raise invalid("before", design.before, f"at most the warmup of {settings.warmup} weeks")
    notify("true effect")
    laboratory = _Laboratory(market, test, settings)
    truth = laboratory.truth()
    found = {}
    for design in designs:
        notify(design.name)
        found[design.name] = laboratory.judge(design)
    return Report(test, settings, truth, laboratory.channels, found)


@dataclass
class _Laboratory:
    """A market with a test and settings; keeps the worlds that several designs need."""

    market: Market
    test: PriceTest
    settings: ExperimentSettings

    def __post_init__(self) -> None:
        """Find the channels."""
        self.channels = active_channels(self.market)
        self._worlds: dict[tuple[bool, int], ControlWorld] = {}
        self._effects: dict[Channels, FloatArray] = {}

    def world(self, held: Channels, before: int = 0) -> ControlWorld:
        """Return the control world with `before` weeks before the experiment."""
        key = "stock" in held, before
        if key not in self._worlds:
            warmup, horizon = self.settings.warmup, self.settings.horizon
            self._worlds[key] = control_world(
                self.market, self.test, warmup=warmup, before=before, horizon=horizon, held=held
            )
        return self._worlds[key]

    def off_and_on(self, held: Channels, weeks: int) -> FloatArray:
        """Return outcomes where nobody and where everybody is always treated, ``(2, weeks, K)``."""
        treated = np.zeros((2, weeks, 1), dtype=bool)
        treated[1] = True
        return play(
            self.market, self.test, treated, sizes=np.ones((2, 1)), pooling=Pooling(), control=self.world(held),
            held=held,
        )[:, :, 0]  # fmt: skip

    def effect(self, held: Channels) -> FloatArray:
        """Return the true effect with some channels held, shape ``(K,)``."""
        if held not in self._effects:
            off, on = self.off_and_on(held, self.settings.horizon)
            self._effects[held] = (on - off).mean(axis=0)
        return self._effects[held]

    def truth(self) -> Truth:
        """Return the true effect and how it comes about week by week."""
        off, on = self.off_and_on(frozenset(), self.settings.horizon)
        return Truth((on - off).mean(axis=0), self._steady(), on - off, off.mean(axis=0))

    def _steady(self) -> FloatArray | None:
        if "stock" in self.channels:
            return None
        off, on = self.off_and_on(frozenset(), SETTLING)
        last, year_before = (on - off)[-52:].mean(axis=0), (on - off)[-104:-52].mean(axis=0)
        level = np.abs(off[-52:]).mean(axis=0)
        return last if (np.abs(last - year_before) <= SETTLED * level).all() else None

    def judge(self, design: Design) -> DesignResult:
        """Run a design."""
        settings = self.settings
        assigning, buying = np.random.default_rng([settings.seed, list(DESIGNS).index(design.name)]).spawn(2)
        assigned, sizes = design.draw(assigning, settings.replications, settings.horizon)
        seeds = buying.integers(0, 2**62, sizes.size).tolist()
        earlier = np.zeros((len(assigned), design.before, assigned.shape[2]), dtype=bool)
        treated = np.concatenate([earlier, assigned], axis=1)
        outcomes = play_drawn(
            self.market, self.test, treated, sizes=sizes, pooling=design.pooling, warmup=settings.warmup,
            before=design.before, seeds=seeds,
        )  # fmt: skip
        estimates = design.estimate(outcomes, assigned, sizes)
        if isinstance(design, UserSplit):  # all its assignments are the same one
            treated, assigned, sizes = treated[:1], assigned[:1], sizes[:1]
        bias: dict[Channels, FloatArray] = {}
        for opened in subsets(self.channels):
            held = frozenset(self.channels) - opened
            expected = play(
                self.market, self.test, treated, sizes=sizes, pooling=design.pooling,
                control=self.world(held, design.before), before=design.before, held=held,
            )  # fmt: skip
            bias[opened] = design.estimate(expected, assigned, sizes).value - self.effect(held)
        every = frozenset(self.channels)
        shares = shapley(bias, self.channels)
        parts = {name: Part(*_mean(part), *_mean(bias[every - {name}])) for name, part in shares.items()}
        return DesignResult(design, estimates, *_mean(bias[every]), parts)


def _mean(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard error over replications ``(R, K)``; the error of a single one is 0."""
    if len(values) == 1:
        return values[0], np.zeros_like(values[0])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
