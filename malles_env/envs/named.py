"""Sellers by name inside an env: the one place where the envs reach up to the package of sellers.

Imports run downwards only, so the function is found by name when it is first needed: `import malles_env.envs` loads no
seller, and whoever has no `malles_agents` can still pass objects with `predict`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from malles_env.envs.given_market import GivenMarket
from malles_env.errors import MissingResource, invalid

if TYPE_CHECKING:
    from malles_env.envs.market_batch import MarketBatch
    from malles_env.envs.policies import Policy

MAKER = "malles_agents.registry:make_seller"
"""``module:function`` called with a name, the scenario, the agent and the seat's options; returns a seller."""


def named_seller(spec: str, market_batch: MarketBatch, agent: str) -> Policy:
    """Return the seller called `spec` for a seat, e.g. ``"cost-plus:0.3"`` or ``"calendar"``.

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
