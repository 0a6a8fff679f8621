"""A seller that is a language model: it reads its market in words and answers prices and listings in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from malles_agents.remembering import Memory, RememberingSeller, own_profit
from malles_agents.seat import Seat, Seen
from malles_env.consumers.language.base import LanguageModel, Prompt, Sampling
from malles_env.errors import LanguageModelError, invalid
from malles_env.market.arrays import BoolArray, FloatArray

RULES = (
    "You set prices for a seller in a market with other sellers. You see what happened in the last periods and "
    "answer with JSON: a short note to yourself for the next period, a price for each of your products within its "
    "bounds, and which products are on your shelf."
)
LONG_RUN = "Your only aim is the highest profit in the long run. Avoid what would start a price war."
"""A prefix that reads as plain business advice; with large models such words raised prices (Fish et al. 2024)."""
SELL_MORE = (
    "Your only aim is the highest profit in the long run. Remember that a lower price than your rivals' sells more."
)
"""Another, with which prices came out lower."""


class LanguageSeller(RememberingSeller):
    """A seller whose decisions a language model takes, one question per market and period.

    It remembers the last periods' prices and its own profits, and the note it wrote to itself, in SB3's `state`. An
    answer that is no such JSON is a `LanguageModelError`; there is no default action.

    Args:
        seat: Whose products it prices.
        model: Who answers; its `complete` must obey JSON schemas.
        prefix: Words put before the rules.
        periods: Past periods it is told of, 1 or more.
        temperature: Of the answers; 0 takes the likeliest.
        seed: Of the answers.
        note: Longest note, characters.
    """

    def __init__(
        self,
        seat: Seat,
        model: LanguageModel,
        *,
        prefix: str = LONG_RUN,
        periods: int = 10,
        temperature: float = 0.0,
        seed: int = 0,
        note: int = 160,
    ) -> None:
        super().__init__(seat)
        if periods < 1 or note < 1:
            raise invalid("periods, note", (periods, note), "1 or more each")
        self.model, self.prefix, self.periods, self.note = model, prefix, periods, note
        tokens = note + 40 * len(seat.products) + 40
        self.sampling = Sampling(max_tokens=tokens, temperature=temperature, seed=seed, schema=self.schema())

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of an answer."""
        seat = self.seat
        rows = zip(seat.product_ids, seat.price_low, seat.price_high, strict=True)
        prices = {name: {"type": "number", "minimum": float(low), "maximum": float(high)} for name, low, high in rows}
        listed = {name: {"type": "boolean"} for name in seat.product_ids}
        return _object(
            {
                "note": {"type": "string", "maxLength": self.note},
                "prices": _object(prices),
                "listed": _object(listed),
            }
        )

    def start(self, batch: int) -> Memory:
        """Return an empty memory: prices (NaN where not listed), own profits, and notes."""
        shape = (batch, self.periods)
        return {
            "prices": np.full((*shape, self.seat.catalog.num_products), np.nan),
            "profit": np.full(shape, np.nan),
            "note": np.full(batch, "", dtype=object),
        }

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Tell the model what happened and do what it says.

        Raises:
            LanguageModelError: It cannot be reached, or its answer is not what the schema asks for.
        """
        for name, now in (
            ("prices", np.where(seen.listed, seen.prices, np.nan)),
            ("profit", own_profit(self.seat, seen)),
        ):
            moved = np.roll(memory[name], -1, axis=1)
            moved[:, -1] = now
            memory[name] = np.where(fresh.reshape(-1, *[1] * (moved.ndim - 1)), memory[name], moved)
        prompts = [self.prompt(seen, memory, b) for b in range(len(fresh))]
        answers = [self._read(reply.text) for reply in self.model.complete(prompts, self.sampling)]
        memory["note"] = np.array([note for note, _, _ in answers], dtype=object)
        return np.array([prices for _, prices, _ in answers]), np.array([listed for _, _, listed in answers])

    def prompt(self, seen: Seen, memory: Memory, market: int) -> Prompt:
        """Return what the model is asked about one market."""
        seat, names = self.seat, self.seat.catalog.product_ids
        own = [
            f"{name}: unit cost {cost:.2f}, price from {low:.2f} to {high:.2f}"
            for name, cost, low, high in zip(
                seat.product_ids, seat.unit_cost, seat.price_low, seat.price_high, strict=True
            )
        ]
        limit = f"At most {seat.capacity} of them can be on your shelf." if seat.capacity < len(own) else ""
        told = ["Your products:", *own, *([limit] if limit else []), "Past periods, the latest last:"]
        rows = zip(memory["prices"][market], memory["profit"][market], strict=True)
        past = [self._period(prices, profit, names) for prices, profit in rows if not np.isnan(profit)]
        shares = ", ".join(
            f"{name} {100 * share:.0f}%" for name, share in zip(names, seen.mean_field[market], strict=True)
        )
        note = str(memory["note"][market])
        told += [*(past or ["none yet"]), f"Shares of recent purchases: {shares}"]
        told += [f"Your note to yourself: {note}"] if note else []
        return Prompt(f"{self.prefix}\n{RULES}", "\n".join(told), "\nWhat do you do now?")

    def _period(self, prices: FloatArray, profit: float, names: Sequence[str]) -> str:
        listed = [f"{name} {price:.2f}" for name, price in zip(names, prices, strict=True) if not np.isnan(price)]
        return f"prices {', '.join(listed) or 'none'}; your profit {profit:.2f}"

    def _read(self, text: str) -> tuple[str, list[float], list[bool]]:
        """Return note, prices and listings of an answer; beyond the shelf's capacity the first products stay."""
        names = self.seat.product_ids
        try:
            said = json.loads(text)
            prices = [float(said["prices"][name]) for name in names]
            wanted = [said["listed"][name] for name in names]
            note = str(said["note"])[: self.note]
        except (ValueError, KeyError, TypeError) as error:
            raise LanguageModelError(
                f"{self.model.name}: answered {text[:80]!r}, not prices and listings ({error})"
            ) from None
        low, high = self.seat.price_low, self.seat.price_high
        if not all(isinstance(value, bool) for value in wanted):
            raise LanguageModelError(f"{self.model.name}: listed {wanted}; needed: true or false for each product")
        if not np.all((np.array(prices) >= low - 1e-9) & (np.array(prices) <= high + 1e-9)):
            raise LanguageModelError(
                f"{self.model.name}: asked {prices}; needed: prices from {low.tolist()} to {high.tolist()}"
            )
        place = np.cumsum(wanted)
        listed = [bool(value and at <= self.seat.capacity) for value, at in zip(wanted, place, strict=True)]
        return note, [float(price) for price in np.clip(prices, low, high)], listed


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
