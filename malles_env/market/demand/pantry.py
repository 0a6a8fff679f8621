"""Pantries: what consumers still have at home of earlier purchases lowers what they buy now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from malles_env.market.demand.choice import respond
from malles_env.market.demand.mean_field import NOBODY, MeanField
from malles_env.market.offer import Offer, Response
from malles_env.market.population import Population
from malles_env.market.tastes import Tastes
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Pantry:
    """How the stock that segments have at home moves.

    The stock I is counted in periods of usual use, above the usual stock: I' = keep I + x / x_usual - 1, with x the
    segment's units per consumer. It is the mean of the segment (the limit of many consumers), no household's own, and
    moves with expected units also where demand is drawn. It starts at 0 and needs no bound: as x is at least 0, it
    stays above -1 / (1 - keep), which it nears where nothing is bought any more. At lasting prices it settles where
    (1 - keep) I = x / x_usual - 1.

    Attributes:
        keep: Share of a stock that is still there a period later, in [0, 1).
        usual: x_usual, units per consumer and period, more than 0, shape ``(S,)``, ``(D, S)`` for D draws of tastes, or
            ``(B, S)`` for B markets.
    """

    keep: float
    usual: FloatArray

    def of(self, draw: IntArray) -> Pantry:
        """Return the same for markets with these draws of the tastes, shape ``(B,)``."""
        return replace(self, usual=self.usual[draw])

    def moved(self, stock: FloatArray, response: Response) -> FloatArray:
        """Return the stock ``(B, S)`` a period later if every buyer is served."""
        return np.asarray(self.keep * stock + units_per_consumer(response) / self.usual - 1.0)


def units_per_consumer(response: Response) -> FloatArray:
    """Return the expected units per consumer of each segment, shape ``(B, S)``."""
    return np.asarray((response.probability[:, :, 1:] * response.quantity).sum(axis=2))


def pantry_of(
    draws: Sequence[Tastes],
    keep: float,
    population: Population,
    regular_price: FloatArray,
    usual_prices: FloatArray,
    mean_field: FloatArray,
    settings: MeanField,
) -> Pantry | None:
    """Return how pantries move under D draws of tastes, its `usual` of shape ``(D, S)``; None where none matters.

    Usual are the units at the usual prices with everything on the shelf, nothing promoted, reference prices equal to
    prices, first loyalty, first mean field and a pantry of 0.

    Args:
        draws: Tastes; empty where consumers must be asked, who have no pantry.
        keep: Share of a stock that is still there a period later.
        population: Gives loyalty.
        regular_price: Money, shape ``(J,)``.
        usual_prices: Money, shape ``(J,)``.
        mean_field: Shares consumers see first, shape ``(J,)``.
        settings: Of the mean field; gives its centre.
    """
    if not any(np.any(tastes.pantry) for tastes in draws):
        return None
    shelf = np.ones((1, len(regular_price)), dtype=bool)
    centre = settings.first_centre(mean_field)[None]
    loyalty = population.initial_loyalty[None]
    offer = Offer(usual_prices[None], shelf, regular_price, mean_field[None], loyalty, centre=centre)
    usual = np.concatenate([units_per_consumer(respond(tastes, offer)) for tastes in draws])
    return Pantry(keep, np.maximum(usual, NOBODY))
