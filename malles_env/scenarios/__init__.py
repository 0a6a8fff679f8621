"""Markets to play in: files of sellers, products, segments and consumers, checked when they are read."""

from malles_env.scenarios.consumer_kinds import (  # noqa: F401 - they register
    aligned,
    aligned_prompted,
    discussion,
    logit,
    prompted,
)
from malles_env.scenarios.loader import list_scenarios, load_scenario, parse_scenario, save_scenario
from malles_env.scenarios.schema import Scenario

__all__ = ["Scenario", "list_scenarios", "load_scenario", "parse_scenario", "save_scenario"]
