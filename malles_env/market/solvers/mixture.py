"""Which products to offer to several segments at once: exact assortments under mixtures of multinomial logits.

Segment s, a share w_s of the consumers, picks product j of a set A with probability v_sj / (1 + sum_A v_s), and a pick
earns r_sj. The best set is NP-hard to find; here it is the solution of a mixed-integer linear program (Mendez-Diaz et
al. 2014) over x_j, whether j is offered, y_s = 1 / (1 + sum_A v_s) and z_sj = x_j y_s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix, vstack

from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.market.solvers.assortment import capacity
from malles_env.type_aliases import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Mixture:
    """S segments before J products.

    Attributes:
        margin: r, money per pick, shape ``(S, J)``.
        attraction: v, above 0, shape ``(S, J)``.
        weights: Shares of the segments, sum 1, shape ``(S,)``.
        fee: Money per offered product and consumer, shape ``(J,)`` or a number.
    """

    margin: FloatArray
    attraction: FloatArray
    weights: FloatArray
    fee: ArrayLike = 0.0

    def __post_init__(self) -> None:
        """Check the shapes."""
        shape = np.shape(self.attraction)
        if len(shape) != 2 or 0 in shape:
            raise invalid("attraction", shape, "shape (S, J) with S, J >= 1")
        set_ = object.__setattr__
        set_(self, "attraction", as_floats("attraction", self.attraction, shape, low=1e-300))
        set_(self, "margin", as_floats("margin", self.margin, shape))
        set_(self, "weights", as_floats("weights", self.weights, shape[:1], low=0.0))
        set_(self, "fee", as_floats("fee", self.fee, shape[1:], low=0.0))

    def profit(self, offered: ArrayLike) -> FloatArray:
        """Return the profit per consumer of sets, flags of shape ``(..., J)``."""
        shelf = np.asarray(offered, dtype=np.float64)
        earned = shelf @ (self.margin * self.attraction).T / (1.0 + shelf @ self.attraction.T)
        return np.asarray(earned @ self.weights - shelf @ np.asarray(self.fee))

    def pooled(self, most: int) -> IntArray:
        """Return the best set for one logit that stands for all segments, of at most `most` products, ascending."""
        share = self.weights / (1.0 + self.attraction.sum(axis=1))
        value = share @ self.attraction / share.sum()
        margin = share @ (self.margin * self.attraction) / (share @ self.attraction)
        return capacity(margin - np.asarray(self.fee) / np.maximum(value * share.sum(), 1e-300), value, most).products

    def improved(self, offered: BoolArray, most: int, allowed: BoolArray | None = None) -> BoolArray:
        """Return a set that no product added, dropped or exchanged for another makes better.

        Args:
            offered: Where to start, shape ``(J,)``.
            most: Capacity of the shelf.
            allowed: Products there are; None: all.
        """
        best, there = np.array(offered, dtype=bool), np.ones(len(offered), bool) if allowed is None else allowed
        value = float(self.profit(best))
        while True:
            sets = _neighbours(best, there, most)
            found = self.profit(sets)
            if not len(sets) or found.max() <= value + 1e-12 * max(abs(value), 1.0):
                return best
            value, best = float(found.max()), sets[int(found.argmax())]

    def best(
        self, most: int, allowed: BoolArray | None = None, *, seconds: float = 60.0, gap: float = 1e-6
    ) -> Solution:
        """Return the best set of at most `most` products, and what no set can exceed.

        Args:
            most: Capacity of the shelf, at least 1.
            allowed: Products there are, flags; None: all.
            seconds: After which the solver gives what it has.
            gap: Relative distance to the bound at which it stops.

        Raises:
            InvalidInput: A capacity below 1, or no product there.
        """
        there = np.ones(self.attraction.shape[1], bool) if allowed is None else np.asarray(allowed, dtype=bool)
        if most < 1:
            raise invalid("most", most, "a whole number of at least 1")
        if not there.any():
            raise invalid("allowed", "no product", "at least one")
        rows = np.flatnonzero(there)
        part = Mixture(self.margin[:, rows], self.attraction[:, rows], self.weights, np.asarray(self.fee)[rows])
        start = np.zeros(len(rows), dtype=bool)
        start[part.pooled(most)] = True
        local = part.improved(start, most)
        flags, bound = part._solved(min(most, len(rows)), seconds, gap)
        if flags is None or part.profit(flags) < part.profit(local):
            flags = local
        offered = np.zeros(len(there), dtype=bool)
        offered[rows[flags]] = True
        profit = float(self.profit(offered))
        return Solution(offered, profit, max(bound, profit))

    def _solved(self, most: int, seconds: float, gap: float) -> tuple[BoolArray | None, float]:
        """Return the solver's set and its bound; None where it found none in time."""
        segments, products = self.attraction.shape
        v, count = self.attraction, segments * products
        largest = np.sort(v, axis=1)[:, -most:].sum(axis=1)
        low, alone = 1.0 / (1.0 + largest), 1.0 / (1.0 + v)
        # variables: x [J], y [S], z [S J]
        cost = np.concatenate(
            [np.asarray(self.fee), np.zeros(segments), -(self.weights[:, None] * self.margin * v).ravel()]
        )
        found = milp(
            cost,
            integrality=np.concatenate([np.ones(products), np.zeros(segments + count)]),
            bounds=Bounds(
                np.concatenate([np.zeros(products), low, np.zeros(count)]),
                np.concatenate([np.ones(products + segments), alone.ravel()]),
            ),
            constraints=self._constraints(most, low, alone),
            options={"time_limit": seconds, "mip_rel_gap": gap},
        )
        bound = np.inf if found.mip_dual_bound is None else -float(found.mip_dual_bound)
        return (None if found.x is None else found.x[:products] > 0.5), bound

    def _constraints(self, most: int, low: FloatArray, alone: FloatArray) -> list[LinearConstraint]:
        """Return what ties x [J], y [S] and z [S J] together: shares sum to 1, the shelf holds so many, z is x y.

        Args:
            most: Products on the shelf, at most.
            low: Least y of each segment [S].
            alone: y of a segment with a single product on the shelf [S, J].
        """
        segments, products = self.attraction.shape
        v, count = self.attraction, segments * products
        s, j = (index.ravel() for index in np.indices((segments, products)))
        x, y, z, row = j, products + s, products + segments + np.arange(count), np.arange(count)
        one = np.ones(count)

        def rows(*parts: tuple[IntArray, FloatArray]) -> coo_matrix:
            columns = np.concatenate([at for at, _ in parts])
            values = np.concatenate([value for _, value in parts])
            size = (count, products + segments + count)
            return coo_matrix((values, (np.tile(row, len(parts)), columns)), shape=size)

        total = coo_matrix(
            (np.concatenate([np.ones(segments), v.ravel()]), (np.concatenate([np.arange(segments), s]),
             np.concatenate([products + np.arange(segments), z]))), shape=(segments, products + segments + count)
        )  # fmt: skip
        shelf = coo_matrix(
            (np.ones(products), (np.zeros(products, int), np.arange(products))), shape=(1, total.shape[1])
        )
        limits = vstack(
            [
                rows((z, one), (y, -one)),  # z <= y, and below: tight where x is 0 and where it is 1
                rows((z, one), (x, -alone.ravel())),
                rows((z, one), (x, -low[s])),
                rows((y, one), (z, -one), (x, one)),
                rows((z, one), (y, -one), (x, -low[s])),
            ]
        ).tocsr()
        under = np.concatenate(
            [np.full(2 * count, -np.inf), np.zeros(count), np.full(count, -np.inf), np.full(count, -np.inf)]
        )
        over = np.concatenate([np.zeros(2 * count), np.full(count, np.inf), one, -low[s]])
        return [
            LinearConstraint(total.tocsr(), 1.0, 1.0),
            LinearConstraint(shelf.tocsr(), 0.0, most),
            LinearConstraint(limits, under, over),
        ]


@dataclass(frozen=True)
class Solution:
    """The best set found.

    Attributes:
        offered: Flags, shape ``(J,)``.
        profit: Money per consumer.
        bound: What no set exceeds; the profit where the set is proven best.
    """

    offered: BoolArray
    profit: float
    bound: float


def _neighbours(offered: BoolArray, allowed: BoolArray, most: int) -> BoolArray:
    """Return the sets with one product more, one less, or one exchanged, shape ``(n, J)``."""
    inside, outside = np.flatnonzero(offered).tolist(), np.flatnonzero(allowed & ~offered).tolist()
    moves = [(i, -1) for i in inside]
    moves += [(-1, o) for o in outside] if len(inside) < most else []
    moves += [(i, o) for i in inside for o in outside]
    sets = np.repeat(offered[None], len(moves), axis=0)
    for row, (drop, add) in enumerate(moves):
        if drop >= 0:
            sets[row, drop] = False
        if add >= 0:
            sets[row, add] = True
    return sets
