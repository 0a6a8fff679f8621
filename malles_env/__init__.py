"""A sandbox in which pricing policies meet consumers learned from real transactions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from malles_env._moved import install as _install
from malles_env.envs.registration import register_all

if TYPE_CHECKING:
    from malles_env.consumers import AlignedConsumers, Consumers, LogitConsumers, UtilityConsumers
    from malles_env.envs.core.settings import EnvSettings
    from malles_env.envs.display.recording import Recording
    from malles_env.envs.parallel import PricingParallelEnv, parallel_env
    from malles_env.envs.play import play_episode
    from malles_env.envs.sb3 import PricingVecEnv, vec_env
    from malles_env.envs.single import PricingEnv
    from malles_env.envs.vector import PricingVectorEnv
    from malles_env.errors import MallesError
    from malles_env.market import Catalog, Market, Outcome, Population, Product, Tastes
    from malles_env.scenarios import Scenario, list_scenarios, load_scenario, save_scenario

__version__ = "0.1.0"

__all__ = [
    "AlignedConsumers",
    "Catalog",
    "Consumers",
    "EnvSettings",
    "LogitConsumers",
    "MallesError",
    "Market",
    "Outcome",
    "Population",
    "PricingEnv",
    "PricingParallelEnv",
    "PricingVecEnv",
    "PricingVectorEnv",
    "Product",
    "Recording",
    "Scenario",
    "Tastes",
    "UtilityConsumers",
    "__version__",
    "list_scenarios",
    "load_scenario",
    "parallel_env",
    "play_episode",
    "save_scenario",
    "vec_env",
]

# name -> module that defines it; imported when first asked for, so that `import malles_env` stays quick
_HOMES = {
    **dict.fromkeys(("AlignedConsumers", "Consumers", "LogitConsumers", "UtilityConsumers"), "consumers"),
    **dict.fromkeys(("Catalog", "Market", "Outcome", "Population", "Product", "Tastes"), "market"),
    **dict.fromkeys(("PricingParallelEnv", "parallel_env"), "envs.parallel"),
    **dict.fromkeys(("PricingVecEnv", "vec_env"), "envs.sb3"),
    **dict.fromkeys(("Scenario", "list_scenarios", "load_scenario", "save_scenario"), "scenarios"),
    "EnvSettings": "envs.core.settings",
    "MallesError": "errors",
    "PricingEnv": "envs.single",
    "PricingVectorEnv": "envs.vector",
    "Recording": "envs.display.recording",
    "play_episode": "envs.play",
}

_install()
register_all()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'malles_env' has no attribute {name!r}")
    value = getattr(import_module(f"malles_env.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
