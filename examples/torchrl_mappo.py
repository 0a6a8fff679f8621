"""MAPPO in TorchRL: one policy for all sellers, and a critic that reads the market's global state.

    python examples/torchrl_mappo.py --frames 30000

After TorchRL's multi-agent tutorial (https://docs.pytorch.org/rl/stable/tutorials/multiagent_ppo.html). Sellers form
the group "seller"; with `return_state` the global view stands beside their observations. Unequal widths of dict actions
do not stack: use the continuous or discrete mode.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from tensordict.nn import TensorDictModule
from tensordict.nn.distributions import NormalParamExtractor
from torch import nn
from torchrl.collectors import SyncDataCollector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.data.replay_buffers.samplers import SamplerWithoutReplacement
from torchrl.envs import PettingZooWrapper, RewardSum, SerialEnv, TransformedEnv
from torchrl.modules import MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import ClipPPOLoss, ValueEstimators

import malles_env

GROUP, CYCLES = "seller", 52


def make_market(scenario: str, seed: int) -> PettingZooWrapper:
    env = malles_env.parallel_env(scenario, max_cycles=CYCLES)
    return PettingZooWrapper(env, return_state=True, seed=seed)


def make_policy(env: TransformedEnv) -> ProbabilisticActor:
    spec = env.full_action_spec[GROUP, "action"]
    inputs = env.observation_spec[GROUP, "observation"].shape[-1]
    network = MultiAgentMLP(
        n_agent_inputs=inputs, n_agent_outputs=2 * spec.shape[-1], n_agents=spec.shape[-2], centralized=False,
        share_params=True, depth=2, num_cells=64, activation_class=nn.Tanh,
    )  # fmt: skip
    module = TensorDictModule(
        nn.Sequential(network, NormalParamExtractor("biased_softplus_0.3")),
        in_keys=[(GROUP, "observation")], out_keys=[(GROUP, "loc"), (GROUP, "scale")],
    )  # fmt: skip
    return ProbabilisticActor(
        module=module, spec=env.full_action_spec_unbatched, in_keys=[(GROUP, "loc"), (GROUP, "scale")],
        out_keys=[(GROUP, "action")], distribution_class=TanhNormal, return_log_prob=True,
        distribution_kwargs={"low": -1.0, "high": 1.0}, log_prob_key=(GROUP, "sample_log_prob"),
    )  # fmt: skip


class Critic(nn.Module):
    """The global state's value, the same network for every seller; each knows which one it is."""

    def __init__(self, inputs: int, agents: int) -> None:
        super().__init__()
        self.agents = agents
        self.network = nn.Sequential(
            nn.Linear(inputs + agents, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
        )

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        shape = (*state.shape[:-1], self.agents)
        who = torch.eye(self.agents).expand(*shape, self.agents)
        return self.network(torch.cat([state.unsqueeze(-2).expand(*shape, state.shape[-1]), who], dim=-1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--frames", type=int, default=30_000)
    parser.add_argument("--markets", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    markets = SerialEnv(
        args.markets, [lambda i=i: make_market(args.scenario, args.seed + i) for i in range(args.markets)]
    )
    env = TransformedEnv(markets, RewardSum(in_keys=[(GROUP, "reward")], out_keys=[(GROUP, "episode_reward")]))
    policy = make_policy(env)
    agents = env.full_action_spec[GROUP, "action"].shape[-2]
    critic = TensorDictModule(
        Critic(env.observation_spec["state"].shape[-1], agents), in_keys=["state"], out_keys=[(GROUP, "state_value")]
    )
    loss = ClipPPOLoss(policy, critic, clip_epsilon=0.2, entropy_coeff=0.0, normalize_advantage=False)
    loss.set_keys(
        reward=(GROUP, "reward"), action=(GROUP, "action"), value=(GROUP, "state_value"), done=(GROUP, "done"),
        terminated=(GROUP, "terminated"), sample_log_prob=(GROUP, "sample_log_prob"),
    )  # fmt: skip
    loss.make_value_estimator(ValueEstimators.GAE, gamma=0.99, lmbda=0.95)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    batch = args.markets * CYCLES
    data = SyncDataCollector(env, policy, frames_per_batch=batch, total_frames=max(args.frames // batch, 1) * batch)
    buffer = ReplayBuffer(storage=LazyTensorStorage(batch), sampler=SamplerWithoutReplacement(), batch_size=batch // 4)

    returns = torch.tensor([])
    for played in data:
        ends = played["next", GROUP, "done"]
        returns = played["next", GROUP, "episode_reward"][ends]
        with torch.no_grad():
            loss.value_estimator(
                played, params=loss.critic_network_params, target_params=loss.target_critic_network_params
            )
        buffer.extend(played.reshape(-1))
        for _ in range(args.epochs * 4):
            found = loss(buffer.sample())
            total = found["loss_objective"] + found["loss_critic"]
            optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
            optimizer.step()
    print(f"MAPPO: mean episode return {returns.mean():.2f} per seller")
    data.shutdown()


if __name__ == "__main__":
    main()
