"""Learn from logged play alone with d3rlpy, then meet the market: TD3+BC on a Minari data set of this package.

    python examples/offline_d3rlpy.py --episodes 200 --updates 3000

The log is recorded first (as `malles record --format minari` does), with a seller who asks too little and tries prices
around it. Training sees the log and nothing else; the market is there to say what was learned, beside the logging
policy and Nash prices. d3rlpy: https://d3rlpy.readthedocs.io, its data sets: https://minari.farama.org. d3rlpy 2.8
declares an older Gymnasium than this package needs and works with the newer one: docs/guide/libraries.md says how.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any

import d3rlpy
import numpy as np
import structlog
import torch

from malles_agents.evaluation.evaluate import compare, summary
from malles_agents.logged.minari_sets import data_set_id, data_sets_in, write_minari
from malles_agents.logged.recorder import Plan, record
from malles_agents.registry import make_seller


class Learned:
    """A d3rlpy policy as a seller: answers SB3's `predict`."""

    def __init__(self, algorithm: Any) -> None:
        self.algorithm = algorithm

    def predict(
        self, observation: np.ndarray, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Return the actions for a batch of observations."""
        return np.clip(self.algorithm.predict(np.atleast_2d(observation)), -1.0, 1.0), state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--logged", default="gaussian:0.3:cost-plus:0.2")
    parser.add_argument("--rivals", default="cost-plus:0.5")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    d3rlpy.seed(args.seed)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    plan = Plan(args.scenario, (args.logged,), "seller_0", args.rivals, args.episodes, seed=args.seed)
    (log,) = record(plan)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "log"
        write_minari([log], folder)
        with data_sets_in(folder):
            data, _ = d3rlpy.datasets.get_minari(data_set_id(log.world, log.agent))
    learner = d3rlpy.algos.TD3PlusBCConfig(
        gamma=0.9, observation_scaler=d3rlpy.preprocessing.StandardObservationScaler(),
        reward_scaler=d3rlpy.preprocessing.StandardRewardScaler(),
    ).create(device="cpu:0")  # fmt: skip
    learner.fit(
        data, n_steps=args.updates, n_steps_per_epoch=args.updates, show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )  # fmt: skip

    others = [agent for agent in log.world.sellers if agent != log.agent]
    rivals = {agent: make_seller(args.rivals, args.scenario, agent) for agent in others}
    sellers: dict[str, list[Any]] = {
        "offline TD3+BC": [Learned(learner)],
        args.logged: [make_seller(args.logged, args.scenario)],
        "nash": [make_seller("nash", args.scenario)],
    }
    for kind, runs in compare(args.scenario, sellers, rivals=rivals, episodes=64).items():
        profit = summary(runs)["profit"]
        print(f"{kind:28} profit per episode {profit['mean']:8.0f} (s.e. {profit['se']:.0f})")


if __name__ == "__main__":
    main()
