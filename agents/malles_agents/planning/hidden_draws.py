"""Sellers for hidden draws of the tastes: a robust constant action, and Thompson sampling over the draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from malles_agents.planning.search import EpisodeValue, Stationary, search
from malles_agents.registry import default_rivals
from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.remembering import Memory, RememberingSeller
from malles_agents.sellers.rules import StationarySeller
from malles_env.consumers import LogitConsumers
from malles_env.errors import invalid
from malles_env.market import Consumers, Offer, Tastes
from malles_env.market.demand.choice import respond
from malles_env.market.demand.pantry import pantry_of
from malles_env.market.solvers.ascent import Box, climb
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

SENSITIVITIES = (0.6, 0.8, 1.0, 1.3, 1.8)
"""Plausible multiples of the price sensitivity where consumers carry no draws."""
MODEL_ERROR = 0.02
"""Standard deviation of units around what a draw predicts that is no sampling noise, as a share of them."""
FINALISTS = 4
"""Starting points of the search of each draw; on the bundled markets more found nothing better."""
MOST_STARTS = 4
BATCH = 32
"""Candidates valued side by side; changes speed only."""


def draws_of(view: SellerView) -> tuple[Tastes, ...]:
    """Return the tastes that a seller without knowledge of the draw holds possible, all equally likely.

    They are the consumers' own draws; those of the same taste model where the consumers come without; and where tastes
    stand in a file, these with their price sensitivity times each of SENSITIVITIES, demand at regular prices unchanged.

    Raises:
        InvalidInput: Consumers without tastes, which nobody can draw.
    """
    consumers: Any = view.consumers
    draws = tuple(getattr(consumers, "draws", ()))
    if not draws and hasattr(consumers, "weights_hash"):
        draws = tuple(getattr(view.scenario.build_consumers(consumers.model, draws=True), "draws", ()))
    if draws:
        return draws
    tastes = getattr(consumers, "tastes", None)
    if tastes is None:
        raise invalid(
            "seller", type(consumers).__name__, "a seller that needs no draws: these consumers have no tastes"
        )
    level = tastes.beta * view.catalog.regular_price if tastes.price_transform == "linear" else 0.0
    return tuple(
        replace(tastes, beta=factor * tastes.beta, alpha=tastes.alpha + (factor - 1.0) * level)
        for factor in SENSITIVITIES
    )


@dataclass(frozen=True)
class PossibleTastes(LogitConsumers):
    """Consumers who carry the draws that a seller holds possible, see `draws_of`."""

    draws: tuple[Tastes, ...] = ()


def with_draws(view: SellerView) -> Consumers:
    """Return the seller's consumers carrying draws: as they are where they have some, else with those of `draws_of`."""
    consumers: Any = view.consumers
    return consumers if getattr(consumers, "draws", ()) else PossibleTastes(consumers.tastes, draws_of(view))


@dataclass(frozen=True)
class BestOfDraws:
    """What is best for a seller under each of D draws, against rivals of one kind.

    Attributes:
        draws: The tastes.
        prices: Money, shape ``(D, J_n)``.
        listed: Shape ``(D, J_n)``.
        value: Profit per episode under the draw itself, expected demand, money, shape ``(D,)``.
    """

    draws: tuple[Tastes, ...]
    prices: FloatArray
    listed: BoolArray
    value: FloatArray

    def take(self, rows: IntArray) -> BestOfDraws:
        """Return the table of some of the draws."""
        return BestOfDraws(tuple(self.draws[d] for d in rows), self.prices[rows], self.listed[rows], self.value[rows])


Key = tuple[str, str, int, str]
_KNOWN: dict[Key, tuple[Consumers, BestOfDraws]] = {}
_ROBUST: dict[tuple[Key, bool], tuple[FloatArray, BoolArray]] = {}


def _key(view: SellerView, rivals: str) -> Key:
    return view.scenario.model_dump_json(), view.agent, id(view.consumers), rivals


def best_of_draws(view: SellerView, rivals: str = "cost-plus") -> BestOfDraws:
    """Return the best stationary action of each draw; found once per scenario, agent, consumers and kind of rivals."""
    if _key(view, rivals) not in _KNOWN:
        draws = draws_of(view)
        found = [_best_under(draw, view, rivals) for draw in draws]
        prices, listed, value = (
            np.array([getattr(best, name) for best in found]) for name in ("prices", "listed", "value")
        )
        know_best_of_draws(view, BestOfDraws(draws, prices, listed, value), rivals)
    return _KNOWN[_key(view, rivals)][1]


def know_best_of_draws(
    view: SellerView, table: BestOfDraws, rivals: str = "cost-plus", robust: tuple[FloatArray, BoolArray] | None = None
) -> None:
    """Take as known what `best_of_draws` (and `robust_stationary`) found before for the same agent and draws."""
    # the consumers are kept, so that their id stays theirs
    _KNOWN[_key(view, rivals)] = (view.consumers, table)
    if robust is not None:
        _ROBUST[_key(view, rivals), False] = robust


def _best_under(draw: Tastes, view: SellerView, rivals: str) -> Stationary:
    consumers = LogitConsumers(draw)
    others = default_rivals(view.scenario, view.agent, rivals, consumers=consumers)
    return search(view.scenario, view.agent, others, consumers=consumers, finalists=FINALISTS, num_markets=BATCH)


class DrawValues:
    """Profit per episode of constant actions under every draw, expected demand.

    Args:
        view: Whose actions.
        table: The draws and what is best under each.
        rivals: Kind of the other sellers.
    """

    def __init__(self, view: SellerView, table: BestOfDraws, rivals: str = "cost-plus") -> None:
        self.table, self.values = table, []
        for tastes in table.draws:
            consumers = LogitConsumers(tastes)
            others = default_rivals(view.scenario, view.agent, rivals, consumers=consumers)
            self.values.append(EpisodeValue(view.scenario, view.agent, others, num_markets=BATCH, consumers=consumers))

    def __call__(self, rows: IntArray, prices: FloatArray, listed: BoolArray) -> FloatArray:
        """Return money under each draw, shape ``(D, n)``."""
        return np.array([value(rows, prices, listed) for value in self.values])

    def mean(self, rows: IntArray, prices: FloatArray, listed: BoolArray) -> FloatArray:
        """Return the mean over the draws, money, shape ``(n,)``."""
        return np.asarray(self(rows, prices, listed).mean(axis=0))

    def least_share(self, rows: IntArray, prices: FloatArray, listed: BoolArray) -> FloatArray:
        """Return the least share, over draws, of what the draw allows, shape ``(n,)``."""
        return np.asarray((self(rows, prices, listed) / self.table.value[:, None]).min(axis=0))


def robust_stationary(view: SellerView, worst: bool = False, rivals: str = "cost-plus") -> StationarySeller:
    """Return the constant action with the best mean profit over the draws, or the max-min one.

    Found by a search that starts at the best actions of single draws, with expected demand over whole episodes. The
    max-min action maximises the least share, over draws, of what the best stationary action of the draw earns: shares,
    since the profits themselves would make it the best action of the poorest draw.

    Args:
        view: Whose products it prices.
        worst: Whether to take the max-min action.
        rivals: Kind of the other sellers.
    """
    key = (_key(view, rivals), worst)
    if key not in _ROBUST:
        _ROBUST[key] = robust_action(view, DrawValues(view, best_of_draws(view, rivals), rivals), worst)
    return StationarySeller(view, *_ROBUST[key])


def robust_action(view: SellerView, values: DrawValues, worst: bool = False) -> tuple[FloatArray, BoolArray]:
    """Return prices and listings of the robust action, ``(J_n,)`` each, see `robust_stationary`."""
    objective = values.least_share if worst else values.mean
    prices, listed = values.table.prices, values.table.listed
    order = np.argsort(-objective(np.arange(len(prices)), prices, listed), kind="stable")[:MOST_STARTS]
    box = Box(view.price_low, view.price_high, view.unit_cost, view.capacity)
    top = climb(objective, box, prices[order], listed[order], tolerance=1e-3)
    best = int(top.value.argmax())
    return top.prices[best], top.listed[best]


class ThompsonDraws(RememberingSeller):
    """Thompson sampling over the draws of the tastes: sample one from the posterior, play its best stationary action.

    The prior is uniform over `draws_of`. Each period every draw predicts the seller's units from what was asked, the
    mean field and reference prices it saw, and loyalty and pantry as they would have moved under that draw; the
    likelihood is Gaussian, product by product, with the variance of a Poisson number of buyers who take
    1 + Poisson(q - 1) units each, of the scenario's traffic, and of MODEL_ERROR. Products out of stock say nothing.
    Thompson (1933); Ferreira, Simchi-Levi and Wang (2018) for prices. The action of each draw is that against
    cost-plus rivals.

    Args:
        view: Whose products it prices.
        seed: Of its sampling.

    Raises:
        InvalidInput: Consumers without tastes.
    """

    def __init__(self, view: SellerView, seed: int = 0) -> None:
        super().__init__(view)
        self.table = best_of_draws(view)
        self.rng = np.random.default_rng([seed, view.index])
        self.population = view.scenario.population()
        self.dynamics = view.scenario.dynamics()
        self.pantry = pantry_of(
            self.table.draws, self.dynamics.pantry_keep, self.population, view.catalog.regular_price,
            view.scenario.average_price(), view.scenario.first_mean_field(), view.scenario.mean_field_settings(),
        )  # fmt: skip

    def start(self, batch: int) -> Memory:
        """Return the uniform prior, first loyalty and pantry under every draw, and nothing seen."""
        draws, shape = len(self.table.draws), (batch, self.view.catalog.num_products)
        loyalty = self.population.initial_loyalty
        return {
            "score": np.zeros((batch, draws)),
            "loyalty": np.tile(loyalty, (batch, draws, 1, 1)),
            "pantry": np.zeros((batch, draws, len(loyalty))),
            "mean_field": np.zeros(shape),
            "long_share": np.full(shape, np.nan),
            "reference": np.full(shape, np.nan),
        }

    def decide_in(self, seen: Seen, memory: Memory, fresh: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Weigh the draws by the last sales, sample one per market, and return its action."""
        rows = np.flatnonzero(~fresh)
        if len(rows):
            self._learn(seen, memory, rows)
        for name in ("mean_field", "long_share", "reference"):
            memory[name] = getattr(seen, name).copy()
        odds = np.cumsum(self.posterior(memory), axis=1)
        draw = np.minimum((odds < self.rng.random((len(odds), 1))).sum(axis=1), odds.shape[1] - 1)
        return self.table.prices[draw], self.table.listed[draw]

    @staticmethod
    def posterior(memory: Memory) -> FloatArray:
        """Return the probability of each draw, shape ``(B, D)``."""
        odds = np.exp(memory["score"] - memory["score"].max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def _learn(self, seen: Seen, memory: Memory, rows: IntArray) -> None:
        own = self.view.products
        units = seen.sales[rows][:, own]
        informative = seen.listed[rows][:, own] & (seen.stock[rows][:, own] > 0)
        for d in range(len(self.table.draws)):
            mean, variance = self.expected(seen, memory, rows, d)
            score = -0.5 * ((units - mean) ** 2 / variance + np.log(variance))
            memory["score"][rows, d] += np.where(informative, score, 0.0).sum(axis=1)

    def expected(self, seen: Seen, memory: Memory, rows: IntArray, d: int) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of the seller's units in the period that `seen` shows, under one draw.

        Args:
            seen: What the observations after that period say.
            memory: As it was before; loyalty and pantry under the draw move on.
            rows: Markets to look at.
            d: The draw.

        Returns:
            Each of shape ``(len(rows), J_n)``.
        """
        own, weights, size = self.view.products, self.population.weights, self.population.size
        tastes = self.table.draws[d]
        response = respond(tastes, self._offer(seen, memory, rows, d, tastes))
        memory["loyalty"][rows, d] = self.dynamics.faded(response.loyalty)
        if self.pantry is not None:
            moved = self.pantry.of(np.full(len(rows), d)).moved(memory["pantry"][rows, d], response)
            memory["pantry"][rows, d] = moved
        buyers, each = response.probability[:, :, 1:][:, :, own], response.quantity[:, :, own]
        mean = size * np.einsum("s,bsj->bj", weights, buyers * each)
        noise = size * np.einsum("s,bsj->bj", weights, buyers * (each**2 + each - 1.0))
        spread = np.sqrt(MODEL_ERROR**2 + self.dynamics.season_sd**2)
        return mean, noise + (spread * mean) ** 2 + 1.0

    def _offer(self, seen: Seen, memory: Memory, rows: IntArray, d: int, tastes: Tastes) -> Offer:
        """Return what consumers were offered in the period that `seen` shows, as the seller knows it."""
        reference, centre = memory["reference"][rows], memory["long_share"][rows]
        return Offer(
            prices=seen.prices[rows],
            available=seen.listed[rows],
            regular_price=self.view.catalog.regular_price,
            mean_field=memory["mean_field"][rows],
            loyalty=memory["loyalty"][rows, d],
            reference=None if np.isnan(reference).any() or not tastes.compares_prices else np.log(reference),
            centre=None if np.isnan(centre).any() else centre,
            pantry=memory["pantry"][rows, d],
        )
