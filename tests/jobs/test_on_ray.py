"""Work on a real Ray cluster of two machines: the numbers of one machine, also when a worker or a machine is lost.

Run by `test_ray.py` in an environment that has Ray; where the tests themselves run in one, they run here.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from malles_agents.studies.deep_rl import Study, run_study
from malles_agents.studies.tournament import Tournament, run_tournament
from malles_env.errors import InvalidInput, MallesError, MissingResource
from malles_env.files import read_json
from malles_env.jobs import Processes, RayTasks
from malles_env.jobs.checks import files_check
from tests.jobs.cluster import Killer, two_machines

pytestmark = pytest.mark.slow
FIELD = Tournament(("bertrand-duopoly",), ("regular-price", "random", "cost-plus", "q-learning"), episodes=2, cycles=20)


@pytest.fixture(scope="module")
def cluster():
    with two_machines() as made:
        yield made


def slowly(seconds: float, number: int) -> tuple[int, str]:
    import ray

    time.sleep(seconds)
    return number**2, ray.get_runtime_context().get_node_id()


def broken(number: int) -> None:
    raise InvalidInput(f"number: got {number}; allowed: none")


def test_every_job_comes_back_once_from_both_machines(cluster: Any) -> None:
    with RayTasks(cluster.address).spread(slowly, [(n,) for n in range(8)], common=(0.3,)) as found:
        results = list(found)
    assert sorted(job for job, _ in results) == [(n,) for n in range(8)]
    assert all(result[0] == job[0] ** 2 for job, result in results)
    assert len({result[1] for _, result in results}) == 2


def test_an_error_of_a_job_is_the_error_of_the_caller(cluster: Any) -> None:
    with (
        pytest.raises(InvalidInput, match="number: got 3; allowed: none"),
        RayTasks(cluster.address).spread(broken, [(3,)]) as found,
    ):
        list(found)


def test_a_machine_without_a_file_is_named_before_anything_is_done(cluster: Any, tmp_path: Path) -> None:
    market = tmp_path / "market.yaml"
    market.write_text("name: here\n")
    check = files_check(["nash", str(market)])
    market.write_text("name: other\n")
    with (
        pytest.raises(MissingResource, match=rf"machine [\d.]+ of the cluster has another {market}: copy it there"),
        RayTasks(cluster.address).spread(slowly, [(1,)], common=(0.0,), checks=[check]) as found,
    ):
        list(found)


@pytest.fixture(scope="module")
def matches(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return run_tournament(FIELD, tmp_path_factory.mktemp("here"), executor=Processes(1))


def test_a_tournament_is_the_same_to_the_digit_when_a_worker_is_killed(
    cluster: Any, matches: list[Any], tmp_path: Path
) -> None:
    killer = Killer("_do")
    found = run_tournament(FIELD, tmp_path, executor=RayTasks(cluster.address), watch=killer.watch)
    assert killer.killed
    assert [asdict(match) for match in found] == [asdict(match) for match in matches]
    assert killer.told == [(done, len(matches)) for done in range(len(matches) + 1)]
    files = sorted(tmp_path.rglob("*--*.json"))
    assert len(files) == len(matches)
    again: list[Any] = []
    run_tournament(FIELD, tmp_path, executor=RayTasks(cluster.address), watch=lambda *told: again.append(told))
    assert again == [(len(matches), len(matches))]


def test_a_tournament_survives_the_loss_of_a_machine(matches: list[Any], tmp_path: Path) -> None:
    with two_machines() as cluster:
        lost = cluster.list_all_nodes()[-1]
        killer = Killer("", strike=lambda: cluster.remove_node(lost, allow_graceful=False))
        found = run_tournament(FIELD, tmp_path, executor=RayTasks(cluster.address), watch=killer.watch)
        assert killer.killed
    assert [asdict(match) for match in found] == [asdict(match) for match in matches]


@pytest.mark.parametrize("seen", [True, False])
def test_a_study_is_the_same_whether_or_not_workers_see_its_folder(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    study = Study(("bertrand-duopoly",), ("ppo",), seeds=2, steps=3328, self_play=False)
    here, _ = run_study(study, tmp_path / "here", executor=Processes(1))
    if not seen:  # the mark by which a worker knows the caller's folder is not there, as on another disk
        monkeypatch.setattr(Path, "touch", lambda self, *_, **__: None)
    killer = Killer("_do", after=0)
    found, _ = run_study(study, tmp_path / "there", executor=RayTasks(cluster.address), watch=killer.watch)
    assert killer.killed
    assert [score.profit for score in found] == [score.profit for score in here]
    assert [[row["profit"] for row in score.curve] for score in found] == [
        [row["profit"] for row in score.curve] for score in here
    ]
    assert {path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*.zip")} == {
        path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.zip")
    }
    assert not list((tmp_path / "there").glob(".*"))
    assert read_json(next((tmp_path / "there").rglob("score.json")))["steps" if False else "profit"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "auto"])
def test_no_cluster_at_the_address_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    began = time.monotonic()
    with pytest.raises(MallesError) as told, RayTasks(address).spread(slowly, [(1,)], common=(0.0,)) as found:
        list(found)
    assert str(told.value).startswith(f"address: got {address!r}; allowed: HOST:PORT of a running cluster")
    assert "\n" not in str(told.value) and time.monotonic() - began < 60
