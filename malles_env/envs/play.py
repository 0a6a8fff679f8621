"""An episode of a PettingZoo env whose sellers are given by name, as functions or as policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from malles_env.envs.core.rivals import Policies, Rivals
from malles_env.envs.parallel import PricingParallelEnv


def play_episode(
    env: PricingParallelEnv, sellers: Policies = "cost-plus", *, seed: int | None = 0
) -> Iterator[dict[str, dict[str, Any]]]:
    """Play an episode, period by period; between two periods the env can be rendered or looked into.

    >>> from malles_env import parallel_env, play_episode
    >>> env = parallel_env("bertrand-duopoly", max_cycles=3)
    >>> [round(float(infos["seller_0"]["profit"]), 2) for infos in play_episode(env, "nash", seed=1)]
    [229.37, 220.86, 224.64]

    Sellers meet the same episode as with the same seed in `PricingEnv`, where they are rivals.

    Args:
        env: From `parallel_env`, in any action mode.
        sellers: One for all agents, or one per agent; agents not named ask regular prices. Each is a seller's name such
            as ``"cost-plus:0.3"``, a function from observations to actions, or an object with `predict`.
        seed: Of the episode; None continues the present random stream.

    Yields:
        The infos of each period by agent, as `PricingParallelEnv.step` returns them.

    Raises:
        InvalidInput: An unknown agent or seller, or an action that is not allowed.
    """
    everyone = Rivals(env.market_batch, -1, sellers, field="sellers")
    env.reset(seed)
    if seed is not None:
        everyone.reseed()
    return _periods(env, everyone)


def _periods(env: PricingParallelEnv, everyone: Rivals) -> Iterator[dict[str, dict[str, Any]]]:
    market_batch = env.market_batch
    while env.agents:
        rows = market_batch.actions.blank(1)
        everyone.act(rows, market_batch.observe(env.max_cycles), env.max_cycles)
        yield env.step_rows(rows)[-1]
