"""How fast two trainers learn the same market: Stable-Baselines3 on torch beside SBX on JAX, both with PPO.

Run it as ``python -m benchmarks.trainers [--steps N] [--rounds N] [--json FILE]``, after ``pip install sbx-rl``. Both
get the demo's scenario with hidden tastes, the same markets, network sizes and settings, and begin at the middle of the
action space; SBX starts its last layer orthogonally, as SB3 does. After each rollout the mean profit of its episodes
(exploration included) is set against the CPU-seconds of all threads so far, compilation included. The trainers take
turns, a round for each seed. "99%" is 99% of the best mean of five rollouts that either reached with that seed.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its threads

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from benchmarks.training import demo_arguments, demo_env
from malles_agents.demo import Demo
from malles_env.errors import MissingResource

SMOOTHED, NEAR = 5, 0.99


class Curve(BaseCallback):
    """Notes CPU-seconds and the mean reward of the last episodes after each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.began = time.process_time()
        self.rows: list[tuple[float, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        means = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        if means:
            self.rows.append((time.process_time() - self.began, float(np.mean(means))))


def learned(trainer: Any, env: VecEnv, steps: int, seed: int, **policy: Any) -> np.ndarray:
    """Return CPU-seconds and mean profit after each rollout of a training run, shape ``(R, 2)``."""
    given = demo_arguments(env)
    given["policy_kwargs"] = given["policy_kwargs"] | policy
    curve = Curve()
    model = trainer(env=env, seed=seed, device="cpu", **given)
    model._stats_window_size = env.num_envs  # SBX's constructor does not take it
    model.learn(steps, callback=curve)
    return np.array(curve.rows)


def smoothed(profit: np.ndarray) -> np.ndarray:
    """Return the mean of the last `SMOOTHED` rollouts at each, fewer at the start."""
    sums = np.concatenate([[0.0], np.cumsum(profit)])
    first = np.maximum(np.arange(1, len(sums)) - SMOOTHED, 0)
    return np.asarray((sums[1:] - sums[first]) / (np.arange(1, len(sums)) - first))


def main(
    steps: Annotated[int, typer.Option(min=1, help="Periods to learn in each run.")] = 500_000,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each trainer, one per seed.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Train with both by turns and print what each took."""
    try:
        import sbx
    except ImportError:
        raise MissingResource("sbx is not installed; pip install sbx-rl") from None
    torch.set_num_threads(1)
    env = VecMonitor(demo_env())  # returns of episodes in the infos
    runs: dict[str, list[np.ndarray]] = {"SB3": [], "SBX": []}
    learned(PPO, env, 1, 0)  # compiles the market, which both need
    for seed in range(rounds):
        runs["SB3"].append(learned(PPO, env, steps, seed))
        runs["SBX"].append(learned(sbx.PPO, env, steps, seed, ortho_init=True))
    found: dict[str, dict[str, list[float]]] = {name: {"cpu_s": [], "to_99_cpu_s": [], "last": []} for name in runs}
    for seed in range(rounds):
        best = max(float(smoothed(curves[seed][:, 1]).max()) for curves in runs.values())
        for name, curves in runs.items():
            spent, profit = curves[seed][:, 0], smoothed(curves[seed][:, 1])
            near = np.flatnonzero(profit >= NEAR * best)
            found[name]["cpu_s"].append(float(spent[-1]))
            found[name]["to_99_cpu_s"].append(float(spent[near[0]]) if len(near) else float("inf"))
            found[name]["last"].append(float(profit[-1] / best))
    table = Table(title=f"PPO on {Demo().scenario}, hidden tastes: {steps:,} periods, {rounds} seeds")
    for column in ("trainer", "CPU-seconds", "to 99% of the best", "last, over the best"):
        table.add_column(column, justify="left" if column == "trainer" else "right")
    for name, values in found.items():
        table.add_row(name, *(f"{np.median(v):.3g} ({min(v):.3g} - {max(v):.3g})" for v in values.values()))
    for key in ("cpu_s", "to_99_cpu_s"):
        ratio = np.array(found["SB3"][key]) / np.array(found["SBX"][key])
        table.add_row(f"SB3 / SBX, {key}", f"{np.median(ratio):.2f} ({ratio.min():.2f} - {ratio.max():.2f})", "", "")
    Console(width=110).print(table)
    if json_file is not None:
        never = {
            name: {k: [x if np.isfinite(x) else None for x in v] for k, v in of.items()} for name, of in found.items()
        }
        json_file.write_text(json.dumps({"steps": steps, **never}, indent=1))


if __name__ == "__main__":
    typer.run(main)
