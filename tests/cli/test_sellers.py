"""The command line: works end to end, and answers mistakes in one readable line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from malles_env.cli import app

runner = CliRunner()


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom malles_env.cli import app\n"
        "heavy = {'torch', 'transformers', 'stable_baselines3', 'matplotlib', 'numba', 'polars'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    for command in ("demo", "train", "evaluate", "align", "scenario", "consumers"):
        assert command in shown.output


def test_version():
    assert runner.invoke(app, ["--version"]).output.startswith("malles-env 0.")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["evaluate", "bertrand-dupoly"], "bertrand-duopoly"),
        (["evaluate", "bertrand-duopoly", "--sellers", "cheapest"], "cost-plus"),
        (["evaluate", "bertrand-duopoly", "--sellers", " , "], "sellers"),
        (["evaluate", "bertrand-duopoly", "--agent", "seller_5"], "seller_1"),
        (["evaluate", "bertrand-duopoly", "--episodes", "0"], "episodes"),
        (["evaluate", "bertrand-duopoly", "--policy", "nowhere/policy.zip"], "nowhere/policy.zip"),
        (["evaluate", "nowhere.yaml"], "nowhere.yaml"),
        (["train", "bertrand-duopoly", "--algo", "dpo"], "ppo"),
        (["train", "bertrand-duopoly", "--steps", "0"], "steps"),
        (["train", "bertrand-duopoly", "--rivals", "nobody"], "cost-plus"),
        (["train", "bertrand-duopoly", "--agent", "seller_9"], "seller_1"),
        (["train", "bertrand-duopoly", "--model", "embedded"], "model"),
        (["train", "bertrand-duopoly", "--engine", "torch"], "sb3, rllib"),
        (["train", "bertrand-duopoly", "--engine", "rllib", "--algo", "a2c"], "ppo with the engine rllib"),
        (["train", "bertrand-duopoly", "--engine", "rllib", "--num-env-runners", "-1"], "env_runners"),
        (["train", "bertrand-duopoly", "--address", "127.0.0.1:1"], "nothing without --engine rllib"),
        (["tournament", "bertrand-duopoly", "--engine", "slurm"], "processes, ray"),
        (["tournament", "bertrand-duopoly", "--address", "127.0.0.1:1"], "nothing without --engine ray"),
        (["study", "bertrand-duopoly", "--engine", "slurm"], "processes, ray"),
        (["distil", "bertrand-duopoly", "--out", "fast.yaml", "--engine", "slurm"], "processes, ray"),
        (["consumers", "evaluate", "--engine", "slurm"], "processes, ray"),
        (["demo", "--scenario", "nowhere"], "nowhere"),
        (["demo", "--scenario", "bertrand-duopoly", "--seeds", "0"], "seeds"),
    ],
)
def test_mistakes_get_one_line(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert named in lines[0]
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


def test_a_mistake_in_a_real_process_leaves_no_traceback():
    code = "from malles_env.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", "soft-drink"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "soft-drinks" in done.stderr


def test_train_resume_and_evaluate(tmp_path):
    out = tmp_path / "run"
    train = ["train", "bertrand-duopoly", "--out", str(out), "--rivals", "fixed", "--checkpoint-every", "1000"]
    first = runner.invoke(app, [*train, "--steps", "2000"])
    assert first.exit_code == 0, first.output
    assert str(out / "policy.zip") in first.output
    again = runner.invoke(app, [*train, "--steps", "2000"])
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    for path in (out / "checkpoints").glob("*.zip"):
        path.write_bytes(path.read_bytes()[:100])
    broken = runner.invoke(app, [*train, "--steps", "8000", "--resume"])
    assert broken.exit_code == 2
    assert "checkpoint" in broken.stderr

    target = tmp_path / "results.json"
    arguments = ["--policy", str(out / "policy.zip"), "--sellers", "fixed", "--episodes", "4", "--json", str(target)]
    shown = runner.invoke(app, ["evaluate", "bertrand-duopoly", *arguments, "--search"])
    assert shown.exit_code == 0, shown.output
    results = json.loads(target.read_text())
    world = {"scenario", "scenario_hash", "model", "tastes", "cost_share"}
    assert set(results) == world | {"agent", "rivals", "episodes", "sellers"}
    assert (results["model"], results["tastes"], results["cost_share"]) == (None, "mean", None)
    assert set(results["sellers"]) == {"fixed", "ppo", "best-stationary"}
    assert set(results["sellers"]["ppo"]) == {"profit", "share", "surplus"}


def test_commands_write_what_they_print_as_json(tmp_path):
    listed = tmp_path / "list.json"
    assert CliRunner().invoke(app, ["scenario", "list", "--json", str(listed)]).exit_code == 0
    assert {"name": "clearance", "sellers": 1, "products": 1}.items() <= {
        row["name"]: row for row in json.loads(listed.read_text())
    }["clearance"].items()
    board = tmp_path / "board.json"
    given = ["tournament", "bertrand-duopoly", "--sellers", "nash,monopoly", "--episodes", "1", "--cycles", "2"]
    given += ["--workers", "1", "--out", str(tmp_path / "t"), "--json", str(board)]
    assert CliRunner().invoke(app, given).exit_code == 0
    found = json.loads(board.read_text())
    assert set(found["ranks"]) == {"nash", "monopoly"}
    assert found["scenarios"]["bertrand-duopoly"]["nash"]["profit"][1] is None  # one seed has no error


def test_reproduce_lists_its_experiments_and_a_wrong_algorithm_announces_nothing():
    assert "calvano" in CliRunner().invoke(app, ["reproduce", "list"]).output
    wrong = CliRunner().invoke(app, ["train", "bertrand-duopoly", "--algo", "foo"])
    assert wrong.exit_code == 2 and "training" not in wrong.output and "ppo" in wrong.output


def test_the_search_says_what_it_found(tmp_path):
    given = ["evaluate", "bertrand-duopoly", "--sellers", "regular-price", "--episodes", "1", "--search"]
    assert "best-stationary: " in CliRunner().invoke(app, given).output
