"""Keeps the history of an episode of one market as arrays, for pictures and analysis."""

from __future__ import annotations

from collections import deque

import numpy as np

from malles_env.market import Outcome
from malles_env.market.seller_rules.promotion import KINDS

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

    Attributes:
        dropped: Periods of this episode that are no longer kept.
    """

    def __init__(self, market: int = 0, most: int | None = None) -> None:
        self.market, self.dropped = market, 0
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
