"""Questions of one period: every market, segment, loyalty state and shelf order, each distinct question asked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from malles_env.consumers.language.base import LanguageModel, Prompt
from malles_env.consumers.prompted.settings import PromptSettings
from malles_env.consumers.prompted.wording import DIGITS, Persona, Wording
from malles_env.errors import LanguageModelError, invalid
from malles_env.market.offer import Offer
from malles_env.preference.prompted.labels import OPTION_LETTERS as LETTERS
from malles_env.preference.prompted.labels import OUTSIDE_LETTER as OUTSIDE
from malles_env.preference.prompted.prompt import ShelfLine
from malles_env.type_aliases import FloatArray, IntArray

FLOOR = np.log(1e-12)
"""Least log probability of a label: a model that rules an option out in one order of the shelf may not do so in all."""


@dataclass(frozen=True)
class Shop:
    """What does not change from period to period.

    Attributes:
        products: J texts, untrusted.
        names: J distinct names that no model sees; they settle the order of products with equal texts.
        personas: S households.
        market: What the shelf holds.
        currency: Of all prices.
        wording: The parts of a prompt.
        settings: How to ask.
    """

    products: tuple[str, ...]
    names: tuple[str, ...]
    personas: tuple[Persona, ...]
    market: str
    currency: str
    wording: Wording
    settings: PromptSettings

    def shelf_order(self) -> list[int]:
        """Return the products in an order that depends on their words and the seed, not on the catalog."""
        by_words = sorted(range(len(self.products)), key=lambda j: (self.products[j], self.names[j]))
        rng = np.random.default_rng([self.settings.seed, len(by_words)])
        return [by_words[place] for place in rng.permutation(len(by_words))]

    def orders(self, present: Sequence[int]) -> Iterator[list[int]]:
        """Yield the orders in which the products `present`, given in shelf order, are listed."""
        size, settings = len(present), self.settings
        if settings.order == "shuffled":
            for turn in range(settings.orders):
                rng = np.random.default_rng([settings.seed, size, turn])
                yield [present[place] for place in rng.permutation(size)]
            return
        turns = min(settings.orders, size)
        for turn in range(turns):
            cut = (turn * size) // turns
            yield [*present[cut:], *present[:cut]]


@dataclass
class PooledAnswers:
    """What the model said to the questions of one offer, before any calibration.

    Attributes:
        market, segment: Of each of the M rows.
        log_choice: Mean log label probabilities over the orders, minus infinity off the shelf, ``(M, J + 1)``.
        row_of: Row that answers for the segment's share with each last purchase, ``(B, S, J + 1)``; -1: a mixture
            of the segment's rows stands in, as the share is below the threshold.
        log_units: Over 1 to 9 units, ``(B, S, J, 9)``; None where not asked. NaN off the shelf.
        questions: Distinct questions that were put to the model.
    """

    market: IntArray
    segment: IntArray
    log_choice: FloatArray
    row_of: IntArray
    log_units: FloatArray | None
    questions: int


def last_purchases(shares: FloatArray, present: Sequence[int], threshold: float) -> list[int]:
    """Return the last purchases a segment is asked about, -1 for the question without one, which comes first.

    Args:
        shares: Shares of the segment by last purchase, shape ``(J + 1,)``.
        present: Products on the shelf.
        threshold: Share from which a last purchase gets a question of its own.
    """
    own = [j for j in present if shares[j + 1] > 0 and shares[j + 1] >= threshold]
    rest = 1.0 - float(sum(shares[j + 1] for j in own))
    silent = not own or (rest >= threshold and rest > 1e-9)
    return [*([-1] if silent else []), *own]


@dataclass
class QuestionBatch:
    """Distinct questions with the same labels, in the order they came up."""

    labels: tuple[str, ...]
    prompts: dict[Prompt, int] = field(default_factory=dict)

    def add(self, prompt: Prompt) -> int:
        """Return the question's number."""
        return self.prompts.setdefault(prompt, len(self.prompts))

    def ask(self, model: LanguageModel) -> FloatArray:
        """Return log probabilities of the labels, ``(questions, labels)``.

        Raises:
            LanguageModelError: The model failed, or gave something that is no distribution over the labels.
        """
        found = np.asarray(model.label_log_probabilities(list(self.prompts), self.labels), dtype=np.float64)
        shape = (len(self.prompts), len(self.labels))
        if found.shape != shape:
            raise LanguageModelError(f"{model.name}: answered with shape {found.shape}; needed: {shape}, one per label")
        total = np.exp(found).sum(axis=1)
        if np.isnan(found).any() or np.abs(total - 1.0).max() > 1e-3:
            worst = float(total[np.argmax(np.abs(np.nan_to_num(total, nan=np.inf) - 1.0))])
            raise LanguageModelError(f"{model.name}: its label probabilities sum to {worst:g}; needed: 1")
        return np.maximum(found, FLOOR)


class Questions:
    """Collects the questions of an offer, asks them, and sorts the answers back to products."""

    def __init__(self, shop: Shop, offer: Offer, units_of: Sequence[int] | None = None) -> None:
        """Write all questions down; nothing is asked yet.

        Args:
            shop: What does not change.
            offer: What does.
            units_of: Products whose units are asked, where the settings ask for units at all; None: all.

        Raises:
            InvalidInput: A shelf with more products than there are letters.
        """
        self.shop, self.offer, self.units_of = shop, offer, units_of
        self.shape = (len(offer.prices), len(shop.personas), len(shop.products))
        self.batches: dict[tuple[str, ...], QuestionBatch] = {}
        self.rows: list[tuple[int, int]] = []
        self.asked: list[tuple[int, QuestionBatch, int, list[int]]] = []
        self.units: list[tuple[int, int, int, int]] = []
        self.row_of = np.full((*self.shape[:2], self.shape[2] + 1), -1, dtype=np.int64)
        order = shop.shelf_order()
        for b in range(self.shape[0]):
            present = [j for j in order if offer.available[b, j]]
            if len(present) > len(LETTERS):
                raise invalid("shelf", f"{len(present)} products", f"at most {len(LETTERS)}, one letter each")
            if present:
                self._write(b, present)

    def _write(self, b: int, present: list[int]) -> None:
        states = [self._states(b, s, present) for s in range(self.shape[1])]
        first = len(self.rows)
        for turn, places in enumerate(self.shop.orders(present)):
            shared, row = self._shelf(b, places), first
            for s, persona in enumerate(self.shop.personas):
                household = self.shop.wording.persona_words(persona, places)
                for state in states[s]:
                    if not turn:
                        self.rows.append((b, s))
                        self._answers_for(b, s, state, row)
                    self._choice(shared, household + self._last(b, s, state, places), places, row)
                    row += 1
                if self.shop.settings.quantity == "asked" and turn < self.shop.settings.unit_orders:
                    self._units(b, s, shared, household, places)

    def _states(self, b: int, s: int, present: list[int]) -> list[int]:
        """Return the last purchases to ask for, -1 for the question without one."""
        settings = self.shop.settings
        if settings.loyalty != "states":
            return [-1]
        return last_purchases(self.offer.loyalty[b, s], present, settings.threshold)

    def _answers_for(self, b: int, s: int, state: int, row: int) -> None:
        if state < 0:
            self.row_of[b, s] = row  # the question without a last purchase comes first, the others take theirs back
        else:
            self.row_of[b, s, state + 1] = row

    def _shelf(self, b: int, places: list[int]) -> str:
        offer, shop = self.offer, self.shop
        in_words = shop.settings.mean_field == "words"
        lines = [
            ShelfLine(
                shop.products[j],
                float(offer.prices[b, j]),
                float(offer.regular_price[j]),
                share=float(offer.mean_field[b, j]) if in_words else None,
            )
            for j in places
        ]
        return shop.wording.shelf_words(lines, shop.market, shop.currency, shop.settings.limit)

    def _last(self, b: int, s: int, state: int, places: list[int]) -> str:
        wording = self.shop.wording
        if self.shop.settings.loyalty == "words":
            shares = self.offer.loyalty[b, s]
            return wording.last_words([(LETTERS[at], float(shares[j + 1])) for at, j in enumerate(places)])
        return wording.last.format(label=LETTERS[places.index(state)]) if state >= 0 else ""

    def _choice(self, shared: str, household: str, places: list[int], row: int) -> None:
        wording = self.shop.wording
        prompt = Prompt(wording.system, f"{shared}\n", f"{household}\n{wording.question}", wording.answer)
        batch = self._batch((OUTSIDE, *LETTERS[: len(places)]))
        self.asked.append((row, batch, batch.add(prompt), places))

    def _units(self, b: int, s: int, shared: str, household: str, places: list[int]) -> None:
        wording = self.shop.wording
        for at, j in enumerate(places):
            if self.units_of is None or j in self.units_of:
                own = f"{household}\n{wording.units.format(label=LETTERS[at])}"
                prompt = Prompt(wording.system, f"{shared}\n", own, wording.units_answer)
                self.units.append((b, s, j, self._batch(DIGITS).add(prompt)))

    def _batch(self, labels: tuple[str, ...]) -> QuestionBatch:
        return self.batches.setdefault(labels, QuestionBatch(labels))

    def ask(self, model: LanguageModel) -> PooledAnswers:
        """Put the questions to a model.

        Raises:
            LanguageModelError: The model failed; nothing is kept of the other answers.
        """
        said = {labels: batch.ask(model) for labels, batch in self.batches.items()}
        markets, segments = np.array(self.rows, dtype=np.int64).reshape(-1, 2).T
        choice = np.full((len(self.rows), self.shape[2] + 1), -np.inf)
        for row, batch, number, places in self.asked:
            columns = [0, *(j + 1 for j in places)]
            answer = said[batch.labels][number]
            choice[row, columns] = np.where(np.isinf(choice[row, columns]), 0.0, choice[row, columns]) + answer
        turns = np.bincount([row for row, *_ in self.asked], minlength=len(self.rows))
        choice = choice / np.maximum(turns, 1)[:, None]
        questions = sum(len(batch.prompts) for batch in self.batches.values())
        return PooledAnswers(markets, segments, choice, self.row_of, self._unit_answers(said), questions)

    def _unit_answers(self, said: dict[tuple[str, ...], FloatArray]) -> FloatArray | None:
        if not self.units:
            return None
        total, count = np.zeros((*self.shape, len(DIGITS))), np.zeros(self.shape)
        for b, s, j, number in self.units:
            total[b, s, j] += said[DIGITS][number]
            count[b, s, j] += 1
        return np.where(count[..., None] > 0, total / np.maximum(count, 1)[..., None], np.nan)
