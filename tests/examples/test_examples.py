"""Each example runs with the arguments that the text at its head names, with little to do."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.consumers.language import tiny
from tests.consumers.language.servers import llama_server, smollm2_gguf
from tests.examples import test_libraries

HOME = Path(__file__).parents[2] / "examples"
BRIEF = {
    "step_by_hand.py": (["--periods", "3"], "seller_1: profit"),
    "train_ppo.py": (["--steps", "1000", "--markets", "8"], "profit per episode"),
    "film.py": (
        ["--scenario", "bertrand-duopoly", "--sellers", "nash", "--periods", "2", "--out", "FILM"],
        "2 periods",
    ),
    "python_market.py": (["--periods", "3"], "mean return"),
    "evaluate_seller.py": (["--episodes", "2"], "undercutter"),
    "policy_experiments.py": (["--out", "FOLDER"], "merger of the duopoly: 1.47293 to 1.92498, formula 1.92498"),
    "quantity_discounts.py": (["--periods", "1"], "sampled gain"),
    "own_data.py": (["--panel", "made-up", "--brief", "--out", "FOLDER"], "of cost-plus"),
    "language_sellers.py": (
        ["--model", "MODEL", "--periods", "2", "--seeds", "2", "--memory", "1", "--out", "FOLDER"],
        "difference, seed by seed",
    ),
    "cleanrl_ppo.py": (["--total-timesteps", "416", "--num-envs", "8", "--num-minibatches", "2"], "416 steps"),
    "sb3_contrib_sellers.py": (["--steps", "96", "--markets", "4"], "maskable PPO, profit per episode"),
    "enter_leaderboard.py": ([], ""),  # read by `malles tournament --entry`, see test_tournament.py
}


SERVING = "gguf_server.py"
"""Runs until it is stopped."""


def test_every_example_is_tested():
    assert {path.name for path in HOME.glob("*.py")} == {*BRIEF, *test_libraries.BRIEF, SERVING}


def test_a_gguf_file_is_served():
    server = llama_server(smollm2_gguf())  # returns once it says that it is healthy
    try:
        assert server.process.args[1] == str(HOME / SERVING) and server.process.poll() is None
    finally:
        server.kill()


LONG = ("own_data.py",)
"""Minutes of training; the parts it calls have quick tests of their own."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in sorted(BRIEF)]
)
def test_example_runs(name, tmp_path, monkeypatch, capsys):
    arguments, expected = BRIEF[name]
    places = {"FOLDER": tmp_path, "FILM": tmp_path / "film.gif"}
    if "MODEL" in arguments:
        places["MODEL"] = tiny.save(tmp_path / "model")  # random weights: what it asks is no matter
    monkeypatch.setattr(sys, "argv", [str(HOME / name), *(str(places.get(a, a)) for a in arguments)])
    runpy.run_path(str(HOME / name), run_name="__main__")
    assert expected in capsys.readouterr().out
