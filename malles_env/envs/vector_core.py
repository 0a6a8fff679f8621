"""A batch of markets that resets itself, with rivals inside: shared by the vector faces and the single one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.envs.market_batch import Arena, check_cycles, check_history, find_scenario
from malles_env.envs.rivals import Policies, Rivals
from malles_env.envs.spaces.actions import ActionMode
from malles_env.envs.spaces.observations import Monitoring
from malles_env.errors import MallesError, invalid
from malles_env.market import Consumers, Demand, Outcome, TastesMode
from malles_env.market.arrays import BoolArray, FloatArray

if TYPE_CHECKING:
    from malles_env.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Turn:
    """What one step of a batch returned, fresh arrays.

    Attributes:
        observations: Of the learners after the step (after the reset where an episode ended), ``(B, L, D)``.
        last: Of the learners before such a reset, ``(B, L, D)``; the same array if no episode ended.
        rewards: Of the learners, ``(B, L)``.
        over: Where an episode ended (always by truncation), ``(B,)``.
        outcome: What happened in the market.
    """

    observations: np.ndarray
    last: np.ndarray
    rewards: FloatArray
    over: BoolArray
    outcome: Outcome


class Batch:
    """B markets played by L learning seats; the other seats follow given policies.

    Args:
        scenario: Name, path or scenario.
        num_markets: B.
        learner: ``"all"`` or an agent's name.
        rivals: See `Rivals`; only with one learner.
        max_cycles: Periods of an episode; default the scenario's.
        as_dict: Whether rivals see dict observations.
        autoreset: Whether a market starts anew in the step that ends its episode.
        action_mode, demand, consumers, monitoring, price_levels, tastes, history: See `Arena`.

    Raises:
        InvalidInput: An argument out of range.
    """

    def __init__(
        self,
        scenario: str | PathLike[str] | Scenario,
        num_markets: int = 1,
        *,
        learner: str = "all",
        rivals: Policies = None,
        max_cycles: int | None = None,
        action_mode: ActionMode = "continuous",
        demand: Demand = "multinomial",
        consumers: Consumers | None = None,
        monitoring: Monitoring = "prices",
        price_levels: int = 15,
        tastes: TastesMode = "mean",
        history: int = 1,
        as_dict: bool = False,
        autoreset: bool = True,
    ) -> None:
        scenario = find_scenario(scenario)
        self.max_cycles = check_cycles(max_cycles, scenario)
        self.arena = arena = Arena(
            scenario, num_markets=num_markets, action_mode=action_mode, demand=demand, consumers=consumers,
            monitoring=monitoring, price_levels=price_levels, tastes=tastes,
            history=check_history(history, self.max_cycles),
        )  # fmt: skip
        self.autoreset = autoreset
        self.rivals: Rivals | None = None
        self.learners = slice(0, arena.seats.count)
        if not (isinstance(learner, str) and learner == "all"):
            seat = arena.seats.index(learner)
            self.learners = slice(seat, seat + 1)
            self.rivals = Rivals(arena, seat, rivals, as_dict)
        elif rivals is not None:
            raise invalid("rivals", rivals, "nothing when learner='all': no seat is left for them")
        self._seen: np.ndarray | None = None

    @property
    def agents(self) -> tuple[str, ...]:
        """The learning agents."""
        return self.arena.seats.agents[self.learners]

    def reset(self, seeds: int | Sequence[int] | None = None) -> np.ndarray:
        """Start all episodes anew; return the learners' observations, shape ``(B, L, D)``.

        Args:
            seeds: See `Arena.reset`.
        """
        self.arena.reset(seeds)
        if self.rivals is not None:
            self.rivals.forget(None)
            if seeds is not None:
                self.rivals.reseed()
        self._seen = self.arena.observe(self.max_cycles)
        return self._seen[:, self.learners].copy()

    @property
    def seen(self) -> np.ndarray:
        """What all seats saw last, shape ``(B, N, D)``.

        Raises:
            MallesError: `reset` was never called.
        """
        if self._seen is None:
            raise MallesError("step: there is no episode under way; call reset() first")
        return self._seen

    def step(self, actions: Any) -> Turn:
        """Play one period.

        Args:
            actions: Of the learners: one learner's batch as its space says with a leading axis B, or with
                several learners an array of shape ``(B, L, A)``.

        Raises:
            InvalidInput: An action of the wrong shape or outside its space; nothing has happened then.
        """
        rows = self.arena.actions.blank(self.arena.num_markets)
        seen = self.seen
        if self.rivals is None:
            self.arena.actions.put_all(rows, actions)
        else:
            self.arena.actions.put(rows, self.learners.start, actions)
            self.rivals.act(rows, seen, self.max_cycles)
        return self._play(rows)

    def _play(self, rows: FloatArray) -> Turn:
        arena = self.arena
        outcome = arena.step(rows, self.max_cycles)
        seen = last = arena.observe(self.max_cycles)
        over = arena.market.state.period >= self.max_cycles
        if self.autoreset and over.any():
            arena.reset(markets=over)
            if self.rivals is not None:
                self.rivals.forget(over)
            seen = arena.observe(self.max_cycles)
        self._seen = seen
        # rivals will look at what was seen, so the learner gets a copy; without them nobody reads it again
        return Turn(
            seen if self.rivals is None else seen[:, self.learners].copy(),
            last[:, self.learners],
            arena.rewards(outcome)[:, self.learners],
            over,
            outcome,
        )
