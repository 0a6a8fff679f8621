"""Any algorithm of BenchMARL on a market, here MAPPO: one policy for all sellers, and a critic that sees everything.

    python examples/benchmarl_mappo.py --frames 60000

The task class ships with this package; the rest is BenchMARL as its documentation shows it
(https://benchmarl.readthedocs.io). Change MappoConfig to IppoConfig, MaddpgConfig, QmixConfig (discrete) ...
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from benchmarl.algorithms import MappoConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

from malles_agents.libraries.benchmarl import pricing_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--frames", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)

    settings = ExperimentConfig.get_from_yaml()
    settings.max_n_frames, settings.loggers, settings.evaluation = args.frames, [], False
    settings.on_policy_collected_frames_per_batch = settings.on_policy_n_envs_per_worker * 52
    settings.on_policy_minibatch_size, settings.on_policy_n_minibatch_iters = 260, 6
    with tempfile.TemporaryDirectory() as folder:
        settings.save_folder = folder
        experiment = Experiment(
            task=pricing_task(args.scenario), algorithm_config=MappoConfig.get_from_yaml(),
            model_config=MlpConfig.get_from_yaml(), critic_model_config=MlpConfig.get_from_yaml(), seed=args.seed,
            config=settings,
        )  # fmt: skip
        experiment.run()
        print(f"MAPPO: mean episode return {experiment.mean_return:.2f} after {experiment.total_frames} periods")


if __name__ == "__main__":
    main()
