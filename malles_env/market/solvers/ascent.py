"""Batched ascent over prices and assortments: many rows climb at once, one call of the objective per move set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from malles_env.type_aliases import BoolArray, FloatArray, IntArray

Objective = Callable[[IntArray, FloatArray, BoolArray], FloatArray]
"""``value(rows[n], prices[n, J], listed[n, J]) -> money[n]``; `rows` says which of the climbers each candidate is."""


@dataclass(frozen=True)
class Box:
    """What a seller may choose: J price intervals in money and the most products it may list.

    Attributes:
        low, high: Price bounds in money, shape ``(J,)``.
        cost: Unit costs in money, shape ``(J,)``; only hints at prices for products that are new on the shelf.
        capacity: Most products listed at once.
    """

    low: FloatArray
    high: FloatArray
    cost: FloatArray
    capacity: int


@dataclass
class Climb:
    """R climbers and where they stand.

    Attributes:
        prices: Money, shape ``(R, J)``.
        listed: Shape ``(R, J)``.
        value: Best value so far in money, shape ``(R,)``.
        evaluations: Candidates valued so far, over all rows.
    """

    prices: FloatArray
    listed: BoolArray
    value: FloatArray = field(default_factory=lambda: np.empty(0))
    evaluations: int = 0


def climb(
    value: Objective,
    box: Box,
    prices: FloatArray,
    listed: BoolArray,
    *,
    step: float = 0.1,
    tolerance: float = 1e-4,
    rounds: int = 60,
    assortments: bool = True,
) -> Climb:
    """Climb from R starting points by turns of price moves and, where the shelf leaves a choice, assortment moves.

    Price moves are one step up and down per product and for all together, then the joint move along improving
    products and the joint diagonal Newton step; the step halves when nothing improves. This copes with the kink of
    the discount at the regular price, which lies along a coordinate.

    Args:
        value: The objective; must be deterministic.
        box: Bounds and capacity.
        prices: Start in money, shape ``(R, J)``.
        listed: Start, shape ``(R, J)``.
        step: First step as a share of each price interval.
        tolerance: Last step as a share of each price interval.
        rounds: Most rounds of price moves per ascent.
        assortments: Whether to add, drop and swap products too.

    Returns:
        The climbers at their summits.
    """
    prices = np.clip(np.array(prices, dtype=np.float64), box.low, box.high)
    state = Climb(prices, np.array(listed, dtype=bool))
    state.value = value(np.arange(len(prices)), state.prices, state.listed)
    state.evaluations = len(prices)
    _climb_prices(value, box, state, step, tolerance, rounds)
    for _ in range(2 * box.capacity if assortments and prices.shape[1] > 1 else 0):
        moved = _move_assortment(value, box, state)
        if not moved.any():
            break
        _climb_prices(value, box, state, step / 4, tolerance, rounds, active=moved)
    return state


def _climb_prices(
    value: Objective,
    box: Box,
    state: Climb,
    step: float,
    tolerance: float,
    rounds: int,
    active: BoolArray | None = None,
) -> None:
    """Move prices until every active row's step is below the tolerance."""
    span = box.high - box.low
    steps = np.full(len(state.prices), step)
    if active is not None:
        steps[~active] = 0.0
    for _ in range(rounds):
        rows = np.flatnonzero(steps >= tolerance)
        if not len(rows):
            return
        base, before = state.prices[rows], state.value[rows]
        moves = _price_moves(len(span)) * (steps[rows, None, None] * span)
        singles = _try(value, box, state, rows, base[:, None, :] + moves)
        joint = _joint_moves(moves, singles - before[:, None])
        _try(value, box, state, rows, base[:, None, :] + joint)
        gain = state.value[rows] - before
        small = gain <= 1e-9 + 1e-6 * np.abs(before)
        steps[rows[small]] *= 0.4


def _price_moves(products: int) -> FloatArray:
    """Return unit moves: up and down for each product, then for all together; shape ``(M, J)``."""
    eye = np.eye(products)
    moves = np.concatenate([eye, -eye])
    return moves if products == 1 else np.concatenate([moves, np.ones((1, products)), -np.ones((1, products))])


def _joint_moves(moves: FloatArray, gain: FloatArray) -> FloatArray:
    """Return joint moves made of what single moves gained: improving steps together, Newton whole and half.

    Args:
        moves: Displacements tried in money, shape ``(R, M, J)``.
        gain: What each gained in money, shape ``(R, M)``.
    """
    products = moves.shape[2]
    size = np.einsum("rjj->rj", moves[:, :products])
    up, down = gain[:, :products], gain[:, products : 2 * products]
    improving = np.where((up > 0) & (up >= down), size, np.where(down > 0, -size, 0.0))
    slope, bend = (up - down) / 2.0, up + down
    newton = np.where(bend < 0, -slope / np.where(bend < 0, bend, 1.0), np.sign(slope)).clip(-4.0, 4.0) * size
    return np.stack([improving, newton, newton / 2.0], axis=1)


def _try(value: Objective, box: Box, state: Climb, rows: IntArray, candidates: FloatArray) -> FloatArray:
    """Value candidate prices ``(R, M, J)`` of `rows`, keep improvements in `state`, return values ``(R, M)``."""
    count, moves, products = candidates.shape
    candidates = np.clip(candidates, box.low, box.high)
    repeated = np.repeat(rows, moves)
    values = value(repeated, candidates.reshape(-1, products), state.listed[repeated]).reshape(count, moves)
    state.evaluations += values.size
    best = values.argmax(axis=1)
    top = values[np.arange(count), best]
    better = top > state.value[rows]
    state.prices[rows[better]] = candidates[better, best[better]]
    state.value[rows[better]] = top[better]
    return values


def _move_assortment(value: Objective, box: Box, state: Climb) -> BoolArray:
    """Make the best single add, drop or swap of each row, new products at a few prices; say which rows moved."""
    moved = np.zeros(len(state.prices), dtype=bool)
    tried = [_assortment_moves(box, prices, listed) for prices, listed in zip(state.prices, state.listed, strict=True)]
    owner = np.repeat(np.arange(len(tried)), [len(prices) for prices, _ in tried])
    if not len(owner):
        return moved
    prices, listed = np.concatenate([p for p, _ in tried]), np.concatenate([on for _, on in tried])
    values = value(owner, prices, listed)
    state.evaluations += len(values)
    for row in range(len(moved)):
        mine = np.flatnonzero(owner == row)
        best = mine[values[mine].argmax()]
        if values[best] > state.value[row] + 1e-9 + 1e-6 * abs(state.value[row]):
            state.prices[row], state.listed[row], state.value[row] = prices[best], listed[best], values[best]
            moved[row] = True
    return moved


def _assortment_moves(box: Box, prices: FloatArray, listed: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Return neighbouring assortments ``(M, J)`` with prices: new products across their box and at usual mark-ups."""
    margin = np.mean((prices - box.cost)[listed])
    relative = np.mean((prices / np.maximum(box.cost, 1e-9))[listed])
    hints = [box.cost + margin, box.cost * relative]
    hints += [box.low + level * (box.high - box.low) for level in np.linspace(0.15, 0.85, 5)]
    all_prices, all_listed = [], []
    for shelf, new in neighbours(listed, box.capacity):
        for hint in hints if new >= 0 else hints[:1]:
            at = prices.copy()
            if new >= 0:
                at[new] = np.clip(hint[new], box.low[new], box.high[new])
            all_prices.append(at)
            all_listed.append(shelf)
    shape = (len(all_prices), len(prices))
    return np.array(all_prices).reshape(shape), np.array(all_listed, dtype=bool).reshape(shape)


def neighbours(listed: BoolArray, capacity: int) -> list[tuple[BoolArray, int]]:
    """Return the assortments one add, drop or swap away, each with the product that is new on it (-1: none)."""
    on, off = np.flatnonzero(listed), np.flatnonzero(~listed)
    found: list[tuple[BoolArray, int]] = []

    def changed(out: int, new: int) -> None:
        shelf = listed.copy()
        if out >= 0:
            shelf[out] = False
        if new >= 0:
            shelf[new] = True
        found.append((shelf, new))

    if len(on) > 1:
        for out in on:
            changed(int(out), -1)
    for new in off:
        if len(on) < capacity:
            changed(-1, int(new))
        for out in on:
            changed(int(out), int(new))
    return found
