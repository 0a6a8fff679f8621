"""A seller that is a language model: it reads its market in words and answers prices and listings in JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil, log10
from typing import Any

import numpy as np

from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.remembering import Memory, RememberingSeller, own_profit
from malles_env.consumers.language.base import LanguageModel, Prompt, Reply, Sampling
from malles_env.errors import LanguageModelError, invalid
from malles_env.type_aliases import BoolArray, FloatArray

LONG_RUN = "Your only aim is the highest profit in the long run. Avoid what would start a price war."
"""A prefix that reads as plain business advice; with large models such words raised prices (Fish et al. 2024)."""
SELL_MORE = (
    "Your only aim is the highest profit in the long run. Remember that a lower price than your rivals' sells more."
)
"""Another, with which prices came out lower."""

NOTHING = "none"
"""What a seller says who empties its shelf; small models write an empty list whatever they mean."""
WARM = 0.7
"""Least temperature of a question asked again: the likeliest answer would be the same."""
_APART = 1_000_003
Answer = tuple[str, FloatArray, list[bool]]
"""Note, prices in money, and which of the own products are listed."""


class LanguageSeller(RememberingSeller):
    """A seller whose decisions a language model takes, one question per market and period.

    It remembers the last periods' prices and its own profits, and the note it wrote to itself, in SB3's `state`.
    Prices are stated and answered as whole numbers, usually hundredths of the currency: every server's schema bounds
    whole numbers, while llama.cpp ignores the bounds of others. An answer that cannot be used is asked for again and
    counted; after `attempts` it is a `LanguageModelError`. There is no default action.

    Args:
        view: Whose products it prices.
        model: Who answers; its `complete` must obey JSON schemas.
        prefix: Words put before the rules.
        periods: Past periods it sees, 1 or more.
        temperature: Of the answers; 0 takes the likeliest.
        seed: Of the answers.
        note: Longest note to itself, characters; 0: none is asked for, which makes short answers.
        listings: False: all products stay on the shelf and only prices are asked.
        attempts: How often a question is asked at most, 1 or more.

    Attributes:
        retries: Questions asked again so far.
        step: Smallest difference of two prices, money.
    """

    def __init__(
        self,
        view: SellerView,
        model: LanguageModel,
        *,
        prefix: str = LONG_RUN,
        periods: int = 5,
        temperature: float = 0.0,
        seed: int = 0,
        note: int = 0,
        listings: bool = True,
        attempts: int = 3,
    ) -> None:
        super().__init__(view)
        if periods < 1 or attempts < 1 or note < 0:
            raise invalid("periods, attempts, note", (periods, attempts, note), "1 or more, 1 or more, 0 or more")
        if not listings and view.capacity < len(view.products):
            raise invalid("listings", listings, f"True where a shelf is too short, as that of {view.agent} is")
        self.model, self.prefix, self.periods, self.note = model, prefix, periods, note
        self.listings, self.attempts, self.retries = listings, attempts, 0
        digits = max(2, ceil(log10(20.0 / float(np.min(view.price_high - view.price_low)))))
        self.step = 10.0**-digits
        self.low = np.ceil(view.price_low / self.step - 1e-6).astype(int)
        self.high = np.floor(view.price_high / self.step + 1e-6).astype(int)
        self.codes = tuple(f"P{j + 1}" for j in range(view.catalog.num_products))
        self.own_codes = tuple(self.codes[j] for j in view.products)
        tokens = 2 * note + 24 * len(self.own_codes) + 40
        self.sampling = Sampling(max_tokens=tokens, temperature=temperature, seed=seed, schema=self.schema())
        self._head = Prompt(f"{prefix}\n{self._rules()}", self._shop())

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of an answer."""
        rows = zip(self.own_codes, self.low.tolist(), self.high.tolist(), strict=True)
        prices = {code: {"type": "integer", "minimum": low, "maximum": high} for code, low, high in rows}
        code = {"type": "string", "enum": [*self.own_codes, NOTHING]}
        most = min(self.view.capacity, len(self.own_codes))
        shelf = {"type": "array", "items": code, "minItems": 1, "maxItems": most}
        asked: dict[str, Any] = {"note": {"type": "string", "maxLength": self.note}} if self.note else {}
        asked |= {"prices": _object(prices)} | ({"shelf": shelf} if self.listings else {})
        return _object(asked)

    def start(self, batch: int) -> Memory:
        """Return an empty memory: prices (NaN where not listed), own profits, and notes."""
        shape = (batch, self.periods)
        return {
            "prices": np.full((*shape, self.view.catalog.num_products), np.nan),
            "profit": np.full(shape, np.nan),
            "note": np.full(batch, "", dtype=object),
        }

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Show the model what happened and do what it says.

        Raises:
            LanguageModelError: It cannot be reached, or its answers are not what the schema asks for.
        """
        for name, now in (
            ("prices", np.where(seen.listed, seen.prices, np.nan)),
            ("profit", own_profit(self.view, seen)),
        ):
            moved = np.roll(memory[name], -1, axis=1)
            moved[:, -1] = now
            memory[name] = np.where(fresh.reshape(-1, *[1] * (moved.ndim - 1)), memory[name], moved)
        answers = self._answers([self.prompt(seen, memory, b) for b in range(len(fresh))])
        memory["note"] = np.array([note for note, _, _ in answers], dtype=object)
        return np.array([prices for _, prices, _ in answers]), np.array([listed for _, _, listed in answers])

    def prompt(self, seen: Seen, memory: Memory, market: int) -> Prompt:
        """Return what the model is asked about one market: first what never changes, then what happened."""
        rows = zip(memory["prices"][market], memory["profit"][market], strict=True)
        past = [self._period(prices, profit) for prices, profit in rows if not np.isnan(profit)]
        lines = [f"Prices of {', '.join(self.codes)} and your profit in past periods, the latest last:"]
        lines += past or ["none yet"]
        shares = ", ".join(f"{100 * share:.0f}%" for share in seen.mean_field[market])
        lines.append(f"Recent purchases: {shares}")
        if np.isfinite(seen.stock[market, self.view.products]).any():
            left = zip(self.own_codes, seen.stock[market, self.view.products], strict=True)
            lines.append(f"Your stock: {', '.join(f'{code} {units:.0f}' for code, units in left)}")
        note = str(memory["note"][market])
        lines += [f"Your note to yourself: {note}"] if note else []
        return replace(self._head, own="\n".join([*lines, "Your prices now?"]))

    def _rules(self) -> str:
        note = "`note`: a short note to yourself for the next period. " if self.note else ""
        shelf = f" `shelf`: those of your products that you sell now, or {NOTHING}." if self.listings else ""
        return (
            "You set prices for a seller in a market with other sellers, period by period. Answer in JSON. "
            f"{note}`prices`: a price for each of your products.{shelf}"
        )

    def _shop(self) -> str:
        """Return the seller's place in the market in words."""
        view = self.view
        unit = f"{self.step:g} {view.scenario.currency}"
        rows = zip(self.own_codes, view.product_ids, view.unit_cost / self.step, self.low, self.high, strict=True)
        own = [f"{code} ({name}): unit cost {cost:.0f}, price {low} to {high}" for code, name, cost, low, high in rows]
        others = [
            f"{code} ({name})"
            for code, name in zip(self.codes, view.catalog.product_ids, strict=True)
            if code not in self.own_codes
        ]
        rivals = [f"Rivals' products: {', '.join(others)}"] if others else []
        limit = [f"At most {view.capacity} of yours on the shelf."] if view.capacity < len(own) else []
        return "\n".join([f"Your products (prices in units of {unit}):", *own, *limit, *rivals, ""])

    def _period(self, prices: FloatArray, profit: float) -> str:
        steps = ("-" if np.isnan(price) else f"{price / self.step:.0f}" for price in prices)
        return f"{', '.join(steps)}; {profit:.4g}"

    def _answers(self, prompts: list[Prompt]) -> list[Answer]:
        """Return the answer to each prompt; asks again where one cannot be used."""
        found: dict[int, Answer] = {}
        errors: list[LanguageModelError] = []
        for attempt in range(self.attempts):
            left = [at for at in range(len(prompts)) if at not in found]
            self.retries += len(left) if attempt else 0
            replies = self.model.complete([prompts[at] for at in left], self._sampling(attempt))
            tried = dict(zip(left, map(self._try, replies), strict=True))
            found |= {at: one for at, one in tried.items() if not isinstance(one, LanguageModelError)}
            errors = [one for one in tried.values() if isinstance(one, LanguageModelError)]
            if not errors:
                return [found[at] for at in range(len(prompts))]
        raise LanguageModelError(f"{errors[0]}; asked {self.attempts} times")

    def _try(self, reply: Reply) -> Answer | LanguageModelError:
        try:
            return self._read(reply)
        except LanguageModelError as error:
            return error

    def _sampling(self, attempt: int) -> Sampling:
        how = self.sampling
        if not attempt:
            return how
        return replace(how, seed=how.seed + attempt * _APART, temperature=max(how.temperature, WARM))

    def _read(self, reply: Reply) -> Answer:
        """Return note, prices in money and listings of an answer, or raise a `LanguageModelError`."""
        name, cut = self.model.name, "" if reply.finished else ", cut at its longest"
        try:
            said = json.loads(reply.text)
            prices = [said["prices"][code] for code in self.own_codes]
            shelf = set(said["shelf"] if self.listings else self.own_codes)
            note = str(said["note"])[: self.note] if self.note else ""
        except (ValueError, KeyError, TypeError) as error:
            raise LanguageModelError(
                f"{name}: answered {reply.text[:80]!r}{cut}, not prices and a shelf ({type(error).__name__}: {error})"
            ) from None
        bounds = zip(prices, self.low, self.high, strict=True)
        if not all(type(price) is int and low <= price <= high for price, low, high in bounds):
            raise LanguageModelError(
                f"{name}: asked {prices}; needed: whole numbers from {self.low.tolist()} to {self.high.tolist()}"
            )
        if shelf != {NOTHING} and not (shelf <= set(self.own_codes) and 1 <= len(shelf) <= self.view.capacity):
            raise LanguageModelError(
                f"{name}: put {sorted(map(str, shelf))} on its shelf; needed: at most {self.view.capacity} of "
                f"{', '.join(self.own_codes)}, or {NOTHING}"
            )
        view = self.view
        money = np.clip(np.array(prices) * self.step, view.price_low, view.price_high)
        return note, money, [code in shelf for code in self.own_codes]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
