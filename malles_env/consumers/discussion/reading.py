"""Reading answers: distributions over the codes of a shelf, numbers of units, and votes in JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from malles_env.consumers.discussion.cast import Cast, Phase
from malles_env.consumers.discussion.prompts import LEAD, Table, quantity_labels, quantity_prompt
from malles_env.consumers.discussion.shelf import LETTERS, NOTHING
from malles_env.consumers.language.base import LanguageModel, Prompt, Reply
from malles_env.errors import LanguageModelError
from malles_env.type_aliases import FloatArray

Asker = Callable[[str], Prompt]
"""Given the beginning of the answer, the whole prompt."""


def read_choices(model: LanguageModel, asks: Sequence[tuple[Asker, Table]]) -> list[FloatArray]:
    """Return the probability of each of a table's answers, in the order of `Table.answers`, by label probabilities.

    Beyond 25 products a code has two characters: row letter, then place. Both are read, and multiplied.

    Raises:
        LanguageModelError: The model cannot be asked, or its answers are no distribution.
    """
    found: list[FloatArray] = [np.empty(0)] * len(asks)
    for group in _alike([(len(table.shelf), table.may_leave) for _, table in asks]):
        part = [asks[at] for at in group]
        long = len(part[0][1].shelf) > len(LETTERS)
        for at, row in zip(group, _by_rows(model, part) if long else _by_letters(model, part), strict=True):
            found[at] = row
    return found


def _alike(keys: Sequence[object]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for at, key in enumerate(keys):
        groups.setdefault(key, []).append(at)
    return list(groups.values())


def _by_letters(model: LanguageModel, asks: Sequence[tuple[Asker, Table]]) -> FloatArray:
    return _probabilities(model, [ask(LEAD) for ask, _ in asks], asks[0][1].answers())


def _by_rows(model: LanguageModel, asks: Sequence[tuple[Asker, Table]]) -> FloatArray:
    codes, answers = asks[0][1].shelf.codes, asks[0][1].answers()
    rows = list(dict.fromkeys(code[0] for code in codes))
    outer = _probabilities(
        model, [ask(LEAD) for ask, _ in asks], [*rows, *([NOTHING] if answers[-1] == NOTHING else [])]
    )
    whole = np.zeros((len(asks), len(answers)))
    whole[:, len(codes) :] = outer[:, len(rows) :]
    places = {row: tuple(code[1] for code in codes if code[0] == row) for row in rows}
    for labels in dict.fromkeys(places.values()):
        members = [row for row in rows if places[row] == labels]
        prompts = [ask(f"{LEAD} {row}") for ask, _ in asks for row in members]
        inner = _probabilities(model, prompts, labels).reshape(len(asks), len(members), len(labels))
        for at, row in enumerate(members):
            first = codes.index(row + labels[0])
            whole[:, first : first + len(labels)] = outer[:, [rows.index(row)]] * inner[:, at]
    return whole


def read_quantities(model: LanguageModel, cast: Cast, asks: Sequence[tuple[Table, str]]) -> FloatArray:
    """Return the probability of each of the cast's quantities for pairs of table and product code, shape ``(N, Q)``.

    Raises:
        LanguageModelError: As for `read_choices`.
    """
    prompts = [quantity_prompt(cast, table, code) for table, code in asks]
    return _probabilities(model, prompts, quantity_labels(cast))


def _probabilities(model: LanguageModel, prompts: Sequence[Prompt], labels: Sequence[str]) -> FloatArray:
    if len(labels) == 1:
        return np.ones((len(prompts), 1))
    found = np.exp(np.asarray(model.label_log_probabilities(prompts, labels), dtype=np.float64))
    total = found.sum(axis=1, keepdims=True) if found.ndim == 2 else np.zeros(1)
    if found.shape != (len(prompts), len(labels)) or not np.all(np.abs(total - 1.0) < 1e-3):
        raise LanguageModelError(
            f"{model.name}: its probabilities of {', '.join(labels)} are no distribution; use a model or server that "
            "gives log probabilities of chosen tokens"
        )
    return np.asarray(found / total)


def spoken(text: str, words: int, finished: bool = True) -> str:
    """Return what was said as one line of at most `words` words, 12 characters each on average.

    The last word of an answer that was not `finished` may be half a word, so it goes.
    """
    plain = "".join(
        " " if char.isspace() else char for char in text if unicodedata.category(char) != "Cc" or char.isspace()
    )
    parts = plain.split()
    if not finished and 1 < len(parts) <= words:
        del parts[-1]
    short = " ".join(parts[:words])
    limit = 12 * words
    cut = len(parts) > words or len(short) > limit or not finished
    return short[:limit].rstrip() + (" ..." if cut and short else "")


def read_vote(model: LanguageModel, cast: Cast, phase: Phase, table: Table, reply: Reply) -> tuple[str, int, str]:
    """Return product code, quantity and reason of a vote.

    Raises:
        LanguageModelError: The answer breaks the schema.
    """
    try:
        found = json.loads(reply.text)
        code, quantity, reason = found["product"], found["quantity"], found["reason"]
        valid = code in table.answers() and quantity in cast.quantities and isinstance(reason, str)
        valid = valid and not isinstance(quantity, bool)
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        cut = " (cut at the token limit)" if not reply.finished else ""
        raise LanguageModelError(
            f"{model.name}: a vote breaks its JSON schema{cut}: {reply.text[:120]!r}; use a model or server that "
            "obeys schemas"
        )
    return code, int(quantity), spoken(reason, phase.words)
