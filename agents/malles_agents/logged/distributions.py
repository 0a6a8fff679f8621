"""Distributions over actions whose draws and densities agree: what a propensity is the density of.

All are over rows of an action, shape ``(B, A)``. Where a price is held at a bound, the bound carries a point mass;
densities are then with respect to Lebesgue measure plus a mass of one at each bound, for every policy alike, so that
ratios of two policies are importance weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Protocol

import numpy as np
from scipy.special import log_ndtr

from malles_env.type_aliases import BoolArray, FloatArray

NEVER = -np.inf
_LOG_ROOT = 0.5 * np.log(2.0 * np.pi)
_INSIDE = 1.0 - 1e-6  # the largest float32 tanh answers below 1, roughly; where a squashed density still is one


@dataclass(frozen=True)
class Read:
    """Which numbers of an action the market reads; densities are over these.

    Attributes:
        columns: Those of the seller's own products, shape ``(A,)``; slots without a product are not read.
        products: J_n, the first of which stand in the first columns of each part.
        listed: Column at which listing scores begin; None where a price says itself whether a product is listed. The
            price of a product that is not listed is not read.
        signs: Whether all products fit on the shelf, so that of a listing score only its sign is read.
    """

    columns: BoolArray
    products: int
    listed: int | None = None
    signs: bool = False

    @property
    def scores(self) -> slice:
        """Columns of the listing scores; none where there are no scores."""
        first = 0 if self.listed is None else self.listed
        return slice(first, first + (0 if self.listed is None else self.products))

    def of(self, actions: np.ndarray) -> BoolArray:
        """Return which numbers of each action are read as they are, shape ``(B, A)``."""
        read = np.broadcast_to(self.columns, actions.shape).copy()
        if self.listed is not None:
            read[:, : self.products] &= actions[:, self.scores] > 0.0
            read[:, self.scores] &= not self.signs
        return read

    def log_signs(self, actions: np.ndarray, mean: FloatArray, sd: FloatArray) -> FloatArray:
        """Return the logarithm of the probability that normal scores have the signs they have, shape ``(B,)``.

        Args:
            actions: Shape ``(B, A)``.
            mean: Of the normal numbers, likewise.
            sd: Standard deviation, likewise; 0: the score is its mean.
        """
        if not self.signs:
            return np.zeros(len(actions))
        centre, spread = mean[:, self.scores], sd[:, self.scores]
        side = np.where(actions[:, self.scores] > 0.0, 1.0, -1.0)
        certain = np.where((centre > 0.0) == (side > 0.0), 0.0, NEVER)
        drawn = log_ndtr(side * centre / np.where(spread > 0.0, spread, 1.0))
        return np.asarray(np.where(spread > 0.0, drawn, certain).sum(axis=1))


class Distribution(Protocol):
    """A distribution over actions, one row per market."""

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return one action per row, shape ``(B, A)``."""
        ...

    def log_density(self, actions: np.ndarray) -> FloatArray:
        """Return the logarithm of each action's density or probability, ``(B,)``; minus infinity: never taken."""
        ...


@dataclass(frozen=True)
class CensoredNormal:
    """Independent normal numbers, held in [-1, 1]; columns without noise are always their mean.

    This is what Stable-Baselines3's PPO and A2C play: a normal draw, clipped into the action space.

    Attributes:
        mean: Of the normal numbers; without noise the action itself, shape ``(B, A)``.
        sd: Standard deviation, shape ``(A,)`` or ``(B, A)``; 0: no noise.
        read: What densities are over.
    """

    mean: FloatArray
    sd: FloatArray
    read: Read

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """See `Distribution`; float32."""
        noise = rng.standard_normal(self.mean.shape)
        return np.clip(self.mean + self.sd * noise, -1.0, 1.0).astype(np.float32)

    def log_density(self, actions: np.ndarray) -> FloatArray:
        """See `Distribution`."""
        action, sd = np.asarray(actions, dtype=np.float64), np.broadcast_to(self.sd, self.mean.shape)
        noisy = sd > 0.0
        scale = np.where(noisy, sd, 1.0)
        z = (action - self.mean) / scale
        log = -0.5 * z**2 - np.log(scale) - _LOG_ROOT
        log = np.where(action <= -1.0, log_ndtr(z), np.where(action >= 1.0, log_ndtr(-z), log))
        fixed = np.where(action == np.clip(self.mean, -1.0, 1.0).astype(np.float32), 0.0, NEVER)
        exact = np.where(self.read.of(action), np.where(noisy, log, fixed), 0.0).sum(axis=1)
        return np.asarray(exact + self.read.log_signs(action, self.mean, sd))


@dataclass(frozen=True)
class SquashedNormal:
    """Independent normal numbers behind a tanh, as SAC plays.

    Attributes:
        mean: Of the normal numbers, shape ``(B, A)``.
        sd: Standard deviation, likewise.
        read: What densities are over.
    """

    mean: FloatArray
    sd: FloatArray
    read: Read

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """See `Distribution`; float32."""
        squashed = np.tanh(self.mean + self.sd * rng.standard_normal(self.mean.shape))
        return np.clip(squashed, -_INSIDE, _INSIDE).astype(np.float32)

    def log_density(self, actions: np.ndarray) -> FloatArray:
        """See `Distribution`."""
        action = np.clip(np.asarray(actions, dtype=np.float64), -_INSIDE, _INSIDE)
        z = (np.arctanh(action) - self.mean) / self.sd
        log = -0.5 * z**2 - np.log(self.sd) - _LOG_ROOT - np.log1p(-(action**2))
        exact = np.where(self.read.of(action), log, 0.0).sum(axis=1)
        return np.asarray(exact + self.read.log_signs(action, self.mean, self.sd))


@dataclass(frozen=True)
class Choices:
    """Independent choices, one per column.

    Attributes:
        probabilities: Of each column's choices, A arrays of shape ``(B, K_a)``; rows sum to 1.
        read: What probabilities are of.
    """

    probabilities: Sequence[FloatArray]
    read: Read

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """See `Distribution`; whole numbers."""
        columns = []
        for chances in self.probabilities:
            reached = chances.cumsum(axis=1) > rng.random(len(chances))[:, None]
            columns.append(np.where(reached.any(axis=1), reached.argmax(axis=1), chances.argmax(axis=1)))
        return np.stack(columns, axis=1).astype(np.int64)

    def log_density(self, actions: np.ndarray) -> FloatArray:
        """See `Distribution`."""
        rows, total = np.arange(len(actions)), np.zeros(len(actions))
        with np.errstate(divide="ignore"):
            for column in np.flatnonzero(self.read.columns).tolist():
                total += np.log(self.probabilities[column][rows, np.asarray(actions)[:, column].astype(np.int64)])
        return total


@dataclass(frozen=True)
class UniformShelf:
    """Prices uniform in their boxes, and every full shelf equally likely, as the seller called random plays.

    Attributes:
        act: Returns the actions for shares of the price boxes and listings, shape ``(B, J_n)`` each.
        rows: B.
        read: What densities are over.
        capacity: Products of a full shelf.
        levels: Prices of the discrete grid; 0: continuous actions.
    """

    act: Callable[[FloatArray, BoolArray], np.ndarray]
    rows: int
    read: Read
    capacity: int
    levels: int = 0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """See `Distribution`."""
        shape = (self.rows, self.read.products)
        share, rank = rng.random(shape), rng.random(shape).argsort(axis=1).argsort(axis=1)
        return self.act(share, rank < self.capacity)

    def log_density(self, actions: np.ndarray) -> FloatArray:
        """See `Distribution`."""
        own = np.asarray(actions)[:, : self.read.products]
        if self.read.listed is None:
            listed, share = own > 0, (own - 1.0) / (self.levels - 1)
            at_end = (own == 1) | (own == self.levels)  # half as wide as the other steps of the grid
            log = -np.log(self.levels - 1.0) - np.log(2.0) * at_end
        else:
            first = self.read.listed
            listed, share = np.asarray(actions)[:, first : first + self.read.products] > 0.0, (own + 1.0) / 2.0
            log = np.full(own.shape, -np.log(2.0))
        full = min(self.capacity, self.read.products)
        shelf = -float(np.log(comb(self.read.products, full)))
        total = np.where(listed, log, 0.0).sum(axis=1) + shelf
        again = self.act(np.clip(share, 0.0, 1.0), listed)
        same = (np.isclose(again, actions, rtol=0.0, atol=1e-6) | ~self.read.of(np.asarray(actions))).all(axis=1)
        return np.where(same & (listed.sum(axis=1) == full), total, NEVER)
