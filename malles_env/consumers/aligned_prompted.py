"""`AlignedPromptedConsumers`: a language model post-trained on purchases, asked anew in every period in its own words.

The words are those of its training (`malles_env.preference.prompted.prompt`), and so is how answers are read: label
probabilities, averaged over cyclic orders of the shelf. Nothing of what an untrained model is asked is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from malles_env.consumers.language.base import Usage
from malles_env.consumers.prompted.calibration import Calibration
from malles_env.consumers.prompted.consumers import PersonaConsumers, settled
from malles_env.consumers.prompted.questions import FLOOR, PooledAnswers, last_purchases
from malles_env.consumers.prompted.wording import Persona
from malles_env.errors import invalid
from malles_env.files import json_hash
from malles_env.market.offer import Offer, Response
from malles_env.preference.prompted.labels import OPTION_LETTERS as LETTERS
from malles_env.type_aliases import FloatArray, IntArray

if TYPE_CHECKING:
    from malles_env.preference.prompted import PromptedModel
    from malles_env.preference.prompted.data import PromptData

LastPurchase = Literal["states", "none"]


@dataclass(frozen=True)
class AlignedPromptedConsumers(PersonaConsumers):
    """Consumers whose choice probabilities are a post-trained model's label probabilities.

    They keep no state, and the catalog's order of products plays no part. The mean field is stated as each product's
    share, displays and advertisements as a promotion, as in training. The surplus is the log-sum in money at the
    calibration's price sensitivity; NaN where none was measured.

    Attributes:
        model: Who is asked: what `malles align-prompted` saved.
        products: J product texts as training had them (`malles_env.preference.data.text.product_text`).
        personas: S households; their words are left out, since training had none.
        names: J distinct names of the products, shown to nobody; default their texts.
        market: The market as training called it, e.g. ``"COFFEE | GROUND COFFEE"``.
        histories: Names of what each segment bought in other categories, newest first, S tuples; default none.
        orders: Cyclic orders of the shelf, 1 or more.
        seed: Seed of the order they start from.
        loyalty: ``"states"`` asks once per last purchase that at least `threshold` of a segment share and mixes the
            answers by these shares; ``"none"`` states no last purchase.
        threshold: Share of a segment, 0 to 1.
        units: Whether units are asked, over 1 to 9; otherwise every buyer takes one.
        calibration: Fitted numbers; None changes nothing of what the model says.
        usage: What was asked so far.

    Raises:
        InvalidInput: Counts that do not fit, names that are not distinct, a setting out of range, a mean field as a
            number, or a model that was never saved (its weights' hash distinguishes its answers from another's).
    """

    model: PromptedModel
    products: tuple[str, ...]
    personas: tuple[Persona, ...]
    names: tuple[str, ...] = ()
    market: str = "products"
    histories: tuple[tuple[str, ...], ...] = ()
    orders: int = 2
    seed: int = 0
    loyalty: LastPurchase = "states"
    threshold: float = 0.1
    units: bool = True
    calibration: Calibration | None = None
    usage: Usage = field(default_factory=Usage, compare=False)

    def __post_init__(self) -> None:
        """Check that the parts fit."""
        self._settle_parts()
        histories = tuple(map(tuple, self.histories)) or ((),) * len(self.personas)
        object.__setattr__(self, "histories", histories)
        if len(self.histories) != len(self.personas):
            raise invalid("histories", len(self.histories), f"{len(self.personas)}, one per persona")
        for name in ("orders", "seed"):
            if getattr(self, name) < (least := 1 if name == "orders" else 0):
                raise invalid(name, getattr(self, name), f"{least} or more")
        if self.loyalty not in get_args(LastPurchase):
            raise invalid("loyalty", self.loyalty, ", ".join(get_args(LastPurchase)))
        if not 0.0 <= self.threshold <= 1.0:
            raise invalid("threshold", self.threshold, "0 to 1")
        if not self.model.weights_hash:
            raise invalid("model", "one that was never saved", "one that was saved or loaded, which has a hash")
        fitted = self.calibration
        if fitted is not None and np.any(fitted.rho != 0.0):
            raise invalid("calibration.rho", fitted.rho.tolist(), "0, as the mean field is stated in words")

    @property
    def identity(self) -> str:
        """What distinguishes them from consumers that answer differently."""
        fitted = self.fitted
        numbers = [np.asarray(getattr(fitted, name)).tolist() for name in vars(fitted)]
        people = [[p.history_total, p.weeks_seen, p.bought, names] for p, names in self._people]
        how = [self.orders, self.seed, self.loyalty, self.threshold, self.units, self.market]
        parts = [self.model.weights_hash, self.products, self.names, people, how, numbers]
        return f"aligned_prompted {json_hash(parts)[:16]}"

    @property
    def _people(self) -> list[tuple[Persona, tuple[str, ...]]]:
        return list(zip(self.personas, self.histories, strict=True))

    def calibrated(self, calibration: Calibration) -> AlignedPromptedConsumers:
        """Return the same consumers with other fitted numbers."""
        return replace(self, calibration=calibration)

    def respond(self, offer: Offer) -> Response:
        """Answer an offer.

        Raises:
            InvalidInput: A shelf with more products than there are letters.
        """
        return settled(self.ask(offer), offer, self.fitted)

    def ask(self, offer: Offer) -> PooledAnswers:
        """Return what the model says about an offer, before any calibration.

        Raises:
            InvalidInput: A shelf with more products than there are letters.
        """
        fullest = int(offer.available.sum(axis=1).max(initial=0))
        if fullest > len(LETTERS):
            raise invalid("shelf", f"{fullest} products", f"at most {len(LETTERS)}, one letter each")
        rows = self._rows(offer)
        place = np.array(rows, dtype=np.int64).reshape(-1, 3)
        market, segment, last = place.T
        row_of = np.full((len(offer.prices), self.num_segments, self.num_products + 1), -1, dtype=np.int64)
        # the question without a last purchase comes first and answers for all; the others take theirs back
        for row, (b, s, j) in enumerate(rows):
            row_of[b, s, slice(None) if j < 0 else j + 1] = row
        if not rows:
            empty = np.zeros((0, self.num_products + 1))
            return PooledAnswers(market, segment, empty, row_of, None, 0)
        by_words = np.array(self._by_words())
        prompts = self._occasions(offer, market, segment, last, by_words)
        probability, units = self.model.label_probabilities(
            prompts, orders=self.orders, seed=self.seed, units=self.units
        )
        self.usage.requests += len(rows)
        choice = np.full(probability.shape, -np.inf)
        choice[:, 0] = np.maximum(np.log(np.maximum(probability[:, 0], 1e-300)), FLOOR)
        inside = np.maximum(np.log(np.maximum(probability[:, 1:], 1e-300)), FLOOR)
        choice[:, 1 + by_words] = np.where(prompts.mask, inside, -np.inf)
        shares = np.where(last < 0, np.nan, offer.loyalty[market, segment, last + 1])
        log_units = None if units is None else self._units(offer, units, by_words, market, segment, shares)
        return PooledAnswers(market, segment, choice, row_of, log_units, len(rows))

    def _by_words(self) -> list[int]:
        """Return the products in an order that depends on their words alone."""
        return sorted(range(self.num_products), key=lambda j: (self.products[j], self.names[j]))

    def _rows(self, offer: Offer) -> list[tuple[int, int, int]]:
        """Return market, segment and last purchase (-1: none is stated) of each question."""
        rows = []
        for b, available in enumerate(offer.available):
            present = [int(j) for j in np.flatnonzero(available)]
            for s in range(self.num_segments if present else 0):
                shares = offer.loyalty[b, s]
                states = last_purchases(shares, present, self.threshold) if self.loyalty == "states" else [-1]
                rows += [(b, s, j) for j in states]
        return rows

    def _occasions(
        self, offer: Offer, market: IntArray, segment: IntArray, last: IntArray, by_words: IntArray
    ) -> PromptData:
        """Return the questions as occasions, products in the order `by_words`."""
        from malles_env.preference.prompted.data import PromptData

        count, size = len(market), self.num_products
        texts = sorted({*self.products, *(name for names in self.histories for name in names)})
        code = {text: at for at, text in enumerate(texts)}
        mask = offer.available[market][:, by_words]
        shown = np.zeros(offer.prices.shape, dtype=bool)
        for flags in (offer.display, offer.feature_ad):
            shown |= False if flags is None else flags
        bought = np.array([p.bought or (0,) * size for p in self.personas], dtype=np.int64)[:, by_words]
        width = max(1, *map(len, self.histories))
        elsewhere = np.full((self.num_segments, width), -1, dtype=np.int64)
        for s, names in enumerate(self.histories):
            elsewhere[s, : len(names)] = [code[name] for name in names]
        total = np.array([p.history_total or 0 for p in self.personas], dtype=np.int64)
        weeks = np.array([p.weeks_seen for p in self.personas], dtype=np.int64)
        return PromptData(
            products=tuple(texts),
            markets=(self.market,),
            product=np.where(mask, np.array([code[self.products[j]] for j in by_words]), 0),
            market=np.zeros(count, dtype=np.int64),
            household=segment,
            price=offer.prices[market][:, by_words].astype(np.float32),
            regular_price=np.broadcast_to(offer.regular_price[by_words], mask.shape).astype(np.float32),
            promotion=shown[market][:, by_words],
            bought=bought[segment],
            last=last[:, None] == by_words,
            share=offer.mean_field[market][:, by_words].astype(np.float32),
            mask=mask,
            chosen=np.zeros(count, dtype=np.int64),
            quantity=np.zeros(count, dtype=np.int64),
            log_sampling=np.zeros(count, dtype=np.float32),
            history_total=total[segment],
            weeks_seen=weeks[segment],
            elsewhere=elsewhere[segment] if any(self.histories) else None,
        )

    def _units(
        self, offer: Offer, logs: FloatArray, by_words: IntArray, market: IntArray, segment: IntArray, share: FloatArray
    ) -> FloatArray:
        """Return log probabilities of units by segment, the mean over its questions by their shares (B, S, J, 9).

        Args:
            offer: The offer.
            logs: Of each question, products in the order `by_words` (M, J, 9).
            by_words: See there.
            market: Of each question (M,).
            segment: Of each question (M,).
            share: Of the segment with the question's last purchase; NaN for the question without one (M,).
        """
        named = np.zeros(offer.loyalty.shape[:2])
        np.add.at(named, (market, segment), np.nan_to_num(share))
        weight = np.where(np.isnan(share), np.maximum(1.0 - named[market, segment], 0.0), share) + 1e-12
        total, weights = np.zeros((*named.shape, self.num_products, logs.shape[2])), np.zeros(named.shape)
        np.add.at(weights, (market, segment), weight)
        np.add.at(total, (market, segment), weight[:, None, None] * np.exp(logs))
        mean = np.full(total.shape, np.nan)
        there = weights > 0
        mean[there] = np.log(np.maximum(total[there] / weights[there][:, None, None], 1e-12))
        found = np.empty_like(mean)
        found[:, :, by_words] = mean
        found[np.broadcast_to(~offer.available[:, None, :], found.shape[:3])] = np.nan
        return found
