"""Policies and checkpoints are read without running code stored in them, and act as what was trained."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stable_baselines3
import torch
from typer.testing import CliRunner

from malles_agents.checkpoints import found_checkpoints
from malles_agents.registry import default_rivals, make_seller
from malles_agents.sellers.sb3.policies import algorithm_class
from malles_agents.training.train import Run, train
from malles_env.cli import app
from malles_env.envs import vec_env
from malles_env.errors import CorruptFile, InvalidInput, MallesError
from malles_env.scenarios import load_scenario, parse_scenario
from tests.agents.sellers.test_rules import SHOPFUL

DUOPOLY, RIVAL = "bertrand-duopoly", "fixed:1.92498092"
ALGORITHMS = ("ppo", "a2c", "sac", "td3", "dqn", "recurrent-ppo")
PASSES = ("ppo", "recurrent-ppo")
"""Algorithms that go through what was played several times; here once."""
SHORT, LONG = 240, 400
"""Steps of a run, past the end of a first episode in each market, and of the same run gone on with."""


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def run_of(algo: str, steps: int) -> Run:
    settings = {"num_markets": 4} | ({"n_steps": 12} if algo in PASSES or algo == "a2c" else {"learning_starts": 100})
    settings |= {"minibatches": 2, "n_epochs": 1} if algo in PASSES else {}
    return Run(DUOPOLY, algo, steps, rivals=RIVAL, settings=settings, checkpoint_every=120)


def mode(algo: str) -> str:
    return "discrete" if algo == "dqn" else "continuous"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("runs")
    return {algo: train(run_of(algo, SHORT), place / algo) for algo in ALGORITHMS}


def poisoned(source: Path, target: Path, marker: Path, parts: tuple[str, ...] = ()) -> Path:
    """Copy a policy with a payload in every pickled field of its data, in two new ones, and in some parts."""
    payload = pickle.dumps(Payload(marker))
    text = base64.b64encode(payload).decode()
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            body = payload if name in parts else old.read(name)
            if name == "data":
                fields = json.loads(body)
                for value in fields.values():
                    if isinstance(value, dict) and ":serialized:" in value:
                        value[":serialized:"] = text
                fields["extra"] = {":type:": "<class 'dict'>", ":serialized:": text}
                fields["num_timesteps"] = fields["num_timesteps"] if "policy.pth" not in parts else fields["extra"]
                body = json.dumps(fields).encode()
            new.writestr(name, body)
    return target


def test_the_payload_would_run(runs, tmp_path) -> None:
    """What the other tests see absent is there when Stable-Baselines3 itself, or a trusting user, reads the file."""
    bad = poisoned(runs["ppo"].policy, tmp_path / "bad.zip", tmp_path / "ran")
    with pytest.raises(CorruptFile, match="cannot be read"):
        make_seller(f"ppo:{bad}", DUOPOLY, trust=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_poisoned_policy_plays_as_it_was_trained(runs, algo, tmp_path) -> None:
    bad = poisoned(runs[algo].policy, tmp_path / "bad.zip", tmp_path / "ran")
    seen = np.random.default_rng(0).uniform(-1, 1, (64, *runs[algo].model.observation_space.shape)).astype(np.float32)
    wanted = runs[algo].model.predict(seen, deterministic=True)[0].reshape(64, -1)
    for file in (runs[algo].policy, bad):
        seller = make_seller(f"{algo}:{file}", DUOPOLY, action_mode=mode(algo))
        np.testing.assert_array_equal(seller.predict(seen, deterministic=True)[0], wanted)
    trusted = make_seller(f"{algo}:{runs[algo].policy}", DUOPOLY, action_mode=mode(algo), trust=True)
    np.testing.assert_array_equal(trusted.predict(seen, deterministic=True)[0], wanted)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"])
def test_pickles_in_place_of_tensors_are_not_run(runs, part, tmp_path) -> None:
    bad = poisoned(runs["ppo"].policy, tmp_path / "bad.zip", tmp_path / "ran", (part,))
    if part == "policy.pth":
        with pytest.raises(CorruptFile, match=r"bad\.zip"):
            make_seller(f"ppo:{bad}", DUOPOLY)
    else:
        make_seller(f"ppo:{bad}", DUOPOLY)
    out = tmp_path / "run"
    shutil.copytree(runs["ppo"].out, out)
    for checkpoint in found_checkpoints(out / "checkpoints"):
        poisoned(runs["ppo"].policy, checkpoint, tmp_path / "ran", (part,))
    with pytest.raises(CorruptFile, match="checkpoint"):
        train(run_of("ppo", LONG), out, resume=True)
    assert not (tmp_path / "ran").exists()


def test_a_poisoned_policy_of_another_market_is_refused_before_anything_runs(runs, tmp_path) -> None:
    bad = poisoned(runs["ppo"].policy, tmp_path / "bad.zip", tmp_path / "ran")
    for trust in (False, True):
        with pytest.raises(
            InvalidInput, match=r"observation space of .*bad\.zip: got .*Box of shape \(11,\)|got .*Box"
        ):
            make_seller(f"ppo:{bad}", parse_scenario(SHOPFUL), trust=trust)
        with pytest.raises(InvalidInput, match="action space"):
            make_seller(f"ppo:{bad}", DUOPOLY, action_mode="discrete", trust=trust)
    answer = CliRunner().invoke(app, ["evaluate", "clearance", "--policy", str(bad), "--sellers", "fixed"])
    assert answer.exit_code == 2 and "observation space" in answer.output
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_poisoned_checkpoint_resumes_as_a_clean_one(runs, algo, tmp_path) -> None:
    ends = []
    for name in ("clean", "bad"):
        out = tmp_path / name
        shutil.copytree(runs[algo].out, out)
        if name == "bad":
            for checkpoint in found_checkpoints(out / "checkpoints"):
                poisoned(shutil.move(checkpoint, tmp_path / "old.zip"), checkpoint, tmp_path / "ran")
        resumed = train(run_of(algo, LONG), out, resume=True)
        assert resumed.model.num_timesteps >= LONG
        ends.append(resumed.model.get_parameters()["policy"])
    assert not (tmp_path / "ran").exists()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_checkpoint_gives_back_all_its_tensors_and_counters(runs, algo, tmp_path) -> None:
    """Nothing left to train: what `train` loads is what Stable-Baselines3 would load, and is saved as it was."""
    out = tmp_path / "run"
    shutil.copytree(runs[algo].out, out)
    done = runs[algo].model.num_timesteps
    again = train(run_of(algo, done), out, resume=True).model
    trusted = algorithm_class(algo).load(runs[algo].policy, device="cpu")
    wanted, found = trusted.get_parameters(), again.get_parameters()
    assert wanted.keys() == found.keys()
    for name in wanted:
        one, other = io.BytesIO(), io.BytesIO()
        torch.save(wanted[name], one)
        torch.save(found[name], other)
        if "optimizer" in name:
            assert found[name]["state"], "moments of the optimizer"
        assert one.getvalue() == other.getvalue(), name
    for name in ("num_timesteps", "_n_updates", "_episode_num"):
        assert getattr(again, name) == getattr(trusted, name)
    if algo == "sac":
        assert torch.equal(again.log_ent_coef, trusted.log_ent_coef)
    if algo == "dqn":
        assert (again._n_calls, again.exploration_rate) == (trusted._n_calls, trusted.exploration_rate)


def saved(folder: Path, **network: Any) -> Path:
    """Save an untrained PPO made without malles_agents, as the example does."""
    scenario = load_scenario(DUOPOLY)
    markets = vec_env(scenario, num_markets=2, learner="seller_0", rivals=default_rivals(scenario, "seller_0"))
    model = stable_baselines3.PPO("MlpPolicy", markets, device="cpu", policy_kwargs=network)
    model.save(folder / "own.zip")
    return folder / "own.zip"


def test_a_plain_network_made_elsewhere_plays(tmp_path) -> None:
    path = saved(tmp_path, net_arch={"pi": [8], "vf": [4, 4]}, log_std_init=-1.5)
    seen = np.random.default_rng(0).uniform(-1, 1, (9, *make_seller(f"ppo:{path}", DUOPOLY).observation_space.shape))
    plain, trusted = (make_seller(f"ppo:{path}", DUOPOLY, trust=trust) for trust in (False, True))
    np.testing.assert_array_equal(*(each.predict(seen, deterministic=True)[0] for each in (plain, trusted)))


@pytest.mark.parametrize("option", [[], ["--trust-policy"]])
def test_a_network_that_only_code_describes_needs_trust(option, tmp_path) -> None:
    path = saved(tmp_path, activation_fn=torch.nn.ReLU)
    answer = CliRunner().invoke(
        app, ["evaluate", DUOPOLY, "--policy", str(path), "--sellers", "fixed", "--episodes", "2", *option]
    )
    assert answer.exit_code == (0 if option else 2), answer.output
    assert option or ("activation_fn" in answer.output and "--trust-policy" in answer.output)


@pytest.mark.parametrize(
    "network",
    [
        {"net_arch": [10**6, 10**6]},
        {"lstm_hidden_size": 8192},
        {"n_lstm_layers": 1000},
        {"net_arch": [4] * 1000},
        {"net_arch": [-1]},
        {"net_arch": "64"},
    ],
)
def test_absurd_networks_are_refused(runs, network, tmp_path) -> None:
    with zipfile.ZipFile(runs["ppo"].policy) as old, zipfile.ZipFile(tmp_path / "odd.zip", "w") as new:
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, json.dumps({**json.loads(body), "policy_kwargs": network}) if name == "data" else body)
    with pytest.raises(MallesError, match=r"odd\.zip"):
        make_seller(f"ppo:{tmp_path / 'odd.zip'}", DUOPOLY)


def other_weights(source: Path, target: Path, change: Any) -> Path:
    """Copy a policy with changed weights."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            body = old.read(name)
            if name == "policy.pth":
                weights = torch.load(io.BytesIO(body), weights_only=True)
                out = io.BytesIO()
                torch.save(change(weights), out)
                body = out.getvalue()
            new.writestr(name, body)
    return target


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e30])
def test_weights_that_give_no_action_are_refused(runs, factor, tmp_path) -> None:
    bad = other_weights(
        runs["ppo"].policy, tmp_path / "bad.zip", lambda weights: {name: w * factor for name, w in weights.items()}
    )
    with pytest.raises(CorruptFile, match=r"bad\.zip: its weights give no finite action"):
        make_seller(f"ppo:{bad}", DUOPOLY)


def test_a_part_that_unpacks_to_far_too_much_is_refused_at_once(runs, tmp_path) -> None:
    bad = other_weights(runs["ppo"].policy, tmp_path / "bad.zip", lambda weights: {"log_std": torch.zeros(26_000_000)})
    with pytest.raises(InvalidInput, match=r"policy\.pth has 104,.* bytes unpacked; allowed: at most 100,000,000"):
        make_seller(f"ppo:{bad}", DUOPOLY)
