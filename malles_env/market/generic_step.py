"""Asking consumers that carry no coefficient arrays: the response to an offer, coupled or not, and its purchases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import invalid
from malles_env.market.catalog import Catalog
from malles_env.market.demand.choice import respond
from malles_env.market.demand.mean_field import NOBODY, MeanField
from malles_env.market.offer import Consumers, Offer, Response
from malles_env.market.population import Population
from malles_env.market.seller_rules.tiers import Posted
from malles_env.market.state import Demand
from malles_env.market.tastes import Tastes
from malles_env.type_aliases import FloatArray, IntArray

if TYPE_CHECKING:
    from malles_env.market.kernels.period_kernel import Terms


def find_response(
    consumers: Consumers, offer: Offer, weights: FloatArray, settings: MeanField
) -> tuple[Offer, Response, FloatArray, FloatArray]:
    """Ask once, or in equilibrium coupling until the perceived shares are the resulting ones.

    Args:
        consumers: Who answers.
        offer: Shelves of B markets; its mean field is the start of the iteration.
        weights: Segment weights, shape ``(S,)``.
        settings: Coupling, relaxation, tolerance and most iterations.

    Returns:
        The offer with the perceived mean field, the response, and residual and iterations of shape ``(B,)``.
    """
    response = consumers.respond(offer)
    residual, count = np.zeros(len(offer.prices)), np.zeros(len(offer.prices))
    if settings.coupling == "lagged":
        return offer, response, residual, count
    for _ in range(settings.max_iterations):
        share = np.einsum("s,bsj->bj", weights, response.probability[:, :, 1:])
        if settings.shares == "buyers":
            inside = share.sum(axis=1, keepdims=True)
            share = np.where(inside < NOBODY, offer.mean_field, share / np.maximum(inside, NOBODY))
        step = share - offer.mean_field
        residual = np.abs(step).max(axis=1)
        moving = residual >= settings.tolerance
        if not moving.any():
            break
        count += moving
        offer = replace(offer, mean_field=offer.mean_field + settings.relaxation * step * moving[:, None])
        response = consumers.respond(offer)
    return offer, response, residual, count


@dataclass(frozen=True)
class DrawnConsumers:
    """Consumers of several markets, each with tastes of its own.

    Attributes:
        draws: The tastes there are.
        draw: Which of them each market has, shape ``(B,)``.
    """

    draws: Sequence[Tastes]
    draw: IntArray

    @property
    def num_segments(self) -> int:
        """S."""
        return self.draws[0].num_segments

    @property
    def num_products(self) -> int:
        """J."""
        return self.draws[0].num_products

    def respond(self, offer: Offer) -> Response:
        """Answer an offer of B markets, each with its own tastes, see `malles_env.market.demand.choice.respond`."""
        if len(self.draws) == 1:
            return respond(self.draws[0], offer)
        rows = [np.flatnonzero(self.draw == d) for d in np.unique(self.draw)]
        answers = [respond(self.draws[self.draw[at[0]]], offer.take(at)) for at in rows]
        back = np.argsort(np.concatenate(rows), kind="stable")
        names = [f.name for f in fields(Response) if getattr(answers[0], f.name) is not None]
        parts = {name: np.concatenate([getattr(a, name) for a in answers])[back] for name in names}
        return Response(**parts)


def window_of(
    settings: MeanField, consumers: Consumers, catalog: Catalog, population: Population, mean_field: FloatArray
) -> int:
    """Return the mean field's window in periods; only ``"auto"`` asks the consumers, once.

    Its sampled purchases per period are the consumers expected to buy at regular prices with everything on the shelf,
    first loyalty and first mean field. Shares of the population are sampled from all consumers.

    Args:
        settings: Window and shares.
        consumers: Who would buy.
        catalog: Gives regular prices.
        population: Gives weights, size and loyalty.
        mean_field: Shares consumers see first, shape ``(J,)``.
    """
    if settings.window != "auto" or settings.shares == "population":
        return settings.periods(population.size)
    regular = catalog.regular_price
    shelf = np.ones((1, catalog.num_products), dtype=bool)
    centre = settings.first_centre(mean_field)[None]
    offer = Offer(regular[None], shelf, regular, mean_field[None], population.initial_loyalty[None], centre=centre)
    outside = float(population.weights @ consumers.respond(offer).probability[0, :, 0])
    return settings.periods(population.size * (1.0 - outside))


def draw_purchases(
    response: Response, population: Population, demand: Demand, terms: Terms, traffic: FloatArray,
    streams: np.ndarray, sums: FloatArray, offer: Offer, posted: Posted = None,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Draw what the consumers of a response buy, segment by segment for ``"exact"`` demand.

    Args:
        response: Of B markets.
        population: Segments.
        demand: How to draw.
        terms: Of the market.
        traffic: Consumers over the usual number of them, shape ``(B,)``.
        streams: Random stream of each market, ``(B, 4)``; they move on.
        sums: Sums of the period ``(4, B)``, the share that buys nothing first.
        offer: What was answered.
        posted: Quantity discounts; the units wanted at tier prices are written to its second part.

    Returns:
        Buyers and units wanted, shape ``(B, J)`` each.

    Raises:
        InvalidInput: Quantity discounts, but consumers whose answers do not hold what they make of them.
    """
    from malles_env.market.kernels.period_kernel import draw_exact, draw_rows

    inside, weights = response.probability[:, :, 1:], population.weights
    buyers, wanted = (np.empty((len(inside), inside.shape[2])) for _ in range(2))
    sizes = None
    if demand == "exact":
        sizes = np.stack([whole_sizes(weights, population.size * factor) for factor in traffic])
    if posted is not None:
        _draw_tiered(response, offer, posted, weights, sizes, terms, traffic, streams, sums, buyers, wanted)
    elif sizes is not None:
        draw_exact(np.ascontiguousarray(response.probability), response.quantity, sizes, streams, buyers, wanted)
    else:
        extra = np.einsum("s,bsj->bj", weights, inside * (response.quantity - 1.0))
        share = np.einsum("s,bsj->bj", weights, inside)
        draw_rows(np.arange(len(share)), 0, len(share), share, extra, sums, traffic, streams, terms, buyers, wanted)
    return buyers, wanted


def _draw_tiered(
    response: Response, offer: Offer, posted: tuple[Any, ...], weights: FloatArray, sizes: FloatArray | None,
    terms: Terms, traffic: FloatArray, streams: np.ndarray, sums: FloatArray, buyers: FloatArray, wanted: FloatArray,
) -> None:  # fmt: skip
    """Fill buyers, units wanted and those wanted at tier prices; `sizes` of segments are given for exact draws."""
    from malles_env.market.kernels.tier_period_kernel import draw_all, draw_exact_tiered

    if response.tier is None or offer.tier_prices is None:
        raise invalid("tier prices below list prices", "posted", "none: these consumers do not answer to them")
    _, at_tier, t = posted
    if sizes is not None:
        draw_exact_tiered(
            np.ascontiguousarray(response.probability), response.quantity, response.tier,
            offer.tier_prices / offer.prices, t.threshold, sizes, streams, buyers, wanted, at_tier,
        )  # fmt: skip
        return
    inside = response.probability[:, :, 1:]
    share = np.einsum("s,bsj->bj", weights, inside)
    extra = np.einsum("s,bsj->bj", weights, inside * (response.quantity - 1.0))
    tiered = np.ascontiguousarray(np.einsum("s,bsj,brsj->rbj", weights, inside, response.tier[:, :2]))
    every = np.arange(len(share))
    draw_all(
        every, 0, len(share), offer.prices, offer.tier_prices, offer.available, share, extra, tiered, sums, traffic,
        streams, terms, t.threshold, buyers, wanted, at_tier,
    )  # fmt: skip


def whole_sizes(weights: FloatArray, size: float) -> FloatArray:
    """Split round(size) consumers over segments in whole numbers, by largest remainders; shape ``(S,)``."""
    target = weights * round(size)
    sizes = np.floor(target)
    missing = round(size) - int(sizes.sum())
    sizes[np.argsort(sizes - target, kind="stable")[:missing]] += 1
    return sizes
