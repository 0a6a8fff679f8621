"""Turns a scenario and a distillation into a scenario whose tastes stand in its file."""

from __future__ import annotations

from malles_env.consumers.distil import Distilled
from malles_env.consumers.distil.report import coefficients, notes
from malles_env.scenarios.blocks.entries import LogitEntry, TastesEntry
from malles_env.scenarios.schema import Scenario


def distilled_scenario(scenario: Scenario, found: Distilled, *, asked: str, command: str) -> Scenario:
    """Return a copy of the scenario in which the fitted consumers buy.

    Args:
        scenario: The market the consumers were asked in.
        found: The fit.
        asked: Who was asked, in words.
        command: What made the file.
    """
    tastes = TastesEntry(**coefficients(found.tastes))
    return scenario.model_copy(
        update={
            "consumers": LogitEntry(kind="logit", tastes=tastes),
            "made_by": command,
            "notes": (*scenario.notes, *notes(found, asked)),
        }
    )
