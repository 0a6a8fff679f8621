"""Examples for other libraries run with the real ones, each in an environment of its own."""

from __future__ import annotations

import re

import pytest

from tests.examples.environments import ROOT, pinned_torch, run

BRIEF = {
    "offline_d3rlpy.py": (
        "d3rlpy",
        ["--episodes", "20", "--updates", "200"],
        r"offline TD3\+BC +profit per episode +\d+",
    ),
    "skrl_ppo.py": ("skrl", ["--steps", "208", "--markets", "8"], r"profit per episode: \d+"),
    "torchrl_mappo.py": ("torchrl", ["--frames", "832"], r"mean episode return \d+\.\d+ per seller"),
    "benchmarl_mappo.py": ("torchrl", ["--frames", "1040"], r"mean episode return \d+\.\d+ after 1040 periods"),
    "rllib_ppo.py": ("ray", ["--iterations", "1", "--batch", "520"], r"seller_0 \d+\.\d+, seller_1 \d+\.\d+"),
    "agilerl_ippo.py": ("agilerl", ["--steps", "2080"], r"best return of a group \d+\.\d+"),
    "rl_zoo3_ppo.py": ("zoo", ["--steps", "1664", "--folder", "FOLDER"], r"Saving to"),
}
"""Script -> its environment, arguments with which it has little to do, and what it prints."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BRIEF))
def test_example_runs(name, tmp_path):
    environment, arguments, expected = BRIEF[name]
    given = [str(tmp_path) if argument == "FOLDER" else argument for argument in arguments]
    assert re.search(expected, run(environment, str(ROOT / "examples" / name), *given))


@pytest.mark.slow
def test_each_seller_can_have_a_policy_of_its_own_in_rllib():
    result = run(
        "ray", str(ROOT / "examples" / "rllib_ppo.py"), "--policies", "own", "--iterations", "1", "--batch", "520"
    )
    assert "own policies" in result


@pytest.mark.slow
@pytest.mark.parametrize("environment", sorted({entry[0] for entry in BRIEF.values()}))
def test_the_cpu_build_of_torch_stays(environment):
    result = run(environment, "-c", "import torch; print(torch.__version__, torch.version.cuda)")
    assert result.split() == [f"{pinned_torch().removeprefix('torch==')}+cpu", "None"]


@pytest.mark.slow
def test_every_algorithm_kind_of_benchmarl_fits_the_task():
    code = (
        "from malles_agents.libraries.benchmarl import pricing_task\n"
        "for continuous in (True, False):\n"
        "    task = pricing_task('bertrand-duopoly', max_cycles=3)\n"
        "    env = task.get_env_fun(1, continuous, 0, 'cpu')()\n"
        "    played = env.rollout(5)\n"
        "    group = task.group_map(env)['seller']\n"
        "    print(played.batch_size[0], len(group), task.max_steps(env), 'state' in task.state_spec(env).keys())\n"
    )
    assert run("torchrl", "-c", code).splitlines()[-2:] == ["3 2 3 True"] * 2
