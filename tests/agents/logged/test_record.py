"""Logs hold what was played, read back as written, and are judged beside the simulator."""

from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
import pytest
import stable_baselines3
from typer.testing import CliRunner

from malles_agents.logged.evaluation import Settings, judge, meet, read_log
from malles_agents.logged.parquet import write_parquet
from malles_agents.logged.recorder import Plan, Table, record
from malles_agents.logged.stochastic import as_target
from malles_env import parallel_env, vec_env
from malles_env.cli import app
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.scenarios import load_scenario

runner = CliRunner()
MARKET = "bertrand-duopoly"


def few(**changed):
    return Plan(**{"scenario": MARKET, "sellers": ("gaussian:0.2:nash",), "episodes": 6, "cycles": 3, **changed})


def test_a_log_is_what_was_played():
    plan = few(seed=5)
    logs = record(plan)
    for episode in (0, 5):
        env = parallel_env(MARKET, max_cycles=3)
        seen, _ = env.reset(seed=5 + episode)
        for t in range(3):
            for log in logs:
                assert (log.observations[episode, t] == seen[log.agent]).all()
            seen, rewards, *_ = env.step({log.agent: log.actions[episode, t] for log in logs})
            assert [log.rewards[episode, t] for log in logs] == list(rewards.values())
        assert all((log.observations[episode, 3] == seen[log.agent]).all() for log in logs)


def test_the_same_seed_gives_the_same_log():
    one, again, other = (record(few(seed=seed))[0] for seed in (1, 1, 2))
    assert (one.actions == again.actions).all() and (one.log_propensity == again.log_propensity).all()
    assert (one.actions != other.actions).any()


def test_a_rival_needs_no_propensity():
    (log,) = record(few(agent="seller_1", rivals="calendar", scenario="soft-drinks", sellers=("random",)))
    assert log.agent == "seller_1" and log.world.sellers["seller_0"] == "calendar"
    with pytest.raises(InvalidInput, match=r"gaussian:0\.2:cost-plus"):
        record(few(sellers=("cost-plus",)))


@pytest.mark.parametrize(("mode", "seller"), [("continuous", "random"), ("discrete", "epsilon:0.2:nash")])
def test_parquet_reads_back(tmp_path, mode, seller):
    logs = record(few(scenario="soft-drinks", sellers=(seller,), action_mode=mode))
    path = write_parquet(logs, tmp_path / "log.parquet", load_scenario("soft-drinks"))
    flat = pl.read_parquet(path)
    assert {"episode", "period", "seller", "obs_own_price_0", "action_price_0", "reward", "propensity"} <= {
        *flat.columns
    }
    assert len(flat) == 4 * 6 * 3
    for log in logs:
        again = read_log(path, log.agent)
        assert again.world == log.world
        for name in ("seen", "actions", "rewards"):
            assert (getattr(again, name) == getattr(log, name)).all()
        assert again.log_propensity == pytest.approx(log.log_propensity, abs=1e-12)


def test_a_log_that_says_too_little_is_refused(tmp_path):
    path = write_parquet(record(few()), tmp_path / "log.parquet", load_scenario(MARKET))
    with pytest.raises(InvalidInput, match="seller_0, seller_1"):
        read_log(path, "seller_9")
    metadata = pl.read_parquet_metadata(path)
    kept = {"malles": metadata["malles"]}
    flat = pl.read_parquet(path)
    flat.drop("propensity").write_parquet(tmp_path / "bare.parquet", metadata=kept)
    with pytest.raises(InvalidInput, match="without propensities"):
        read_log(tmp_path / "bare.parquet")
    flat.with_columns(propensity=pl.lit(0.0)).write_parquet(tmp_path / "zero.parquet", metadata=kept)
    with pytest.raises(CorruptFile, match="above 0"):
        read_log(tmp_path / "zero.parquet")
    flat.write_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(CorruptFile, match="malles record"):
        read_log(tmp_path / "foreign.parquet")
    flat[:-1].write_parquet(tmp_path / "cut.parquet", metadata=kept)
    with pytest.raises(CorruptFile, match="whole episodes"):
        read_log(tmp_path / "cut.parquet", "seller_1")
    (tmp_path / "text.parquet").write_text("none")
    with pytest.raises(CorruptFile, match="Parquet"):
        read_log(tmp_path / "text.parquet")
    with pytest.raises(MissingResource, match="malles record"):
        read_log(tmp_path / "nowhere.parquet")
    other = kept["malles"].replace(load_scenario(MARKET).digest(), "0" * 16)
    flat.write_parquet(tmp_path / "other.parquet", metadata={"malles": other})
    with pytest.raises(InvalidInput, match="0000"):
        judge(read_log(tmp_path / "other.parquet"), ["random"])


def test_the_logging_policy_judged_from_its_own_log():
    (log, _) = record(few(episodes=40))
    table = Table(log.world, load_scenario(MARKET))
    target = as_target(table.make("gaussian:0.2:nash", "seller_0"), table.views["seller_0"], "gaussian:0.2:nash")
    met = meet(log, target, table, draws=2, seed=0)
    assert met.log_ratio == pytest.approx(np.zeros((40, 3)), abs=1e-9)
    assert met.never == 0.0
    (found,) = judge(log, ["gaussian:0.2:nash"], Settings(truth=40, resamples=50, refits=5))
    for one in found.estimates:
        if one.estimator in ("ips", "snips"):
            assert one.value == pytest.approx(found.logged, rel=1e-9)
            assert one.effective == pytest.approx(40.0)
        assert one.low <= one.value <= one.high


def test_estimates_lie_around_the_truth():
    (log, _) = record(few(episodes=256, sellers=("gaussian:0.3:cost-plus:0.5", "gaussian:0.3:cost-plus:0.5")))
    (found,) = judge(log, ["gaussian:0.2:nash"], Settings(truth=512, resamples=100, refits=10), sizes=True)
    assert found.truth is not None
    for one in found.estimates:
        wide = (one.high - one.low) / 2.0 + 2.0 * found.truth.error
        assert abs(one.value - found.truth.mean) < 2.0 * wide
    assert list(found.errors) == [4, 8, 16, 32, 64, 128]
    assert found.errors[128]["dr", "episode"] < found.errors[8]["dr", "episode"]


def test_what_a_log_cannot_see_is_said():
    (log, _) = record(few(action_mode="discrete", sellers=("epsilon:0.2:nash", "random"), episodes=20))
    settings = Settings(truth=0, resamples=20, refits=2)
    uniform, other = judge(log, ["random", "cost-plus:0.9"], settings)
    assert uniform.never == 0.0 and uniform.overlap < 1.0  # not listing is a choice of the log's alone
    assert uniform.truth is None
    assert other.overlap < 0.1
    assert all(np.isnan(one.value) for one in other.estimates if one.form == "episode" and one.estimator != "dm")
    with pytest.raises(InvalidInput, match="knows its propensities"):
        judge(log, ["ucb"], settings)


def test_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = ["record", MARKET, "--sellers", "gaussian:0.2:nash", "--episodes", "16", "--cycles", "2"]
    shown = runner.invoke(app, [*typed, "--out", "log.parquet"])
    assert shown.exit_code == 0, shown.output
    assert "seller_1: gaussian:0.2:nash" in shown.output
    asked = ["--policy", "gaussian:0.1:nash", "--policy", "nash", "--truth", "8", "--resamples", "20"]
    shown = runner.invoke(app, ["ope", "log.parquet", *asked, "--json", "found.json", "--plot", "found.png"])
    assert shown.exit_code == 0, shown.output
    assert "only the direct method says anything" in shown.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["policies"]) == {"gaussian:0.1:nash", "nash"}
    one = found["policies"]["gaussian:0.1:nash"]
    assert len(one["estimates"]) == 8 and one["truth"]["episodes"] == 8
    assert {row["episodes"] for row in one["errors"]} == {4, 8}
    assert (tmp_path / "found.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_trained_policies_are_logged_and_judged(algorithm, tmp_path):
    env = vec_env(MARKET, num_markets=2, learner="seller_0", seed=0)
    path = tmp_path / "policy.zip"
    getattr(stable_baselines3, algorithm)("MlpPolicy", env, seed=0, device="cpu").save(path)
    spec = f"{algorithm.lower()}:{path}"
    (log,) = record(few(sellers=(spec,), agent="seller_0", episodes=30))
    assert log.actions.std() > 0.1
    itself, other = judge(log, [spec, "random"], Settings(truth=0, resamples=20, refits=2))
    ips = [one for one in itself.estimates if one.estimator == "ips"]
    assert [one.value for one in ips] == pytest.approx([itself.logged] * 2, rel=1e-5)
    assert other.overlap == pytest.approx((log.actions[:, :, 1] > 0).mean())  # random always lists
    path.unlink()  # the propensities are in the log
    (again,) = judge(log, ["random"], Settings(truth=8, resamples=20, refits=2))
    assert [one.value for one in again.estimates] == [one.value for one in other.estimates]
    assert np.isnan(again.never) and again.truth.episodes == 8


def test_a_policy_is_judged_alike_whoever_is_judged_before_it():
    (log,) = record(few(agent="seller_0", rivals="ucb", sellers=("random",), episodes=8))
    settings = Settings(truth=8, resamples=20, refits=2)
    alone, after = (
        judge(log, ["gaussian:0.2:nash"], settings)[0],
        judge(log, ["random", "gaussian:0.2:nash"], settings)[1],
    )
    assert alone.truth == after.truth


def test_minari_is_asked_for_before_anything_is_played(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["record", MARKET, "--sellers", "random", "--out", "log"])
    assert result.exit_code == 2 and "malles-env[logs]" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["record", MARKET, "--sellers", "cost-plus", "--out", "x.parquet"], "gaussian:0.2:cost-plus"),
        (["record", MARKET, "--sellers", "random", "--out", "x.csv", "--format", "csv"], "parquet, minari"),
        (["record", MARKET, "--sellers", "random", "--out", "x", "--format", "parquet"], ".parquet"),
        (["record", MARKET, "--sellers", "random,random,random", "--out", "x.parquet"], "2, one each"),
        (["record", MARKET, "--sellers", "random", "--agent", "seller_7", "--out", "x.parquet"], "seller_1"),
        (["record", MARKET, "--sellers", "random", "--episodes", "0", "--out", "x.parquet"], "episodes"),
        (["record", MARKET, "--sellers", "random", "--cycles", "0", "--out", "x.parquet"], "max_cycles"),
        (["record", MARKET, "--sellers", "random", "--action-mode", "dict", "--out", "x.parquet"], "discrete"),
        (["ope", "nowhere.parquet", "--policy", "nash"], "nowhere.parquet"),
    ],
)
def test_mistakes_get_one_line(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ") and named in line
    assert not list(tmp_path.iterdir())
