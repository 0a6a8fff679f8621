"""Types that annotations name: arrays, and what long work calls while it runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

OnProgress = Callable[[int, int], object]
"""Called with how many are done, of how many."""
OnMessage = Callable[[str], object]
"""Called with what is being done, in words."""
