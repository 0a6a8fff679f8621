"""Sellers compared as the same agent, against the same rivals, on the same held-out seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from malles_agents.planning.common_random import same_draws
from malles_agents.registry import Seller, default_rivals
from malles_agents.seller_view import SellerView
from malles_agents.standard_errors import mean_se
from malles_agents.training.train import HELD_OUT
from malles_env import envs
from malles_env.envs.core.hooks import as_policy
from malles_env.envs.core.named import Beginner
from malles_env.envs.spaces.actions import ActionMode
from malles_env.errors import invalid
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import BoolArray, FloatArray, OnMessage

MEASURES = ("profit", "share", "surplus")


@dataclass(frozen=True)
class Played:
    """Episodes of one seller, one per held-out seed.

    Attributes:
        profit: Of the seller, money per episode, shape ``(M,)``.
        share: Of all purchases that went to the seller's products, mean over the episode's periods, ``(M,)``.
        surplus: Consumer surplus, money per consumer and period (up to a constant), shape ``(M,)``.
        prices, listed, period_share: The first episode, shape ``(T, J)``.
    """

    profit: FloatArray
    share: FloatArray
    surplus: FloatArray
    prices: FloatArray
    listed: BoolArray
    period_share: FloatArray


def play(
    scenario: Scenario | str,
    seller: Seller,
    agent: str = "seller_0",
    rivals: dict[str, Seller] | None = None,
    *,
    episodes: int = 64,
    seed: int = 0,
    max_cycles: int | None = None,
    consumers: Any = None,
    action_mode: ActionMode = "continuous",
    history: int = 1,
) -> Played:
    """Let a seller play whole episodes with sampled demand, all at once.

    Training draws its markets' seeds below `malles_agents.training.train.HELD_OUT`, evaluation from there on: the two
    never meet. Sellers that draw at random have the same draws in every call, so that only the seller makes a
    difference.

    Args:
        scenario: The market.
        seller: Answers `predict`; asked for its deterministic action. Or a function from observations ``(B, D)`` to
            actions ``(B, A)``.
        agent: Whose products it sells.
        rivals: Seller per other agent; default cost-plus.
        episodes: Held-out seeds, played side by side.
        seed: First held-out seed, counted from HELD_OUT.
        max_cycles: Periods per episode; default the scenario's.
        consumers: Built consumers, to avoid building them anew.
        action_mode: ``"continuous"`` or ``"discrete"``, as the seller was made for.
        history: Periods that observations show, likewise.
    """
    if episodes < 1:
        raise invalid("episodes", episodes, "a whole number of at least 1")
    loaded, seller = load_scenario(scenario), as_policy(seller)
    view = SellerView.of(loaded, agent, consumers=consumers, action_mode=action_mode, history=history)
    if rivals is None:
        rivals = default_rivals(loaded, agent, consumers=view.consumers, action_mode=action_mode, history=history)
    env = envs.vec_env(
        loaded, num_markets=episodes, learner=agent, rivals=rivals, consumers=view.consumers,
        action_mode=action_mode, max_cycles=max_cycles, history=history,
    )  # fmt: skip
    env.seed(HELD_OUT + seed)
    rivals = {name: as_policy(rival) for name, rival in rivals.items()}
    with same_draws([seller, *rivals.values()]):
        return _roll(env, seller, view)


def _roll(env: Any, seller: Seller, view: SellerView) -> Played:
    """Play one episode in every market of `env`."""
    observation = env.reset()
    state = first_state(env, seller)
    start = np.ones(env.num_envs, dtype=bool)
    outcomes = []
    for _ in range(env.max_cycles):
        action, state = seller.predict(observation, state, start, deterministic=True)
        observation, _, _, _ = env.step(action)
        outcomes.append(env.outcome)
        start = np.zeros(env.num_envs, dtype=bool)
    size = view.scenario.population_size
    return Played(
        profit=np.sum([o.seller_profit[:, view.index] for o in outcomes], axis=0),
        share=np.mean([_share_of(o, view) for o in outcomes], axis=0),
        surplus=np.mean([o.consumer_surplus / size for o in outcomes], axis=0),
        prices=np.array([o.prices[0] for o in outcomes]),
        listed=np.array([o.listed[0] for o in outcomes]),
        period_share=np.array([o.share[0] for o in outcomes]),
    )


def first_state(env: Any, seller: Seller) -> Any:
    """Return the state a seller begins the episodes of `env` with: None for most, see `Beginner`."""
    if not isinstance(seller, Beginner):
        return None
    return seller.begin(None, env.core.market_batch.episode, np.ones(env.num_envs, dtype=bool))


def _share_of(outcome: Any, view: SellerView) -> FloatArray:
    units = outcome.units
    return units[:, view.products].sum(axis=1) / np.maximum(units.sum(axis=1), 1e-12)


def summary(runs: Sequence[Played]) -> dict[str, dict[str, float]]:
    """Return mean and standard error of each measure.

    With one seller the error is that over held-out episodes; with several trained with other seeds it is that over
    those seeds, each seed's mean over the same episodes counting once. It is NaN with one seller and one episode.
    """
    found = {}
    for measure in MEASURES:
        rows = np.array([getattr(run, measure) for run in runs])
        sample = rows[0] if len(rows) == 1 else rows.mean(axis=1)
        found[measure] = {"mean": float(rows.mean()), "se": mean_se(sample).se}
    return found


def compare(
    scenario: Scenario | str,
    sellers: Mapping[str, Sequence[Seller]],
    agent: str = "seller_0",
    rivals: dict[str, Seller] | None = None,
    *,
    watch: OnMessage | None = None,
    **options: Any,
) -> dict[str, list[Played]]:
    """Play every seller kind as the same agent on the same seeds.

    Args:
        scenario: The market.
        sellers: Kind -> sellers of that kind (several when trained with several seeds).
        agent: Whose products it sells.
        rivals: Seller per other agent; default cost-plus.
        watch: Called with each kind before it plays.
        options: Passed on to `play`.
    """
    played: dict[str, list[Played]] = {}
    for kind, group in sellers.items():
        if watch is not None:
            watch(kind)
        played[kind] = [play(scenario, seller, agent, rivals, **options) for seller in group]
    return played
