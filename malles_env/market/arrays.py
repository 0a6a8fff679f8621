"""Checks that turn what a caller gave into read-only float arrays of a known shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.type_aliases import FloatArray

MOST = 1e12
"""Largest amount of money and largest number of consumers: beyond, sums of a period lose their units."""
LARGEST_UTILITY = 300.0
"""Beyond, exponentials lose their meaning."""


def as_floats(
    field: str,
    value: ArrayLike,
    shape: tuple[int, ...],
    *,
    low: float = -np.inf,
    high: float = np.inf,
    finite: bool = True,
) -> FloatArray:
    """Return `value` as a read-only float64 array of `shape`.

    Args:
        field: Name used in the error.
        value: Scalar or array that broadcasts to `shape`.
        shape: The shape wanted.
        low: Smallest value allowed.
        high: Largest value allowed.
        finite: Whether infinities are refused. NaN always is.

    Returns:
        A fresh array that cannot be written to.

    Raises:
        InvalidInput: The value does not broadcast, or an entry lies outside the range; names the first such entry.
    """
    try:
        array = np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), shape))
    except (TypeError, ValueError):
        raise invalid(field, value, f"numbers that broadcast to shape {shape}") from None
    bad = np.isnan(array) | (array < low) | (array > high)
    if finite:
        bad |= np.isinf(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        place = field + "".join(f"[{i}]" for i in where)
        kind = "finite numbers" if finite else "numbers"
        raise invalid(place, float(array[where]), f"{kind} from {low} to {high}")
    array.setflags(write=False)
    return array
