"""Three designs of a price test: who sees the changed price when, and how the effect is estimated from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.experiments.intervals import Estimates, equal_weighted_cosines, welch
from malles_env.market.pooled import Pooling
from malles_env.type_aliases import BoolArray, FloatArray


class Design(Protocol):
    """What a design found. R replications, T weeks, C cells of a market (see `Pooling`), K outcomes."""

    @property
    def name(self) -> str:
        """As in the command line."""

    @property
    def method(self) -> str:
        """Estimator and interval, in words."""

    @property
    def pooling(self) -> Pooling:
        """The cells it needs and what they share."""

    @property
    def before(self) -> int:
        """Weeks before the experiment that it measures too."""

    def check(self, horizon: int) -> None:
        """Refuse settings that do not fit an experiment of so many weeks."""

    def draw(self, rng: np.random.Generator, replications: int, horizon: int) -> tuple[BoolArray, FloatArray]:
        """Return who is treated in each week ``(R, T, C)``, and sizes ``(R, C)``."""

    def estimate(self, outcomes: FloatArray, treated: BoolArray, sizes: FloatArray) -> Estimates:
        """Return the estimates from what was measured ``(R, before + T, C, K)``."""


@dataclass(frozen=True)
class Switchback:
    """One market whose price changes to and fro by blocks of weeks; half the blocks, drawn at random, are treated.

    The estimate is the difference of the block means after dropping the first `washout` weeks of each block, the unit
    of inference the block. See Bojinov, Simchi-Levi and Zhao (2023) for designs and Hu and Wager (2022) for burn-in.

    Attributes:
        block: Weeks of a block, at least 1.
        washout: Weeks dropped at the start of each block, less than `block`.
    """

    block: int = 2
    washout: int = 0
    name: str = "switchback"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.block < 1:
            raise invalid("block", self.block, "a whole number of weeks of at least 1")
        if not 0 <= self.washout < self.block:
            raise invalid("washout", self.washout, f"0 to {self.block - 1} weeks, less than the block of {self.block}")

    @property
    def method(self) -> str:
        """Estimator and interval, in words."""
        dropped = f", first {self.washout} weeks of each dropped" if self.washout else ""
        return f"difference of block means{dropped}; Welch's t interval over blocks"

    @property
    def pooling(self) -> Pooling:
        """A single market."""
        return Pooling()

    @property
    def before(self) -> int:
        """None."""
        return 0

    def check(self, horizon: int) -> None:
        """Refuse fewer than four blocks, or weeks that belong to none.

        Raises:
            InvalidInput: Names the block and what is allowed.
        """
        if self.block > horizon // 4:
            allowed = f"1 to {horizon // 4} weeks, so that {horizon} weeks hold two blocks of each kind"
            raise invalid("block", self.block, allowed)
        if horizon % self.block:
            raise invalid("horizon", horizon, f"a multiple of the block of {self.block} weeks")

    def draw(self, rng: np.random.Generator, replications: int, horizon: int) -> tuple[BoolArray, FloatArray]:
        """Draw which half of the blocks is treated; of an odd number, the smaller half."""
        blocks = horizon // self.block
        treated = _half(rng, replications, blocks)
        return np.repeat(treated, self.block, axis=1)[:, :, None], np.ones((replications, 1))

    def estimate(self, outcomes: FloatArray, treated: BoolArray, sizes: FloatArray) -> Estimates:
        """Return the difference of block means."""
        replications, weeks, _, measured = outcomes.shape
        blocks = outcomes[:, :, 0].reshape(replications, weeks // self.block, self.block, measured)
        return welch(blocks[:, :, self.washout :].mean(axis=2), treated[:, :: self.block, 0])


@dataclass(frozen=True)
class UserSplit:
    """One market in which a random share of every segment sees the changed price from the first week to the last.

    Both groups feel the same mean field, meet the same stock and come in the same traffic. The estimate is the
    Horvitz-Thompson one: treated outcomes over `share` minus the others over (1 - share), mean over weeks.

    Attributes:
        share: Of the consumers that is treated, between 0 and 1.
    """

    share: float = 0.5
    name: str = "user-split"

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.0 < self.share < 1.0:
            raise invalid("share", self.share, "more than 0 and less than 1, so that both prices are seen")

    @property
    def method(self) -> str:
        """Estimator and interval, in words."""
        return "Horvitz-Thompson difference per week; t interval by equal-weighted cosines over weeks"

    @property
    def pooling(self) -> Pooling:
        """Two groups of consumers with all in common."""
        return Pooling(cells=2)

    @property
    def before(self) -> int:
        """None."""
        return 0

    def check(self, horizon: int) -> None:
        """Refuse weeks that are too few for a standard error.

        Raises:
            InvalidInput: Names the horizon and what is allowed.
        """
        if horizon < 4:
            raise invalid("horizon", horizon, "at least 4 weeks")

    def draw(self, rng: np.random.Generator, replications: int, horizon: int) -> tuple[BoolArray, FloatArray]:
        """Return the same split in every replication: consumers are so many that only their number matters."""
        treated = np.broadcast_to([False, True], (replications, horizon, 2)).copy()
        return treated, np.tile([1.0 - self.share, self.share], (replications, 1))

    def estimate(self, outcomes: FloatArray, treated: BoolArray, sizes: FloatArray) -> Estimates:
        """Return the mean weekly Horvitz-Thompson difference."""
        scaled = outcomes / sizes[:, None, :, None]
        return equal_weighted_cosines(scaled[:, :, 1] - scaled[:, :, 0])


@dataclass(frozen=True)
class StoreSplit:
    """Several stores, each a market of its own; half of them, drawn at random, are treated in all weeks.

    Stores differ in size: theirs is log-normal, scaled to mean 1 within a replication. The estimate is the difference
    of the changes against the weeks before (difference in differences), or of the means without such weeks; the unit
    of inference is the store.

    Attributes:
        stores: M, at least 4.
        before: Weeks before the experiment, at least 0.
        size_sd: Standard deviation of the log size of a store, 0 to 2.
        spillover: Share of the mean field that all stores have in common, in [0, 1].
        one_stock: Whether all stores sell from one warehouse.
    """

    stores: int = 20
    before: int = 12
    size_sd: float = 0.3
    spillover: float = 0.0
    one_stock: bool = False
    name: str = "store-split"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.stores < 4:
            raise invalid("stores", self.stores, "at least 4, two of each kind")
        if self.before < 0:
            raise invalid("before", self.before, "a whole number of weeks of at least 0")
        if not 0.0 <= self.size_sd <= 2.0:
            raise invalid("size_sd", self.size_sd, "a number from 0 to 2")
        if not 0.0 <= self.spillover <= 1.0:
            raise invalid("spillover", self.spillover, "a number from 0 to 1")

    @property
    def method(self) -> str:
        """Estimator and interval, in words."""
        what = f"difference in differences against {self.before} weeks before" if self.before else "difference of means"
        return f"{what}; Welch's t interval over stores"

    @property
    def pooling(self) -> Pooling:
        """Stores with little or nothing in common."""
        return Pooling(self.stores, self.spillover, self.one_stock, one_season=False)

    def check(self, horizon: int) -> None:
        """Accept any horizon."""

    def draw(self, rng: np.random.Generator, replications: int, horizon: int) -> tuple[BoolArray, FloatArray]:
        """Draw which half of the stores is treated, and how large they are."""
        assigning, sizing = rng.spawn(2)  # so that a replication does not depend on how many there are
        treated = _half(assigning, replications, self.stores)
        sizes = np.exp(self.size_sd * sizing.standard_normal((replications, self.stores)))
        sizes /= sizes.mean(axis=1, keepdims=True)
        return np.repeat(treated[:, None], horizon, axis=1), sizes

    def estimate(self, outcomes: FloatArray, treated: BoolArray, sizes: FloatArray) -> Estimates:
        """Return the difference of the stores' changes."""
        after = outcomes[:, self.before :].mean(axis=1)
        earlier = outcomes[:, : self.before].mean(axis=1) if self.before else 0.0
        return welch(after - earlier, treated[:, 0])


def _half(rng: np.random.Generator, replications: int, units: int) -> BoolArray:
    """Return which half of the units is treated, one random order per replication, shape ``(R, units)``."""
    order = rng.random((replications, units)).argsort(axis=1)
    return order < units // 2


DESIGNS: dict[str, type[Switchback] | type[UserSplit] | type[StoreSplit]] = {
    "switchback": Switchback,
    "user-split": UserSplit,
    "store-split": StoreSplit,
}
"""Designs by name."""
