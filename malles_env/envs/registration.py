"""Makes the envs known to Gymnasium and PettingZoo by name."""

from __future__ import annotations

import gymnasium

GYMNASIUM_ID = "malles_env/Pricing-v0"
PETTINGZOO_ID = "malles/pricing_v0"


def register_all() -> None:
    """Register the envs; a second call changes nothing."""
    if GYMNASIUM_ID not in gymnasium.registry:
        gymnasium.register(
            GYMNASIUM_ID,
            entry_point="malles_env.envs.single:PricingEnv",
            vector_entry_point="malles_env.envs.vector:PricingVectorEnv",
        )
    try:
        from pettingzoo.env_registry import registration
    except ImportError:  # PettingZoo before 1.27 has no registry
        return
    # PettingZoo writes the version with a hyphen
    if PETTINGZOO_ID.replace("_v", "-v") not in registration.parallel_registry:
        registration.register("parallel", PETTINGZOO_ID, entry_point="malles_env.envs.parallel:parallel_env")
        registration.register("aec", PETTINGZOO_ID, entry_point="malles_env.envs.parallel:env")
