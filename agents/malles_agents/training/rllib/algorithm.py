"""RLlib's PPO with the settings of Stable-Baselines3's, as `malles train` ships them."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents.training.rllib.runner_env import RUNNERS, RunnerEnv, RunnerTask
from malles_agents.training.rllib.weights import put_into_module, take_from_module
from malles_env.errors import invalid
from malles_env.jobs.cluster import held_back
from malles_env.scenarios import load_scenario

if TYPE_CHECKING:
    from stable_baselines3 import PPO

_LOWEST = 0.05
"""Share of the learning rate at which its decay ends, as in `malles_agents.training.train.sb3_arguments`."""
_NOT_TAKEN = ("policy", "num_markets", "linear_decay", "minibatches")
_TAKEN = (
    *_NOT_TAKEN, "learning_rate", "n_steps", "n_epochs", "gamma", "gae_lambda", "clip_range", "ent_coef", "vf_coef",
    "max_grad_norm", "policy_kwargs",
)  # fmt: skip


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse what RLlib's PPO has not, or has in another form.

    Raises:
        InvalidInput: Names the setting.
    """
    for name in settings:
        if name not in _TAKEN:
            raise invalid("settings", name, f"{', '.join(sorted(_TAKEN))} with the engine rllib")
    network = settings.get("policy_kwargs", {})
    layers = network.get("net_arch")
    if not isinstance(layers, list) or not all(isinstance(size, int) for size in layers):
        raise invalid("net_arch", layers, "a list of sizes, the same for policy and value, with the engine rllib")
    for name in network:
        if name not in ("net_arch", "log_std_init"):
            raise invalid("policy_kwargs", name, "net_arch, log_std_init with the engine rllib")


def markets_each(settings: dict[str, Any], runners: int) -> int:
    """Return the markets of each env runner: those of the settings, spread."""
    return -(-int(settings["num_markets"]) // max(runners, 1))


def build(settings: dict[str, Any], task: RunnerTask, model: PPO) -> Any:
    """Return the algorithm, ready to train from the weights and the optimizer of `model`.

    Args:
        settings: Of PPO, see `malles_agents.training.settings`; checked.
        task: What env runners play.
        model: Where training stands.
    """
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    for name in ("ray", "ray.rllib"):
        logging.getLogger(name).setLevel(logging.ERROR)
    run, runners = task.run, task.run.env_runners
    slots = task.markets * (len(load_scenario(run.scenario).seller_names) if run.learner == "all" else 1)
    batch = int(settings["n_steps"]) * slots * max(runners, 1)
    layers = list(settings["policy_kwargs"]["net_arch"])
    config = (
        PPOConfig()
        .environment(RunnerEnv, env_config={"task": task}, normalize_actions=False, clip_actions=True)
        .env_runners(
            num_env_runners=runners, num_envs_per_env_runner=slots, gym_env_vectorize_mode="vector_entry_point",
            rollout_fragment_length=int(settings["n_steps"]),
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=layers, fcnet_activation="tanh", free_log_std=True,
                                                   vf_share_layers=False))
        .training(
            lr=_rates(settings, run.steps, task.begun), gamma=float(settings["gamma"]),
            lambda_=float(settings["gae_lambda"]), train_batch_size_per_learner=batch,
            minibatch_size=batch // int(settings["minibatches"]), num_epochs=int(settings["n_epochs"]),
            clip_param=float(settings["clip_range"]), entropy_coeff=float(settings["ent_coef"]),
            vf_loss_coeff=float(settings["vf_coef"]), vf_clip_param=float("inf"), use_kl_loss=False,
            grad_clip=float(settings["max_grad_norm"]), grad_clip_by="global_norm",
        )
        .fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.0)
        .callbacks(on_env_runners_recreated=_other_seeds)
        .reporting(metrics_num_episodes_for_smoothing=slots * max(runners, 1), min_time_s_per_iteration=None)
        .debugging(seed=run.seed * RUNNERS, log_level="ERROR")
    )  # fmt: skip
    with held_back():
        algorithm = config.build_algo()
    put_into_module(model, *_learned(algorithm))
    algorithm.env_runner_group.sync_weights(from_worker_or_learner_group=algorithm.learner_group, inference_only=True)
    return algorithm


def close(algorithm: Any) -> None:
    """Stop an algorithm and its env runners, and remove the folder that RLlib makes for files it does not write."""
    folder = Path(algorithm.logdir)
    algorithm.stop()
    for empty in (folder, folder.parent):
        with suppress(OSError):
            empty.rmdir()


def bring_back(algorithm: Any, model: PPO) -> None:
    """Give `model` what the algorithm has learned: weights, and the state of the optimizer."""
    take_from_module(model, *_learned(algorithm))


def learned_module(algorithm: Any) -> Any:
    """Return the network as it stands after the last update."""
    return _learned(algorithm)[0]


def _learned(algorithm: Any) -> tuple[Any, Any]:
    """Return the module that learns, and its optimizer."""
    learner = algorithm.learner_group._learner
    ((_, optimizer),) = learner.get_optimizers_for_module("default_policy")
    return learner.module["default_policy"].unwrapped(), optimizer


def _rates(settings: dict[str, Any], steps: int, begun: int) -> Any:
    """Return the learning rate, or its decay over what is left of a run as RLlib has it: pairs of step and rate."""
    rate = float(settings["learning_rate"])
    if not settings["linear_decay"]:
        return rate
    low, flat = _LOWEST * rate, int((1 - _LOWEST) * steps) - begun
    if flat <= 0:
        return low
    return [[0, rate * (1 - begun / steps)], [flat, low], [flat + 1, low]]


def _other_seeds(*, algorithm: Any, env_runner_group: Any, env_runner_indices: list[int], **_: Any) -> None:
    """Let env runners that took the place of lost ones have markets with seeds of their own."""
    restarts = algorithm.iteration + 1

    def mark(runner: Any) -> None:
        runner.env.unwrapped.restarts = restarts

    env_runner_group.foreach_env_runner(mark, remote_worker_ids=env_runner_indices, local_env_runner=False)
