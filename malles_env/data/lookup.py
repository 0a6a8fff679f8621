"""Integer keys asked for in whole columns: values kept under them, and how many come before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from malles_env.type_aliases import BoolArray, FloatArray, IntArray

_DIRECT = 2**24
"""Keys that span at most this many numbers are addressed directly: one access instead of a binary search."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiplied by it, neighbouring keys fall into distant slots."""


class Index:
    """Places of sorted unique keys."""

    def __init__(self, keys: IntArray) -> None:
        """Make the table.

        Args:
            keys: Sorted unique keys [n].
        """
        self._keys = keys
        self._first = int(keys[0]) if len(keys) else 0
        self._span = int(keys[-1]) - self._first + 1 if len(keys) else 0
        self._direct = self._span <= _DIRECT
        if self._direct:
            # Behind the last number stands an absent one.
            self._table = np.full(self._span + 1, -1, dtype=np.int32)
            self._table[keys - self._first] = np.arange(len(keys), dtype=np.int32)
        else:
            bits = int(8 * len(keys)).bit_length()
            self._shift = np.uint64(64 - bits)
            self._sieve = np.zeros(2**bits, dtype=bool)
            self._sieve[self._slots(keys)] = True

    def find(self, keys: IntArray) -> npt.NDArray[np.int32]:
        """Return the place of each key, -1 where it is absent; same shape as `keys`."""
        if self._direct:
            # Seen without its sign, a number below the first is a very large one.
            offsets = (keys - self._first).view(np.uint64)
            return self._table.take(np.minimum(offsets, np.uint64(self._span)).view(np.int64))
        found = np.full(len(keys), -1, dtype=np.int32)
        # The sieve turns most absent keys away before they are searched for.
        some = np.flatnonzero(self._sieve.take(self._slots(keys)))
        asked = keys[some]
        place = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        hit = self._keys[place] == asked
        found[some[hit]] = place[hit]
        return found

    def _slots(self, keys: IntArray) -> IntArray:
        slots: IntArray = ((keys.view(np.uint64) * _SPREAD) >> self._shift).view(np.int64)
        return slots


class Lookup:
    """Sorted unique keys [n] with one value each [n]."""

    def __init__(self, keys: IntArray, values: FloatArray) -> None:
        """Make the table.

        Args:
            keys: Sorted unique keys [n].
            values: Their values [n].
        """
        self._index = Index(keys)
        # Place -1 is the last one: no value.
        self._values = np.append(values, np.nan)

    def get(self, keys: IntArray) -> FloatArray:
        """Return the value of each key, NaN where there is none; same shape as `keys`."""
        return self._values.take(self._index.find(keys))

    def has(self, keys: IntArray) -> BoolArray:
        """Return whether each key is there; same shape as `keys`."""
        return self._index.find(keys) >= 0

    def replace(self, keys: IntArray, values: FloatArray) -> FloatArray:
        """Return `values` [n] with those of the keys [n] that are there put in their place."""
        place = self._index.find(keys)
        return np.where(place >= 0, self._values.take(place), values)


class Below:
    """Sorted keys, answering how many lie below a number."""

    def __init__(self, keys: IntArray) -> None:
        """Make the table.

        Args:
            keys: Sorted keys [n]; they may repeat.
        """
        self._keys = keys
        self._first = int(keys[0]) if len(keys) else 0
        self._span = int(keys[-1]) - self._first + 1 if len(keys) else 0
        if self._span <= _DIRECT:
            self._table = np.zeros(self._span + 1, dtype=np.int32)
            np.cumsum(np.bincount(keys - self._first, minlength=self._span), out=self._table[1:])

    def count(self, numbers: IntArray) -> IntArray:
        """Return how many keys are smaller than each number; same shape as `numbers`."""
        if self._span <= _DIRECT:
            return self._table.take(np.clip(numbers - self._first, 0, self._span)).astype(np.int64)
        return np.searchsorted(self._keys, numbers)


class Events:
    """Events of owners over time, answering "how many before this moment"."""

    def __init__(self, owner: IntArray, time: IntArray, times: int) -> None:
        """Index the events.

        Args:
            owner: Owner of each event [n].
            time: Its time [n].
            times: Times run below this.
        """
        self._times = times
        self._sorted = np.sort(owner * times + time)
        owners = self._sorted // times
        self._start = np.flatnonzero(np.diff(owners, prepend=-1))
        self._index = Index(owners[self._start])

    def before(self, owner: IntArray, time: IntArray) -> IntArray:
        """Return the number of the owner's events [n] before `time` [n]."""
        place = self._index.find(owner)
        some = np.flatnonzero(place >= 0)
        counts = np.zeros(len(owner), dtype=np.int64)
        behind = np.searchsorted(self._sorted, owner[some] * self._times + time[some])
        counts[some] = behind - self._start[place[some]]
        return counts
