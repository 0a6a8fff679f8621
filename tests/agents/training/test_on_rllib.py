"""Training with the real RLlib on a cluster of two machines; run by `tests/jobs/test_ray.py` where Ray is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from malles_agents.evaluation.evaluate import play
from malles_agents.registry import default_rivals, make_seller
from malles_agents.sellers.sb3.stored import read_parameters
from malles_agents.training.rllib.algorithm import bring_back, build, close
from malles_agents.training.rllib.runner_env import RunnerTask
from malles_agents.training.rllib.train import train
from malles_agents.training.settings import load_settings
from malles_agents.training.train import Run, make_model, prepare
from malles_agents.training.train import train as train_here
from malles_env.errors import InvalidInput, MallesError, MissingResource
from malles_env.files import read_json
from malles_env.jobs.cluster import connected
from malles_env.scenarios import load_scenario
from tests.jobs.cluster import Killer, two_machines

pytestmark = pytest.mark.slow
SMALL = {"num_markets": 16}
RUN = Run("bertrand-duopoly", steps=9_000, engine="rllib", checkpoint_every=3_000, settings=SMALL)


@pytest.fixture(scope="module")
def cluster():
    with two_machines() as made:
        yield made


def test_the_exported_policy_acts_as_the_module_does_and_the_way_there_and_back_loses_nothing(tmp_path: Path) -> None:
    import torch

    run = replace(RUN, env_runners=0)
    scenario, settings = load_scenario(run.scenario), load_settings("ppo", scenario=run.scenario) | SMALL
    env, arguments = prepare(run, scenario, scenario.build_consumers(), False)
    model: Any = make_model(run, env, arguments, tmp_path, None)
    with connected(None, 1):
        algorithm = build(settings, RunnerTask(run, 16), model)
        try:
            algorithm.train()
            bring_back(algorithm, model)
            learner = algorithm.learner_group._learner
            module = learner.module["default_policy"].unwrapped()
            seen = np.random.default_rng(0).normal(size=(500, *env.observation_space.shape)).astype(np.float32)
            with torch.no_grad():
                found = module.forward_inference({"obs": torch.from_numpy(seen)})["action_dist_inputs"].numpy()
                known = model.policy.get_distribution(torch.from_numpy(seen)).distribution
                value = module.compute_values({"obs": torch.from_numpy(seen)}).numpy()
                np.testing.assert_allclose(found[:, :2], known.mean.numpy(), atol=1e-6)
                np.testing.assert_allclose(np.exp(found[:, 2:]), known.stddev.numpy(), atol=1e-6)
                np.testing.assert_allclose(value, model.policy.predict_values(torch.from_numpy(seen))[:, 0], atol=1e-5)
            ((_, optimizer),) = learner.get_optimizers_for_module("default_policy")
            (steps,) = {int(tensors["step"]) for tensors in optimizer.state_dict()["state"].values()}
            assert steps >= 8 * 6
            moments = [tensors["exp_avg"].abs().sum() for tensors in optimizer.state_dict()["state"].values()]
            back = [tensors["exp_avg"].abs().sum() for tensors in model.policy.optimizer.state_dict()["state"].values()]
            algorithm.save_to_path(str(tmp_path / "theirs"))
            assert sorted(map(float, moments)) == sorted(map(float, back)) and min(map(float, moments)) > 0
        finally:
            close(algorithm)
    with pytest.raises(InvalidInput, match=r"policy: got '.*theirs'; allowed: a policy.zip; this is a"):
        make_seller(f"ppo:{tmp_path / 'theirs'}", scenario, "seller_0")
    model.save(tmp_path / "policy.zip")
    view_seller = make_seller(f"ppo:{tmp_path / 'policy.zip'}", scenario, "seller_0")
    acted, _ = view_seller.predict(seen, deterministic=True)
    np.testing.assert_allclose(acted, np.clip(found[:, :2], -1, 1), atol=1e-6)


def test_a_run_goes_on_when_a_runner_is_killed_and_its_policy_plays_as_any_other(cluster: Any, tmp_path: Path) -> None:
    out, killer = tmp_path / "run", Killer("SingleAgentEnvRunner")
    trained = train(RUN, out, address=cluster.address, watch=killer.watch)
    assert killer.killed
    steps = [row["steps"] for row in trained.curve]
    assert steps == sorted(set(steps)) and steps[-1] >= RUN.steps
    assert [report[0] for report in killer.reports][-1] == steps[-1] == trained.model.num_timesteps
    assert max(np.diff([report[0] for report in killer.reports])) <= 2 * 16 * 52
    market = load_scenario(RUN.scenario)
    rivals = default_rivals(market, "seller_0", "cost-plus")
    profit = {
        name: play(market, make_seller(name, market, "seller_0"), "seller_0", rivals, episodes=8).profit.mean()
        for name in (f"ppo:{trained.policy}", "random")
    }
    assert profit[f"ppo:{trained.policy}"] > profit["random"]
    assert read_json(out / "config.json")["engine"] == "rllib"


def test_a_stopped_run_is_gone_on_with_from_its_checkpoint(cluster: Any, tmp_path: Path) -> None:
    out, said = tmp_path / "run", []
    train(replace(RUN, steps=1_600, env_runners=1), out, address=cluster.address)
    (kept,) = (out / "checkpoints").iterdir()
    before = read_parameters(kept)["policy.optimizer"]["state"][0]["step"]
    trained = train(
        replace(RUN, steps=3_300, env_runners=2), out, address=cluster.address, resume=True, say=said.append
    )
    assert said == [f"going on from {kept.name}: not the same run bit for bit, its markets begin anew"]
    assert [row["steps"] for row in trained.curve] == [832, 1664, 2496, 3328]
    state = trained.model.policy.optimizer.state_dict()["state"][0]
    assert float(state["step"]) >= 2 * float(before) > 0


@pytest.mark.parametrize("learner", ["all"])
def test_one_policy_can_learn_for_all_sellers(cluster: Any, tmp_path: Path, learner: str) -> None:
    trained = train(replace(RUN, steps=1_000, learner=learner), tmp_path / "run", address=cluster.address)
    assert [row["steps"] for row in trained.curve] == [1664]


def test_what_cannot_be_trained_is_one_line_and_nothing_is_written(cluster: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InvalidInput, match="env_runners: got 9; allowed: at most 2, the CPUs of the cluster"):
        train(replace(RUN, env_runners=9), out, address=cluster.address)
    with pytest.raises(InvalidInput, match=r"address: got '127.0.0.1:1'; .* nobody answers there"):
        train(RUN, out, address="127.0.0.1:1")
    with pytest.raises(InvalidInput, match=r"settings: got 'use_sde'; allowed: .* with the engine rllib"):
        train(replace(RUN, settings={"use_sde": True}), out, address=cluster.address)
    with pytest.raises(MissingResource):
        train(replace(RUN, scenario=str(tmp_path / "none.yaml")), out, address=cluster.address)
    assert not (out / "config.json").exists() and not (out / "policy.zip").exists()


def test_a_run_of_the_other_engine_is_not_gone_on_with(cluster: Any, tmp_path: Path) -> None:
    train_here(Run("bertrand-duopoly", steps=900, settings=SMALL), tmp_path, say=lambda _: None)
    with pytest.raises(InvalidInput, match=r"engine: got 'rllib'; allowed: 'sb3', as in .*config.json, when resuming"):
        train(RUN, tmp_path, address=cluster.address, resume=True)


@pytest.mark.filterwarnings("ignore:.*Overriding environment")  # the second algorithm of this process
def test_a_run_that_diverges_is_one_line_and_leaves_no_policy(tmp_path: Path) -> None:
    run = replace(RUN, env_runners=0, settings=SMALL | {"learning_rate": 1e30, "max_grad_norm": 1e30})
    with pytest.raises(MallesError, match=r"diverged: after [\d,]+ steps the policy gives no finite numbers") as caught:
        train(run, tmp_path / "run", say=lambda _: None)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run" / "policy.zip").exists()
