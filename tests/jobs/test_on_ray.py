"""Work on a real Ray cluster of two machines: the numbers of one machine, also when a worker or a machine is lost.

Run by `test_ray.py` in an environment that has Ray; where the tests themselves run in one, they run here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from malles_agents.studies.deep_rl import Study as TrainingStudy
from malles_agents.studies.deep_rl import run_study
from malles_agents.studies.dynamic import DynamicStudy, run_dynamic_study
from malles_agents.studies.tournament import Tournament, run_tournament
from malles_env.consumers.distil import DistilSettings, Elsewhere, distil
from malles_env.errors import InvalidInput, MallesError, MissingResource
from malles_env.evaluation.comparison.language_rows import LanguageRows
from malles_env.evaluation.comparison.results_json import as_json
from malles_env.evaluation.comparison.runner import Elsewhere as Away
from malles_env.evaluation.comparison.runner import compare
from malles_env.evaluation.comparison.study import Study
from malles_env.jobs import Processes, RayTasks
from malles_env.jobs.checks import files_check
from malles_env.preference.store.locate import locate, weights_check
from malles_env.scenarios import load_scenario
from malles_env.workflows.audit import audit_subject
from malles_env.workflows.distillation import AskedConsumers
from tests.consumers.language.small_server import servers
from tests.evaluation.synthetic_study import occasions
from tests.jobs.cluster import Killer, can_hide_folders, machine_with_token, machine_without, two_machines

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


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "auto"])
def test_no_cluster_at_the_address_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    began = time.monotonic()
    with pytest.raises(MallesError) as message, RayTasks(address).spread(slowly, [(1,)], common=(0.0,)) as found:
        list(found)
    assert str(message.value).startswith(f"address: got {address!r}; allowed: HOST:PORT of a running cluster")
    assert "\n" not in str(message.value) and time.monotonic() - began < 60


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


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            "2.99.0",
            r"address: the cluster at .* has another version of Ray or Python \(.*Ray: 2.99.0.*\); allowed: the same",
        ),
        ("2.9.3", r"ray 2.9.3 is too old: run  pip install --upgrade 'ray>=2.60'"),
    ],
)
def test_a_version_that_does_not_fit_is_one_line(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, version: str, message: str
) -> None:
    """The cluster is of this version, and this process says that it is of another."""
    import ray

    monkeypatch.setattr(ray, "__version__", version)
    with (
        pytest.raises(MallesError, match=message) as error,
        RayTasks(cluster.address).spread(slowly, [(1,)], common=(0.0,)) as found,
    ):
        list(found)
    assert "\n" not in str(error.value)


def test_a_cluster_that_wants_a_token_says_so_in_one_line(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom malles_env.errors import MallesError\nfrom malles_env.jobs.cluster import connected\n"
        "try:\n    with connected(sys.argv[1]): print('connected')\n"
        "except MallesError as error: print(error)"
    )

    def connect(mode: str, token: str) -> str:
        secret = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": token}
        done = subprocess.run(
            [sys.executable, "-c", code, address], env={**os.environ, **secret}, capture_output=True, text=True
        )
        assert "Auth" not in done.stderr
        return done.stdout

    with machine_with_token("of-this-test" * 4) as address:
        assert connect("token", "of-this-test" * 4) == "connected\n"
        refused = connect("disabled", "")
    assert refused.startswith(f"address: the cluster at {address} wants a token: set RAY_AUTH_MODE=token here")
    assert len(refused.splitlines()) == 1


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
    assert killer.reports == [(done, len(matches)) for done in range(len(matches) + 1)]
    files = sorted(tmp_path.rglob("*--*.json"))
    assert len(files) == len(matches)
    again: list[Any] = []
    run_tournament(FIELD, tmp_path, executor=RayTasks(cluster.address), watch=lambda *report: again.append(report))
    assert again == [(len(matches), len(matches))]


def test_a_tournament_survives_the_loss_of_a_machine(matches: list[Any], tmp_path: Path) -> None:
    with two_machines() as cluster:
        lost = cluster.list_all_nodes()[-1]
        killer = Killer("", strike=lambda: cluster.remove_node(lost, allow_graceful=False))
        found = run_tournament(FIELD, tmp_path, executor=RayTasks(cluster.address), watch=killer.watch)
        assert killer.killed
    assert [asdict(match) for match in found] == [asdict(match) for match in matches]


STUDY = TrainingStudy(("bertrand-duopoly",), ("ppo",), seeds=2, steps=3328, self_play=False)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(STUDY, folder, executor=Processes(1))[0]


def check_study(found: list[Any], out: Path, known: tuple[Path, list[Any]]) -> None:
    here, scores = known
    assert [score.profit for score in found] == [score.profit for score in scores]
    for one, other in zip(found, scores, strict=True):
        assert [row["profit"] for row in one.curve] == [row["profit"] for row in other.curve]
    names = [{path.relative_to(folder) for path in folder.rglob("*.zip")} for folder in (out, here)]
    assert names[0] == names[1]
    assert not list(out.glob(".*"))


def test_a_study_is_the_same_when_a_worker_is_killed(
    cluster: Any, scores: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    killer = Killer("_do", after=0)
    found, _ = run_study(STUDY, tmp_path / "there", executor=RayTasks(cluster.address), watch=killer.watch)
    assert killer.killed
    check_study(found, tmp_path / "there", scores)


@pytest.mark.skipif(not can_hide_folders(), reason="needs the right to mount")
def test_a_study_is_the_same_on_a_machine_that_does_not_see_its_folder(
    scores: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "there"
    out.mkdir()
    with machine_without(out) as address:
        found, _ = run_study(STUDY, out, executor=RayTasks(address))
    check_study(found, out, scores)


@pytest.mark.skipif(not can_hide_folders(), reason="needs the right to mount")
def test_parts_of_the_yardstick_take_those_before_them_along(tmp_path: Path) -> None:
    """The second stage goes on from files of the first, which lie where the machine does not see them."""
    what = DynamicStudy(("bertrand-duopoly",), algos=("thompson-draws", "ppo"), seeds=1, steps=3328, history=2)
    out = tmp_path / "there"
    out.mkdir()
    with machine_without(out) as address:
        found = run_dynamic_study(what, out, executor=RayTasks(address))
    assert found == run_dynamic_study(what, tmp_path / "here", executor=Processes(1))
    names = [{path.relative_to(folder) for path in folder.rglob("*.json")} for folder in (out, tmp_path / "here")]
    assert names[0] == names[1]


SLOWLY = DistilSettings(questions=16, fresh=6, batch=8)


def test_a_distillation_is_the_same_when_a_worker_is_killed_and_so_is_its_file_of_answers(
    cluster: Any, tmp_path: Path
) -> None:
    """Questions go as tasks to workers, which put them to two servers; each answer is in the file once."""
    with servers(labels=("A", "B", "N")) as (one, other):
        for small in (one, other):
            small.delay = 0.05
        how = (("server", (one.url, other.url)), ("quantity", "one"), ("orders", 2), ("cache", False))
        asked = AskedConsumers("bertrand-duopoly", "prompted", "m", how)
        subject = audit_subject(load_scenario("bertrand-duopoly"), asked())
        known = distil(subject, SLOWLY)
        killer, file = Killer("_do", after=2), tmp_path / "answers.jsonl"
        elsewhere = Elsewhere(RayTasks(cluster.address), asked)
        found = distil(subject, SLOWLY, answers=file, watch=killer.watch, elsewhere=elsewhere)
        assert killer.killed
        for name in ("alpha", "beta", "gamma", "rho"):
            np.testing.assert_array_equal(getattr(found.tastes, name), getattr(known.tastes, name))
        assert found.curve == known.curve and found.facts["questions_in_all"] == known.facts["questions_in_all"]
        lines = [json.loads(line)["entry"] for line in file.read_text().splitlines()[1:]]
        keys = [(line["part"], line["number"]) for line in lines]
        assert len(keys) == len(set(keys))
        before = one.answered + other.answered
        again = distil(subject, SLOWLY, answers=file, elsewhere=elsewhere)
        assert one.answered + other.answered == before and again.curve == known.curve


def test_consumers_are_judged_alike_on_a_cluster_and_answers_are_kept_here(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["uniform", "urn", "conditional_logit", "aligned_embedded", "always_one"]
    language = LanguageRows((("aligned_embedded", ("embedded", None)),))
    study, how = Study(occasions()), {"limit": 100, "weights": language.weights_of}
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "here"))
    known = as_json(compare(study, names, ["time", "households"], language=language.factories(), **how))
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "there"))
    killer = Killer("_do", after=3)
    elsewhere = Away(RayTasks(cluster.address), language)
    found = as_json(
        compare(
            Study(occasions()),
            names,
            ["time", "households"],
            language={},
            notify=killer.watch,
            elsewhere=elsewhere,
            **how,
        )
    )
    assert killer.killed and without_seconds(found) == without_seconds(known)
    done = [words for (words,) in killer.reports if "done elsewhere" in words]
    assert len(done) == len(set(done)) == 10
    assert len(list((tmp_path / "there" / "answers").glob("*.npz"))) == 10


def without_seconds(found: Any) -> Any:
    """Return results without the time they took."""
    if isinstance(found, dict):
        return {name: without_seconds(part) for name, part in found.items() if "seconds" not in name}
    return found


def test_other_weights_on_a_machine_are_named(cluster: Any, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(locate("embedded"), model)
    check = weights_check([str(model)])
    shutil.rmtree(model)
    with (
        pytest.raises(
            MissingResource, match=r"machine [\d.]+ of the cluster has not the weights: taste model '.*model'"
        ),
        RayTasks(cluster.address).spread(slowly, [(1,)], common=(0.0,), checks=[check]) as found,
    ):
        list(found)
