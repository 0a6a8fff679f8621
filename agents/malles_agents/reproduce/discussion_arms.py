"""Ways to decide before the same shelf: alone, after one-pass summaries, or after a discussion of 1 to R rounds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from malles_agents.reproduce.discussion_shelves import DETAILS, Purchase, table_of
from malles_env.consumers.discussion.cast import Cast
from malles_env.consumers.discussion.prompts import Table, verdict_prompt
from malles_env.consumers.discussion.reading import read_choices, read_quantities, spoken
from malles_env.consumers.discussion.talk import Talk
from malles_env.consumers.discussion.transcript import Turn
from malles_env.consumers.language.base import LanguageModel, Prompt, Sampling
from malles_env.consumers.language.local import LocalModel
from malles_env.market.arrays import FloatArray

WHOLE = 1_000_000
"""Characters that cut nothing: a single agent reads all there is."""
SUMMARY_WORDS = 60


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


def decide_all(
    model: LanguageModel, cast: Cast, purchase: Purchase, size: int, length: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield one record per way of deciding: ``single``, ``rounds 1`` to ``rounds R``, ``summary``.

    Discussions of different lengths are one discussion, decided after each round. The summaries are as many one-pass
    ones, over shelf orders of their own with averaged verdicts, as come nearest to the longest discussion's tokens.
    A local model begins each way of deciding without what it read for the last one.
    """
    named = {"occasion": purchase.occasion, "household": purchase.household, "size": size, "length": length}
    meter = Meter(model)
    _forget(model)
    meter.start()
    table, bought = table_of(purchase, size, length)
    yield {**named, "arm": "single", **_judged(model, _alone(cast), table, bought, purchase), **meter.read()}
    spent: dict[str, float] = {"tokens": 0}
    _forget(model)
    talk, turns = Talk(model, cast, rounds), dict.fromkeys(("tokens", "seconds", "cpu_seconds"), 0.0)
    for number in range(1, rounds + 1):
        meter.start()
        talk.play_round(number, cast.phase(number), [table])
        turns = {name: turns[name] + value for name, value in meter.read().items()}
        meter.start()
        found = _judged(model, cast, table, bought, purchase)
        spent = {name: turns[name] + value for name, value in meter.read().items()}
        yield {**named, "arm": f"rounds {number}", **found, **spent}
    if rounds:
        _forget(model)
        yield {**named, "arm": "summary", **_summaries(model, cast, purchase, size, length, spent["tokens"])}


def _forget(model: LanguageModel) -> None:
    if isinstance(model, LocalModel):
        model.forget()


def _alone(cast: Cast) -> Cast:
    """Return the cast whose moderator reads everything itself, uncut."""
    moderator = cast.moderator.model_copy(update={"sections": (DETAILS,)})
    return cast.model_copy(update={"moderator": moderator, "shelf_characters": WHOLE})


def _judged(model: LanguageModel, cast: Cast, table: Table, bought: int, purchase: Purchase) -> dict[str, Any]:
    (probability,) = read_choices(model, [(partial(verdict_prompt, cast, table), table)])
    units = read_quantities(model, cast, [(table, table.shelf.codes[bought])])[0]
    return _scores(probability, units, bought, cast, purchase)


def _scores(probability: FloatArray, units: FloatArray, bought: int, cast: Cast, purchase: Purchase) -> dict[str, Any]:
    median = cast.quantities[int(np.searchsorted(np.cumsum(units), 0.5))]
    quantity = int(purchase.visit["quantity"])
    return {
        "hit": float(probability.argmax() == bought),
        "probability": float(probability[bought]),
        "nats": float(-np.log(max(probability[bought], 1e-12))),
        "miss": float(abs(median - quantity)),
        "units": quantity,
    }


def _summaries(
    model: LanguageModel, cast: Cast, purchase: Purchase, size: int, length: int, tokens: float
) -> dict[str, Any]:
    meter = Meter(model)
    found: list[tuple[FloatArray, FloatArray]] = []
    meter.start()
    while True:
        table, bought = table_of(purchase, size, length, turn=len(found))
        _summarise(model, cast, table)
        (probability,) = read_choices(model, [(partial(verdict_prompt, cast, table), table)])
        units = read_quantities(model, cast, [(table, table.shelf.codes[bought])])[0]
        back = np.random.default_rng([purchase.occasion, size, len(found)]).permutation(len(table.shelf))
        found.append((probability[np.argsort(back)], units))
        used = meter.read()
        if used["tokens"] * (1 + 0.5 / len(found)) >= tokens:  # one more would end further from it
            break
    mean, units = (np.mean([pair[at] for pair in found], axis=0) for at in (0, 1))
    return {**_scores(mean, units, 0, cast, purchase), **used, "copies": len(found)}


def _summarise(model: LanguageModel, cast: Cast, table: Table) -> None:
    """Put one summary of the full sheets where the discussion's notes would stand."""
    asked = verdict_prompt(_alone(cast), table, lead="")
    ask = f"Sum up in at most {SUMMARY_WORDS} words which products suit this buyer best, by their codes."
    own = "\n".join(["", table.buyer_words(cast), ask])
    (reply,) = model.complete([Prompt(asked.system, asked.shared, own)], Sampling(2 * SUMMARY_WORDS + 8))
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
