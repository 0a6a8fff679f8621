"""The batched core shared by all envs: a batch of markets, with actions going in and observations coming out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from gymnasium import spaces

from malles_env._moved import old_names
from malles_env.envs.core.given_market import GivenMarket
from malles_env.envs.core.hooks import check_function, checked_rewards, transformed
from malles_env.envs.core.settings import EnvSettings, Settings
from malles_env.envs.core.single_market import SingleMarket, fits, outcome_of
from malles_env.envs.spaces.actions import Actions
from malles_env.envs.spaces.kernels import write_ledger, write_stock_ledger
from malles_env.envs.spaces.observations import NO_FLAGS, NO_ORDERS, Layout
from malles_env.envs.spaces.price_rules import RuledPrices
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.envs.spaces.tiers import NO_TIERS, TIER_KEYS, shown_depths, write_tier_ledger
from malles_env.errors import InvalidInput, check_choice, invalid
from malles_env.market import Market, Outcome
from malles_env.type_aliases import BoolArray, FloatArray

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from malles_env.envs.core.settings import ScenarioLike
    from malles_env.scenarios import Scenario

MOST_CYCLES = 10**9
LONGEST_HISTORY = 1000
MOST_SEED = 2**63 - 1
MONEY_KEYS = ("revenue", "cost", "fees", "profit", "units", "share", "surplus")
STOCK_KEYS = ("ordered", "ordering_cost", "holding_cost", "salvage", "stock", "capped_orders")
"""What infos hold besides where products are ordered: units, money, money, money, units, units."""


def find_scenario(scenario: ScenarioLike) -> Scenario:
    """Return the scenario of a name or path; anything that can build a market is returned as it is."""
    if isinstance(scenario, Market):
        return cast("Scenario", GivenMarket(scenario))
    if hasattr(scenario, "market"):
        return cast("Scenario", scenario)
    from malles_env.scenarios import load_scenario

    return load_scenario(scenario)


def check_cycles(max_cycles: int | None, scenario: Scenario) -> int:
    """Return the periods of an episode, the scenario's own by default.

    Raises:
        InvalidInput: Not a whole number of at least 1.
    """
    cycles = scenario.max_cycles if max_cycles is None else max_cycles
    if isinstance(cycles, bool) or not isinstance(cycles, (int, np.integer)) or not 1 <= cycles <= MOST_CYCLES:
        raise invalid("max_cycles", max_cycles, f"a whole number from 1 to {MOST_CYCLES}")
    return int(cycles)


def check_seed(seed: Any) -> int:
    """Return a seed as a plain number.

    Raises:
        InvalidInput: Not a whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed <= MOST_SEED:
        raise invalid("seed", seed, f"a whole number of at least 0 and at most {MOST_SEED}")
    return int(seed)


class MarketBatch:
    """B markets of one scenario with N sellers.

    Args:
        scenario: Name, path, scenario or `Market`.
        num_markets: B.
        settings: See `EnvSettings`.

    Attributes:
        market: The market engine.
        max_cycles: Periods of an episode.
        as_dict: Whether agents see the blocks of an observation by name.
        slot_layout, actions, layout: Who plays, what goes in, what comes out.
        rules: The price rules; None where the scenario has none.
        info_keys: What `ledger` holds of each seller: MONEY_KEYS, what the price rules count, TIER_KEYS where products
            carry tiers, and STOCK_KEYS where they are ordered.
        episode: A number per market that its seed, or its stream and its last episode, gave the present episode;
            shape ``(B,)``.
    """

    def __init__(
        self,
        scenario: ScenarioLike,
        *,
        num_markets: int = 1,
        **settings: Unpack[EnvSettings],
    ) -> None:
        chosen = Settings(**settings)
        self.scenario = find_scenario(scenario)
        self.max_cycles = check_cycles(chosen.max_cycles, self.scenario)
        history = check_history(chosen.history, self.max_cycles)
        # Whatever else can build a market need not know of draws.
        check_choice("tastes", chosen.tastes, (None, "mean", "draws"))
        overrides: dict[str, Any] = {"demand": chosen.demand, "tastes": chosen.tastes}
        overrides = {name: value for name, value in overrides.items() if value is not None}
        self.market: Market = self.scenario.market(num_markets=num_markets, consumers=chosen.consumers, **overrides)
        catalog = self.market.catalog
        self.slot_layout = SlotLayout(catalog)
        self.actions = Actions(self.slot_layout, chosen.action_mode, chosen.price_levels)
        size, memories = self.market.population.size, self.market.memories
        self.layout = Layout(self.slot_layout, size, chosen.monitoring, memories, history)
        check_choice("observation_mode", chosen.observation_mode, ("flat", "dict"))
        self.observation_mode, self.as_dict = chosen.observation_mode, chosen.observation_mode == "dict"
        self.reward_fn, self.observation_fn = chosen.reward_fn, chosen.observation_fn
        check_function("reward_fn", self.reward_fn)
        check_function("observation_fn", self.observation_fn)
        if self.observation_fn is not None and self.as_dict:
            raise invalid("observation_mode", "dict", "flat beside an observation_fn, which returns one array")
        self.reward_scale = float(self.scenario.reward_scale)
        self.rules = None if catalog.price_rules is None else RuledPrices(self.slot_layout, catalog.price_rules)
        counted, stocked = () if self.rules is None else self.rules.keys, STOCK_KEYS if self.actions.orders else ()
        tiers = TIER_KEYS if self.actions.tiers else ()
        self.info_keys = (*MONEY_KEYS, *counted, *tiers, *stocked)
        self._lowest = catalog.price_low.copy() if self.rules is None else self.rules.lowest
        self._outcome: Outcome | None = None
        self._parts: list[Any] | None = None
        self.episode = np.zeros(num_markets, dtype=np.uint64)
        self._past: np.ndarray = np.zeros((num_markets, self.slot_layout.count, 0), dtype=np.float32)
        self._start(None)
        self._seen_size = self.layout.size if self.observation_fn is None else self.observe(1.0).shape[2]

    @property
    def outcome(self) -> Outcome | None:
        """What happened in the last period; None before the first."""
        if self._parts is not None:
            self._outcome, self._parts = outcome_of(*self._parts), None
        return self._outcome

    @cached_property
    def _single(self) -> SingleMarket | None:
        return SingleMarket(self) if fits(self) else None

    def observation_space(self) -> spaces.Space[Any]:
        """Return a new space of what one agent sees."""
        if self.observation_fn is None:
            return self.layout.space(self.observation_mode)
        return spaces.Box(-np.inf, np.inf, (self._seen_size,), np.float32)

    def summary(self, face: object, *more: str) -> str:
        """Return one line about an env: what is played, by how many, for how long."""
        slot_layout, catalog = self.slot_layout, self.slot_layout.catalog
        name = getattr(self.scenario, "name", type(self.scenario).__name__)
        sellers, products = f"{slot_layout.count} sellers", f"{catalog.num_products} products"
        parts = [sellers, products, f"{self.max_cycles} periods", *more]
        return f"<{type(face).__name__} {name}: {', '.join(parts)}, {self.actions.mode} actions>"

    def html(self, face: object, **facts: Any) -> str:
        """Return what notebooks show of an env."""
        from malles_env.scenarios.notebook import market_html

        properties = {
            "env": type(face).__name__, **facts, "action mode": self.actions.mode, "periods": self.max_cycles,
            "observation": f"{self._seen_size} numbers", "reward": "its own" if self.reward_fn else "profit / scale",
        }  # fmt: skip
        title = getattr(self.scenario, "title", "") or getattr(self.scenario, "name", "market")
        return market_html(title, self.slot_layout.catalog, properties)

    @cached_property
    def plain_layout(self) -> Layout:
        """The layout that sellers by name know: of ``"prices"`` monitoring, one period."""
        return Layout(self.slot_layout, self.market.population.size, memories=self.market.memories)

    @property
    def num_markets(self) -> int:
        """B."""
        return self.market.num_markets

    def _start(self, markets: BoolArray | None) -> None:
        """Show the usual prices and shelves as the period before the first, in all or some markets."""
        prices, listed = self.slot_layout.default_offer
        listed = listed & (self.slot_layout.catalog.enters == 0)
        if markets is None:
            shape = (self.num_markets, len(prices))
            self._prices, self._listed = np.tile(prices, (shape[0], 1)), np.tile(listed, (shape[0], 1))
            self._units = np.zeros(shape)
            self._asked = self._prices  # prices at which products were listed last; kept for price rules only
            self._promoted = np.zeros((2, *shape), dtype=bool) if self.actions.promotes else NO_FLAGS
            self._tier = np.zeros(shape) if self.actions.tiers else NO_TIERS
            self._ordered = np.zeros(shape) if self.actions.orders else NO_ORDERS
        else:
            self._prices, self._listed = self._prices.copy(), self._listed.copy()
            self._units = self._units.copy()
            self._prices[markets], self._listed[markets], self._units[markets] = prices, listed, 0.0
            if self.rules is not None:
                self._asked = np.where(markets[:, None], prices, self._asked)
            if self.actions.promotes:
                self._promoted = self._promoted & ~markets[:, None]
            if self.actions.tiers:
                self._tier = np.where(markets[:, None], 0.0, self._tier)
            if self.actions.orders:
                self._ordered = np.where(markets[:, None], 0.0, self._ordered)
        self._now: np.ndarray | None = None
        if self.layout.history > 1:
            usual = self.layout.as_past(self._encode(self.layout, 1.0))
            kept = usual if markets is None else np.where(markets[:, None, None], usual, self._past)
            self._past = np.ascontiguousarray(kept)

    def reset(self, seeds: int | Sequence[int] | None = None, markets: BoolArray | None = None) -> None:
        """Start new episodes, see `Market.reset`.

        Args:
            seeds: One number (market b gets seed + b), one per market, or None to go on with the streams.
            markets: Which markets, shape ``(B,)``; all by default.

        Raises:
            InvalidInput: A seed that is no whole number of at least 0.
        """
        for seed in [] if seeds is None else np.atleast_1d(np.asarray(seeds, dtype=object)):
            check_seed(seed)
        self.market.reset(seeds, markets)
        before = np.zeros_like(self.episode) if seeds is not None else self.episode
        now = _mixed(self.market.state.streams[:, 0] ^ _mixed(before))
        self.episode = now if markets is None else np.where(markets, now, self.episode)
        self._start(markets)

    def step(self, rows: FloatArray, cycles: float = np.inf) -> Outcome:
        """Play one period.

        Args:
            rows: Actions of all sellers from `Actions.blank` and `Actions.put`, shape ``(B, N, A)``.
            cycles: Periods of an episode: in its last one, stock that is left is sold for its salvage value.

        Raises:
            InvalidInput: An action outside its space; the state is unchanged then.
        """
        prices, listed = self.actions.decode(rows)
        orders = self.actions.ordered(rows) if self.actions.orders else None
        if self.layout.history > 1:
            now = self._encode(self.layout, 1.0) if self._now is None else self._now
            self._past, self._now = self.layout.moved_on(self._past, now), None
        counted = None
        if self.rules is not None:
            listed &= self.market.state.period[:, None] >= self.slot_layout.catalog.enters
            counted = self.rules.apply(prices, listed, self._asked)
        flags = self.actions.promoted(rows, prices, listed) if self.actions.promotes else None
        tier = self.actions.tiered(rows, prices, self._lowest) if self.actions.tiers else None
        self._outcome = outcome = self.market.advance(prices, listed, flags, orders, cycles, tier)
        self._parts = None
        self._prices, self._listed, self._units = prices, outcome.listed, outcome.units
        if counted is not None:
            self._counted, self._asked = counted, np.where(outcome.listed, prices, self._asked)
        if outcome.promoted is not None:
            self._promoted = outcome.promoted
        if tier is not None:
            self._tier = shown_depths(self.slot_layout, outcome)
        if orders is not None and outcome.ordered is not None:
            self._orders, self._ordered = orders, outcome.ordered
        return outcome

    def play(self, rows: FloatArray, cycles: float) -> tuple[np.ndarray, FloatArray, FloatArray]:
        """Play one period of one market, in one compiled call where that is possible.

        Args:
            rows: Actions of all sellers, shape ``(1, N, A)``.
            cycles: Periods of an episode.

        Returns:
            Observations ``(1, N, D)``, rewards ``(N,)`` and the ledger ``(1, N, 7 + K)``: what `observe`, `rewards` and
            `ledger` return after `step`.

        Raises:
            InvalidInput: An action outside its space; the state is unchanged then.
        """
        if self._single is None:
            outcome = self.step(rows, cycles)
            return self.observe(cycles), self.rewards(outcome)[0], self.ledger(outcome)
        seen, rewards, ledger = self._single.play(rows, cycles)
        if self.reward_fn is not None and self.outcome is not None:
            rewards = self.rewards(self.outcome)[0]
        return seen, rewards, ledger

    def played(
        self, prices: FloatArray, listed: BoolArray, flags: BoolArray | None, asked: FloatArray, books: FloatArray,
        stocked: FloatArray, rest: FloatArray,
    ) -> None:  # fmt: skip
        """Keep what `SingleMarket` played for observations of the global view, and for `outcome`."""
        self._prices, self._listed, self._units = prices, listed, books[1]
        self._parts = [prices, listed, flags, books, stocked, rest]
        if flags is not None:
            self._promoted = flags
        if self.actions.orders:
            self._orders, self._ordered = asked, stocked[0]

    def observe(self, cycles: float, *, state: bool = False) -> np.ndarray:
        """Return fresh observations ``(B, N, D)``, or the global view with `state`."""
        now = self._encode(self.layout, cycles, state=state)
        if state:
            return now
        if self.layout.history > 1:
            self._now = now  # `step` puts it behind the next one
            now = np.concatenate([now, self._past], axis=2)
        return now if self.observation_fn is None else transformed(self.observation_fn, self.layout.split(now))

    def observe_plainly(self, cycles: float) -> np.ndarray:
        """Return observations as sellers by name know them ``(B, N, D)``: of ``"prices"`` monitoring, one period."""
        return self._encode(self.plain_layout, cycles)

    def _encode(self, layout: Layout, cycles: float, *, state: bool = False) -> np.ndarray:
        now = self.market.state
        return layout.encode(
            self._prices,
            self._listed,
            self._units,
            now.stock,
            now.mean_field,
            now.centre,
            self.market.log_reference,
            now.period,
            cycles,
            promoted=self._promoted,
            tier=self._tier,
            ordered=self._ordered,
            pipeline=now.pipeline,
            state=state,
        )

    def rewards(self, outcome: Outcome) -> FloatArray:
        """Return the reward of each seller, shape ``(B, N)``: profit / reward_scale, or what `reward_fn` says."""
        if self.reward_fn is not None:
            return checked_rewards(self.reward_fn, outcome)
        return outcome.seller_profit / self.reward_scale

    def ledger(self, outcome: Outcome) -> FloatArray:
        """Return `info_keys` of each seller, shape ``(B, N, 7 + K)``; `outcome` is that of the last period."""
        books = np.empty((self.num_markets, self.slot_layout.count, len(self.info_keys)))
        of = self.slot_layout.seller_of
        write_ledger(
            outcome.revenue, outcome.cost, outcome.fees, outcome.profit, outcome.units, outcome.share,
            outcome.consumer_surplus, of, books,
        )  # fmt: skip
        first = len(MONEY_KEYS)
        if self.rules is not None:
            books[:, :, first : first + len(self.rules.keys)] = self._counted
            first += len(self.rules.keys)
        if outcome.tier_units is not None:
            kept = self.slot_layout.catalog.net_of_tax
            write_tier_ledger(outcome.tier_prices, outcome.tier_units, kept, of, first, books)
            first += len(TIER_KEYS)
        if outcome.ordered is not None:
            write_stock_ledger(
                outcome.ordered, outcome.ordering, outcome.holding, outcome.salvage, outcome.stock, self._orders, of,
                first, books,
            )  # fmt: skip
        return books

    def masks(self, seller: int, market: int) -> BoolArray:
        """Return which discrete choices of a seller make sense in a market, see `Actions.masks`.

        Raises:
            InvalidInput: The actions are not discrete.
        """
        state, given = self.market.state, self.slot_layout.catalog.replenishment
        stock, coming = state.stock[market], state.pipeline[market]
        if given is None:
            return self.actions.masks(seller, stock)
        room = given.room(stock, coming)
        at_once = np.where(given.of("lead_time") == 0, room, 0.0)  # what is ordered now can be sold now
        return self.actions.masks(seller, stock + coming[:1].sum(axis=0) + at_once, room)

    @cached_property
    def _fixed_masks(self) -> list[Any] | None:
        """What `mask_info` answers where it is the same in all periods, by seller; else None."""
        if self.slot_layout.catalog.replenishment is not None or np.isfinite(self.slot_layout.catalog.stock).any():
            return None
        return [self._mask_info(seller, 0) for seller in range(self.slot_layout.count)]

    def mask_info(self, seller: int, market: int) -> Any:
        """Return which discrete choices of a seller make sense, as its space takes them in `sample(mask)`, fresh.

        Returns:
            int8 arrays of 0 and 1: a tuple of one per number of the action, or one array where actions are `Discrete`.

        Raises:
            InvalidInput: The actions are not discrete.
        """
        if self._fixed_masks is None:
            return self._mask_info(seller, market)
        mask = self._fixed_masks[seller]
        return tuple(part.copy() for part in mask) if isinstance(mask, tuple) else mask.copy()

    def _mask_info(self, seller: int, market: int) -> Any:
        mask = self.masks(seller, market).astype(np.int8)
        return mask if self.actions.shape == () else self.actions.parted(mask)

    def blank_info(self) -> dict[str, Any]:
        """Return what infos hold before the first period: the keys of `info_keys`, all 0."""
        return dict.fromkeys(self.info_keys, np.float64(0.0))

    def as_infos(self, rows: Iterable[Any] | FloatArray) -> list[dict[str, Any]]:
        """Return rows of a ledger by name; of an array as NumPy floats."""
        if isinstance(rows, np.ndarray):  # numbers one by one: views of rows would cost more than the rest
            rows = zip(*[iter(rows.flat)] * len(self.info_keys))  # noqa: B905  # see `step_rows`
        if self.rules is None and not self.actions.tiers:
            return list(map(stock_info if self.actions.orders else money_info, rows))
        return [dict(zip(self.info_keys, row, strict=True)) for row in rows]


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Return 64-bit numbers scattered over their range (the finaliser of SplitMix64, Steele et al. 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def check_history(history: Any, cycles: int) -> int:
    """Return how many periods an observation shows.

    Raises:
        InvalidInput: Not a whole number from 1 to the periods of an episode.
    """
    most = min(cycles, LONGEST_HISTORY)
    longest = ", the periods of an episode" if most == cycles else ""
    if isinstance(history, bool) or not isinstance(history, (int, np.integer)) or not 1 <= history <= most:
        raise invalid("history", history, f"a whole number from 1 to {most}{longest}")
    return int(history)


def money_info(row: Any) -> dict[str, Any]:
    """Return MONEY_KEYS by name; a literal because it is made for every agent in every step."""
    revenue, cost, fees, profit, units, share, surplus = row
    return {
        "revenue": revenue,
        "cost": cost,
        "fees": fees,
        "profit": profit,
        "units": units,
        "share": share,
        "surplus": surplus,
    }


def stock_info(row: Any) -> dict[str, Any]:
    """Return MONEY_KEYS and STOCK_KEYS by name."""
    (
        revenue, cost, fees, profit, units, share, surplus, ordered, ordering_cost, holding_cost, salvage, stock,
        capped_orders,
    ) = row  # fmt: skip
    return {
        "revenue": revenue,
        "cost": cost,
        "fees": fees,
        "profit": profit,
        "units": units,
        "share": share,
        "surplus": surplus,
        "ordered": ordered,
        "ordering_cost": ordering_cost,
        "holding_cost": holding_cost,
        "salvage": salvage,
        "stock": stock,
        "capped_orders": capped_orders,
    }


def need_all(agents: Sequence[str], actions: Any) -> None:
    """Check that a dict holds one action for each agent.

    Raises:
        InvalidInput: Not a dict, or an agent is missing or unknown.
    """
    if not isinstance(actions, dict):
        raise invalid("actions", actions, f"a dict with one action for each of {', '.join(agents)}")
    for agent in agents:
        if agent not in actions:
            raise InvalidInput(f"actions: got none for {agent}; allowed: one for each of {', '.join(agents)}")
    for agent in actions:
        if agent not in agents:
            raise invalid("actions", agent, f"agents {', '.join(agents)}")


__getattr__ = old_names(__name__)
