"""Regret of learning an assortment: the MNL-bandit of Agrawal, Avadhanula, Goyal and Zeevi (2019)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

import numpy as np

from malles_agents.plots import COLOURS, new_figure, save_figure
from malles_agents.reproduce.base import Options, Reproduction, ResultRow, row
from malles_agents.standard_errors import mean_se
from malles_env.compiling import njit
from malles_env.market.kernels.sampling import StateArray, seed_streams, uniform
from malles_env.market.solvers import assortment
from malles_env.type_aliases import FloatArray

PRODUCTS, SHELF, HORIZON = 10, 4, 200_000
CHECKPOINTS = np.unique(np.geomspace(100, HORIZON, 60).astype(np.int64))
RULES = {"UCB, the paper's constant 48": 48.0, "UCB, constant 1": 1.0, "random assortment": -1.0}


@njit(cache=True, nogil=True, error_model="numpy")
def best_set(score: FloatArray, most: int, chosen: np.ndarray) -> None:
    """Mark the best at most `most` products at equal prices of 1: those with the largest attractions."""
    chosen[:] = False
    for _ in range(most):
        top = -1
        for j in range(len(score)):
            if not chosen[j] and (top < 0 or score[j] > score[top]):
                top = j
        chosen[top] = True


@njit(cache=True, nogil=True, error_model="numpy")
def bandit_run(
    attraction: FloatArray, most: int, scale: float, horizon: int, marks: np.ndarray, stream: StateArray
) -> FloatArray:
    """Return the expected regret at `marks` of one run, one consumer per period, all prices 1.

    An assortment is offered until a consumer buys nothing; then v is estimated by picks over epochs, raised by
    sqrt(c v L / T) + c L / T with L = ln(sqrt(N) l + 1), and the next assortment is chosen. A negative scale stands for
    random assortments, drawn anew in each epoch.
    """
    count = len(attraction)
    picks, epochs, score = np.zeros(count), np.zeros(count), np.empty(count)
    shelf, best = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    best_set(attraction, most, best)
    total = 0.0
    for j in range(count):
        total += attraction[j] if best[j] else 0.0
    optimum = total / (1.0 + total)
    regret, out, at, epoch, fresh, mean = 0.0, np.empty(len(marks)), 0, 0, True, 0.0
    for t in range(1, horizon + 1):
        if fresh:
            epoch += 1
            log = np.log(np.sqrt(count) * epoch + 1.0)
            for j in range(count):
                if scale < 0.0:
                    score[j] = uniform(stream)
                elif epochs[j] == 0.0:
                    score[j] = 1e9 + uniform(stream)
                else:
                    v = picks[j] / epochs[j]
                    score[j] = v + np.sqrt(scale * v * log / epochs[j]) + scale * log / epochs[j]
            best_set(score, most, shelf)
            mean = 0.0
            for j in range(count):
                if shelf[j]:
                    mean += attraction[j]
                    epochs[j] += 1.0
            fresh = False
        regret += optimum - mean / (1.0 + mean)
        draw = uniform(stream) * (1.0 + mean) - 1.0
        fresh = draw < 0.0
        if not fresh:
            for j in range(count):
                if shelf[j]:
                    draw -= attraction[j]
                    if draw < 0.0:
                        picks[j] += 1.0
                        break
        if t == marks[at]:
            out[at] = regret
            at += 1
            if at == len(marks):
                break
    return out


def mnl_bandit(options: Options) -> Reproduction:
    """Ten products, four on the shelf, four better than the rest by 0.05, 0.1 or 0.25 in attraction."""
    count, rows, curves = options.sessions or 8, [], {}
    gaps = (0.05, 0.1, 0.25)
    for g, gap in enumerate(gaps):
        attraction = np.full(PRODUCTS, 0.25)
        attraction[[1, 4, 6, 9]] += gap
        exact = assortment.capacity(np.ones(PRODUCTS), attraction, SHELF)
        rows.append(ResultRow(f"best profit per consumer, gap {gap:g}", exact.profit))
        for k, (name, scale) in enumerate(RULES.items()):
            found = _runs(options, attraction, scale, count)
            options.watch(g * len(RULES) + k + 1, len(gaps) * len(RULES))
            middle = int(np.searchsorted(CHECKPOINTS, HORIZON // 4))
            rows.append(
                row(f"regret after {HORIZON:,} consumers, gap {gap:g}, {name}", found[:, -1], sample=f"{count} runs")
            )
            curves[f"{gap:g}, {name}"] = {
                "middle": mean_se(found[:, middle])._asdict(),
                "end": mean_se(found[:, -1])._asdict(),
                "mean": found.mean(axis=0),
            }
    data = {"regret": {name: {"quarter": c["middle"], "end": c["end"]} for name, c in curves.items()}}
    return Reproduction(
        "mnl-bandit", "Learning an assortment: regret against the best one", tuple(rows), data,
        {"sessions": count, "seed": options.seed, "products": PRODUCTS, "shelf": SHELF},
        ("The paper proves regret of order sqrt(N T); its constant 48 is far too careful at practical horizons.",),
        lambda path: _draw({name: c["mean"] for name, c in curves.items() if name.startswith("0.1,")}, path),
    )  # fmt: skip


def _runs(options: Options, attraction: FloatArray, scale: float, count: int) -> np.ndarray:
    streams = seed_streams([options.seed * 1_000_003 + r for r in range(count)])
    with ThreadPoolExecutor(options.workers or cpu_count() or 1) as pool:
        jobs = pool.map(lambda stream: bandit_run(attraction, SHELF, scale, HORIZON, CHECKPOINTS, stream), streams)
        return np.array(list(jobs))


def _draw(curves: dict[str, FloatArray], path: Path) -> Path:
    figure, axis = new_figure()
    for k, (name, mean) in enumerate(curves.items()):
        axis.plot(CHECKPOINTS, mean, color=COLOURS[k], label=name.partition(", ")[2])
    axis.plot(CHECKPOINTS, np.sqrt(PRODUCTS * CHECKPOINTS), color="#9a9aa8", linestyle=":", label="sqrt(N T)")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("consumers")
    axis.set_ylabel("regret (profit per unit sold is 1)")
    axis.legend(frameon=False)
    return save_figure(figure, path)
