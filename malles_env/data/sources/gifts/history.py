"""What the log says before a visit: own purchases strictly before its day, everybody's shares before its week."""

from __future__ import annotations

import numpy as np
import polars as pl

from malles_env.data.lookup import Events
from malles_env.data.occasion_files import ELSEWHERE_COLUMNS, PURCHASE_COLUMNS
from malles_env.data.sources.gifts.catalogue import Catalogue, GiftSettings
from malles_env.type_aliases import FloatArray, IntArray


class Past:
    """Own purchases, answering "strictly before this day"."""

    def __init__(self, log: Catalogue, settings: GiftSettings) -> None:
        """Index the purchases."""
        self._log, bought = log, log.bought
        self._household, self._day, self._product, self._market, self._period = (
            bought[name].to_numpy() for name in ("household", "day", "product", "market", "period")
        )
        self._days = int(self._day.max()) + 2
        late = self._day[self._period > settings.splits.validation_end]
        self.known_until = int(late.min()) if len(late) else self._days - 1
        self._all = Events(self._household, self._day, self._days)
        self._by_product = Events(self._household * len(log.market) + self._product, self._day, self._days)
        owner = self._market * len(log.customers) + self._household
        # Of one day's products the one bought most comes last, so that it is "the last purchase".
        self._order = np.lexsort((self._product, bought["cases"].to_numpy(), self._day, owner))
        self._sorted = (owner * self._days + self._day)[self._order]
        weeks = np.unique(self._household * (log.weeks + 2) + self._period)
        self._weeks = Events(weeks // (log.weeks + 2), weeks % (log.weeks + 2), log.weeks + 2)

    def before(self, household: IntArray, day: IntArray) -> IntArray:
        """Return own purchases before a day [n]."""
        return self._all.before(household, day)

    def of_product(self, household: IntArray, product: IntArray, day: IntArray) -> IntArray:
        """Return own purchases of a product before a day [n]."""
        return self._by_product.before(household * len(self._log.market) + product, day)

    def weeks(self, household: IntArray, period: IntArray) -> IntArray:
        """Return own earlier shopping weeks [n]."""
        return self._weeks.before(household, period)

    def history(self, household: IntArray, market: IntArray, day: IntArray) -> tuple[IntArray, IntArray]:
        """Return own purchases in a category before a day, and the row of `purchases` behind the last of them [n]."""
        key = (market * len(self._log.customers) + household) * self._days
        end = np.searchsorted(self._sorted, key + day)
        return end - np.searchsorted(self._sorted, key), end

    def last(self, household: IntArray, market: IntArray, day: IntArray) -> IntArray:
        """Return the product last bought in a category before a day [n], -1 where none was."""
        total, end = self.history(household, market, day)
        return np.where(total > 0, self._product[self._order][np.maximum(end - 1, 0)], -1)

    def purchases(self, log: Catalogue) -> pl.DataFrame:
        """Return all purchases by category, customer and day: what histories point into; prices per piece."""
        rows = log.bought[self._order]
        at = (rows["product"].to_numpy(), rows["period"].to_numpy())
        frame = rows.select(
            product_id=log.products["product_id"].gather(rows["product"]),
            period="period",
            quantity="cases",
            unit_price=pl.min_horizontal(pl.Series(log.prices[at]), "unit_price"),
            regular_price=pl.Series(log.products["regular_price"].to_numpy()[at[0]]),
        )
        return frame.select(PURCHASE_COLUMNS.keys()).cast(PURCHASE_COLUMNS)  # type: ignore[arg-type]

    def elsewhere(self, visits: pl.DataFrame, length: int) -> pl.DataFrame:
        """Return each visit's last different products of other categories, as rows of `purchases`, newest first.

        Args:
            visits: household, day, market.
            length: Most of them.

        Returns:
            occasion_id (the row of `visits`) and rows (a list).
        """
        place = np.empty(len(self._order), dtype=np.int64)
        place[self._order] = np.arange(len(self._order))
        columns = [visits[name].to_numpy() for name in ("household", "day", "market")]
        asked, visit = np.unique(np.stack(columns, 1), axis=0, return_inverse=True)
        first = np.searchsorted(self._household, np.arange(len(self._log.customers) + 1))
        parts: list[IntArray] = []
        newest, last = np.zeros(0, dtype=np.int64), (-1, -1)
        for household, day, market in asked.tolist():
            if (household, day) != last:
                start, stop = first[household], first[household + 1]
                newest = np.arange(start, start + np.searchsorted(self._day[start:stop], day))[::-1]
                newest = newest[np.sort(np.unique(self._product[newest], return_index=True)[1])]
                last = (household, day)
            parts.append(place[newest[self._market[newest] != market][:length]])
        lists = pl.Series(parts, dtype=ELSEWHERE_COLUMNS["rows"]).gather(pl.Series(visit.reshape(-1)))
        return pl.DataFrame({"occasion_id": np.arange(len(visits), dtype=np.int64), "rows": lists})


class Shares:
    """Shares of products within their category by week, from everybody's purchases before that week.

    Attributes:
        trailing: Over the trailing window [P, weeks + 1].
        whole: Over all earlier weeks [P, weeks + 1].
        reference: Over the weeks up to the end of validation [P].
        sold: Purchases in the trailing window [P, weeks + 1].
        cases: Mean cases per earlier purchase, 0 where there was none [P, weeks + 1].
    """

    def __init__(self, log: Catalogue, settings: GiftSettings) -> None:
        """Count."""
        shape = (len(log.market), log.weeks + 2)
        at = (log.bought["product"].to_numpy(), log.bought["period"].to_numpy() + 1)
        counts, cases = np.zeros(shape), np.zeros(shape)
        np.add.at(counts, at, 1.0)
        np.add.at(cases, at, log.bought["cases"].to_numpy())
        earlier, units = counts.cumsum(1), cases.cumsum(1)
        back = np.maximum(np.arange(shape[1]) - settings.share_periods, 0)
        recent = earlier - earlier[:, back]
        self.sold = recent.astype(np.int64)
        self.cases = units / np.maximum(earlier, 1)
        self.whole, self.trailing = (_shares(table, log.market, len(log.markets)) for table in (earlier, recent))
        known = earlier[:, min(settings.splits.validation_end + 1, log.weeks + 1)][:, None]
        self.reference = _shares(known, log.market, len(log.markets))[:, 0]


def _shares(table: FloatArray, market: IntArray, markets: int) -> FloatArray:
    sums = np.zeros((markets, table.shape[1]))
    np.add.at(sums, market, table)
    whole: FloatArray = table / np.maximum(sums[market], 1.0)
    return whole
