"""Where a model is right: by history length, by shelf size, and averaged over markets instead of purchases."""

from __future__ import annotations

import numpy as np

from malles_env.evaluation.metrics import Estimate, clustered, purchase_values
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import FloatArray, IntArray

HISTORY = {"0": (0, 0), "1-2": (1, 2), "3-5": (3, 5), "6-10": (6, 10), ">10": (11, None)}
"""Own earlier purchases in the market."""
SHELF = {"2-7": (2, 7), "8-11": (8, 11), "12-15": (12, 15), "16+": (16, None)}
"""Options on the shelf."""
FEWEST = 20
"""Purchases a market needs to count in the average over markets."""

Table = dict[str, dict[str, Estimate | int]]


def by_history(prediction: Prediction, data: TasteData) -> Table:
    """Return hit and nll by the number of own earlier purchases, with the number of purchases judged."""
    return _groups(prediction, data, data.history_total[data.chosen > 0], HISTORY)


def by_shelf(prediction: Prediction, data: TasteData) -> Table:
    """Return hit and nll by the number of options, with the number of purchases judged."""
    return _groups(prediction, data, data.mask.sum(1)[data.chosen > 0], SHELF)


def market_average(prediction: Prediction, data: TasteData) -> dict[str, Estimate | int]:
    """Return the mean over markets of hit and nll, each market counting once; markets with too few are left out."""
    bought = data.chosen > 0
    values, market = purchase_values(prediction, data), data.market[bought]
    counts = np.bincount(market)
    kept = counts[market] >= FEWEST
    found: dict[str, Estimate | int] = {"markets": int((counts >= FEWEST).sum())}
    for name in ("hit", "nll"):
        found[name] = _macro(values[name][kept], market[kept], data.household[bought][kept])
    return found


def _groups(
    prediction: Prediction, data: TasteData, size: IntArray, limits: dict[str, tuple[int, int | None]]
) -> Table:
    values, who = purchase_values(prediction, data), data.household[data.chosen > 0]
    table: Table = {}
    for name, (low, high) in limits.items():
        at = (size >= low) & (size <= (size.max(initial=0) if high is None else high))
        if at.any():
            table[name] = {"purchases": int(at.sum())}
            table[name] |= {metric: clustered(values[metric][at], who[at]) for metric in ("hit", "nll")}
    return table


def _macro(values: FloatArray, market: IntArray, cluster: IntArray) -> Estimate:
    """Return the mean of market means with its household-clustered, linearised standard error."""
    if not len(values):
        return Estimate(float("nan"), float("nan"))
    _, market = np.unique(market, return_inverse=True)
    counts = np.bincount(market)
    means = np.bincount(market, values) / counts
    groups, code = np.unique(cluster, return_inverse=True)
    sums = np.bincount(code, (values - means[market]) / counts[market]) / len(counts)
    correction = len(groups) / max(len(groups) - 1, 1)
    return Estimate(float(means.mean()), float(np.sqrt(correction * (sums**2).sum())))
