"""Makes the envs known to Gymnasium and PettingZoo by name."""

from __future__ import annotations

from pathlib import Path

import gymnasium

GYMNASIUM_ID = "malles_env/Pricing-v0"
PETTINGZOO_ID = "malles/pricing_v0"
_SCENARIOS = Path(__file__).parents[1] / "scenarios"


def gymnasium_ids() -> dict[str, str]:
    """Return the bundled scenario of each Gymnasium id of one, e.g. ``malles_env/SoftDrinks-v0``."""
    names = sorted(path.stem for path in _SCENARIOS.glob("*.yaml"))
    return {f"malles_env/{''.join(word.capitalize() for word in name.split('-'))}-v0": name for name in names}


def register_all() -> None:
    """Register the envs; a second call changes nothing."""
    chosen = {GYMNASIUM_ID: {}, **{identity: {"scenario": name} for identity, name in gymnasium_ids().items()}}
    for identity, arguments in chosen.items():
        if identity not in gymnasium.registry:
            gymnasium.register(
                identity,
                entry_point="malles_env.envs.single:PricingEnv",
                vector_entry_point="malles_env.envs.vector:PricingVectorEnv",
                kwargs=arguments,
            )
    try:
        from pettingzoo.env_registry import registration
    except ImportError:  # PettingZoo before 1.27 has no registry
        return
    # PettingZoo writes the version with a hyphen
    if PETTINGZOO_ID.replace("_v", "-v") not in registration.parallel_registry:
        registration.register("parallel", PETTINGZOO_ID, entry_point="malles_env.envs.parallel:parallel_env")
        registration.register("aec", PETTINGZOO_ID, entry_point="malles_env.envs.parallel:env")
