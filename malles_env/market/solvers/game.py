"""`Game`: what constant prices earn in the long run, for many price vectors at once; what the solvers maximise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from malles_env.market.catalog import Catalog
from malles_env.market.demand.choice import mean_quantity, purchases, respond, utilities
from malles_env.market.demand.dynamics import Dynamics
from malles_env.market.demand.mean_field import NOBODY, MeanField
from malles_env.market.demand.pantry import Pantry, pantry_of, units_per_consumer
from malles_env.market.engine import Market
from malles_env.market.offer import Consumers, Offer, Response
from malles_env.market.population import Population
from malles_env.market.tastes import Tastes, tastes_of
from malles_env.type_aliases import BoolArray, FloatArray

MOST_PERIODS = 5_000
MOST_STEPS = 200


@dataclass(frozen=True)
class Game:
    """The game in which each seller sets constant prices and listings, and is paid the profit of the steady state.

    The steady state is the period that repeats itself under those prices with expected demand and stock that never
    runs out: each segment's last purchases, its stock at home and the mean field are what the purchases themselves
    bring about. Lagged and equilibrium coupling share it. In a market without loyalty, pantry and coupling it is every
    period. Reference prices then equal prices, long-run shares equal shares (so a coupling centred there has no
    effect), traffic has its mean, nothing is promoted, and every product has entered.

    Attributes:
        catalog, population, consumers: As in `Market`.
        mean_field: Coupling settings.
        start: Mean field from which the fixed point is sought, shape ``(J,)``; default uniform.
        dynamics: How memories fade.
        usual_prices: As in `Market`; default the regular ones.
    """

    catalog: Catalog
    population: Population
    consumers: Consumers
    mean_field: MeanField = field(default_factory=MeanField)
    start: FloatArray | None = None
    dynamics: Dynamics = field(default_factory=Dynamics)
    usual_prices: FloatArray | None = None

    @classmethod
    def of(cls, market: Market) -> Game:
        """Return the game that is played in a market."""
        return cls(
            market.catalog, market.population, market.consumers, market.mean_field, market.initial_mean_field,
            market.dynamics, market.usual_prices,
        )  # fmt: skip

    @property
    def tastes(self) -> Tastes | None:
        """The consumers' coefficients, or None where they must be asked."""
        return tastes_of(self.consumers)

    @property
    def smooth_logit(self) -> bool:
        """Whether demand is plain mixed logit in linear prices, one unit per buyer: then derivatives are exact."""
        tastes = self.tastes
        return (
            tastes is not None
            and tastes.price_transform == "linear"
            and not np.any(tastes.gamma)
            and not np.any(tastes.rho)
            and not np.any(tastes.lambda_)
            and not np.any(tastes.pantry)
            and bool(np.all(tastes.kappa == -np.inf))
        )

    def steady(self, prices: ArrayLike, listed: ArrayLike | None = None) -> Response:
        """Return how consumers respond once constant prices have settled.

        Args:
            prices: Money, shape ``(B, J)``.
            listed: Shape broadcastable to ``(B, J)``; default everything.
        """
        money = np.atleast_2d(np.asarray(prices, dtype=np.float64))
        shelf = np.broadcast_to(True if listed is None else np.asarray(listed, dtype=bool), money.shape)
        products = self.catalog.num_products
        perceived = np.full(products, 1.0 / products) if self.start is None else self.start
        first = self.population.initial_loyalty
        offer = Offer(
            money,
            shelf,
            self.catalog.regular_price,
            np.tile(perceived, (len(money), 1)),
            np.tile(first, (len(money), 1, 1)),
        )
        regular, tastes = self.catalog.regular_price, self.tastes
        pantry = pantry_of(
            () if tastes is None else (tastes,), self.dynamics.pantry_keep, self.population, regular,
            regular if self.usual_prices is None else self.usual_prices, perceived, self.mean_field,
        )  # fmt: skip
        weights, fade = self.population.weights, self.dynamics.fade
        return settle_offer(self.consumers, weights, self.mean_field, offer, fade, pantry)[1]

    def demand(self, prices: ArrayLike, listed: ArrayLike | None = None) -> FloatArray:
        """Return units per consumer and period in the steady state, shape ``(B, J)``."""
        response = self.steady(prices, listed)
        taken = response.probability[:, :, 1:] * response.quantity
        return np.asarray(np.einsum("s,bsj->bj", self.population.weights, taken))

    def product_profit(self, prices: ArrayLike, listed: ArrayLike | None = None) -> FloatArray:
        """Return profit of each product after listing fees, money per period, shape ``(B, J)``."""
        money = np.atleast_2d(np.asarray(prices, dtype=np.float64))
        shelf = np.broadcast_to(True if listed is None else np.asarray(listed, dtype=bool), money.shape)
        units = self.population.size * self.demand(money, shelf)
        return np.asarray(
            (money * self.catalog.net_of_tax - self.catalog.unit_cost) * units - self.catalog.listing_fee * shelf
        )

    def profit(self, prices: ArrayLike, listed: ArrayLike | None = None, owners: ArrayLike | None = None) -> FloatArray:
        """Return profit of each owner, money per period, shape ``(B, N)``.

        Args:
            prices: Money, shape ``(B, J)``.
            listed: Shape broadcastable to ``(B, J)``; default everything.
            owners: Owner of each product, whole numbers from 0, shape ``(J,)``; default the catalog's sellers.
        """
        of = self.catalog.seller_of if owners is None else np.asarray(owners)
        return np.asarray(self.product_profit(prices, listed) @ (of[:, None] == np.arange(of.max() + 1)))

    def surplus(self, prices: ArrayLike, listed: ArrayLike | None = None) -> FloatArray:
        """Return consumer surplus, money per period up to a constant, shape ``(B,)``."""
        response = self.steady(prices, listed)
        return np.asarray(response.surplus @ self.population.weights) * self.population.size


def settle_offer(
    consumers: Consumers, weights: FloatArray, settings: MeanField, offer: Offer, fade: float = 0.0,
    pantry: Pantry | None = None,
) -> tuple[Offer, Response]:  # fmt: skip
    """Repeat an offer until last purchases, stocks at home and the mean field are what the purchases bring about.

    Args:
        consumers: Who answers.
        weights: Segment weights, shape ``(S,)``.
        settings: Of the mean field: shares, centre, relaxation and tolerance. A centre at long-run shares settles where
            the mean field does, so that the coupling has no effect.
        offer: Shelves of B markets; its loyalty, mean field and pantry are the start.
        fade: Share of the loyal who forget in a period.
        pantry: How stocks at home move; None: they stay as the offer has them.

    Returns:
        The offer with the settled mean field (and loyalty, where a segment is loyal, and stocks at home, where they
        move), and the response to it.
    """
    tastes = tastes_of(consumers)
    offer, long_run = replace(offer, reference=None), settings.centre == "long_run"
    plain = tastes is not None and (long_run or not np.any(tastes.rho))
    response: Response | None = None
    for _ in range(MOST_PERIODS):
        if long_run:
            offer = replace(offer, centre=offer.mean_field)
        if tastes is not None and pantry is not None and np.any(tastes.pantry):
            offer = steady_pantry(tastes, offer, pantry, fade)
        elif tastes is not None and np.any(tastes.lambda_):
            offer = replace(offer, loyalty=steady_loyalty(tastes, offer, fade))
        if plain:
            break
        if tastes is None:
            response = consumers.respond(offer)
            probability = response.probability
        else:
            probability = purchases(tastes, offer)[0]
        bought = np.einsum("s,bsj->bj", weights, probability[:, :, 1:])
        if settings.shares == "buyers":
            total = bought.sum(axis=1, keepdims=True)
            bought = np.where(total < NOBODY, offer.mean_field, bought / np.maximum(total, NOBODY))
        moved = float(np.abs(bought - offer.mean_field).max())
        perceived = offer.mean_field + settings.relaxation * (bought - offer.mean_field)
        loyalty = offer.loyalty
        if response is not None:
            after = Dynamics(fade=fade).faded(response.loyalty)
            moved = max(moved, float(np.abs(after - loyalty).max()))
            loyalty = after
        if moved < settings.tolerance:
            break
        offer = replace(offer, mean_field=perceived, loyalty=loyalty)
    return offer, response if response is not None else consumers.respond(offer)


def steady_loyalty(tastes: Tastes, offer: Offer, fade: float = 0.0) -> FloatArray:
    """Return the last purchases that repeat themselves under constant prices, shape ``(B, S, J + 1)``.

    In the notation of `choice.respond`, with k = 1 - fade and s_j = l_j / D_j, a steady state has
    s_j (D_j - k (1 + L E_j)) = k E_j T with a common T, and s_0 is what is missing to T. Without fading s_j is
    E_j T / sum_i E_i and nobody is left without a last purchase. Where nothing is for sale and nobody forgets, the last
    purchases stay.

    Args:
        tastes: Coefficients.
        offer: Shelves of B markets; their loyalty is read only where nothing is for sale.
        fade: Share of the loyal who forget in a period.
    """
    utility = utilities(tastes, offer)
    shift = np.maximum(utility.max(axis=2, keepdims=True), 0.0)
    exp_u, outside, kept = np.exp(utility - shift), np.exp(-shift), 1.0 - fade
    denominator = outside + exp_u.sum(axis=2, keepdims=True)
    more = np.expm1(tastes.lambda_)[:, None] * exp_u
    stay = kept * exp_u / np.maximum(denominator + more - kept * (outside + more), 1e-300)
    flow = stay * (denominator + more)
    nobody = np.maximum(1.0 - stay.sum(axis=2, keepdims=True), 0.0) * denominator if fade > 0.0 else 0.0 * outside
    total = nobody + flow.sum(axis=2, keepdims=True)
    settled = np.concatenate([nobody, flow], axis=2) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, settled, offer.loyalty)


def steady_pantry(tastes: Tastes, offer: Offer, pantry: Pantry, fade: float = 0.0) -> Offer:
    """Return an offer with the stocks at home, and last purchases, that repeat themselves under constant prices.

    A steady state solves (1 - keep) I = x(I) / x_usual - 1, whose right side falls with I. Newton steps with the slope
    d log x / dI = -theta P(0), exact without loyalty or without fading, stay between bounds that close in on I.

    Args:
        tastes: Coefficients.
        offer: Shelves of B markets; their pantry is where the search starts.
        pantry: How stocks at home move.
        fade: Share of the loyal who forget in a period.
    """
    used = 1.0 - pantry.keep
    usual = np.broadcast_to(pantry.usual, (len(offer.prices), tastes.num_segments))
    low = np.full(usual.shape, -1.0 / used)
    high = (mean_quantity(tastes, offer).max(axis=2) / usual - 1.0) / used
    stock = np.clip(np.zeros(usual.shape) if offer.pantry is None else offer.pantry, low, high)
    loyal = bool(np.any(tastes.lambda_))
    for _ in range(MOST_STEPS):
        offer = replace(offer, pantry=stock)
        if loyal:
            offer = replace(offer, loyalty=steady_loyalty(tastes, offer, fade))
        response = respond(tastes, offer)
        bought = units_per_consumer(response) / usual
        gap = 1.0 + used * stock - bought
        low, high = np.where(gap < 0.0, stock, low), np.where(gap < 0.0, high, stock)
        after = stock - gap / (used + tastes.pantry * response.probability[:, :, 0] * bought)
        after = np.where((after < low) | (after > high), 0.5 * (low + high), after)
        if np.all(np.abs(after - stock) <= 1e-14 * (1.0 + np.abs(stock))):
            break
        stock = after
    return offer


def exact_derivatives(game: Game, prices: FloatArray, listed: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return shares and their derivatives in a `smooth_logit` game at one price vector.

    dP_k / dp_j = gamma_jk - lambda_j 1[j = k] with lambda_j = sum_s w_s beta_sj P_sj and
    gamma_jk = sum_s w_s beta_sj P_sj P_sk (Train 2009, section 3.6; the split is Morrow and Skerlos 2011).

    Returns:
        Shares ``(J,)``, lambda ``(J,)`` and gamma ``(J, J)``.
    """
    tastes, weights = game.tastes, game.population.weights
    assert tastes is not None
    share = game.steady(prices[None], listed[None]).probability[0, :, 1:]
    slope = weights[:, None] * tastes.beta * share
    return weights @ share, slope.sum(axis=0), slope.T @ share
