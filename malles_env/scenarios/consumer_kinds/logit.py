"""Consumers whose tastes stand in the scenario file."""

from __future__ import annotations

from malles_env.consumers.logit import DrawnLogit, LogitConsumers
from malles_env.market import Consumers
from malles_env.scenarios.blocks.entries import LogitEntry
from malles_env.scenarios.kinds import builds
from malles_env.scenarios.schema import Scenario


@builds("logit")
def logit_consumers(scenario: Scenario, entry: LogitEntry, *, draws: bool = False) -> Consumers:
    """Return consumers with the tastes of the entry and the forces of the scenario, with the entry's draws if asked."""
    tastes = scenario.tastes_of(entry.tastes)
    if not draws or not entry.draws:
        return LogitConsumers(scenario.with_forces(tastes))
    found = tuple(scenario.with_forces(scenario.draw_of(tastes, d)) for d in range(len(entry.draws)))
    return DrawnLogit(scenario.with_forces(tastes), found)
