"""How each consumer feels the others: windowed and equilibrium coupling, bounds and diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from malles_env.errors import invalid
from malles_env.market.demand.choice import purchases
from malles_env.market.offer import Offer
from malles_env.market.tastes import Tastes
from malles_env.type_aliases import BoolArray, FloatArray

Coupling = Literal["lagged", "equilibrium"]
Shares = Literal["buyers", "population"]
Centre = Literal["uniform", "long_run"]
LONGEST_WINDOW = 1000
MOST_ITERATIONS = 100_000
NOBODY = 1e-12
"""Share of buyers below which shares of buyers have no meaning; the mean field then stays as it is."""


@dataclass(frozen=True, slots=True)
class MeanField:
    """Settings of the mean field.

    Attributes:
        window: Periods W over which purchase shares are averaged (the paper found 5 to 10 best); ``"auto"`` takes
            `auto_window` of the buyers expected at the market's start.
        coupling: ``"lagged"``: consumers see the mean of the last W periods. ``"equilibrium"``: they see the
            shares of the present period, a fixed point m = Phi(m).
        shares: What a share is of: ``"buyers"`` (of those who buy; sums to 1) or ``"population"`` (of all
            consumers; the outside option has the rest).
        relaxation: Step a of the fixed-point iteration m + a (Phi(m) - m), between 0 and 1.
        tolerance: The iteration ends when every entry of Phi(m) - m falls below it.
        max_iterations: Most iterations in one period.
        drift: Change of a share per period that ``window="auto"`` expects.
        centre: Shares at which the mean field has no effect. ``"uniform"``: 1/J, the textbook's; what sells better
            than its rivals is liked for it for ever. ``"long_run"``: each product's own long-run share l, which
            follows l' = l + (m - l) / long_run and starts at the initial mean field; what sells better *than usual*
            is liked for it until that is usual.
        long_run: Periods n over which the long-run share forgets, at least 1; read with ``centre="long_run"``.

    Raises:
        InvalidInput: A setting out of range.
    """

    window: int | Literal["auto"] = 8
    coupling: Coupling = "lagged"
    shares: Shares = "buyers"
    relaxation: float = 1.0
    tolerance: float = 1e-10
    max_iterations: int = 500
    drift: float = 0.003
    centre: Centre = "uniform"
    long_run: float = 26.0

    def __post_init__(self) -> None:
        """Check every setting."""
        if self.window != "auto" and (not isinstance(self.window, int) or not 1 <= self.window <= LONGEST_WINDOW):
            raise invalid("mean_field.window", self.window, f"a whole number from 1 to {LONGEST_WINDOW}, or 'auto'")
        if self.coupling not in ("lagged", "equilibrium"):
            raise invalid("mean_field.coupling", self.coupling, "'lagged' or 'equilibrium'")
        if self.shares not in ("buyers", "population"):
            raise invalid("mean_field.shares", self.shares, "'buyers' or 'population'")
        if not 0.0 < self.relaxation <= 1.0:
            raise invalid("mean_field.relaxation", self.relaxation, "more than 0 and at most 1")
        if not self.tolerance > 0.0:
            raise invalid("mean_field.tolerance", self.tolerance, "more than 0")
        if not 1 <= self.max_iterations <= MOST_ITERATIONS:
            raise invalid("mean_field.max_iterations", self.max_iterations, f"1 to {MOST_ITERATIONS}")
        if not self.drift > 0.0:
            raise invalid("mean_field.drift", self.drift, "more than 0")
        if self.centre not in ("uniform", "long_run"):
            raise invalid("mean_field.centre", self.centre, "'uniform' or 'long_run'")
        if not 1.0 <= self.long_run < float("inf"):
            raise invalid("mean_field.long_run", self.long_run, "a number of periods of at least 1")

    @property
    def pace(self) -> float:
        """Share of the way that the centre moves towards the shares of a period: 1 / n, or 0 where it is fixed."""
        return 1.0 / self.long_run if self.centre == "long_run" else 0.0

    def first_centre(self, initial: FloatArray) -> FloatArray:
        """Return the centre of the first period, shape ``(J,)``, given the initial mean field."""
        return initial if self.centre == "long_run" else np.full(len(initial), 1.0 / len(initial))

    def periods(self, buyers: float, variance: float = 0.25) -> int:
        """Return the window in periods; `buyers` per period matter only for ``"auto"``."""
        return auto_window(buyers, self.drift, variance) if self.window == "auto" else self.window


def auto_window(buyers: float, drift: float, variance: float = 0.25, largest: int = 52) -> int:
    """Return the window that balances sampling noise against drift.

    The windowed share has mean squared error variance / (N W) + drift^2 (W - 1)^2 / 4, least where
    W^2 (W - 1) = 2 variance / (N drift^2).

    Args:
        buyers: N, sampled purchases per period, more than 0.
        drift: Change of the true share per period, more than 0.
        variance: Variance of one purchase indicator, at most 1/4.
        largest: Upper limit of the answer.

    Returns:
        W, the nearest whole number between 1 and `largest`.
    """
    target = 2.0 * variance / (max(buyers, 1e-12) * drift**2)
    roots = np.roots([1.0, -1.0, 0.0, -target])
    root = float(max(roots[np.abs(roots.imag) < 1e-9].real))
    return int(np.clip(round(root), 1, largest))


def contraction_bound(tastes: Tastes, weights: FloatArray, shares: Shares = "population") -> float:
    """Return an upper bound on the slope of the map Phi; below 1 the mean field is unique from any start.

    Softmax is 1/2-Lipschitz, so for population shares the slope is at most sum_s w_s abs(rho_s) / 2. Shares of
    buyers are softmaxes re-weighted by who buys: with one segment the bound stays abs(rho) / 2, with several the
    re-weighting adds at most the largest abs(rho), which makes it 3/2 of that. Geometric convergence follows at
    that rate.

    Args:
        tastes: Coefficients.
        weights: Segment weights, shape ``(S,)``, sum 1.
        shares: Which shares the mean field holds.
    """
    strength = np.abs(tastes.rho)
    if shares == "population":
        return float(weights @ strength) / 2.0
    loyal = bool(np.any(tastes.lambda_ != 0.0))
    factor = 0.5 if tastes.num_segments == 1 and not loyal else 1.5
    return factor * float(strength.max())


def window_is_stable(slope: float, window: int) -> bool:
    """Return whether a lagged mean field with the given slope of Phi settles for a window of W periods.

    A slope above 1 is herding, which no window cures; a negative slope is stable iff its size is below W.
    """
    return -window < slope < 1.0


def share_map(
    tastes: Tastes, weights: FloatArray, offer: Offer, shares: Shares = "buyers"
) -> Callable[[FloatArray], FloatArray]:
    """Return Phi, which maps mean fields of shape ``(B, J)`` to the purchase shares they bring about.

    Args:
        tastes: Coefficients.
        weights: Segment weights, shape ``(S,)``.
        offer: Shelves of one market (B = 1); loyalty stays fixed.
        shares: Which shares the mean field holds.
    """

    def phi(mean_field: FloatArray) -> FloatArray:
        batch = len(mean_field)
        shelf = replace(offer.take(np.zeros(batch, dtype=np.int64)), mean_field=mean_field)
        bought = np.einsum("s,bsj->bj", weights, purchases(tastes, shelf)[0][:, :, 1:])
        return bought / np.maximum(bought.sum(axis=1, keepdims=True), NOBODY) if shares == "buyers" else bought

    return phi


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What iterating a mean-field map from many starts shows.

    Attributes:
        equilibria: Distinct fixed points that the iteration reached, shape ``(E, J)``.
        stable: Whether plain iteration returns to each after a small shock (spectral radius of the slope below
            1), shape ``(E,)``. Unstable ones are reached only by starts that lie exactly on them or by damping.
        basins: Share of the starts that ended at each, shape ``(E,)``.
        residual: Largest entry of Phi(m) - m over all ends.
        iterations: Iterations used.
        contraction: Largest observed ratio of the l1 distances of Phi(m), Phi(n) and of m, n over random pairs.
        bound: `contraction_bound`; below 1 a single equilibrium is guaranteed.
        half_life: Periods until a small shock to the first equilibrium halves under the lagged coupling; the window
            ``"auto"`` is taken as 1 here, that of a very large market.
        spread: Largest l1 distance between two ends.
    """

    equilibria: FloatArray
    stable: BoolArray
    basins: FloatArray
    residual: float
    iterations: int
    contraction: float
    bound: float
    half_life: float
    spread: float

    @property
    def unique_guaranteed(self) -> bool:
        """Whether the bound alone rules out a second equilibrium."""
        return self.bound < 1.0


def diagnose(
    tastes: Tastes,
    weights: FloatArray,
    offer: Offer,
    settings: MeanField | None = None,
    *,
    starts: int = 64,
    seed: int = 0,
    merge: float = 1e-4,
) -> Diagnosis:
    """Iterate the mean field of one market from many starts and report what was found.

    Args:
        tastes: Coefficients.
        weights: Segment weights, shape ``(S,)``.
        offer: Shelves of one market (B = 1).
        settings: Shares, relaxation, tolerance and most iterations (at least 20,000 are allowed here).
        starts: Random starts beside the uniform one and the J corners.
        seed: Seed of the starts.
        merge: Ends closer than this (largest coordinate) count as one equilibrium.
    """
    settings = settings or MeanField()
    rng = np.random.default_rng(seed)
    phi = share_map(tastes, weights, offer, settings.shares)
    products = tastes.num_products
    corners = 0.98 * np.eye(products) + 0.02 / products
    start = np.vstack([np.full((1, products), 1.0 / products), corners, rng.dirichlet(np.ones(products), starts)])
    ends, iterations = _iterate(phi, start, settings)
    residual = np.abs(phi(ends) - ends).max()
    labels = _cluster(ends, merge)
    first = [int(np.flatnonzero(labels == label)[0]) for label in range(labels.max() + 1)]
    moved = np.abs(phi(start[1:]) - phi(start[:-1])).sum(axis=1)
    distance = np.abs(start[1:] - start[:-1]).sum(axis=1)
    return Diagnosis(
        equilibria=ends[first],
        stable=np.array([_slope(phi, end) < 1.0 for end in ends[first]]),
        basins=np.bincount(labels) / len(labels),
        residual=float(residual),
        iterations=iterations,
        contraction=float((moved / np.maximum(distance, 1e-12)).max()),
        bound=contraction_bound(tastes, weights, settings.shares),
        half_life=_half_life(phi, ends[first[0]], settings.periods(1e9)),
        spread=float(np.abs(ends[:, None] - ends[None]).sum(axis=2).max()),
    )


def _iterate(phi: Callable[[FloatArray], FloatArray], start: FloatArray, settings: MeanField) -> tuple[FloatArray, int]:
    mean_field = start
    for iteration in range(1, max(settings.max_iterations, 20_000) + 1):
        step = phi(mean_field) - mean_field
        mean_field = mean_field + settings.relaxation * step
        if np.abs(step).max() < settings.tolerance:
            return mean_field, iteration
    return mean_field, iteration


def _cluster(points: FloatArray, merge: float) -> np.ndarray:
    labels = np.full(len(points), -1)
    centers: list[FloatArray] = []
    for i, point in enumerate(points):
        near = [c for c, center in enumerate(centers) if np.abs(point - center).max() < merge]
        if not near:
            centers.append(point)
        labels[i] = near[0] if near else len(centers) - 1
    return labels


def _slope(phi: Callable[[FloatArray], FloatArray], center: FloatArray, step: float = 1e-6) -> float:
    """Return the spectral radius of Phi's derivative at `center`, by central differences."""
    shifts = step * np.eye(len(center))
    jacobian = (phi(center + shifts) - phi(center - shifts)).T / (2 * step)
    return float(np.abs(np.linalg.eigvals(jacobian)).max())


def _half_life(phi: Callable[[FloatArray], FloatArray], center: FloatArray, window: int, horizon: int = 400) -> float:
    shock = np.zeros_like(center)
    shock[0] = 1e-4
    history = [center + shock] * window
    for period in range(1, horizon + 1):
        seen = np.mean(history[-window:], axis=0)
        history.append(phi(seen[None])[0])
        if np.abs(np.mean(history[-window:], axis=0) - center).sum() < 0.5 * np.abs(shock).sum():
            return float(period)
    return float("inf")
