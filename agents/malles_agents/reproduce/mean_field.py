"""How many mean-field equilibria there are against the coupling rho (Brock and Durlauf 2001), and where they begin."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from malles_agents.plots import COLOURS, FAINT, new_figure, save_figure
from malles_agents.reproduce.base import Options, Reproduction, ResultRow
from malles_env.market import MeanField, Offer, Tastes
from malles_env.market.demand.mean_field import Diagnosis, contraction_bound, diagnose

ONSET = {2: 2.0, 3: 2.745644, 4: 3.218741, 5: 3.564502}
SOURCE = "Brock and Durlauf 2001; exact roots of the two-share reduction"


def equal_options(options: int, rho: float, starts: int = 40) -> Diagnosis:
    """Iterate the mean field of `options` equal products coupled by rho, shares of buyers, from many starts."""
    tastes = Tastes(alpha=np.zeros((1, options)), beta=np.ones(1), rho=np.full(1, rho))
    loyalty = np.zeros((1, 1, options + 1))
    loyalty[:, :, 0] = 1.0
    ones = np.ones((1, options))
    offer = Offer(ones, ones.astype(bool), np.ones(options), ones / options, loyalty)
    return diagnose(tastes, np.ones(1), offer, MeanField(tolerance=1e-11), starts=starts)


def count_equilibria(options: int, rho: float) -> int:
    """Return how many equilibria L equal options have, stable and unstable, by exact reduction.

    In each equilibrium at most two shares differ: k options have x and the others y with k x + (L - k) y = 1 and
    ln(x / y) = rho (x - y). Roots with x above y are counted, one per choice of the k options, and the uniform one.
    """
    total = 1
    for high in range(1, options):

        def off(x: float, k: int = high) -> float:
            y = (1.0 - k * x) / (options - k)
            return float(np.log(x / y) - rho * (x - y))

        grid = np.linspace(1.0 / options + 1e-7, 1.0 / high - 1e-12, 20_001)
        values = np.array([off(float(x)) for x in grid])
        turns = np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))
        total += comb(options, high) * len([brentq(off, grid[t], grid[t + 1]) for t in turns])
    return total


def onset(options: int, width: float = 1e-3) -> float:
    """Return the smallest rho with more than one stable equilibrium, by bisection on what the iteration finds.

    Args:
        options: L, equal options.
        width: Where the bisection ends; the answer is off by half of it at most. The nearer to the onset, the more
            slowly the iteration converges.
    """
    low, high = 1.0, float(options) + 0.5
    while high - low > width:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _stable(options, middle) > 1 else (middle, high)
    return 0.5 * (low + high)


def _stable(options: int, rho: float) -> int:
    return int(equal_options(options, rho, starts=12).stable.sum())


def mean_field(options: Options) -> Reproduction:
    """Count equilibria over rho for two to five options; the onset of the second one against the stated bound."""
    grid = np.round(np.arange(1.0, 4.51, 0.1), 10)
    table: dict[int, list[int]] = {}
    for k, count in enumerate(ONSET):
        table[count] = [_stable(count, float(rho)) for rho in grid]
        options.watch(k + 1, 2 * len(ONSET))
    rows = []
    for k, (count, exact) in enumerate(ONSET.items()):
        rows.append(
            ResultRow(
                f"rho at which a second stable equilibrium appears, {count} options", onset(count), None, exact, SOURCE
            )
        )
        options.watch(len(ONSET) + k + 1, 2 * len(ONSET))
    bound = 1.0 / contraction_bound(Tastes(alpha=np.zeros((1, 2)), beta=np.ones(1), rho=np.ones(1)), np.ones(1))
    rows.append(
        ResultRow(
            "rho below which the bound guarantees a single equilibrium", bound, None, 2.0, "softmax is 1/2-Lipschitz"
        )
    )
    cases = {
        (2, 1.98): 1,
        (2, 2.05): 3,
        (3, 2.7): 1,
        (3, 2.9): 7,
        (4, 3.5): 9,
        (4, 4.1): 15,
        (5, 4.5): 11,
        (5, 5.1): 31,
    }
    for (count, rho), exact in cases.items():
        measured = count_equilibria(count, rho)
        rows.append(
            ResultRow(
                f"equilibria of {count} options at rho = {rho:g}, unstable ones too", measured, None, exact, SOURCE
            )
        )
    data = {"rho": grid.tolist(), "stable_equilibria": {str(count): found for count, found in table.items()}}
    return Reproduction(
        "mean-field", "Equilibria of the mean field against its coupling", tuple(rows), data, {"tolerance": 1e-3},
        draw=lambda path: _draw(grid, table, path),
    )  # fmt: skip


def _draw(grid: np.ndarray, table: dict[int, list[int]], path: Path) -> Path:
    figure, axis = new_figure()
    for k, (count, found) in enumerate(table.items()):
        axis.step(grid, np.array(found) + 0.04 * k, where="post", color=COLOURS[k], label=f"{count} options")
        axis.axvline(ONSET[count], color=COLOURS[k], linestyle=":", linewidth=0.8)
    axis.axvline(2.0, color=FAINT, linestyle="--", label="bound: one equilibrium below")
    axis.set_xlabel("coupling rho (utils per unit of share)")
    axis.set_ylabel("stable equilibria")
    axis.legend(frameon=False)
    return save_figure(figure, path)
