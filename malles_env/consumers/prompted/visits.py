"""Real visits to a shelf, put to a language model exactly as prompted consumers put theirs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from malles_env.consumers.prompted.calibration import UNITS
from malles_env.consumers.prompted.consumers import PromptedConsumers
from malles_env.consumers.prompted.questions import Questions
from malles_env.errors import invalid
from malles_env.market.offer import Offer
from malles_env.type_aliases import BoolArray, FloatArray, IntArray, OnProgress

"""Called with how many visits were asked about, and how many there are."""


@dataclass(frozen=True)
class Visits:
    """N choice occasions before a scenario's J products, each by a household that one of its S segments stands for.

    Attributes:
        prices: Money, shape ``(N, J)``; anything above 0 where not on the shelf.
        available: On the shelf, shape ``(N, J)``.
        mean_field: Shares of recent purchases that the household saw, shape ``(N, J)``.
        last: Product it bought last, from 1; 0 where it is none of them, shape ``(N,)``.
        segment: Shape ``(N,)``.
        chosen: 0 for nothing, else the product from 1, shape ``(N,)``.
        quantity: Units bought, 0 for none, shape ``(N,)``.
        household: Numbers that distinguish households, shape ``(N,)``.
        offset: Utils by which buying nothing is likelier among these visits than in life, shape ``(N,)``.
    """

    prices: FloatArray
    available: BoolArray
    mean_field: FloatArray
    last: IntArray
    segment: IntArray
    chosen: IntArray
    quantity: IntArray
    household: IntArray
    offset: FloatArray

    def __len__(self) -> int:
        """Return N."""
        return len(self.chosen)

    def take(self, rows: IntArray) -> Visits:
        """Return the visits at `rows`."""
        return Visits(*(getattr(self, part.name)[rows] for part in fields(self)))

    @property
    def perceived(self) -> FloatArray:
        """The mean field as `Calibration.choice` has it, shape ``(N, J)``."""
        return self.mean_field - 1.0 / self.mean_field.shape[1]


@dataclass(frozen=True)
class VisitAnswers:
    """Visits and what a model said to them, before any calibration.

    Attributes:
        visits: N visits.
        log_choice: Mean log label probabilities over the shelf orders, minus infinity off the shelf, ``(N, J + 1)``.
        log_units: Over 1 to 9 units of what was bought, shape ``(N, 9)``; NaN where nothing was, or not asked.
    """

    visits: Visits
    log_choice: FloatArray
    log_units: FloatArray

    def take(self, rows: IntArray) -> VisitAnswers:
        """Return those at `rows`."""
        return VisitAnswers(self.visits.take(rows), self.log_choice[rows], self.log_units[rows])

    @property
    def bought(self) -> IntArray:
        """Rows whose units were asked."""
        return np.flatnonzero(~np.isnan(self.log_units[:, 0]))


def ask_visits(
    consumers: PromptedConsumers, visits: Visits, regular_price: FloatArray, watch: OnProgress = lambda done, of: None
) -> VisitAnswers:
    """Put visits to the consumers' model, one after the other, so that an answer cache keeps each.

    A visit is an offer to one household: the segment's persona, its last purchase, that day's prices. The shelf orders
    and all words are those of the consumers; their calibration plays no part.

    Args:
        consumers: Whose model, words and settings.
        visits: Of these consumers' segments and products.
        regular_price: Money, shape ``(J,)``.
        watch: Called after each visit.

    Raises:
        InvalidInput: Visits that do not fit the consumers, or choose what was not there.
        LanguageModelError: The model failed; with a cache, asking again continues from there.
    """
    _check(consumers, visits)
    choice = np.full((len(visits), consumers.num_products + 1), -np.inf)
    units = np.full((len(visits), len(UNITS)), np.nan)
    for n in range(len(visits)):
        answers = _questions(consumers, visits, regular_price, n).ask(consumers.model)
        choice[n] = answers.log_choice[0]
        if answers.log_units is not None:
            units[n] = answers.log_units[0, 0, visits.chosen[n] - 1]
        watch(n + 1, len(visits))
    return VisitAnswers(visits, choice, units)


def _questions(consumers: PromptedConsumers, visits: Visits, regular_price: FloatArray, n: int) -> Questions:
    loyalty = np.zeros((1, 1, consumers.num_products + 1))
    loyalty[0, 0, visits.last[n]] = 1.0
    offer = Offer(visits.prices[n][None], visits.available[n][None], regular_price, visits.mean_field[n][None], loyalty)
    household = replace(consumers, personas=(consumers.personas[visits.segment[n]],), calibration=None)
    taken = () if visits.chosen[n] == 0 else (int(visits.chosen[n]) - 1,)
    return Questions(household.shop, offer, units_of=taken)


def _check(consumers: PromptedConsumers, visits: Visits) -> None:
    shape = (len(visits), consumers.num_products)
    if visits.prices.shape != shape:
        raise invalid("visits.prices", visits.prices.shape, f"shape {shape}, one price per product")
    if len(visits) and not 0 <= visits.segment.min() <= visits.segment.max() < consumers.num_segments:
        raise invalid("visits.segment", visits.segment.tolist(), f"0 to {consumers.num_segments - 1}")
    there = np.hstack([np.ones((len(visits), 1), dtype=bool), visits.available])
    if not there[np.arange(len(visits)), visits.chosen].all():
        raise invalid("visits.chosen", visits.chosen.tolist(), "options that were on the shelf")
