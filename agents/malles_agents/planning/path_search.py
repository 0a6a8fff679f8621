"""The best plan of one seller, week by week: constant, in cycles, or free, found by search over whole episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_agents.planning.paths import Paths, PathValue
from malles_agents.planning.search import Stationary
from malles_env.market.solvers.ascent import Box, climb, neighbours
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

END = 12
"""Weeks at the end of an episode that count as its end game; a quarter of an episode shorter than four times that."""
CYCLES = tuple(range(2, 9))
"""Lengths of the calendars tried, weeks."""
DEPTHS = (0.1, 0.2, 0.3, 0.4)
HIGHS = (1.0, 1.1, 1.25, 1.5)
"""Calendars start from deals of these depths, between weeks at these multiples of the best constant price."""
MOST_PASSES = 6
STEP, COARSE, FINE = 0.1, 4e-3, 1e-3
"""First and last price steps as shares of a price interval; coarse in the search of cycles."""


@dataclass(frozen=True)
class BestPaths:
    """What the search found for a seller.

    Attributes:
        constant: The best constant action, one plan of one week.
        free: The best plan of all T weeks.
        without_end: The best plan of weeks 1 to T - E, followed by E weeks of the constant action.
        end: E.
        constant_profit, free_profit, without_end_profit: Their profits in each week, money, shape ``(T,)``.
        played: Plans valued.
    """

    constant: Paths
    free: Paths
    without_end: Paths
    end: int
    constant_profit: FloatArray
    free_profit: FloatArray
    without_end_profit: FloatArray
    played: int

    @property
    def ratio(self) -> float:
        """Profit of the best plan over that of the best constant action."""
        return float(self.free_profit.sum() / self.constant_profit.sum())

    @property
    def ratio_without_end(self) -> float:
        """The same of weeks 1 to T - E, with what their plan leaves behind valued.

        1 + (profit of all T weeks of `without_end` less that of the constant action) / (profit of the constant action
        in weeks 1 to T - E). Both end in E weeks of the constant action, so all they differ in is earned before, or is
        the worth of the consumers' memories then: nothing is gained by running these down.
        """
        gained = float(self.without_end_profit.sum() - self.constant_profit.sum())
        return 1.0 + gained / float(self.constant_profit[: len(self.constant_profit) - self.end].sum())


def end_of(weeks: int) -> int:
    """Return how many of an episode's weeks are its end."""
    return min(END, weeks // 4)


def search_paths(value: PathValue, stationary: Stationary, *, seed: int = 0, restarts: int = 2) -> BestPaths:
    """Search the best constant action, cycles, and free plans of a seller.

    Calendars of 2 to 8 weeks climb over their prices, shelves and promotions from grids of deals and from random
    prices; the best of them, the constant action and random plans then climb with every week free. All climbs compare
    plans valued by `PathValue`, so differences carry no noise; as any search of a function with many summits this one
    gives a lower bound on the optimum. It knows open-loop plans only: against rivals who draw at random, a seller that
    looks could earn more.

    Args:
        value: What plans earn.
        stationary: Best prices and assortment without promotion, from `malles_agents.planning.search.search`.
        seed: Of the random starts.
        restarts: Random starts of each climb.
    """
    rng, weeks, end = np.random.default_rng(seed), value.weeks, end_of(value.weeks)
    whole = _Climber(value, weeks)
    constant = whole.improve(_as_paths(stationary), FINE).take([0])
    cycles = [whole.improve(starts, COARSE) for starts in _calendars(whole, constant, rng, restarts)]
    long = [constant.tiled(weeks), *(cycle.tiled(weeks) for cycle in cycles)]
    kept = Paths.joined([long[0], whole.best(Paths.joined(long[1:]), 2), _noisy(whole, long[0], rng, restarts)])
    calm = _Climber(value, weeks - end, constant.tiled(end))
    steady = calm.improve(kept.at(np.arange(weeks - end)), FINE).take([0])
    free = whole.improve(Paths.joined([steady.then(constant.tiled(end)), whole.best(kept, 2)]), FINE).take([0])
    without_end = steady.then(constant.tiled(end))
    profit = value(Paths.joined([constant.tiled(weeks), free, without_end]))
    return BestPaths(constant, free, without_end, end, profit[0], profit[1], profit[2], value.played)


def search_constant(value: PathValue, stationary: Stationary) -> BestPaths:
    """Return the best constant action as the best plan too: for markets in which nothing carries over between weeks."""
    constant = _Climber(value, value.weeks).improve(_as_paths(stationary), FINE).take([0])
    plan = constant.tiled(value.weeks)
    profit = value(plan)[0]
    return BestPaths(constant, plan, plan, end_of(value.weeks), profit, profit, profit, value.played)


def _as_paths(stationary: Stationary) -> Paths:
    return Paths.constant(stationary.prices, stationary.listed)


class _Climber:
    """Plans of some weeks, repeated over `weeks` and followed by a tail, climbing to higher profit.

    Args:
        value: What plans earn.
        weeks: Weeks that are free.
        tail: What follows them, a single plan; None: nothing.
    """

    def __init__(self, value: PathValue, weeks: int, tail: Paths | None = None) -> None:
        self.value, self.weeks, self.tail = value, weeks, tail
        self.view = value.view

    def worth(self, plans: Paths) -> FloatArray:
        """Return the profit per episode of each plan, money, shape ``(R,)``."""
        whole = plans.tiled(self.weeks)
        return np.asarray(self.value(whole if self.tail is None else whole.then(self.tail)).sum(axis=1))

    def best(self, plans: Paths, count: int) -> Paths:
        """Return the best plans, best first."""
        return plans.take(np.argsort(-self.worth(plans), kind="stable")[:count])

    def improve(self, plans: Paths, tolerance: float) -> Paths:
        """Climb over prices from every plan, then from the best over shelves and promotions too; best first."""
        climbed = self._climb(plans, tolerance)
        top, others = climbed.take([0]), climbed.take(range(1, len(climbed)))
        for _ in range(MOST_PASSES):
            moved = self._move_bits(top)
            if moved is None:
                break
            top = self._climb(moved, tolerance)
        return Paths.joined([top, others])

    def _climb(self, plans: Paths, tolerance: float) -> Paths:
        """Climb over the prices of products that are listed, all plans side by side; best first."""
        rows, (count, weeks, products) = np.arange(len(plans)), plans.prices.shape
        free = np.flatnonzero(plans.listed.any(axis=0).ravel())
        low, high, cost = (np.tile(side, weeks)[free] for side in (self.view.price_low, self.view.price_high,
                                                                  self.view.unit_cost))  # fmt: skip

        def placed(which: IntArray, prices: FloatArray) -> Paths:
            whole = plans.prices[which].reshape(len(which), -1)
            whole[:, free] = prices
            return plans.take(which).priced(whole.reshape(len(which), weeks, products))

        start = plans.prices.reshape(count, -1)[:, free]
        top = climb(
            lambda which, prices, _: self.worth(placed(which, prices)), Box(low, high, cost, len(free)), start,
            np.ones(start.shape, dtype=bool), step=STEP, tolerance=tolerance, assortments=False,
        )  # fmt: skip
        return placed(rows, top.prices).take(np.argsort(-top.value, kind="stable"))

    def _move_bits(self, plan: Paths) -> Paths | None:
        """Change shelves and promotions of single weeks where that pays; None where nothing does."""
        moves, week = self._bit_moves(plan)
        if not len(week):
            return None
        before, gains = float(self.worth(plan)[0]), self.worth(moves)
        gains -= before
        needed = 1e-9 + 1e-6 * abs(before)
        firsts: dict[int, int] = {}
        for row in np.argsort(-gains, kind="stable"):
            if gains[row] > needed:
                firsts.setdefault(int(week[row]), int(row))
        if not firsts:
            return None
        together = plan
        for at, row in firsts.items():
            chosen = np.arange(plan.weeks) == at
            together = _merged(together, moves.take([row]), chosen)
        tried = Paths.joined([together, moves.take([int(np.argmax(gains))])])
        return self.best(tried, 1)

    def _bit_moves(self, plan: Paths) -> tuple[Paths, IntArray]:
        """Return neighbours of a single plan, each other in one week, and the week of each."""
        found, week = [], []
        for at in range(plan.weeks):
            chosen = np.arange(plan.weeks) == at
            for new in (*self._shelves(plan, at), *self._promotions(plan, at)):
                found.append(_merged(plan, new, chosen))
                week.append(at)
        return (Paths.joined(found) if found else plan.take([])), np.array(week, dtype=np.int64)

    def _shelves(self, plan: Paths, at: int) -> list[Paths]:
        """Return one-week plans with a shelf one add, drop or swap away from that of a week."""
        view, now = self.view, plan.at(np.array([at]))
        listed, found = now.listed[0, 0], []
        margin = float(np.mean((now.prices[0, 0] - view.unit_cost)[listed])) if listed.any() else 0.0
        hints = [view.unit_cost + margin, now.prices[0, 0]]
        hints += [view.price_low + share * (view.price_high - view.price_low) for share in (0.3, 0.5, 0.7)]
        for shelf, new in neighbours(listed, view.capacity):
            for hint in hints if new >= 0 else hints[:1]:
                prices, promoted = now.prices.copy(), now.promoted & shelf
                if new >= 0:  # what takes another's place takes its promotion too
                    prices[0, 0, new] = np.clip(hint[new], view.price_low[new], view.price_high[new])
                    promoted[:, 0, 0, new] = now.promoted[:, 0, 0, listed & ~shelf].any(axis=1)
                found.append(Paths(prices, shelf[None, None], promoted))
        return found

    def _promotions(self, plan: Paths, at: int) -> list[Paths]:
        """Return one-week plans with one product more, less or exchanged on display or advertised."""
        slots, now = self.value.slots, plan.at(np.array([at]))
        found = []
        for kind, most in enumerate(() if slots is None else slots):
            on = now.promoted[kind, 0, 0]
            for new in np.flatnonzero(now.listed[0, 0]):
                full = not on[new] and on.sum() >= most
                for out in np.flatnonzero(on) if full else [new]:
                    promoted = now.promoted.copy()
                    promoted[kind, 0, 0, out] = not on[out]
                    promoted[kind, 0, 0, new] = not on[new]
                    if promoted[kind].sum() <= most:
                        found.append(Paths(now.prices, now.listed, promoted))
        return found


def _merged(plan: Paths, other: Paths, weeks: BoolArray) -> Paths:
    """Return a single plan with some weeks taken from another one (of one week, or of as many)."""
    mask = weeks[None, :, None]
    return Paths(
        np.where(mask, other.prices, plan.prices), np.where(mask, other.listed, plan.listed),
        np.where(mask, other.promoted, plan.promoted),
    )  # fmt: skip


def _calendars(climber: _Climber, constant: Paths, rng: np.random.Generator, restarts: int) -> list[Paths]:
    """Return the plans from which cycles of each length climb: the two best deal calendars, and random prices."""
    view = climber.view
    starts = []
    for length in CYCLES:
        base = constant.tiled(length)
        factors = [
            np.where(np.arange(length) < deals, high * (1.0 - depth), high)
            for deals in sorted({1, length // 2}) for depth in DEPTHS for high in HIGHS
        ]  # fmt: skip
        grid = np.array(factors)[:, :, None] * base.prices
        offers = base.take(np.zeros(len(grid), dtype=np.int64)).priced(np.clip(grid, view.price_low, view.price_high))
        starts.append(Paths.joined([climber.best(offers, 2), _noisy(climber, base, rng, restarts)]))
    return starts


def _noisy(climber: _Climber, plan: Paths, rng: np.random.Generator, count: int) -> Paths:
    """Return copies of a single plan with prices drawn around its own, by a third up or down."""
    view = climber.view
    prices = plan.prices * rng.uniform(2 / 3, 4 / 3, (count, *plan.prices.shape[1:]))
    return plan.take(np.zeros(count, dtype=np.int64)).priced(np.clip(prices, view.price_low, view.price_high))
