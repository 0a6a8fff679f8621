"""Holding discussions: rounds of notes, proposals and votes at many tables at once, then the moderator's verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from malles_env.consumers.discussion.cast import Cast, Phase, Role
from malles_env.consumers.discussion.prompts import WORD_LIMIT, Table, ballot_schema, role_prompt, verdict_prompt
from malles_env.consumers.discussion.reading import read_choices, read_quantities, read_vote, spoken
from malles_env.consumers.discussion.shelf import NOTHING
from malles_env.consumers.discussion.transcript import Discussion, Turn, Verdict
from malles_env.consumers.language.base import LanguageModel, Prompt, Reply, Sampling
from malles_env.errors import LanguageModelError, invalid
from malles_env.type_aliases import FloatArray

Watcher = Callable[[Discussion, Turn], object]


def _unwatched(discussion: Discussion, turn: Turn) -> None:
    return None


@dataclass(frozen=True)
class Talk:
    """How discussions are held.

    Attributes:
        model: Who speaks all roles.
        cast: Roles and phases.
        rounds: Rounds R; 0 lets the moderator decide at once, as a single agent.
        temperature: Of what is said; 0 takes the likeliest words. Verdicts are distributions and never drawn.
        seed: Of what is said.
        watch: Called with every turn once its round is over.
    """

    model: LanguageModel
    cast: Cast
    rounds: int = 3
    temperature: float = 0.0
    seed: int = 0
    watch: Watcher = field(default=_unwatched, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or not 0 <= self.rounds <= 20:
            raise invalid("rounds", self.rounds, "a whole number from 0 to 20")
        if not self.temperature >= 0:
            raise invalid("temperature", self.temperature, "0 or more")

    def hold(self, tables: Sequence[Table]) -> None:
        """Let all rounds pass at every table; what is said goes into the tables' discussions.

        Raises:
            LanguageModelError: The model cannot be asked, answers cannot be used, or nobody at a table says a word.
        """
        for number in range(1, self.rounds + 1):
            self.play_round(number, self.cast.phase(number), tables)

    def decide(self, tables: Sequence[Table]) -> list[FloatArray]:
        """Return the moderator's choice probabilities, over `Table.answers` of each table.

        Raises:
            LanguageModelError: The model cannot be asked, or does not give probabilities.
        """
        return read_choices(self.model, [(partial(verdict_prompt, self.cast, table), table) for table in tables])

    def quantities(self, asks: Sequence[tuple[Table, str]]) -> FloatArray:
        """Return the probability of each of the cast's quantities for pairs of table and code, shape ``(N, Q)``."""
        return read_quantities(self.model, self.cast, asks)

    def conclude(self, tables: Sequence[Table]) -> list[Verdict]:
        """Hold the discussions and return their verdicts, quantities of every product included."""
        self.hold(tables)
        chosen = self.decide(tables)
        asks = [(table, code) for table in tables for code in table.shelf.codes]
        means = iter(self.quantities(asks) @ np.array(self.cast.quantities, dtype=np.float64))
        for table, probability in zip(tables, chosen, strict=True):
            likely = dict(zip(table.answers(), probability.tolist(), strict=True))
            table.discussion.verdict = Verdict(likely, {code: float(next(means)) for code in table.shelf.codes})
        return [table.discussion.verdict for table in tables if table.discussion.verdict is not None]

    def play_round(self, number: int, phase: Phase, tables: Sequence[Table]) -> None:
        """Let one round pass at every table; what is said is heard by nobody before its end.

        Raises:
            LanguageModelError: As for `hold`.
        """
        speakers = [(table, role) for table in tables for role in self.cast.roles]
        take = self._votes if phase.form == "ballot" else self._statements
        turns = take(number, phase, speakers)
        for table in tables:
            own = [turn for (at, _), turn in zip(speakers, turns, strict=True) if at is table]
            if not any(turn.said or turn.named for turn in own):
                raise LanguageModelError(f"{self.model.name}: no role said a word in round {number}; use another model")
            table.discussion.turns += own
            if phase.form == "proposal":
                table.discussion.agreed = self._agreed(own)
            for turn in own:
                self.watch(table.discussion, turn)

    def _statements(self, number: int, phase: Phase, speakers: Sequence[tuple[Table, Role]]) -> list[Turn]:
        prompts = [role_prompt(self.cast, role, phase, table) for table, role in speakers]
        replies = self._complete(prompts, Sampling(2 * phase.words + 8, self.temperature, self.seed + number))
        named: list[tuple[str, ...]] = [()] * len(speakers)
        if phase.form == "proposal":
            asks = [(partial(role_prompt, self.cast, role, phase, table), table) for table, role in speakers]
            named = [
                _first(found, table, phase.nominate)
                for found, (_, table) in zip(read_choices(self.model, asks), asks, strict=True)
            ]
        return [
            Turn(number, phase.name, role.name, phase.form, said, names, None, *_tokens(reply))
            for (_, role), reply, names in zip(speakers, replies, named, strict=True)
            for said in [spoken(reply.text, phase.words, reply.finished)]
        ]

    def _votes(self, number: int, phase: Phase, speakers: Sequence[tuple[Table, Role]]) -> list[Turn]:
        turns: list[Turn | None] = [None] * len(speakers)
        keys = [tuple(table.answers()) for table, _ in speakers]
        for key in dict.fromkeys(keys):
            at = [n for n, own in enumerate(keys) if own == key]
            schema = ballot_schema(self.cast, phase, speakers[at[0]][0])
            prompts = [role_prompt(self.cast, speakers[n][1], phase, speakers[n][0]) for n in at]
            limit = 2 * WORD_LIMIT * phase.words + 60  # numbers and rare signs take a token or more for each character
            for n, reply in zip(
                at, self._complete(prompts, Sampling(limit, self.temperature, self.seed + number, schema)), strict=True
            ):
                table, role = speakers[n]
                code, quantity, reason = read_vote(self.model, self.cast, phase, table, reply)
                said = Turn(number, phase.name, role.name, "ballot", reason, (code,), quantity, *_tokens(reply))
                turns[n] = said
        return [turn for turn in turns if turn is not None]

    def _complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
        replies = self.model.complete(prompts, sampling)
        if len(replies) != len(prompts):
            raise LanguageModelError(f"{self.model.name}: {len(replies)} answers to {len(prompts)} questions")
        return replies

    def _agreed(self, turns: Sequence[Turn]) -> tuple[str, ...]:
        votes = Counter(code for turn in turns for code in turn.named)
        return tuple(code for code, count in votes.most_common() if count >= self.cast.majority)


def _first(probability: FloatArray, table: Table, count: int) -> tuple[str, ...]:
    """Return the likeliest codes; where buying nothing is likelier than a product, it is named and ends the list."""
    ranked = [table.answers()[at] for at in np.argsort(-probability, kind="stable")][:count]
    return tuple(ranked[: ranked.index(NOTHING) + 1] if NOTHING in ranked else ranked)


def _tokens(reply: Reply) -> tuple[int, int]:
    return reply.prompt_tokens, reply.completion_tokens
