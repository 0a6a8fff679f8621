"""Homogeneous Bertrand: Klein's sequential pricing, and synchronous against asynchronous learning (Asker et al.)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import COLOURS, FAINT, new_figure, save_figure
from malles_agents.reproduce.base import Options, Reproduction, ResultRow, row
from malles_agents.standard_errors import mean_se
from malles_env.compiling import njit
from malles_env.market.kernels.sampling import StateArray, seed_streams, uniform
from malles_env.type_aliases import FloatArray

ASKER = "Asker, Fershtman and Pakes 2022, abstract"
JOINT_MAXIMUM = 0.125


@njit(cache=True, nogil=True, error_model="numpy")
def klein_run(levels: int, alpha: float, discount: float, decay: float, periods: int, stream: StateArray) -> float:
    """Return mean profit per seller and period of two sellers that move in turns, once they have learned.

    Demand 1 - p goes to the lowest price, ties split it; unit cost 0; prices 0, 1/k, ..., 1. The mover sees the rival's
    standing price; an action is valued two periods later at profit + discount profit' + discount^2 max Q.
    """
    size = levels + 1
    values = np.zeros((2, size, size))
    price = np.empty(2, dtype=np.int64)
    seen, chosen = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    first = np.zeros(2)
    for i in range(2):
        price[i] = int(uniform(stream) * size)
    explore, total, counted = 1.0, 0.0, 0
    tail = 2 * size * size
    for t in range(periods + tail):
        i = t % 2
        rival = price[1 - i]
        if t >= 2:
            old = values[i, seen[i], chosen[i]]
            ahead = first[i] + discount * _sale(price[i], rival, levels) + discount**2 * values[i, rival].max()
            if t < periods:
                values[i, seen[i], chosen[i]] = (1.0 - alpha) * old + alpha * ahead
        if t < periods and uniform(stream) < explore:
            action = int(uniform(stream) * size)
        else:
            action = int(values[i, rival].argmax())
        seen[i], chosen[i], price[i] = rival, action, action
        first[i] = _sale(action, rival, levels)
        explore *= decay
        if t >= periods + tail // 2:
            total += 0.5 * (_sale(price[0], price[1], levels) + _sale(price[1], price[0], levels))
            counted += 1
    return total / counted


@njit(cache=True, nogil=True, error_model="numpy")
def _sale(own: int, rival: int, levels: int) -> float:
    if own > rival:
        return 0.0
    p = own / levels
    return p * (1.0 - p) * (0.5 if own == rival else 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def asker_run(
    synchronous: bool, discount: float, alpha: float, cost: float, periods: int, stream: StateArray
) -> FloatArray:
    """Return the last prices of two sellers without memory of prices, unit demand, 100 prices 0.1 to 10.

    Both take the action of highest value, never explore, and start optimistic, uniform on [10, 20] / (1 - discount).
    Asynchronous learners update the action they took; synchronous ones all actions, with the profit each would have
    earned against the rival's price.
    """
    size = 100
    values = np.empty((2, size))
    for i in range(2):
        for a in range(size):
            values[i, a] = (10.0 + 10.0 * uniform(stream)) / (1.0 - discount)
    taken = np.zeros(2, dtype=np.int64)
    for _ in range(periods):
        for i in range(2):
            taken[i] = int(values[i].argmax())
        for i in range(2):
            rival, ahead = taken[1 - i], discount * values[i].max()
            low, high = (0, size) if synchronous else (taken[i], taken[i] + 1)
            for a in range(low, high):
                part = 1.0 if a < rival else 0.5 if a == rival else 0.0
                profit = part * (0.1 * (a + 1) - cost)
                values[i, a] = (1.0 - alpha) * values[i, a] + alpha * (profit + ahead)
    last = np.empty(2)
    for i in range(2):
        last[i] = 0.1 * (taken[i] + 1)
    return last


def klein(options: Options) -> Reproduction:
    """Sequential moves on grids of 7, 13 and 25 prices."""
    count, grids = options.sessions or 200, (6, 12, 24)
    rows, found = [], {}
    for k, levels in enumerate(grids):
        profit = np.array(_runs(options, count, k * count, len(grids) * count, _klein_job, levels))
        sample = f"{count} runs"
        found[levels] = profit
        rows.append(row(f"mean profit, {levels + 1} prices", profit, sample=sample))
        share = np.abs(profit - JOINT_MAXIMUM) < 1e-9
        static = _sale(1, 1, levels)
        rows.append(row(f"runs at the joint maximum, {levels + 1} prices (share)", share, sample=sample))
        rows.append(row(f"runs above static Bertrand, {levels + 1} prices (share)", profit > static, sample=sample))
        rows.append(ResultRow(f"static Bertrand: one step above cost, {levels + 1} prices", static))
    rows.append(ResultRow("joint maximum", JOINT_MAXIMUM))
    data = {"profit_by_prices": {str(levels + 1): mean_se(profit)._asdict() for levels, profit in found.items()}}
    return Reproduction(
        "klein", "Sequential pricing: alternating Q-learners", tuple(rows), data,
        {"sessions": count, "seed": options.seed, "alpha": 0.3, "discount": 0.95, "periods": 500_000},
        draw=lambda path: _draw_klein(found, path),
    )  # fmt: skip


def _klein_job(stream: StateArray, levels: int) -> float:
    return float(klein_run(levels, 0.3, 0.95, 1.0 - 2.75e-5, 500_000, stream))


def _asker_job(stream: StateArray, synchronous: bool, discount: float) -> float:
    return float(asker_run(synchronous, discount, 0.1, 2.0, 200_000 if not synchronous else 20_000, stream).mean())


def asker(options: Options) -> Reproduction:
    """Synchronous learners compete, asynchronous ones do not."""
    count = options.sessions or 40
    cells = [(False, 0.0), (False, 0.95), (True, 0.0), (True, 0.95)]
    rows, found = [], {}
    for k, (synchronous, discount) in enumerate(cells):
        prices = np.array(_runs(options, count, k * count, len(cells) * count, _asker_job, synchronous, discount))
        name = f"{'synchronous' if synchronous else 'asynchronous'}, discount factor {discount:g}"
        said = "competitive" if synchronous else "near monopoly (10)" if discount == 0 else None
        rows.append(row(f"price, {name}", prices, said, source=ASKER if said else "", sample=f"{count} runs"))
        found[name] = prices
    rows.append(ResultRow("competitive price (cost plus one step)", 2.1))
    return Reproduction(
        "asker", "Learning from counterfactuals restores competition", tuple(rows),
        {"price": {name: mean_se(prices)._asdict() for name, prices in found.items()}},
        {"sessions": count, "seed": options.seed},
        draw=lambda path: _draw_asker(found, path),
    )  # fmt: skip


def _runs(options: Options, count: int, before: int, whole: int, job: Any, *settings: Any) -> list[float]:
    streams = seed_streams([options.seed * 1_000_003 + r for r in range(count)])
    results = []
    with ThreadPoolExecutor(options.workers or cpu_count() or 1) as pool:
        for done, value in enumerate(pool.map(lambda stream: job(stream, *settings), streams), 1):
            results.append(value)
            options.watch(before + done, whole)
    return results


def _draw_klein(found: dict[int, np.ndarray], path: Path) -> Path:
    figure, axis = new_figure()
    bins = np.linspace(0.05, 0.13, 33)
    axis.hist(list(found.values()), bins=bins, color=COLOURS[: len(found)], label=[f"{k + 1} prices" for k in found])
    axis.axvline(JOINT_MAXIMUM, color=FAINT, linestyle="--", label="joint maximum")
    axis.axvline(_sale(1, 1, min(found)), color=FAINT, linestyle=":", label="static Bertrand, 7 prices")
    axis.set_xlabel("profit per seller and period")
    axis.set_ylabel("runs")
    axis.legend(frameon=False, loc="upper left")
    return save_figure(figure, path)


def _draw_asker(found: dict[str, np.ndarray], path: Path) -> Path:
    figure, axis = new_figure()
    for k, (name, prices) in enumerate(found.items()):
        spread = np.linspace(-0.25, 0.25, len(prices))
        axis.plot(k + spread, np.sort(prices), ".", color=COLOURS[k], label=name)
    axis.axhline(2.1, color=FAINT, linestyle=":", label="competitive price")
    axis.axhline(10.0, color=FAINT, linestyle="--", label="monopoly price")
    axis.set_xticks([])
    axis.set_ylabel("mean price at the end")
    axis.legend(frameon=False, fontsize=8, loc="center right")
    return save_figure(figure, path)
