"""Compile what markets play before anything is played."""

from __future__ import annotations

from malles_env.envs.parallel import parallel_env
from malles_env.envs.vector import PricingVectorEnv
from malles_env.scenarios import load_scenario
from malles_env.type_aliases import OnMessage

_REPLENISHMENT = {"lead_time": 1, "storage": 2000.0, "holding_cost": 0.01, "fixed_cost": 5.0, "initial": 500.0}
_PROMOTIONS = {"display_fee": 3.0, "feature_fee": 5.0}
_WORTH = {"promotion": {"display": 0.3, "feature": 0.2}}


def compile_kernels(notify: OnMessage = lambda _: None) -> None:
    """Play a period of every kind of market, so that all kernels are compiled and kept for later processes.

    Where they are kept: `malles_env.compiling`. What is kept already is loaded, which takes a second or two.

    Args:
        notify: Called with the kind of market that is played.
    """
    plain = load_scenario("bertrand-duopoly")
    ordered = plain.changed("orders", replenishment=_REPLENISHMENT)
    promoted = plain.changed("promotion", promotions=_PROMOTIONS, forces=_WORTH)
    both = ordered.changed("both", promotions=_PROMOTIONS, forces=_WORTH)
    kinds = {
        "prices": plain, "orders": ordered, "promotion": promoted, "orders and promotion": both,
        "quantity tiers": load_scenario("gifts"),
    }  # fmt: skip
    for kind, scenario in kinds.items():
        notify(kind)
        env = parallel_env(scenario)
        env.reset(seed=0)
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        batch = PricingVectorEnv(2, scenario)
        batch.reset(seed=0)
        batch.step(batch.action_space.sample())
