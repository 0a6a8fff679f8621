"""Earlier shelf prices of each option's line: what earlier deals took from today's sales is no answer to its price."""

from __future__ import annotations

import numpy as np

from malles_env.preference.data.dataset import TasteData
from malles_env.type_aliases import BoolArray, Float32Array, FloatArray

WINDOWS = ((1, 1), (2, 4))
"""First and last of the periods before, of each lag."""


def lagged_log_prices(data: TasteData) -> Float32Array:
    """Return the mean log(p/r) of the option's line in each of `WINDOWS` [B, J, len(WINDOWS)].

    A period's price is the mean over the data's shelves in it; periods without one are passed over, and where a whole
    window is not known the lag is 0, as at the regular price.

    Args:
        data: The occasions, of all households: the means are over all of them.
    """
    first = int(data.period.min())
    shape = (len(data.products), int(data.period.max()) - first + 1)
    rows, places = np.nonzero(data.mask)
    at = np.ravel_multi_index((data.product[rows, places], data.period[rows] - first), shape)
    size = shape[0] * shape[1]
    shelves = np.bincount(at, minlength=size).reshape(shape)
    summed = np.bincount(at, weights=data.log_price[rows, places], minlength=size).reshape(shape)
    means = np.divide(summed, shelves, out=np.zeros(shape), where=shelves > 0)
    lags = np.stack([_window(means, shelves > 0, *window) for window in WINDOWS], axis=-1)
    found = lags[data.product, (data.period - first)[:, None]]
    return np.where(data.mask[..., None], found, 0.0).astype(np.float32)


def _window(means: FloatArray, known: BoolArray, first: int, last: int) -> FloatArray:
    """Return the mean over the known ones of the periods `first` to `last` before each [P, T]."""
    total, count = np.zeros(means.shape), np.zeros(means.shape)
    for lag in range(first, min(last, means.shape[1] - 1) + 1):
        total[:, lag:] += (means * known)[:, :-lag]
        count[:, lag:] += known[:, :-lag]
    return total / np.maximum(count, 1)
