"""A resumed training run is the same run bit for bit, or says that it is not."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from malles_agents.checkpoints import found_checkpoints
from malles_agents.sellers.sb3.policies import algorithm_class
from malles_agents.sellers.sb3.stored import read_parameters
from malles_agents.training.run_state import ARRAYS, TREE
from malles_agents.training.train import Run, Trained, train
from malles_env.envs import vec_env
from malles_env.envs.snapshot import put_back, take
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.loader import save_scenario

ORDERED = {
    "storage": 900.0, "max_order": 300.0, "lead_time": 2, "fixed_cost": 20.0, "holding_cost": 0.1, "initial": 400.0,
    "salvage": 1.0,
}  # fmt: skip
BLOCKS = {
    "replenishment": {"replenishment": ORDERED},
    "tiers": {"tiers": {"threshold": 3, "most": 0.2}},
    "both": {"replenishment": ORDERED, "tiers": {"threshold": 3, "most": 0.2}},
}
SMALL = {"num_markets": 4, "n_steps": 13, "minibatches": 2, "n_epochs": 1}
ROLLOUT = 4 * 13


def numbers(trained: Trained) -> list[np.ndarray]:
    """Return all weights and optimizer moments of a finished run."""
    found: list[np.ndarray] = []

    def walk(part: object) -> None:
        if isinstance(part, dict):
            for name in part:
                walk(part[name])
        elif hasattr(part, "numpy"):
            found.append(part.numpy())

    walk(read_parameters(trained.policy))
    return found


def stopped_and_resumed(run: Run, out: Path) -> tuple[Trained, Trained, list[str]]:
    """Return a run in one go, the same resumed from its first checkpoint, and what that one said."""
    whole = train(run, out / "whole", say=lambda text: None)
    shutil.copytree(out / "whole", out / "parts")
    _, *later = reversed(found_checkpoints(out / "parts" / "checkpoints"))
    assert later
    for path in (*later, out / "parts" / "policy.zip"):
        path.unlink()
    said: list[str] = []
    return whole, train(run, out / "parts", resume=True, say=said.append), said


def same(one: Trained, other: Trained) -> bool:
    pairs = list(zip(numbers(one), numbers(other), strict=True))
    assert len(pairs) > 10
    return all(np.array_equal(first, second) for first, second in pairs)


def quick(scenario: str = "bertrand-duopoly", **changes: object) -> Run:
    steps = {"steps": 5 * ROLLOUT, "checkpoint_every": 2 * ROLLOUT}
    return Run(scenario, **({"settings": SMALL} | steps | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "run",
    [
        quick(),
        quick(algo="recurrent-ppo"),
        pytest.param(quick(algo="a2c", settings={"num_markets": 4, "n_steps": 13}), marks=pytest.mark.slow),
        quick(learner="all", history=3),
        quick(rivals="random"),
        quick(rivals="q-learning", steps=6 * ROLLOUT),
        pytest.param(quick("soft-drinks", rivals="calendar"), marks=pytest.mark.slow),
        pytest.param(quick("soft-drinks", tastes="draws"), marks=pytest.mark.slow),
        pytest.param(quick("clearance"), marks=pytest.mark.slow),
        pytest.param(quick("ice-cream", rivals="thompson"), marks=pytest.mark.slow),
    ],
    ids=lambda run: f"{run.algo}-{run.scenario}-{run.learner}-{run.rivals}-{run.tastes}",
)
def test_the_same_run_bit_for_bit(run: Run, tmp_path: Path) -> None:
    whole, resumed, said = stopped_and_resumed(run, tmp_path)
    assert len(said) == 1 and "the same run bit for bit" in said[0] and "not" not in said[0]
    assert same(whole, resumed)
    curves = [[(row["steps"], row["profit"]) for row in trained.curve] for trained in (whole, resumed)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("blocks", ["replenishment", "tiers", pytest.param("both", marks=pytest.mark.slow)])
def test_orders_and_tiers_go_on_where_they_were(blocks: str, tmp_path: Path) -> None:
    """Checkpoints lie in the middle of an episode, with units on order and tier prices shown to all sellers."""
    scenario = load_scenario("wholesale").model_dump() | BLOCKS[blocks]
    path = save_scenario(Scenario.model_validate(scenario), tmp_path / f"{blocks}.yaml")
    run = quick(str(path))
    whole, resumed, said = stopped_and_resumed(run, tmp_path)
    assert len(said) == 1 and "the same run bit for bit" in said[0] and "not" not in said[0]
    assert same(whole, resumed)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_snapshot_holds_units_on_order_and_tiers(blocks: str) -> None:
    scenario = Scenario.model_validate(load_scenario("wholesale").model_dump() | BLOCKS[blocks])
    env, other = (vec_env(scenario, num_markets=3, learner="seller_0", rivals="random", seed=s) for s in (5, 6))
    rng = np.random.default_rng(0)
    env.reset()
    other.reset()
    for _ in range(4):
        env.step(rng.uniform(-1, 1, (3, *env.action_space.shape)).astype(np.float32))
    kept = take(env)
    if "replenishment" in BLOCKS[blocks]:
        assert kept["state"]["pipeline"].any() and kept["arena"]["_ordered"].any()
    if "tiers" in BLOCKS[blocks]:
        assert kept["arena"]["_tier"].any()
    put_back(other, kept)
    for _ in range(60):  # past the end of an episode
        action = rng.uniform(-1, 1, (3, *env.action_space.shape)).astype(np.float32)
        (seen, reward, *_), (seen_too, reward_too, *_) = env.step(action), other.step(action)
        np.testing.assert_array_equal(seen, seen_too)
        np.testing.assert_array_equal(reward, reward_too)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (quick(algo="sac", settings={"num_markets": 4, "learning_starts": 50}), "replay buffer"),
        (quick(rivals="best-response"), "BestResponse"),
    ],
    ids=["sac", "best-response"],
)
def test_a_run_that_is_not_the_same_says_so_on_one_line(run: Run, why: str, tmp_path: Path) -> None:
    _, resumed, said = stopped_and_resumed(run, tmp_path)
    assert len(said) == 1 and "not the same run bit for bit" in said[0] and why in said[0]
    assert resumed.model.num_timesteps >= run.steps


def test_other_steps_are_another_run_and_it_says_so(tmp_path: Path) -> None:
    train(quick(), tmp_path, say=lambda text: None)
    said: list[str] = []
    train(quick(steps=8 * ROLLOUT), tmp_path, resume=True, say=said.append)
    assert len(said) == 1 and f"steps were {5 * ROLLOUT} and are {8 * ROLLOUT}" in said[0]


def test_nothing_to_go_on_from_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    train(quick(steps=ROLLOUT), tmp_path / "new", resume=True, say=said.append)
    assert len(said) == 1 and "no checkpoint to go on from" in said[0]


def _tampered(checkpoint: Path, change: str) -> None:
    """Change what a checkpoint says of the run beside its networks, leaving a whole zip file."""
    with zipfile.ZipFile(checkpoint) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    tree = json.loads(parts[TREE])
    fields = tree["dict"]["env"]["dict"]
    if change == "missing":
        del parts[TREE]
    elif change == "cut":
        parts[ARRAYS] = parts[ARRAYS][:200]
    elif change == "nested":
        parts[TREE] = b"[" * 100_000
    elif change == "shape":
        fields["state"]["dict"]["stock"] = fields["state"]["dict"]["period"]
    elif change == "no fields":
        fields["arena"] = {"dict": {}}
    elif change == "no array":
        fields["state"]["dict"]["stock"] = {"array": 999}
    elif change == "stream":
        tree["dict"]["draws"]["dict"]["numpy"] = 3
    if change in ("shape", "no fields", "no array", "stream"):
        parts[TREE] = json.dumps(tree).encode()
    with zipfile.ZipFile(checkpoint, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("change", ["missing", "cut", "nested", "shape", "no fields", "no array", "stream"])
def test_a_changed_state_is_refused_and_the_networks_are_gone_on_with(change: str, tmp_path: Path) -> None:
    run = quick(steps=3 * ROLLOUT, checkpoint_every=ROLLOUT)
    whole = numbers(train(run, tmp_path, say=lambda text: None))
    newest, middle, _ = found_checkpoints(tmp_path / "checkpoints")
    newest.unlink()
    _tampered(middle, change)
    said: list[str] = []
    resumed = train(run, tmp_path, resume=True, say=said.append)
    assert len(said) == 1 and "not the same run bit for bit" in said[0]
    assert resumed.model.num_timesteps == 3 * ROLLOUT
    assert not all(map(np.array_equal, whole, numbers(resumed)))


def test_checkpoints_are_still_what_their_names_say(tmp_path: Path) -> None:
    """Stable-Baselines3 reads a checkpoint with our parts in it."""
    train(quick(steps=ROLLOUT), tmp_path, say=lambda text: None)
    (path,) = found_checkpoints(tmp_path / "checkpoints")
    assert algorithm_class("ppo").load(path, device="cpu").num_timesteps == ROLLOUT
