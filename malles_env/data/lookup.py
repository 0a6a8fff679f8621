"""Values kept under integer keys, looked up for whole columns at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lookup:
    """Sorted unique keys [n] with one value each [n]."""

    keys: Ints
    values: Floats

    def get(self, keys: Ints) -> Floats:
        """Return the value of each key, NaN where there is none; same shape as `keys`."""
        if len(self.keys) == 0:
            return np.full(len(keys), np.nan)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.values[place], np.nan)

    def has(self, keys: Ints) -> Flags:
        """Return whether each key is there; same shape as `keys`."""
        if len(self.keys) == 0:
            return np.zeros(len(keys), dtype=bool)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found: Flags = self.keys[place] == keys
        return found
