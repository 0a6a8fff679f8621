"""A batch of markets that resets itself, with rivals inside: shared by the vector environments and the single one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env._moved import old_names
from malles_env.envs.core.market_batch import MarketBatch
from malles_env.envs.core.rivals import Policies, Rivals
from malles_env.envs.core.settings import EnvSettings
from malles_env.errors import MallesError, invalid
from malles_env.market import Outcome
from malles_env.type_aliases import BoolArray, FloatArray

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from malles_env.envs.core.settings import ScenarioLike


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


class VectorCore:
    """B markets in which L sellers learn; the others follow given policies.

    Args:
        scenario: Name, path, scenario or `Market`.
        num_markets: B.
        learner: ``"all"`` or an agent's name.
        rivals: See `Rivals`; only with one learner.
        autoreset: Whether a market starts anew in the step that ends its episode.
        limit: Periods after which an episode is cut off, as Gymnasium's `TimeLimit` does; None: `max_cycles`.
        settings: See `EnvSettings`.

    Attributes:
        max_cycles: Periods of an episode, as observations and salvage values have it.

    Raises:
        InvalidInput: An argument out of range.
    """

    def __init__(
        self,
        scenario: ScenarioLike,
        num_markets: int = 1,
        *,
        learner: str = "all",
        rivals: Policies = None,
        autoreset: bool = True,
        limit: int | None = None,
        **settings: Unpack[EnvSettings],
    ) -> None:
        self.market_batch = market_batch = MarketBatch(scenario, num_markets=num_markets, **settings)
        self.max_cycles = market_batch.max_cycles
        self.autoreset, self._limit = autoreset, limit
        self.rivals: Rivals | None = None
        self.learners = slice(0, market_batch.slot_layout.count)
        if not (isinstance(learner, str) and learner == "all"):
            seller = market_batch.slot_layout.index(learner)
            self.learners = slice(seller, seller + 1)
            self.rivals = Rivals(market_batch, seller, rivals)
        elif rivals is not None:
            raise invalid("rivals", rivals, "nothing when learner='all': no seller is left for them")
        self._seen: np.ndarray | None = None

    @property
    def agents(self) -> tuple[str, ...]:
        """The learning agents."""
        return self.market_batch.slot_layout.agents[self.learners]

    def reset(self, seeds: int | Sequence[int | None] | None = None, markets: BoolArray | None = None) -> np.ndarray:
        """Start episodes anew; return the observations of all learners, shape ``(B, L, D)``.

        Args:
            seeds: One number (market b gets seed + b), one per market, or None; a market without one continues its
                stream. Rivals that draw at random draw anew where all markets are given a seed.
            markets: Which markets, shape ``(B,)``; all by default.
        """
        unseeded = _without_seed(seeds, self.market_batch.num_markets)
        if unseeded is None:
            self.market_batch.reset(seeds, markets)  # type: ignore[arg-type]
        else:
            chosen = np.ones_like(unseeded) if markets is None else markets
            self.market_batch.reset([seed or 0 for seed in seeds], chosen & ~unseeded)  # type: ignore[union-attr]
            self.market_batch.reset(None, chosen & unseeded)
        if self.rivals is not None:
            self.rivals.forget(markets)
            if seeds is not None and unseeded is None and markets is None:
                self.rivals.reseed()
        self._seen = self.market_batch.observe(self.max_cycles)
        return self._seen[:, self.learners].copy()

    @property
    def seen(self) -> np.ndarray:
        """What all sellers saw last, shape ``(B, N, D)``.

        Raises:
            MallesError: `reset` was never called.
        """
        if self._seen is None:
            raise MallesError("step: there is no episode under way; call reset() first")
        return self._seen

    def step(self, actions: Any, starting: BoolArray | None = None) -> Turn:
        """Play one period.

        Args:
            actions: Of the learners: one learner's batch as its space says with a leading axis B, or with
                several learners an array of shape ``(B, L, A)``.
            starting: Markets that start a new episode instead, shape ``(B,)``: their actions and their part of the
                outcome mean nothing, their rewards are 0, and their random streams are as if they had not played.

        Raises:
            InvalidInput: An action of the wrong shape or outside its space; the state is unchanged then.
        """
        if starting is None or not starting.any():
            return self._play(self._rows(actions))
        market_batch = self.market_batch
        if starting.all() and market_batch.outcome is not None:
            observations, nobody = self.reset(), np.zeros_like(starting)
            return Turn(observations, observations, np.zeros(observations.shape[:2]), nobody, market_batch.outcome)
        rows = self._rows(actions)
        rows[starting] = market_batch.actions.blank(1)[0]
        streams = market_batch.market.state.streams[starting]
        turn = self._play(rows)
        market_batch.market.state.streams[starting] = streams
        observations = self.reset(markets=starting)
        rewards = np.where(starting[:, None], 0.0, turn.rewards)
        return Turn(observations, observations, rewards, turn.over & ~starting, turn.outcome)

    def _rows(self, actions: Any) -> FloatArray:
        """Return the actions of all sellers, rivals included."""
        rows = self.market_batch.actions.blank(self.market_batch.num_markets)
        seen = self.seen
        if self.rivals is None:
            self.market_batch.actions.put_all(rows, actions)
        else:
            self.market_batch.actions.put(rows, self.learners.start, actions)
            self.rivals.act(rows, seen, self.max_cycles)
        return rows

    def _play(self, rows: FloatArray) -> Turn:
        market_batch = self.market_batch
        if market_batch.num_markets == 1:
            seen, rewards, _ = market_batch.play(rows, self.max_cycles)
            rewards, outcome = rewards[None], market_batch.outcome
            assert outcome is not None
        else:
            outcome = market_batch.step(rows, self.max_cycles)
            seen, rewards = market_batch.observe(self.max_cycles), market_batch.rewards(outcome)
        last = seen
        last_period = self.max_cycles if self._limit is None else min(self.max_cycles, self._limit)
        over = market_batch.market.state.period >= last_period
        if self.autoreset and over.any():
            market_batch.reset(markets=over)
            if self.rivals is not None:
                self.rivals.forget(over)
            seen = market_batch.observe(self.max_cycles)
        self._seen = seen
        # rivals will look at what was seen, so the learner gets a copy; without them nobody reads it again
        return Turn(
            seen if self.rivals is None else seen[:, self.learners].copy(),
            last[:, self.learners],
            rewards[:, self.learners],
            over,
            outcome,
        )


def _without_seed(seeds: Any, num_markets: int) -> BoolArray | None:
    """Return which markets have None for a seed among the seeds of others; None where all or none have one."""
    if isinstance(seeds, (list, tuple)) and len(seeds) == num_markets and None in seeds:
        return np.array([seed is None for seed in seeds])
    return None


__getattr__ = old_names(__name__)
