"""Sellers inside an env: what they answer, and those by name, where the envs reach up to the package of sellers.

Imports run downwards only, so the function is found by name when it is first needed: `import malles_env.envs` loads no
seller, and whoever has no `malles_agents` can still pass objects with `predict`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from malles_env.envs.core.given_market import GivenMarket
from malles_env.errors import MissingResource, invalid
from malles_env.type_aliases import BoolArray

if TYPE_CHECKING:
    from malles_env.envs.core.market_batch import MarketBatch


@runtime_checkable
class Policy(Protocol):
    """Whatever answers observations with actions, as Stable-Baselines3 models do."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Answer a batch of observations ``(B, D)`` (or a dict of such) with B actions and a new state."""
        ...


@runtime_checkable
class Beginner(Protocol):
    """A policy that is given the numbers of episodes when they begin, so that a market's seed decides how it starts."""

    def begin(self, state: Any, episodes: np.ndarray, fresh: BoolArray) -> Any:
        """Return the state for `predict`.

        Args:
            state: What `predict` returned last, or None.
            episodes: Numbers of the episodes under way, drawn from the markets' seeds, unsigned, ``(B,)``.
            fresh: Which markets have just begun theirs, ``(B,)``.
        """
        ...


MAKER = "malles_agents.registry:make_seller"
"""``module:function`` called with a name, the scenario, the agent and the agent's options; returns a seller."""


def named_seller(spec: str, market_batch: MarketBatch, agent: str) -> Policy:
    """Return the seller called `spec` for an agent, e.g. ``"cost-plus:0.3"`` or ``"calendar"``.

    Raises:
        InvalidInput: There is no such seller; the message lists those that exist.
        MissingResource: The package of sellers is not installed, or what the seller needs is not there.
    """
    if isinstance(market_batch.scenario, GivenMarket):
        raise invalid(
            "rivals", spec, "a function or an object with predict: sellers by name need a Scenario, not a Market"
        )
    module, _, function = MAKER.partition(":")
    try:
        make = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingResource(f"rivals: sellers by name need the package {error.name}, which is not there") from None
    made: Policy = make(
        spec, market_batch.scenario, agent, consumers=market_batch.market.consumers,
        action_mode=market_batch.actions.mode, price_levels=market_batch.actions.levels,
    )  # fmt: skip
    return made
