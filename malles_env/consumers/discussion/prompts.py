"""The words of a discussion: what a role, and at the end the moderator, hears and is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from malles_env.consumers.discussion.cast import Cast, Hears, Moderator, Phase, Role
from malles_env.consumers.discussion.shelf import LETTERS, NOTHING, PLACES, Shelf
from malles_env.consumers.discussion.transcript import Discussion, Turn
from malles_env.consumers.language.base import Prompt

LEAD = "Answer:"
PERSONA_LIMIT = 600
"""Characters of a buyer's description."""
WORD_LIMIT = 8
"""Characters of the reason of a vote, per word it may have."""


@dataclass
class Table:
    """A discussion about to be held: a shelf, a buyer, and what is said.

    Attributes:
        shelf: What is on offer.
        buyer: The buyer in words, without products.
        past: Line on the shelf and words, e.g. ``(2, "three times")``; what the buyer bought before.
        last: Line of the last purchase; None: not known or not on the shelf.
        may_leave: Whether buying nothing is among the answers.
    """

    shelf: Shelf
    buyer: str
    past: tuple[tuple[int, str], ...] = ()
    last: int | None = None
    may_leave: bool = True
    discussion: Discussion = field(init=False)

    def __post_init__(self) -> None:
        """Open the discussion."""
        titles = {code: sheet.title for code, sheet in zip(self.shelf.codes, self.shelf.sheets, strict=True)}
        self.discussion = Discussion(self.buyer, titles)

    def answers(self) -> list[str]:
        """Return the codes that may be answered, the outside option last."""
        return [*self.shelf.codes, *([NOTHING] if self.may_leave else [])]

    def buyer_words(self, cast: Cast) -> str:
        """Return the buyer and its past in words."""
        codes = self.shelf.codes
        words = f"{cast.buyer}: {' '.join(self.buyer.split())[:PERSONA_LIMIT]}"
        if self.past:
            words += " Before: " + "; ".join(f"{codes[at]} ({words_of})" for at, words_of in self.past) + "."
        return words + (f" Last: {codes[self.last]}." if self.last is not None else "")


def role_prompt(cast: Cast, role: Role, phase: Phase, table: Table, lead: str = "") -> Prompt:
    """Return what a role is asked in a phase: rules and its slice first, which many buyers share."""
    seen = table.shelf.text(role.facts, role.sections, cast.slice_characters, _outside(cast, table))
    own = ["", table.buyer_words(cast), *_heard(cast, phase.hears, table.discussion), phase.question()]
    return Prompt(f"{cast.rules.strip()} {role.brief.strip()}", seen, "\n".join(own), lead)


def ballot_schema(cast: Cast, phase: Phase, table: Table) -> dict[str, Any]:
    """Return the JSON schema of a vote."""
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": WORD_LIMIT * phase.words},
            "product": {"type": "string", "enum": table.answers()},
            "quantity": {"type": "integer", "enum": list(cast.quantities)},
        },
        "required": ["reason", "product", "quantity"],
        "additionalProperties": False,
    }


def verdict_prompt(cast: Cast, table: Table, lead: str = LEAD) -> Prompt:
    """Return what the moderator is asked: which product."""
    moderator = cast.moderator
    seen = table.shelf.text(moderator.facts, moderator.sections, cast.shelf_characters, _outside(cast, table))
    return Prompt(_moderator_rules(cast, moderator), seen, _verdict_own(cast, table), lead)


def quantity_prompt(cast: Cast, table: Table, code: str) -> Prompt:
    """Return what the moderator is asked next: how many units of a product.

    Everything but the answer so far is shared, so that a model reads it once for all products.
    """
    asked = verdict_prompt(cast, table)
    return Prompt(asked.system, asked.shared + asked.own, "", f"{LEAD} {code}\n{cast.unit.capitalize()}:")


def quantity_labels(cast: Cast) -> tuple[str, ...]:
    """Return the labels of the quantities: the digits themselves where they are digits, else letters."""
    if all(number <= 9 for number in cast.quantities):
        return tuple(str(number) for number in cast.quantities)
    return tuple(LETTERS[: len(cast.quantities)])


def _verdict_own(cast: Cast, table: Table) -> str:
    heard = _heard(cast, cast.moderator.hears, table.discussion)
    ask = f"Answer with the code of one product{f', or {NOTHING}' if table.may_leave else ''}."
    labels = quantity_labels(cast)
    if labels[0] in PLACES:
        ask += f" Then the number of {cast.unit}."
    else:
        legend = ", ".join(f"{label} = {number}" for label, number in zip(labels, cast.quantities, strict=True))
        ask += f" Then the number of {cast.unit}: {legend}."
    return "\n".join(["", table.buyer_words(cast), *heard, ask])


def _moderator_rules(cast: Cast, moderator: Moderator) -> str:
    return f"{cast.rules.strip()} {moderator.brief.strip()}"


def _outside(cast: Cast, table: Table) -> str | None:
    return cast.outside if table.may_leave else None


def _heard(cast: Cast, hears: Hears, discussion: Discussion) -> list[str]:
    turns: Sequence[Turn] = () if hears == "nobody" else discussion.turns
    if hears == "last" and turns:
        turns = [turn for turn in turns if turn.round == turns[-1].round]
    lines = [f"- {turn.words()}" for turn in turns]
    if lines:
        lines = ["What was said:", *lines]
    if turns and discussion.agreed:
        lines.append(f"Proposed by most: {', '.join(discussion.agreed)}.")
    return lines
