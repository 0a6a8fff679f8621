"""AgileRL's IPPO with evolution: a small population of seller groups, the better ones kept and mutated.

    python examples/agilerl_ippo.py --steps 40000

AgileRL (https://docs.agilerl.com) takes PettingZoo's parallel envs and clips its normal actions itself. It groups
agents by the name before the underscore, so all sellers of a group share one policy.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from agilerl.algorithms import IPPO
from agilerl.hpo.mutation import Mutations
from agilerl.hpo.tournament import TournamentSelection
from agilerl.training.train_multi_agent_on_policy import train_multi_agent_on_policy
from agilerl.vector import PzDummyVecEnv

import malles_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--steps", type=int, default=40_000, help="periods, over the whole population")
    parser.add_argument("--population", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)  # AgileRL draws from NumPy's global stream

    market = malles_env.parallel_env(args.scenario)
    agents = list(market.possible_agents)
    population = [
        IPPO(
            [market.observation_space(agent) for agent in agents], [market.action_space(agent) for agent in agents],
            agent_ids=agents, index=i, lr=1e-3, learn_step=520, batch_size=130, gamma=0.99, action_std_init=0.0,
            net_config={"latent_dim": 64, "encoder_config": {"hidden_size": [64]}},
        )
        for i in range(args.population)
    ]  # fmt: skip
    selection = TournamentSelection(tournament_size=2, elitism=True, population_size=args.population)
    mutation = Mutations(
        no_mutation=0.6, architecture=0.0, new_layer_prob=0.0, parameters=0.4, activation=0.0, rl_hp=0.0,
        rand_seed=args.seed,
    )  # fmt: skip
    _, fitness = train_multi_agent_on_policy(
        PzDummyVecEnv(market), "pricing", "IPPO", population, max_steps=args.steps, evo_steps=2080,
        selection_strategy=selection, mutation=mutation, verbose=False,
    )  # fmt: skip
    best = max(float(np.max(scores)) for scores in fitness)
    print(f"AgileRL IPPO: best return of a group {best:.2f} per episode, all sellers together")


if __name__ == "__main__":
    main()
