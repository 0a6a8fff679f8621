"""Consumers whose tastes stand in the scenario file."""

from __future__ import annotations

from malles_env.consumers.logit import LogitConsumers
from malles_env.market import Consumers
from malles_env.scenarios.blocks.entries import LogitEntry
from malles_env.scenarios.kinds import builds
from malles_env.scenarios.schema import Scenario


@builds("logit")
def logit_consumers(scenario: Scenario, entry: LogitEntry, *, draws: bool = False) -> Consumers:
    """Return consumers with the tastes of the entry and the forces of the scenario; there are no draws of them."""
    return LogitConsumers(scenario.with_forces(scenario.tastes_of(entry.tastes)))
