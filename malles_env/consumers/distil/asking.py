"""Puts questions to consumers one by one, here or on other machines, keeps each answer, and counts what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from malles_env.consumers.distil.answers import AnswerLog, arrays
from malles_env.consumers.language.base import Usage
from malles_env.errors import MissingResource, invalid
from malles_env.evaluation.audit.subject import Answers, Asker, Subject, Watch, take
from malles_env.files import json_hash
from malles_env.jobs import Check, Executor
from malles_env.market import Consumers, Offer

Put = tuple[Answers, float, dict[str, float]]
"""Answers, seconds per question, and use of a language model per question."""


@dataclass(frozen=True)
class Elsewhere:
    """Where questions are put if not here.

    Attributes:
        executor: Who does it.
        make: Makes the consumers there, once per process; can be pickled and hashed.
        checks: What other machines must have.
    """

    executor: Executor
    make: Callable[[], Consumers]
    checks: Sequence[Check] = ()


class Interview:
    """Asks a subject's consumers, or takes their answers from the log.

    Args:
        subject: Who is asked.
        log: Where answers are kept.
        in_flight: Questions asked at once; that many are lost when the process is killed.
        watch: Called with the progress.
        elsewhere: Where they are put; None puts them here.
    """

    def __init__(
        self,
        subject: Subject,
        log: AnswerLog,
        in_flight: int = 1,
        watch: Watch | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        if in_flight < 1:
            raise invalid("in_flight", in_flight, "1 or more")
        self.elsewhere = elsewhere
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
        count, done = len(offer.prices), first
        missing = [n for n in range(count) if self.log.answer(part, first + n, _one(offer, n)) is None]
        together = [[n for n in missing if n // self.in_flight == at] for at in range(-(-count // self.in_flight))]
        done += count - len(missing)
        if self.watch is not None and done > first:
            self.watch(part, done, total or first + count)
        with self._put(offer, [tuple(numbers) for numbers in together if numbers]) as put:
            for numbers, answered in put:
                self._keep(part, offer, numbers, first, answered)
                done += len(numbers)
                if self.watch is not None:
                    self.watch(part, done, total or first + count)
        entries = [self.log.kept[(part, first + n)] for n in range(count)]
        for entry in entries:
            self._count(entry)
        pairs = [arrays(entry) for entry in entries]
        return Answers(np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs]))

    @contextmanager
    def _put(self, offer: Offer, together: list[tuple[int, ...]]) -> Iterator[Iterator[tuple[tuple[int, ...], Put]]]:
        """Give the numbers of questions put together, with their answers, as they come."""
        if self.elsewhere is None:
            consumers = self.subject.consumers
            yield ((numbers, put(consumers, take(offer, np.array(numbers)))) for numbers in together)
            return
        jobs = [(numbers, take(offer, np.array(numbers))) for numbers in together]
        common = (self.elsewhere.make, identity_of(self.subject.consumers))
        with self.elsewhere.executor.spread(_put_there, jobs, common=common, checks=self.elsewhere.checks) as found:
            yield ((numbers, answered) for (numbers, _), answered in found)

    def _keep(self, part: str, offer: Offer, numbers: tuple[int, ...], first: int, answered: Put) -> None:
        answers, seconds, cost = answered
        for row, number in enumerate(numbers):
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


def put(consumers: Consumers, offer: Offer) -> Put:
    """Put questions to consumers together."""
    count, before, start = len(offer.prices), usage_of(consumers), time.perf_counter()
    answers = Asker(count).ask(consumers, offer)
    seconds = (time.perf_counter() - start) / count
    return answers, seconds, {name: value / count for name, value in _difference(before, consumers).items()}


def _put_there(make: Callable[[], Consumers], identity: str, numbers: tuple[int, ...], offer: Offer) -> Put:
    """Put questions to consumers made in this process; they must be those of the caller."""
    consumers = _made(make)
    if identity_of(consumers) != identity:
        raise MissingResource(
            "has other consumers than are asked here: other weights, another server or other words; make them the same"
        )
    return put(consumers, offer)


@cache
def _made(make: Callable[[], Consumers]) -> Consumers:
    return make()


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
    digest = json_hash(_as_json(consumers), sort_keys=True)
    return f"{type(consumers).__qualname__} {digest[:16]}"


def market_of(subject: Subject) -> str:
    """Return a hash of all that questions depend on: prices, bounds, shares, loyalty, names."""
    names = ("weights", "regular_price", "price_low", "price_high", "prices", "mean_field", "loyalty")
    values = [getattr(subject, name).tolist() for name in names]
    return json_hash([values, subject.products, subject.segments])[:16]


def _one(offer: Offer, number: int) -> Offer:
    return take(offer, np.array([number]))


def _difference(before: Usage | None, consumers: Consumers) -> dict[str, float]:
    after = usage_of(consumers)
    if before is None or after is None:
        return {}
    return {part.name: getattr(after, part.name) - getattr(before, part.name) for part in fields(Usage)}


def _as_json(value: Any) -> Any:
    """Return JSON values that differ where values differ."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_as_json(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _as_json(part) for key, part in value.items()}
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    identity = getattr(value, "identity", None)
    if isinstance(identity, str) and identity:
        return [name, identity]
    if is_dataclass(value) and not isinstance(value, (type, Usage)):
        return [name, {part.name: _as_json(getattr(value, part.name)) for part in fields(value)}]
    return [name]
