"""Puts questions to consumers one by one, keeps each answer before the next, and counts what it cost."""

from __future__ import annotations

import time
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import numpy as np

from malles_env.consumers.distil.answers import AnswerLog, arrays
from malles_env.consumers.language.base import Usage
from malles_env.errors import invalid
from malles_env.evaluation.audit.subject import Answers, Asker, Subject, Watch, take
from malles_env.files import json_hash
from malles_env.market import Consumers, Offer


class Interview:
    """Asks a subject's consumers, or takes their answers from the log.

    Args:
        subject: Who is asked.
        log: Where answers are kept.
        in_flight: Questions put at once; that many are lost when the process is killed.
        watch: Called with the progress.
    """

    def __init__(self, subject: Subject, log: AnswerLog, in_flight: int = 1, watch: Watch | None = None) -> None:
        if in_flight < 1:
            raise invalid("in_flight", in_flight, "1 or more")
        self.subject, self.log, self.in_flight, self.watch = subject, log, in_flight, watch
        self.asked = 0
        self.seconds = 0.0
        self.usage = Usage()

    def ask(self, part: str, offer: Offer, first: int = 0, total: int | None = None) -> Answers:
        """Return the answers to all offers, kept ones from the log.

        Args:
            part: Name of the part of the experiment.
            offer: N questions.
            first: Number of the first of them within the part.
            total: Questions of the part in all, for the progress shown; default those up to here.

        Raises:
            InvalidInput: An answer is no distribution, or has the wrong shape; it is not kept.
        """
        count = len(offer.prices)
        asker = Asker(self.in_flight)
        for start in range(0, count, self.in_flight):
            stop = min(start + self.in_flight, count)
            missing = [n for n in range(start, stop) if self.log.answer(part, first + n, _one(offer, n)) is None]
            if missing:
                self._put(asker, part, offer, missing, first)
            if self.watch is not None:
                self.watch(part, first + stop, total or first + count)
        entries = [self.log.kept[(part, first + n)] for n in range(count)]
        for entry in entries:
            self._count(entry)
        pairs = [arrays(entry) for entry in entries]
        return Answers(np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs]))

    def _put(self, asker: Asker, part: str, offer: Offer, missing: list[int], first: int) -> None:
        before, start = usage_of(self.subject.consumers), time.perf_counter()
        answers = asker.ask(self.subject.consumers, take(offer, np.array(missing)))
        seconds = (time.perf_counter() - start) / len(missing)
        cost = {name: value / len(missing) for name, value in _difference(before, self.subject.consumers).items()}
        for row, number in enumerate(missing):
            probability = np.maximum(answers.probability[row], 0.0)
            if abs(probability.sum(axis=1) - 1.0).max() > 1e-6:
                raise invalid("response.probability", probability.sum(axis=1).tolist(), "distributions with sum 1")
            quantity = np.maximum(answers.quantity[row], 1.0)
            entry = {"probability": probability.tolist(), "quantity": quantity.tolist(), "seconds": seconds}
            self.log.keep(part, first + number, {**entry, "usage": cost}, _one(offer, number))

    def _count(self, entry: dict[str, Any]) -> None:
        self.asked += 1
        self.seconds += entry["seconds"]
        for name, value in entry["usage"].items():
            setattr(self.usage, name, getattr(self.usage, name) + value)


def usage_of(consumers: Consumers) -> Usage | None:
    """Return what a language model behind consumers was asked so far; None where there is none.

    It is looked for as ``consumers.usage`` and ``consumers.model.usage``.
    """
    for holder in (consumers, getattr(consumers, "model", None)):
        found = getattr(holder, "usage", None)
        if isinstance(found, Usage):
            return Usage(**asdict(found))
    return None


def identity_of(consumers: Consumers) -> str:
    """Return what distinguishes consumers from others that would answer differently.

    Their own ``identity`` where they have one. Otherwise a hash of their class and, for dataclasses, of all their
    fields: numbers, words, arrays and, of a language model, its identity. Fields of other kinds count by their class.
    """
    found = getattr(consumers, "identity", None)
    if isinstance(found, str) and found:
        return found
    digest = json_hash(_told(consumers), sort_keys=True)
    return f"{type(consumers).__qualname__} {digest[:16]}"


def market_of(subject: Subject) -> str:
    """Return a hash of all that questions depend on: prices, bounds, shares, loyalty, names."""
    names = ("weights", "regular_price", "price_low", "price_high", "prices", "mean_field", "loyalty")
    told = [getattr(subject, name).tolist() for name in names]
    return json_hash([told, subject.products, subject.segments])[:16]


def _one(offer: Offer, number: int) -> Offer:
    return take(offer, np.array([number]))


def _difference(before: Usage | None, consumers: Consumers) -> dict[str, float]:
    after = usage_of(consumers)
    if before is None or after is None:
        return {}
    return {part.name: getattr(after, part.name) - getattr(before, part.name) for part in fields(Usage)}


def _told(value: Any) -> Any:
    """Return JSON values that differ where values differ."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_told(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _told(part) for key, part in value.items()}
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    identity = getattr(value, "identity", None)
    if isinstance(identity, str) and identity:
        return [name, identity]
    if is_dataclass(value) and not isinstance(value, (type, Usage)):
        return [name, {part.name: _told(getattr(value, part.name)) for part in fields(value)}]
    return [name]
