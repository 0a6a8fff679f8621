"""Sellers that answer their rivals' last prices: undercutting, tit-for-tat, grim trigger."""

from __future__ import annotations

import numpy as np

from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.oracles import PriceIndex, benchmarks_of
from malles_agents.sellers.remembering import Memory, RememberingSeller
from malles_env.errors import invalid
from malles_env.type_aliases import BoolArray, FloatArray


class ReactiveSeller(RememberingSeller):
    """A seller that puts its prices on the line from Nash to monopoly prices (`PriceIndex`), by what its rivals did.

    Every rival's prices are summed up in one price index, 0 at Nash and 1 at the joint maximum; in the textbook
    duopoly this is the usual rule in terms of prices. It lists what it lists in the joint maximum.

    Args:
        view: Whose products it prices.
    """

    def __init__(self, view: SellerView) -> None:
        super().__init__(view)
        self.line = PriceIndex.of(view)
        self.listed = benchmarks_of(view).monopoly.listed[view.products]
        of = view.catalog.seller_of
        self.rivals = [of == n for n in range(view.catalog.num_sellers) if n != view.index]

    def start(self, batch: int) -> Memory:
        """Return an empty memory."""
        return {"angry": np.zeros(batch, dtype=bool)}

    def rival_indices(self, seen: Seen) -> FloatArray:
        """Return each rival's price index, shape ``(B, N - 1)``; NaN where it lists nothing."""
        columns = [self.line.index(seen.prices, seen.listed & own) for own in self.rivals]
        return np.stack(columns, axis=1) if columns else np.empty((len(seen.prices), 0))

    def index(self, rivals: FloatArray, memory: Memory) -> FloatArray:
        """Return the own price index, shape ``(B,)``, from the rivals'; NaN keeps to the joint maximum."""
        raise NotImplementedError

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Start at the joint maximum, then answer; with no rival on the shelf stay there."""
        rivals = np.where(fresh[:, None], np.nan, self.rival_indices(seen))
        nobody = np.isnan(rivals).all(axis=1)
        chosen = np.ones(len(rivals))
        if self.rivals:
            chosen = np.where(nobody, 1.0, self.index(np.where(np.isnan(rivals), np.inf, rivals), memory))
        prices = self.line.prices(chosen)[:, self.view.products]
        return np.clip(prices, self.view.price_low, self.view.price_high), np.broadcast_to(self.listed, prices.shape)


class Undercut(ReactiveSeller):
    """Asks a little less than the cheapest rival, never below a floor (rule-based repricers of marketplaces).

    Args:
        view: Whose products it prices.
        floor: Lowest price index, default 0: the Nash prices.
        tick: Step below the cheapest rival, as a price index.
    """

    def __init__(self, view: SellerView, floor: float = 0.0, tick: float = 0.05) -> None:
        super().__init__(view)
        if not 0 < tick < np.inf:
            raise invalid("undercut tick", tick, "a finite number of more than 0")
        if not np.isfinite(floor):
            raise invalid("undercut floor", floor, "a finite number")
        self.floor, self.tick = floor, tick

    def index(self, rivals: FloatArray, memory: Memory) -> FloatArray:
        """Return the cheapest rival's index less the tick, held between the floor and the joint maximum."""
        return np.clip(rivals.min(axis=1) - self.tick, self.floor, 1.0)


class TitForTat(ReactiveSeller):
    """Starts at the joint maximum, then matches the cheapest rival's last price index (Axelrod 1984).

    It matches downwards to `floor` and upwards to the joint maximum.
    """

    floor = -0.25

    def index(self, rivals: FloatArray, memory: Memory) -> FloatArray:
        """Return the cheapest rival's index."""
        return np.clip(rivals.min(axis=1), self.floor, 1.0)


class Grim(ReactiveSeller):
    """Joint-maximum prices until a rival undercuts them, then Nash prices for the rest of the episode (Friedman 1971).

    Args:
        view: Whose products it prices.
        patience: A rival's price index below 1 - patience counts as undercutting.
    """

    def __init__(self, view: SellerView, patience: float = 0.05) -> None:
        super().__init__(view)
        if not patience > 0:
            raise invalid("grim patience", patience, "more than 0")
        self.patience = patience

    def index(self, rivals: FloatArray, memory: Memory) -> FloatArray:
        """Return 1 while nobody has undercut, 0 afterwards."""
        memory["angry"] |= rivals.min(axis=1) < 1.0 - self.patience
        return np.where(memory["angry"], 0.0, 1.0)
