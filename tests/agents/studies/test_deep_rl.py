"""The study's statistics, its yardsticks, and one small study from end to end."""

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_agents.studies.deep_rl import Score, Study, Yardstick, dynamic_optimum, interval, iqm, self_play_gain
from malles_agents.studies.deep_rl_report import as_markdown
from malles_agents.training.settings import HOME, load_settings
from malles_env.cli import app
from malles_env.errors import InvalidInput
from malles_env.scenarios import list_scenarios


def test_interquartile_mean_is_the_mean_of_the_middle_half():
    assert iqm([1.0, 2.0, 3.0, 100.0]) == pytest.approx(2.5)
    assert iqm(np.arange(8.0)) == pytest.approx(3.5)


def test_intervals_cover_the_mean_as_often_as_they_should():
    rng = np.random.default_rng(0)
    inside = 0
    for k in range(100):
        low, high = interval(rng.normal(1.0, 0.1, 20), seed=k)
        inside += low <= 1.0 <= high
    assert 80 <= inside <= 100
    assert interval([2.0, 2.0]) == (2.0, 2.0)


def test_gain_of_nash_and_cartel():
    np.testing.assert_allclose(self_play_gain([222.92666 * 52, 337.49046 * 52]), [0.0, 1.0], atol=1e-5)


def test_the_optimum_is_known_for_one_scenario_only():
    assert dynamic_optimum("clearance") > 600
    assert dynamic_optimum("bertrand-duopoly") is None


def test_settings_per_scenario_go_before_the_general_ones():
    general = load_settings("ppo")
    for folder in (path for path in HOME.iterdir() if path.is_dir() and path.name != "__pycache__"):
        assert folder.name in (*list_scenarios(), "draws")
        for file in folder.glob("*.yaml"):
            of = {"tastes": "draws"} if folder.name == "draws" else {"scenario": folder.name}
            tuned = load_settings(file.stem, **of)
            assert tuned != load_settings(file.stem)
    assert load_settings("ppo", scenario="no-such-scenario") == general


def test_too_few_seeds_are_refused():
    with pytest.raises(InvalidInput, match="seeds"):
        Study(seeds=0)


def test_a_single_seed_has_no_interval():
    assert np.isnan(interval([0.9])).all()
    score = Score("clearance", "ppo", 0, "seller_0", 700.0, [{"steps": 1.0, "profit": 600.0}])
    text = as_markdown([score], {"clearance": Yardstick(728.0, 738.0)}, "malles study --seeds 1")
    assert "| clearance | ppo | 0.962 | 0.949 |" in text
    assert "One training seed." in text


@pytest.mark.slow
def test_a_small_study_runs_and_goes_on(tmp_path):
    words = ["study", "--scenario", "clearance", "--algo", "ppo", "--seeds", "2", "--steps", "20000", "--workers", "2"]
    words += ["--out", str(tmp_path)]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    assert "clearance | ppo" in first.output
    scores = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("score.json")}
    assert len(scores) == 4
    again = CliRunner().invoke(app, words)
    assert again.output == first.output
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in scores.items())
    assert (tmp_path / "self-play.png").read_bytes().startswith(b"\x89PNG")
