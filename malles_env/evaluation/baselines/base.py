"""What every row of the comparison is: fitted on occasions, then asked about others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from malles_env.errors import InvalidInput
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction

CHUNK = 2048
"""Occasions predicted at a time, so that memory stays small."""


class TooSmallLog(InvalidInput):
    """There are too few purchases to fit a row on."""


def check_size(data: TasteData, fewest: int, part: str) -> None:
    """Refuse too few purchases.

    Args:
        data: Occasions.
        fewest: Purchases needed.
        part: What they are for, e.g. ``"training"``.

    Raises:
        TooSmallLog: There are fewer.
    """
    found = int((data.chosen > 0).sum())
    if found < fewest:
        raise TooSmallLog(f"the log is too small: {found:,} {part} purchases, needed: {fewest:,} or more")


class Row(ABC):
    """One row of the comparison.

    Attributes:
        name: How the row is called in tables and files.
        chooses: False for a row that predicts quantities alone.
    """

    name: ClassVar[str]
    chooses: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def fit(cls, train: TasteData, validation: TasteData, seed: int = 0, *, identities: bool = True) -> Row:
        """Return the row fitted.

        Args:
            train: Occasions to learn from, no-purchase visits included.
            validation: Later occasions, for early stopping alone.
            seed: Seed of draws and weights.
            identities: True where the same households and products come again, so that learning them by name pays.

        Raises:
            TooSmallLog: There are too few purchases for this row.
        """

    @abstractmethod
    def predict(self, data: TasteData) -> Prediction:
        """Return what the row says about occasions."""


def in_chunks(data: TasteData, part: Callable[[TasteData], Prediction], size: int = CHUNK) -> Prediction:
    """Return the predictions of `part` on `size` occasions at a time, put together."""
    cuts = np.split(np.arange(len(data)), range(size, len(data), size))
    parts = [part(data.take(rows)) for rows in cuts]
    joined: dict[str, Any] = {}
    for name in ("utilities", "units", "quantity", "beta", "gamma", "delta"):
        values = [getattr(prediction, name) for prediction in parts]
        joined[name] = None if values[0] is None else np.concatenate(values)
    return Prediction(**joined)
