"""A sandbox in which pricing policies meet consumers learned from real transactions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from malles_env._moved import install as _install
from malles_env.envs.registration import register_all

if TYPE_CHECKING:
    from malles_env.envs.parallel import parallel_env
    from malles_env.envs.sb3 import vec_env
    from malles_env.scenarios import Scenario, list_scenarios, load_scenario

__version__ = "0.1.0"

__all__ = ["Scenario", "__version__", "list_scenarios", "load_scenario", "parallel_env", "vec_env"]

# name -> module that defines it; imported when first asked for, so that `import malles_env` stays quick
_HOMES = {
    "parallel_env": "malles_env.envs.parallel",
    "vec_env": "malles_env.envs.sb3",
    "load_scenario": "malles_env.scenarios",
    "list_scenarios": "malles_env.scenarios",
    "Scenario": "malles_env.scenarios",
}

_install()
register_all()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'malles_env' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
