"""The arguments of a reading, checked and made into occasions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.personas import as_occasions
from malles_env.preference.data.text import Persona, ProductText
from malles_env.type_aliases import FloatArray, IntArray


def asked_shelf(
    personas: Sequence[Persona],
    products: Sequence[ProductText],
    bought: ArrayLike,
    reference_share: ArrayLike,
    regular_price: ArrayLike | None,
    mean_quantity: ArrayLike | None,
) -> TasteData:
    """Return the arguments of `TasteModel.read` as occasions, one per persona; see there for errors."""
    counts, shares = _checked(personas, products, bought, reference_share)
    price = _positive("regular_price", regular_price, 0.0, len(products), 1.0)
    quantity = _positive("mean_quantity", mean_quantity, 1.0 - 1e-9, len(products), np.nan)
    return as_occasions(personas, products, counts, shares, price, quantity)


def _checked(
    personas: Sequence[Persona],
    products: Sequence[ProductText],
    bought: ArrayLike,
    reference_share: ArrayLike,
) -> tuple[IntArray, FloatArray]:
    if not personas:
        raise invalid("personas", list(personas), "at least one")
    if not products:
        raise invalid("products", list(products), "at least one")
    counts = np.asarray(bought)
    shape = (len(personas), len(products))
    if counts.shape != shape or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise invalid("bought", counts, f"integers of 0 or more, shape {shape} (personas, products)")
    shares = np.asarray(reference_share, dtype=np.float64)
    if shares.shape != shape[1:] or not ((shares >= 0) & (shares <= 1)).all():
        raise invalid("reference_share", shares, f"numbers in [0, 1], shape {shape[1:]} (products)")
    return counts.astype(np.int64), shares


def _positive(name: str, values: ArrayLike | None, low: float, size: int, unknown: float) -> FloatArray:
    if values is None:
        return np.full(size, unknown)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (size,) or not (numbers > low).all():
        raise invalid(name, numbers, f"numbers above {max(low, 0):.0f}, shape ({size},) (products)")
    return numbers
