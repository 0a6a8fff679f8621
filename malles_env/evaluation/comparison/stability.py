"""How steady a model is: over repeated asking, and over the order in which a shelf is listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.metrics import Estimate, clustered
from malles_env.preference.data.dataset import SHARED_FIELDS, TasteData
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import IntArray

Predict = Callable[[TasteData], Prediction]
SeededPredict = Callable[[TasteData, int], Prediction]


def order_variation(predict: Predict, data: TasteData, *, orders: int = 4, seed: int = 0) -> Estimate:
    """Return the mean total variation between choice probabilities of one shelf listed in different orders.

    0 for a model that does not mind the order, up to rounding; 1 for one whose answer hangs on it alone.

    Args:
        predict: Gives predictions, e.g. of a prompted model; it sees the shelf in the order of the data.
        data: Purchases.
        orders: Orders besides the given one, at least 1.
        seed: Seed of the orders.
    """
    if orders < 1:
        raise invalid("orders", orders, "a whole number, at least 1")
    rng = np.random.default_rng(seed)
    first = np.exp(predict(data).inside())
    distance = np.zeros(len(data))
    for _ in range(orders):
        shuffled, place = reordered(data, rng)
        other = np.exp(predict(shuffled).inside())
        back = np.take_along_axis(other, np.argsort(place, axis=1), axis=1)
        distance += 0.5 * np.abs(back - first).sum(1) / orders
    return clustered(distance, data.household)


def repeat_variance(predict: SeededPredict, data: TasteData, *, repeats: int = 5) -> Estimate:
    """Return the variance of the choice probabilities over repeated asking, summed over the shelf.

    0 for a model that answers the same each time; a model that names one option at random with probabilities p shows
    the whole variance of sampling, ``1 - sum p²``.

    Args:
        predict: Gives predictions for data and a seed.
        data: Occasions.
        repeats: Times asked, at least 2; the seeds are 0, 1, ...
    """
    if repeats < 2:
        raise invalid("repeats", repeats, "a whole number, at least 2")
    shares = np.stack([np.exp(predict(data, seed).inside()) for seed in range(repeats)])
    return clustered(shares.var(0, ddof=1).sum(1), data.household)


def reordered(data: TasteData, rng: np.random.Generator) -> tuple[TasteData, IntArray]:
    """Return the occasions with each shelf in a random order, and the old place of each new one [B, J].

    Options stay in front of the padding, and `chosen` goes along.
    """
    draw = np.where(data.mask, rng.random(data.mask.shape), 2.0)
    place = np.argsort(draw, axis=1, kind="stable")
    shape = data.mask.shape
    changed: dict[str, Any] = {}
    for name, values in vars(data).items():
        by_option = name not in SHARED_FIELDS and not name.startswith(("past", "other"))
        if by_option and values.shape == shape:
            changed[name] = np.take_along_axis(values, place, axis=1)
    new = np.argsort(place, axis=1)
    mine = np.take_along_axis(new, np.maximum(data.chosen - 1, 0)[:, None], axis=1)[:, 0] + 1
    changed["chosen"] = np.where(data.chosen > 0, mine, 0)
    return replace(data, **changed), place
