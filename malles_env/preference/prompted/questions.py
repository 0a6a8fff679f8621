"""Questions: choice occasions grouped by the shelf they meet, so that households share its tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from malles_env.preference.prompted.data import PromptData, prompt_data
from malles_env.preference.prompted.prompt import Household, ShelfLine
from malles_env.type_aliases import IntArray

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions

TOKENS_PER_PASS = 6144
"""Padded tokens of one pass: attention weights of longer passes would not fit a small machine's cache."""
HOUSEHOLDS = 12
"""Households that share a shelf's tokens, at most."""


@dataclass(frozen=True)
class Question:
    """One shelf and the occasions that meet it.

    Attributes:
        rows: Occasions [n].
        places: Place of each line in each occasion's own shelf [n, J]; lines in a canonical order, so that the
            order in which the data list a shelf does not matter.
        order: The lines as the prompt lists them, a permutation of 0..J-1 [J].
    """

    rows: IntArray
    places: IntArray
    order: IntArray

    def ordered(self, order: IntArray) -> Question:
        """Return the same question with its lines listed in another order."""
        return Question(self.rows, self.places, order)

    def lines(self, data: PromptData) -> tuple[ShelfLine, ...]:
        """Return the lines in prompt order."""
        row, places = int(self.rows[0]), self.places[0][self.order]
        return tuple(
            ShelfLine(
                product=data.products[data.product[row, j]],
                price=float(data.price[row, j]),
                regular_price=float(data.regular_price[row, j]),
                promotion=bool(data.promotion[row, j]),
                share=float(data.share[row, j]),
            )
            for j in places
        )

    def households(self, data: PromptData) -> Iterator[Household]:
        """Yield the household of each occasion, its past by prompt line."""
        for row, places in zip(self.rows, self.places, strict=True):
            own = places[self.order]
            last = np.flatnonzero(data.last[row, own])
            yield Household(
                history_total=int(data.history_total[row]),
                weeks_seen=int(data.weeks_seen[row]),
                bought=tuple(int(count) for count in data.bought[row, own]),
                last=int(last[0]) if len(last) else -1,
                elsewhere=data.names_elsewhere(int(row)),
            )


def ask(data: PromptData, most: int) -> list[Question]:
    """Group occasions by shelf, in the order of their first occasion.

    Args:
        data: The occasions.
        most: Most occasions per question, 1 or more.
    """
    keys, order = _shelf_keys(data)
    sizes = data.mask.sum(1)
    groups: dict[bytes, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    questions = []
    for members in groups.values():
        for at in range(0, len(members), most):
            rows = np.array(members[at : at + most], dtype=np.int64)
            size = int(sizes[rows[0]])
            questions.append(Question(rows, order[rows, :size], np.arange(size)))
    return questions


def _shelf_keys(data: PromptData) -> tuple[list[bytes], IntArray]:
    """Return what makes two shelves the same prompt, and each occasion's places in canonical order [B, J]."""
    filled = np.where(data.mask, data.product, len(data.products)).astype(float)
    columns = [data.share, data.promotion, data.price, data.regular_price]
    numbers = [np.where(data.mask, np.nan_to_num(column.astype(float)), 0.0) for column in columns]
    order = np.lexsort([*numbers, filled], axis=-1).astype(np.int64)
    contents = np.stack([filled, *numbers], -1)
    contents = np.take_along_axis(contents, order[:, :, None], axis=1)
    whole = np.concatenate([data.market[:, None].astype(float), contents.reshape(len(data), -1)], axis=1)
    return [row.tobytes() for row in np.ascontiguousarray(whole)], order


def epoch_of(data: PromptData, *, most: int, size: int, seed: int, epoch: int) -> Iterator[list[Question]]:
    """Yield the batches of an epoch, each with fresh shelf orders; a function of seed and epoch alone.

    Args:
        data: The occasions.
        most: Most occasions per question.
        size: Occasions per batch, about.
        seed: Seed of the shuffles.
        epoch: Number of the epoch, from 0.
    """
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(data))
    questions = ask(data.take(shuffled), most)
    batch: list[Question] = []
    for at in rng.permutation(len(questions)):
        found = questions[at]
        rows = shuffled[found.rows].astype(np.int64)
        batch.append(Question(rows, found.places, rng.permutation(len(found.order))))
        if sum(len(question.rows) for question in batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def cyclic(questions: Iterable[Question], turn: int, turns: int, seed: int) -> list[Question]:
    """Return the questions in the `turn`-th of `turns` cyclic orders of a seeded base order."""
    turned = []
    for question in questions:
        size = len(question.order)
        base = np.random.default_rng([seed, size]).permutation(size)
        turned.append(question.ordered(np.roll(base, -((turn * size) // turns))))
    return turned


def passes(questions: Sequence[Question], data: PromptData) -> list[list[Question]]:
    """Cut questions into passes of about `TOKENS_PER_PASS` padded tokens, like lengths together."""
    own = 60 + 10 * data.most_elsewhere
    sizes = [len(question.order) * 30 + len(question.rows) * own for question in questions]
    whole: list[list[Question]] = []
    for at in np.argsort(sizes, kind="stable"):
        longest = sizes[at]  # ascending, so the newest is the longest
        if not whole or longest * (len(whole[-1]) + 1) > TOKENS_PER_PASS:
            whole.append([])
        whole[-1].append(questions[at])
    return whole


def draw_shelves(
    occasions: Occasions, split: str, *, limit: int, most: int, markets: tuple[str, ...], seed: int = 0
) -> Occasions:
    """Draw whole questions at random: occasions with up to `most` - 1 others that meet the same shelf.

    A prompted model reads far fewer tokens per occasion that way, and every occasion has the same chance.

    Args:
        occasions: All occasions.
        split: ``"train"``, ``"validation"`` or ``"test"`` (there: buyers known before).
        limit: Most occasions.
        most: Most occasions of one question.
        markets: Markets to draw from.
        seed: Seed of the draw.
    """
    chosen = occasions.select(split=split, markets=list(markets))
    if split == "test":
        chosen = _at(chosen, np.flatnonzero(chosen.occasions["buyer"].to_numpy()))
    data = prompt_data(chosen)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(data))
    questions = ask(data.take(shuffled), most)
    rows: list[int] = []
    for at in rng.permutation(len(questions)):
        rows.extend(int(row) for row in shuffled[questions[at].rows])
        if len(rows) >= limit:
            break
    return _at(chosen, np.sort(np.array(rows[:limit])))


def _at(occasions: Occasions, rows: IntArray) -> Occasions:
    kept, shelf = occasions.occasions[rows], occasions.alternatives
    shelf = shelf.filter(shelf["occasion_id"].is_in(kept["occasion_id"].implode()))
    return replace(occasions, occasions=kept, alternatives=shelf)
