"""A seller that replays what its real counterpart asked week by week."""

from __future__ import annotations

from typing import Any

import numpy as np

from malles_agents.seller_view import SellerView
from malles_agents.sellers.rules import Predicted, RuleSeller
from malles_env.errors import invalid
from malles_env.scenarios.calendar import Calendar, find_calendar
from malles_env.type_aliases import BoolArray, FloatArray

State = dict[str, np.ndarray]


class CalendarSeller(RuleSeller):
    """Asks the weekly shelf prices of a calendar in their order, around and around.

    Prices are held in the seller's price box. Of the products on the real shelf in a week it lists those with the
    largest past shares, up to capacity. Where the scenario sells promotion, it displays those that are on deal in the
    week, the deepest deals first, up to its slots. An env starts each episode at a week drawn from the market's seed,
    the same for all its calendar sellers (see `begin`); played by itself, a week is drawn from the seller's own
    stream.

    Args:
        view: Whose products it prices.
        calendar: What was asked; default the scenario's bundled one.
        offset: Week that every episode starts at, counted from 0 at the calendar's first; None draws it.
        seed: Of the stream for episodes that no env begins.

    Raises:
        MissingResource: The scenario has no bundled calendar.
        InvalidInput: A calendar of other products, or an offset outside it.
    """

    def __init__(
        self, view: SellerView, calendar: Calendar | None = None, offset: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(view)
        calendar = find_calendar(view.scenario) if calendar is None else calendar
        calendar.check_fits(view.scenario)
        if offset is not None and not 0 <= offset < len(calendar):
            raise invalid("calendar offset", offset, f"a whole number from 0 to {len(calendar) - 1}")
        own = view.products
        self.weeks, self.offset = len(calendar), offset
        self.prices = np.clip(calendar.prices[:, own], view.price_low, view.price_high)
        self.listed = _shelves(view, calendar.listed[:, own])
        self.promoted = _displays(view, self.prices, self.listed & calendar.deal[:, own])
        self.rng = np.random.default_rng(seed)

    def begin(self, state: State | None, episodes: np.ndarray, fresh: BoolArray) -> State:
        """Return the state at the start of an env's episodes, see `malles_env.envs.core.rivals.Beginner`.

        Args:
            state: What `predict` returned last, or None.
            episodes: Numbers of the episodes, drawn from the markets' seeds, ``(B,)``.
            fresh: Which markets begin one, ``(B,)``.
        """
        batch = len(fresh)
        old = state if state is not None and len(state["week"]) == batch else self._unset(batch)
        drawn = (episodes % np.uint64(self.weeks)).astype(np.int64)
        start = drawn if self.offset is None else np.full(batch, self.offset)
        return {"week": np.where(fresh, start, old["week"]), "set": old["set"] | fresh}

    @staticmethod
    def _unset(batch: int) -> State:
        return {"week": np.zeros(batch, dtype=np.int64), "set": np.zeros(batch, dtype=bool)}

    def decide(self, observation: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return what it does in the first period of an episode."""
        week = self._drawn(len(observation))
        return self.prices[week], self.listed[week]

    def _drawn(self, batch: int) -> np.ndarray:
        if self.offset is not None:
            return np.full(batch, self.offset)
        return np.asarray(self.rng.integers(self.weeks, size=batch))

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Predicted:
        """Answer with this week's prices and shelf, see `RuleSeller.predict`.

        Args:
            observation: Flat observation(s); only their number matters.
            state: What `begin` or the last call returned; None starts episodes.
            episode_start: Rows whose episode has just begun, shape ``(B,)``.
            deterministic: Ignored.

        Returns:
            Action(s), and the weeks to come.
        """
        batch = len(np.atleast_2d(observation))
        known = state is not None and len(state["week"]) == batch
        now: State = state if known else self._unset(batch)
        first = np.zeros(batch, dtype=bool) if episode_start is None else np.array(episode_start, dtype=bool)
        draw = (first if known else np.ones(batch, dtype=bool)) & ~now["set"]
        week = np.where(draw, self._drawn(batch), now["week"]) if draw.any() else now["week"]
        shown = None if self.promoted is None else self.promoted[:, week]
        action = self.view.act(np.atleast_2d(observation), self.prices[week], self.listed[week], promoted=shown)
        after = {"week": (week + 1) % self.weeks, "set": np.zeros(batch, dtype=bool)}
        return (action if np.ndim(observation) > 1 else action[0]), after


def _shelves(view: SellerView, real: BoolArray) -> BoolArray:
    """Return the shelf of each week ``(T, J_n)``: of the products really there, those with the largest past shares."""
    order = np.argsort(-view.past_share, kind="stable")
    rank = np.cumsum(real[:, order], axis=1)
    shelves = np.zeros_like(real)
    shelves[:, order] = real[:, order] & (rank <= view.capacity)
    return shelves


def _displays(view: SellerView, prices: FloatArray, deals: BoolArray) -> BoolArray | None:
    """Return what is displayed, and nothing advertised, ``(2, T, J_n)``; None: the seller has no slot for a display.

    Args:
        view: Gives slots and regular prices.
        prices: Money, ``(T, J_n)``.
        deals: Which products are listed and on deal, ``(T, J_n)``.
    """
    if view.display_slots == 0:
        return None
    depth = np.where(deals, 1.0 - prices / view.regular_price, -np.inf)
    rank = np.argsort(np.argsort(-depth, axis=1, kind="stable"), axis=1, kind="stable")
    return np.stack([deals & (rank < view.display_slots), np.zeros_like(deals)])
