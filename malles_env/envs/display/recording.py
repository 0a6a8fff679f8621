"""Keeps the history of an episode of one market as arrays, for pictures and analysis."""

from __future__ import annotations

from collections import deque
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import MissingResource
from malles_env.market import Catalog, Outcome
from malles_env.market.seller_rules.promotion import KINDS

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

PER_PRODUCT = ("prices", "listed", "units", "share", "profit", "mean_field")
PER_SELLER = ("seller_profit",)
PER_MARKET = ("consumer_surplus", "outside")


class Recording:
    """Periods of one market in order.

    >>> recording = Recording()
    >>> len(recording)
    0

    Args:
        market: Which market of the batch.
        most: Periods kept, the last ones; None keeps all.
        catalog: Names the products and their sellers in tables; None: they are numbered.

    Attributes:
        dropped: Periods of this episode that are no longer kept.
    """

    def __init__(self, market: int = 0, most: int | None = None, catalog: Catalog | None = None) -> None:
        self.market, self.dropped, self.catalog = market, 0, catalog
        self._periods: deque[dict[str, np.ndarray]] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._periods)

    def clear(self) -> None:
        """Forget everything, as at the start of an episode."""
        self.dropped = 0
        self._periods.clear()

    def add(self, outcome: Outcome) -> None:
        """Keep one period."""
        names = PER_PRODUCT + PER_SELLER + PER_MARKET
        self.dropped += len(self._periods) == self._periods.maxlen
        kept = {name: np.array(getattr(outcome, name)[self.market]) for name in names}
        if outcome.promoted is not None:
            kept |= {name: flags[self.market].copy() for name, flags in zip(KINDS, outcome.promoted, strict=True)}
        self._periods.append(kept)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the history: time first.

        Returns:
            ``prices, profit`` (money), ``listed``, ``units``, ``share, mean_field``: shape ``(T, J)``; where sellers
            can promote also ``display, feature`` ``(T, J)``; ``seller_profit`` ``(T, N)``; ``consumer_surplus``
            (money), ``outside`` ``(T,)``. Empty if nothing was kept.
        """
        if not self._periods:
            return {}
        return {name: np.stack([period[name] for period in self._periods]) for name in self._periods[0]}

    def columns(self) -> dict[str, Any]:
        """Return the history as columns of a table with one row per period and product, periods from 0.

        Returns:
            ``period``, ``seller`` and ``product`` (with a catalog by name, else ``product`` is a number and there is no
            ``seller``), ``prices``, ``listed``, ``units``, ``share``, ``profit``, ``mean_field`` and, where sellers can
            promote, ``display`` and ``feature``, each of length T J. Empty if nothing was kept.
        """
        recorded = {name: array for name, array in self.arrays().items() if name in (*PER_PRODUCT, *KINDS)}
        if not recorded:
            return {}
        periods, products = recorded["prices"].shape
        columns: dict[str, Any] = {"period": np.repeat(np.arange(self.dropped, self.dropped + periods), products)}
        if self.catalog is None:
            columns["product"] = np.tile(np.arange(products), periods)
        else:
            columns["seller"] = [self.catalog.sellers[n] for n in self.catalog.seller_of] * periods
            columns["product"] = list(self.catalog.product_ids) * periods
        return columns | {name: array.reshape(-1) for name, array in recorded.items()}

    def to_polars(self) -> pl.DataFrame:
        """Return `columns` as a polars table, which also writes Parquet and CSV.

        Raises:
            MissingResource: polars is not installed.
        """
        return _library("polars", "pip install 'malles-env[data]'").DataFrame(self.columns())

    def to_pandas(self) -> pd.DataFrame:
        """Return `columns` as a pandas table.

        Raises:
            MissingResource: pandas is not installed.
        """
        return _library("pandas", "pip install pandas").DataFrame(self.columns())


def _library(name: str, how: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise MissingResource(f"{name} is not installed: {how}") from None
