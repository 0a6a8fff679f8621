"""DiscussionConsumers: segments whose role agents talk an offer over before a moderator decides for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.consumers.discussion.cast import Cast
from malles_env.consumers.discussion.prompts import Table
from malles_env.consumers.discussion.sheets import ProductSheet
from malles_env.consumers.discussion.shelf import NOTHING, Shelf, canonical_order
from malles_env.consumers.discussion.talk import Talk, Watcher, _unwatched
from malles_env.consumers.discussion.transcript import Discussion, TranscriptFile, Verdict
from malles_env.consumers.language.base import LanguageModel, forget
from malles_env.errors import invalid
from malles_env.files import json_hash
from malles_env.market.offer import Offer, Response
from malles_env.type_aliases import FloatArray

LOYAL = 0.05
"""Share of a segment whose last purchase was a product, from which on the moderator hears of it."""


@dataclass(frozen=True)
class DiscussionConsumers:
    """Consumers who talk before they buy: one discussion per market, segment and shelf order.

    Each role reads its slice of the product sheets, of bounded size. Round 1 is blind, round 2 brings proposals, from
    round 3 on votes are cast in JSON; then a moderator decides over the full shelf. Its decision is a distribution,
    taken from label probabilities; nothing is drawn. Choice and quantity answers are for the segment as a whole: what
    its members bought last is stated in the prompt, and whoever buys nothing keeps the last purchase, so loyalty is
    l'_j = P(j) + P(0) l_j.

    The mean field is stated in the prompt as shares of recent purchases. The surplus is NaN: a language model's utils
    have no price (distil the consumers, and their fitted tastes have one).

    Attributes:
        model: The language model that speaks all roles.
        cast: Roles, phases and limits.
        sheets: J product sheets, in the order of the catalog; cleaned before a model sees them.
        personas: S buyers in words.
        rounds: Rounds R of each discussion; 0 is a single agent.
        orders: Cyclic orders of the shelf in which every discussion is held anew; distributions are averaged.
        temperature: Of what is said; 0 takes the likeliest words.
        seed: Of shelf orders and of what is said.
        about: Written into every line of the transcript.
        transcript: File for all discussions; None keeps none.
        watch: Called with every turn.

    Raises:
        InvalidInput: Sheets or personas are missing, a number is out of range, or the transcript cannot be written.
        CorruptFile: The transcript's file holds something else.
    """

    model: LanguageModel
    cast: Cast
    sheets: Sequence[ProductSheet]
    personas: Sequence[str]
    rounds: int = 3
    orders: int = 1
    temperature: float = 0.0
    seed: int = 0
    transcript: Path | None = None
    watch: Watcher = field(default=_unwatched, compare=False, repr=False)
    about: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check numbers and names."""
        for name, values in (("sheets", self.sheets), ("personas", self.personas)):
            if not len(values):
                raise invalid(name, [], "at least one")
        ids = [sheet.product_id for sheet in self.sheets]
        if len(set(ids)) < len(ids):
            raise invalid("sheets.product_id", ids, "names that differ")
        if not 1 <= self.orders <= len(ids):
            raise invalid("orders", self.orders, f"1 to {len(ids)}, the number of products")
        self._talk()
        if self.transcript is not None:
            TranscriptFile(self.transcript)  # a file that cannot be continued is refused before anybody talks

    @property
    def num_segments(self) -> int:
        """S."""
        return len(self.personas)

    @property
    def num_products(self) -> int:
        """J."""
        return len(self.sheets)

    def respond(self, offer: Offer) -> Response:
        """Answer an offer by discussions, all tables together, round by round.

        Raises:
            LanguageModelError: The model cannot be asked or its answers cannot be used; nothing is kept of the offer.
        """
        markets, products = offer.prices.shape
        shape = (markets, self.num_segments, products)
        probability, quantity = np.zeros((*shape[:2], products + 1)), np.ones(shape)
        tables = [
            self._table(offer, b, s, k) for k in range(self.orders) for b in range(markets) for s in range(shape[1])
        ]
        held = [entry for entry in tables if entry is not None]
        forget(self.model)  # equal offers then get equal answers, to the last digit
        verdicts = iter(self._talk().conclude([table for table, _ in held]))
        self._keep([table.discussion for table, _ in held])
        for at, entry in enumerate(tables):
            b, s = divmod(at % (markets * shape[1]), shape[1])
            if entry is None:  # nothing is on the shelf
                probability[b, s, 0] += 1.0 / self.orders
            else:
                self._add(probability[b, s], quantity[b, s], entry, next(verdicts))
        return _response(probability, quantity, offer)

    def _add(self, probability: FloatArray, quantity: FloatArray, entry: tuple[Table, Any], verdict: Verdict) -> None:
        table, lines = entry
        probability[0] += verdict.probability[NOTHING] / self.orders
        for code, j in zip(table.shelf.codes, lines, strict=True):
            probability[1 + j] += verdict.probability[code] / self.orders
            quantity[j] += (verdict.quantity[code] - 1.0) / self.orders

    def tables(self, offer: Offer, market: int = 0, turn: int = 0) -> list[Table]:
        """Return the tables of a market's segments in one of the shelf orders; those without products left out."""
        found = (self._table(offer, market, s, turn) for s in range(self.num_segments))
        return [entry[0] for entry in found if entry is not None]

    def _table(self, offer: Offer, b: int, s: int, turn: int) -> tuple[Table, Any] | None:
        order = canonical_order([sheet.product_id for sheet in self.sheets], turn, self.orders, self.seed)
        lines = order[offer.available[b, order]]
        if not len(lines):
            return None
        perceived = offer.mean_field[b]
        shelf = Shelf(
            sheets=tuple(self._cleaned[j] for j in lines),
            price=offer.prices[b, lines],
            regular_price=offer.regular_price[lines],
            popularity=perceived[lines] / perceived.sum() if perceived.sum() > 0 else perceived[lines],
        )
        loyal = offer.loyalty[b, s, 1 + lines]
        past = [
            (at, f"the last purchase in {100 * loyal[at]:.0f}% of cases") for at in np.argsort(-loyal, kind="stable")
        ]
        past = [(int(at), words) for at, words in past if loyal[at] >= LOYAL]
        return Table(shelf, self.personas[s], tuple(past)), lines

    @cached_property
    def _cleaned(self) -> tuple[ProductSheet, ...]:
        return tuple(sheet.cleaned_sheet() for sheet in self.sheets)

    def _talk(self) -> Talk:
        return Talk(self.model, self.cast, self.rounds, self.temperature, self.seed, self.watch)

    def _keep(self, discussions: list[Discussion]) -> None:
        if self.transcript is not None:
            about = {"model": self.model.name, "cast": self.cast.name, "rounds": self.rounds, "seed": self.seed}
            TranscriptFile(self.transcript, {**about, **self.about}).add(discussions)

    @cached_property
    def identity(self) -> str:
        """What distinguishes these consumers from others: model, cast, sheets, buyers, numbers."""
        shown = [asdict(sheet) for sheet in self._cleaned], list(self.personas), self.cast.model_dump(mode="json")
        numbers = [self.rounds, self.orders, self.temperature, self.seed]
        digest = json_hash([self.model.identity, *shown, numbers], sort_keys=True)
        return f"discussion {digest[:16]}"


def _response(probability: FloatArray, quantity: FloatArray, offer: Offer) -> Response:
    outside = probability[:, :, :1]
    loyalty = outside * offer.loyalty
    loyalty[:, :, 1:] += probability[:, :, 1:]
    return Response(probability, quantity, loyalty, np.full(outside.shape[:2], np.nan))
