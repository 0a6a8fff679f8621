"""`Log`: episodes of one seller with the density of each action under the policy that played them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from malles_env.errors import CorruptFile, InvalidInput
from malles_env.type_aliases import FloatArray, IntArray

FORMAT = 1


@dataclass(frozen=True)
class World:
    """Where and how a log was played; enough to play on in the same way.

    Attributes:
        scenario: Name or path, as given.
        scenario_hash: Of all that play depends on.
        sellers: Seller's name by agent, of those logged and of the others.
        logged: Agents whose play is kept, with propensities.
        action_mode: ``"continuous"`` or ``"discrete"``.
        price_levels: Prices of the discrete grid.
        history: Periods that observations show.
        cycles: T, periods of an episode.
        model: Taste model; None: the scenario's own.
        seed: First of the episodes' seeds.
        reward_scale: Money per unit of reward.
        currency: Of the money.
        version: Of malles-env.
        format: Of the file.
    """

    scenario: str
    scenario_hash: str
    sellers: dict[str, str]
    logged: tuple[str, ...]
    action_mode: str
    price_levels: int
    history: int
    cycles: int
    model: str | None
    seed: int
    reward_scale: float
    currency: str
    version: str
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return {**vars(self), "logged": list(self.logged)}

    @classmethod
    def from_dict(cls, found: Any, where: str) -> World:
        """Return the setting that a file states.

        Raises:
            CorruptFile: It states none.
            InvalidInput: It was written by a newer version.
        """
        try:
            if found["format"] > FORMAT:
                raise InvalidInput(f"{where}: got format {found['format']}; allowed: up to {FORMAT}, of this version")
            return cls(**{**found, "logged": tuple(found["logged"])})
        except (TypeError, KeyError):
            raise CorruptFile(f"{where}: is no log that `malles record` wrote") from None


@dataclass(frozen=True)
class Log:
    """Episodes of one seller.

    Attributes:
        world: Where they were played.
        agent: Whose they are.
        observations: Before each action, and after the last, shape ``(n, T + 1, D)``, float32; some files lack the
            last: ``(n, T, D)``.
        actions: As the action space says, shape ``(n, T, A)``.
        rewards: Profit / reward_scale, shape ``(n, T)``.
        log_propensity: Logarithm of the density or probability of each action under the policy that took it, given what
            it saw, shape ``(n, T)``.
    """

    world: World
    agent: str
    observations: np.ndarray
    actions: np.ndarray
    rewards: FloatArray
    log_propensity: FloatArray

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def seen(self) -> np.ndarray:
        """Observations before each action, shape ``(n, T, D)``."""
        return self.observations[:, : self.rewards.shape[1]]

    @property
    def profit(self) -> FloatArray:
        """Money, shape ``(n, T)``."""
        return self.rewards * self.world.reward_scale

    def part(self, episodes: IntArray) -> Log:
        """Return some of the episodes."""
        return replace(
            self, observations=self.observations[episodes], actions=self.actions[episodes],
            rewards=self.rewards[episodes], log_propensity=self.log_propensity[episodes],
        )  # fmt: skip
