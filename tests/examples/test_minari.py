"""Minari reads what `malles record` writes, and gives back the market it was played in."""

from __future__ import annotations

import json

import pytest

from tests.examples.environments import run

COMMAND = "from malles_env.cli import main; main()"
READ = """
import json, os, sys
import numpy as np
folder = sys.argv[1]
os.environ["MINARI_DATASETS_PATH"] = folder
import minari
import malles_env
data = minari.load_dataset("malles/bertrand-duopoly/seller-1-v0")
episodes = list(data.iterate_episodes())
env = data.recover_environment()
same = []
seen, _ = env.reset(seed=7)
for action in episodes[0].actions:
    same.append(bool(np.array_equal(seen[:2], episodes[0].observations[len(same)][:2])))
    seen, _, _, over, _ = env.step(action)
print(json.dumps({
    "episodes": data.total_episodes, "steps": data.total_steps, "over": over,
    "shapes": [list(episodes[0].observations.shape), list(episodes[0].actions.shape)],
    "propensity": [float(p) for p in episodes[0].infos["propensity"]],
    "rivals": env.spec.kwargs["rivals"], "same": same,
}))
"""


@pytest.mark.slow
def test_data_sets_are_read_by_minari_and_by_ope(tmp_path):
    folder = tmp_path / "log"
    asked = [
        "bertrand-duopoly",
        "--sellers",
        "gaussian:0.2:nash,random",
        "--episodes",
        "12",
        "--cycles",
        "3",
        "--seed",
        "7",
    ]
    result = run("d3rlpy", "-c", COMMAND, "record", *asked, "--out", str(folder))
    assert "malles/bertrand-duopoly/seller-1-v0" in result
    found = json.loads(run("d3rlpy", "-c", READ, str(folder)).splitlines()[-1])
    assert (found["episodes"], found["steps"], found["over"]) == (12, 36, True)
    assert found["shapes"] == [[4, 11], [3, 2]]
    assert found["propensity"] == [0.0, 0.5, 0.5, 0.5]  # uniform over a price box from -1 to 1
    assert found["rivals"] == {"seller_0": "gaussian:0.2:nash"}
    assert all(found["same"])
    result = run(
        "d3rlpy",
        "-c",
        COMMAND,
        "ope",
        str(folder),
        "--agent",
        "seller_1",
        "--policy",
        "gaussian:0.3:nash",
        "--truth",
        "20",
    )
    assert "covers" in result and "12 episodes of random" in result
    run("d3rlpy", "-c", COMMAND, "record", *asked, "--out", str(folder))  # an older log is replaced


@pytest.mark.slow
def test_a_folder_of_something_else_stays(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(AssertionError, match=r"malles-log\.json"):
        run("d3rlpy", "-c", COMMAND, "record", "bertrand-duopoly", "--sellers", "random", "--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
