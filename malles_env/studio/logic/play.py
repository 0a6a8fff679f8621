"""An episode played by hand: one seller's moves, week by week, against rivals that follow rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from malles_agents.planning.search import Stationary, search
from malles_agents.registry import Seller, make_seller
from malles_agents.seller_view import SellerView
from malles_env.envs.display.recording import Recording
from malles_env.envs.parallel import parallel_env
from malles_env.envs.play import play_episode
from malles_env.envs.single import PricingEnv
from malles_env.errors import MallesError, invalid
from malles_env.studio.logic.market import World

RIVALS = (
    "cost-plus", "regular-price", "discount", "best-response", "undercut", "tit-for-tat", "grim", "nash", "monopoly",
    "random", "thompson", "q-learning",
)  # fmt: skip
"""Kinds of sellers that are offered as rivals: those that need no file."""


@dataclass(frozen=True)
class Move:
    """What the seller does in one period, product by product in the order of its own products.

    Attributes:
        prices: Money.
        listed: What is on the shelf.
        display, feature: What is displayed and advertised; empty where the scenario has no promotions.
        order: Units ordered; empty where products are not ordered.
    """

    prices: tuple[float, ...]
    listed: tuple[bool, ...]
    display: tuple[bool, ...] = ()
    feature: tuple[bool, ...] = ()
    order: tuple[float, ...] = ()


def usual_move(world: World, agent: str) -> Move:
    """Return regular prices for the usual shelf, and orders of nothing."""
    own = world.products(agent)
    prices = np.clip(world.catalog.regular_price, world.catalog.price_low, world.catalog.price_high)[own]
    none = tuple(False for _ in own)
    promotes = world.catalog.promotions is not None
    return Move(
        tuple(map(float, prices)),
        tuple(map(bool, world.usual_shelf[own])),
        none if promotes else (),
        none if promotes else (),
        tuple(0.0 for _ in own) if world.catalog.replenishment is not None else (),
    )


class HandPlay:
    """One episode under way. Equal seeds and moves give equal episodes, so undoing is playing again without the last.

    Args:
        world: The market.
        agent: Whose products are sold by hand.
        rivals: Kind of seller per other agent; those not named are ``"cost-plus"``.
        seed: Decides demand.

    Attributes:
        moves: Made so far.
        ledgers: What each period brought the seller: money, units and share.

    Raises:
        InvalidInput: No such agent or kind of seller.
    """

    def __init__(self, world: World, agent: str, rivals: Mapping[str, str] | None = None, seed: int = 0) -> None:
        others = [name for name in world.agents if name != agent]
        self.world, self.agent, self.seed = world, agent, seed
        self.rivals = {name: (rivals or {}).get(name, "cost-plus") for name in others}
        self._env = PricingEnv(world.scenario, seller=agent, rivals=dict(self.rivals), consumers=world.consumers)
        self.moves: list[Move] = []
        self.ledgers: list[dict[str, Any]] = []
        self.recording = Recording()
        self._begin()

    def _begin(self) -> None:
        self._env.reset(seed=self.seed)
        self.moves, self.ledgers = [], []
        self.recording.clear()

    @property
    def periods(self) -> int:
        """Periods of a whole episode."""
        return self._env.max_cycles

    @property
    def left(self) -> int:
        """Periods still to be played."""
        return self.periods - len(self.moves)

    def play(self, move: Move, periods: int = 1) -> None:
        """Make the same move for some periods, at most to the end.

        Raises:
            InvalidInput: A move that is not allowed; the state is unchanged then.
            MallesError: The episode is over.
        """
        if not self.left:
            raise MallesError(f"all {self.periods} periods are played; undo one or begin anew")
        checked = self._checked(move)
        for _ in range(min(periods, self.left)):
            _, _, _, _, info = self._env.step(checked)
            assert self._env.outcome is not None
            self.moves.append(move)
            self.ledgers.append(info)
            self.recording.add(self._env.outcome)

    def _checked(self, move: Move) -> Any:
        own, catalog = self.world.products(self.agent), self.world.catalog
        boxes = zip(own, move.prices, strict=True)
        for j, price in boxes:
            low, high = float(catalog.price_low[j]), float(catalog.price_high[j])
            if not low <= price <= high:
                raise invalid(f"price of {catalog.products[j].product_id}", price, f"{low:g} to {high:g}")
        shelf = int(catalog.shelf[self.world.slot_layout.index(self.agent)])
        if sum(move.listed) > shelf:
            raise invalid("products on the shelf", sum(move.listed), f"at most {shelf}")
        return self._env.encode_action(
            move.prices, move.listed, move.display or None, move.feature or None, move.order or None
        )

    def undo(self) -> None:
        """Take the last period back."""
        kept = self.moves[:-1]
        self._begin()
        for move in kept:
            self.play(move)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per product and period, for tables and files."""
        kept, scenario = self.recording.arrays(), self.world.scenario
        owner = [product.seller for product in scenario.products]
        return [
            {
                "period": t + 1,
                "seller": owner[j],
                "product": scenario.product_ids[j],
                "price": round(float(kept["prices"][t, j]), 4),
                "listed": bool(kept["listed"][t, j]),
                "units": float(kept["units"][t, j]),
                "share": float(kept["share"][t, j]),
                "profit": round(float(kept["profit"][t, j]), 4),
            }
            for t in range(len(self.moves))
            for j in range(len(scenario.products))
        ]

    def profits(self) -> list[float]:
        """Return the seller's profit of each period, money."""
        return [float(ledger["profit"]) for ledger in self.ledgers]

    def surplus(self) -> list[float]:
        """Return consumer surplus of each period, money per consumer, up to a constant."""
        return [float(ledger["surplus"]) / self.world.scenario.population_size for ledger in self.ledgers]

    def record(self) -> dict[str, Any]:
        """Return all that is needed to play this episode again, and what it earned; see `replay`."""
        scenario = self.world.scenario
        return {
            "scenario": scenario.name,
            "scenario_hash": scenario.digest(),
            "model": self.world.model,
            "seller": self.agent,
            "rivals": self.rivals,
            "seed": self.seed,
            "moves": [asdict(move) for move in self.moves],
            "currency": scenario.currency,
            "profit": sum(self.profits()),
        }


def replay(world: World, record: Mapping[str, Any]) -> HandPlay:
    """Return the episode of a record, played again.

    Args:
        world: The market it was played in.
        record: From `HandPlay.record`, or read from the file that holds it.

    Raises:
        InvalidInput: It was played in another market.
    """
    if record["scenario_hash"] != world.scenario.digest():
        raise invalid("record", record["scenario"], f"an episode of this version of {world.scenario.name}")
    found = HandPlay(world, record["seller"], record["rivals"], record["seed"])
    for fields in record["moves"]:
        found.play(Move(**{name: tuple(value) for name, value in fields.items()}))
    return found


def rival_sellers(world: World, rivals: Mapping[str, str]) -> dict[str, Seller]:
    """Return sellers by the names of their kinds."""
    return {
        agent: make_seller(kind, world.scenario, agent, consumers=world.consumers) for agent, kind in rivals.items()
    }


def best_constant(world: World, agent: str, rivals: Mapping[str, str]) -> Stationary:
    """Return the constant prices and shelf that earn most against these rivals, found by search, knowing demand."""
    return search(world.scenario, agent, rival_sellers(world, rivals), consumers=world.consumers)


def policy_profits(world: World, agent: str, rivals: Mapping[str, str], seed: int, seller: Seller) -> list[float]:
    """Return what another seller earns in each period of the same episode, money.

    Args:
        world: The market.
        agent: The place it sells at.
        rivals: As in `HandPlay`.
        seed: As in `HandPlay`.
        seller: Who sells.
    """
    env = parallel_env(world.scenario, consumers=world.consumers)
    sellers: dict[str, Any] = {**rivals, agent: seller}
    return [float(infos[agent]["profit"]) for infos in play_episode(env, sellers, seed=seed)]


def constant_profits(world: World, agent: str, rivals: Mapping[str, str], seed: int, best: Stationary) -> list[float]:
    """Return what constant prices earn in each period of the same episode, money."""
    seller = best.seller(SellerView.of(world.scenario, agent, consumers=world.consumers))
    return policy_profits(world, agent, rivals, seed, seller)
