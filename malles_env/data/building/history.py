"""What a household had bought before a visit: counts per line, the last purchase, earlier shopping weeks."""

from __future__ import annotations

import numpy as np
import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.lookup import Events
from malles_env.type_aliases import IntArray


class Histories:
    """Own purchases by household, answering "strictly before this moment"."""

    def __init__(self, coded: Coded) -> None:
        """Index the purchases.

        Args:
            coded: The log; purchases of baskets with several lines and of rare lines count too.
        """
        bought = coded.purchases
        self._times = int(coded.trips["time"].max() or 0) + 1  # type: ignore[arg-type]
        self._lines, self._households = len(coded.lines), len(coded.households)
        household, time = bought["household"].to_numpy(), bought["time"].to_numpy()
        line, market = bought["line"].to_numpy(), bought["market"].to_numpy()
        self._by_line = Events(household * self._lines + line, time, self._times)
        # Within one basket the line bought most comes last, so that it is "the last purchase".
        order = np.lexsort((-line, bought["quantity"].to_numpy(), time, market * self._households + household))
        self._by_market = ((market * self._households + household) * self._times + time)[order]
        self._line_at = line[order]
        self.purchases = bought[order].select("line", "period", "quantity", "price", "regular")
        """All purchases by market, household and time: the sequences that `end` points into."""

    def bought(self, household: IntArray, line: IntArray, time: IntArray) -> IntArray:
        """Return own purchases of a line [n] before `time`, counted in baskets."""
        return self._by_line.before(household * self._lines + line, time)

    def total(self, household: IntArray, market: IntArray, time: IntArray) -> IntArray:
        """Return own purchases in a market [n] before `time`, counted in baskets and lines."""
        key = (market * self._households + household) * self._times
        return np.searchsorted(self._by_market, key + time) - np.searchsorted(self._by_market, key)

    def end(self, household: IntArray, market: IntArray, time: IntArray) -> IntArray:
        """Return the row of `purchases` [n] just behind a household's last purchase in a market before `time`."""
        return np.searchsorted(self._by_market, (market * self._households + household) * self._times + time)

    def last_line(self, household: IntArray, market: IntArray, time: IntArray) -> IntArray:
        """Return the line last bought in a market [n] before `time`; -1 where nothing was."""
        key = (market * self._households + household) * self._times
        place = np.searchsorted(self._by_market, key + time)
        some = place > np.searchsorted(self._by_market, key)
        return np.where(some, self._line_at[np.maximum(place - 1, 0)], -1)


def with_histories(
    visits: pl.DataFrame, shelf: pl.DataFrame, histories: Histories
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add own histories to visits and to their shelves.

    Args:
        visits: visit, household, market, time.
        shelf: visit, line.
        histories: The index.

    Returns:
        `visits` with history_total and history_end, and `shelf` with bought and last.
    """
    household, market, time = (visits[name].to_numpy() for name in ("household", "market", "time"))
    rows = shelf["visit"].to_numpy()
    line = shelf["line"].to_numpy()
    last = histories.last_line(household, market, time)
    total = histories.total(household, market, time).astype(np.int32)
    bought = histories.bought(household[rows], line, time[rows]).astype(np.int32)
    return (
        visits.with_columns(history_total=total, history_end=histories.end(household, market, time)),
        shelf.with_columns(bought=bought, last=line == last[rows]),
    )
