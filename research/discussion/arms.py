"""Ways to decide before the same shelf: by habit, alone, after one-pass summaries, or after 1 to R rounds of talk."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from malles_env.consumers.discussion.cast import Cast
from malles_env.consumers.discussion.prompts import Table, verdict_prompt
from malles_env.consumers.discussion.reading import read_choices, read_quantities, spoken
from malles_env.consumers.discussion.talk import Talk
from malles_env.consumers.discussion.transcript import Turn
from malles_env.consumers.language.base import LanguageModel, Prompt, Sampling, forget
from malles_env.type_aliases import FloatArray
from research.discussion.shelves import DETAILS, Purchase, habit, shelf_order, table_of

WHOLE = 1_000_000
"""Characters that cut nothing: a single agent reads all there is."""
SUMMARY_WORDS = 60
COSTS = ("tokens", "seconds", "cpu_seconds")
HABIT, SINGLE, SUMMARY = "habit", "single", "summary"


@dataclass
class Meter:
    """Counts what a way of deciding costs; tokens are those read and written, not those read before."""

    model: LanguageModel
    started: tuple[int, float, float] = (0, 0.0, 0.0)

    def start(self) -> None:
        """Begin to count."""
        self.started = (self._tokens(), time.perf_counter(), time.process_time())

    def read(self) -> dict[str, float]:
        """Return tokens, seconds and CPU-seconds since the start."""
        tokens, wall, cpu = self.started
        return {
            "tokens": self._tokens() - tokens,
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
        }

    def _tokens(self) -> int:
        used = self.model.usage
        return used.prompt_tokens - used.shared_tokens + used.completion_tokens


def ways(rounds: int, summary: bool) -> tuple[str, ...]:
    """Return the names of the ways of deciding, in the order in which they are taken."""
    talked = tuple(f"rounds {number}" for number in range(1, rounds + 1))
    return (HABIT, SINGLE, *talked, *((SUMMARY,) if summary and rounds else ()))


def decide_all(
    model: LanguageModel,
    cast: Cast,
    purchases: Sequence[Purchase],
    size: int,
    length: int,
    rounds: int,
    wanted: Collection[str],
) -> Iterator[dict[str, Any]]:
    """Yield one record per purchase and wanted way of deciding.

    ``habit`` reads nothing: it expects what the household took before. ``single`` is one agent that reads all.
    ``rounds 1`` to ``rounds R`` are one discussion, decided after each round. ``summary`` stands for as many one-pass
    summaries, over shelf orders of their own with averaged verdicts, as come nearest to the tokens of the longest
    discussion.
    A local model begins each way of deciding without what it read for the last one. Purchases are decided side by
    side; each record states the mean cost over them.
    """
    decisions = Decisions.of(purchases, size, length)
    meter = Meter(model)

    def records(arm: str, scores: list[dict[str, Any]], cost: dict[str, float]) -> Iterator[dict[str, Any]]:
        mean = {name: value / len(purchases) for name, value in cost.items()}
        for purchase, own in zip(purchases, scores, strict=True):
            named = {"occasion": purchase.occasion, "household": purchase.household, "size": size, "length": length}
            yield {**named, "arm": arm, **own, **mean}

    if HABIT in wanted:
        yield from records(HABIT, decisions.scores(cast, *decisions.by_habit(cast)), dict.fromkeys(COSTS, 0.0))
    if SINGLE in wanted:
        forget(model)
        meter.start()
        yield from records(SINGLE, decisions.scores(cast, *decisions.judged(model, _alone(cast))), meter.read())
    if set(wanted) <= {HABIT, SINGLE}:
        return
    forget(model)
    talk, turns = Talk(model, cast, rounds), dict.fromkeys(COSTS, 0.0)
    spent = turns
    for number in range(1, rounds + 1):
        meter.start()
        talk.play_round(number, cast.phase(number), decisions.tables)
        turns = {name: turns[name] + value for name, value in meter.read().items()}
        meter.start()
        found = decisions.scores(cast, *decisions.judged(model, cast))
        spent = {name: turns[name] + value for name, value in meter.read().items()}
        if f"rounds {number}" in wanted:
            yield from records(f"rounds {number}", found, spent)
    if SUMMARY in wanted:
        forget(model)
        found, cost, copies = _summaries(model, cast, purchases, size, length, spent["tokens"])
        yield from ({**record, "copies": copies} for record in records(SUMMARY, found, cost))


@dataclass(frozen=True)
class Decisions:
    """Purchases as tables, in one order of each shelf.

    Attributes:
        purchases: The purchases.
        tables: A table for each.
        bought: The line of each that was bought.
    """

    purchases: Sequence[Purchase]
    tables: tuple[Table, ...]
    bought: tuple[int, ...]

    @classmethod
    def of(cls, purchases: Sequence[Purchase], size: int, length: int, turn: int = 0) -> Decisions:
        """Return tables with shelves of `size` products and sheets of `length`, in their order of this turn."""
        tables, bought = zip(*(table_of(purchase, size, length, turn) for purchase in purchases), strict=True)
        return cls(purchases, tables, bought)

    def judged(self, model: LanguageModel, cast: Cast) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return the moderator's probabilities over each shelf, and over units of what was bought."""
        chosen = read_choices(model, [(partial(verdict_prompt, cast, table), table) for table in self.tables])
        asks = [(table, table.shelf.codes[line]) for table, line in zip(self.tables, self.bought, strict=True)]
        return chosen, list(read_quantities(model, cast, asks))

    def by_habit(self, cast: Cast) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return what past purchases alone let expect of each shelf, and one package of it."""
        single = (np.array(cast.quantities) == 1).astype(float)
        size = len(self.tables[0].shelf)
        return [habit(purchase, size) for purchase in self.purchases], [single] * len(self.purchases)

    def scores(self, cast: Cast, chosen: Sequence[FloatArray], units: Sequence[FloatArray]) -> list[dict[str, Any]]:
        """Return how near each verdict came to the purchase."""
        return [
            _scores(probability, many, line, cast.quantities, purchase)
            for probability, many, line, purchase in zip(chosen, units, self.bought, self.purchases, strict=True)
        ]


def _alone(cast: Cast) -> Cast:
    """Return the cast whose moderator reads everything itself, uncut."""
    moderator = cast.moderator.model_copy(update={"sections": (DETAILS,)})
    return cast.model_copy(update={"moderator": moderator, "shelf_characters": WHOLE})


def _scores(
    probability: FloatArray, units: FloatArray, bought: int, quantities: Sequence[int], purchase: Purchase
) -> dict[str, Any]:
    median = quantities[int(np.searchsorted(np.cumsum(units), 0.5))]
    quantity = int(purchase.visit["quantity"])
    return {
        "hit": float(probability.argmax() == bought),
        "probability": float(probability[bought]),
        "nats": float(-np.log(max(probability[bought], 1e-12))),
        "miss": float(abs(median - quantity)),
        "units": quantity,
    }


def _summaries(
    model: LanguageModel, cast: Cast, purchases: Sequence[Purchase], size: int, length: int, tokens: float
) -> tuple[list[dict[str, Any]], dict[str, float], int]:
    """Return scores, cost and number of summaries for each purchase."""
    meter = Meter(model)
    found: list[tuple[list[FloatArray], list[FloatArray]]] = []
    meter.start()
    while True:
        decisions = Decisions.of(purchases, size, length, turn=len(found))
        _summarise(model, cast, decisions.tables)
        chosen, units = decisions.judged(model, cast)
        orders = [shelf_order(purchase, size, len(found)) for purchase in purchases]
        found.append(([each[np.argsort(order)] for each, order in zip(chosen, orders, strict=True)], units))
        used = meter.read()
        if used["tokens"] * (1 + 0.5 / len(found)) >= tokens:  # one more would end further from it
            break
    mean, units = (
        [np.mean(parts, axis=0) for parts in zip(*copies, strict=True)] for copies in zip(*found, strict=True)
    )
    return Decisions(purchases, decisions.tables, (0,) * len(purchases)).scores(cast, mean, units), used, len(found)


def _summarise(model: LanguageModel, cast: Cast, tables: Sequence[Table]) -> None:
    """Put one summary of the full sheets where the discussion's notes would stand."""
    prompts = []
    for table in tables:
        asked = verdict_prompt(_alone(cast), table, lead="")
        ask = f"Sum up in at most {SUMMARY_WORDS} words which products suit this buyer best, by their codes."
        prompts.append(Prompt(asked.system, asked.shared, "\n".join(["", table.buyer_words(cast), ask])))
    for table, reply in zip(tables, model.complete(prompts, Sampling(2 * SUMMARY_WORDS + 8)), strict=True):
        said = spoken(reply.text, SUMMARY_WORDS)
        table.discussion.turns.append(Turn(1, "summary", "summary", "note", said))


def study_cast(cast: Cast, characters: int, words: int) -> Cast:
    """Return a cast whose roles read at most so many characters and say at most so many words a round."""
    phases = tuple(phase.model_copy(update={"words": words}) for phase in cast.phases)
    roles = tuple(
        role.model_copy(update={"sections": (*role.sections, DETAILS)}) if at == 1 else role
        for at, role in enumerate(cast.roles)
    )
    limits = {"slice_characters": characters, "shelf_characters": characters}
    return cast.model_copy(update={"phases": phases, "roles": roles, **limits})


def cells(sizes: tuple[int, ...], lengths: tuple[int, ...], rounds: int, far: int) -> list[tuple[int, int, int]]:
    """Return (shelf size, sheet length, rounds) of each cell: talk at the shortest sheets, more rounds at size `far`.

    With longer sheets only the single agent and a discussion of three rounds are compared.
    """
    found = [(size, lengths[0], rounds if size == far else min(rounds, 3)) for size in sizes]
    return found + [(size, length, min(rounds, 3)) for length in lengths[1:] for size in sizes]
