import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from malles_env.consumers import LogitConsumers
from malles_env.consumers.distil import DistilSettings, distil
from malles_env.consumers.distil.answers import AnswerLog
from malles_env.consumers.distil.asking import identity_of
from malles_env.errors import CorruptFile, InvalidInput
from tests.consumers.distil.cases import Slow, subject, tastes

SETTINGS = DistilSettings(questions=16, fresh=6, batch=4, pool=16, price_transform="log")
WHOLE = 16 + 6 + 1 + 2 * 4
"""Questions of these settings: for the fit, fresh, price steps."""
ROOT = Path(__file__).parents[3]


def ask(path, consumers=None, settings=SETTINGS):
    return distil(subject(consumers or Slow(tastes())), settings, answers=path)


def answered(path) -> int:
    """Return how many whole answers stand in the file."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return sum("probability" in json.loads(line)["entry"] for line in lines)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


def test_a_second_run_asks_nothing_and_finds_the_same(path):
    consumers = Slow(tastes())
    first = ask(path, consumers)
    assert consumers.usage.requests == WHOLE == first.facts["questions_in_all"]
    second = ask(path, again := Slow(tastes()))
    assert again.usage.requests == 0
    assert second.facts["taken_from_file"] == WHOLE
    np.testing.assert_array_equal(first.tastes.alpha, second.tastes.alpha)
    assert second.fidelity == first.fidelity


def test_cost_counts_what_was_paid_in_earlier_runs(path):
    ask(path)
    facts = ask(path).facts
    assert facts["usage"]["requests"] == pytest.approx(WHOLE)
    assert facts["usage"]["cost"] == pytest.approx(0.25 * WHOLE)
    assert facts["usage"]["prompt_tokens"] == pytest.approx(100 * WHOLE)


def test_more_questions_go_on_from_fewer(path):
    few = ask(path, settings=replace(SETTINGS, questions=6, fresh=0))
    more = ask(path, asked := Slow(tastes()))
    assert asked.usage.requests == WHOLE - 6
    whole = ask(None)
    np.testing.assert_array_equal(more.experiment.offer.prices, whole.experiment.offer.prices)
    np.testing.assert_array_equal(more.experiment.offer.prices[:6], few.experiment.offer.prices)


def test_a_failure_keeps_what_was_answered(path):
    with pytest.raises(ConnectionError):
        ask(path, Slow(tastes(), fails_at=7))
    assert answered(path) == 7
    ask(path, asked := Slow(tastes()))
    assert asked.usage.requests == WHOLE - 7


CHILD = """
import sys
from pathlib import Path
from malles_env.consumers.distil import distil
from tests.consumers.distil.cases import Slow, subject, tastes
from tests.consumers.distil.test_answers import SETTINGS
print("ready", flush=True)
distil(subject(Slow(tastes(), seconds=0.05)), SETTINGS, answers=Path(sys.argv[1]))
"""


def killed(path: Path, wanted: int) -> None:
    """Start the experiment in another process and kill it when `wanted` answers stand in the file."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        end = time.monotonic() + 60
        while answered(path) < wanted and child.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        assert child.wait(30) == -signal.SIGKILL
        child.stdout.close()


def test_kill_9_loses_the_question_in_flight_and_no_other(path):
    asked = []
    for wanted in (3, 11):
        killed(path, wanted)
        kept = answered(path)
        assert kept >= wanted
        asked.append(kept)
    assert asked[1] < WHOLE
    last = ask(path, consumers := Slow(tastes()))
    assert consumers.usage.requests == WHOLE - asked[1]
    undisturbed = ask(None)
    np.testing.assert_array_equal(last.experiment.offer.prices, undisturbed.experiment.offer.prices)
    np.testing.assert_array_equal(last.tastes.alpha, undisturbed.tastes.alpha)


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_half_a_last_line_is_cut_off_and_asked_again(path, caplog, cut):
    ask(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    ask(path, asked := Slow(tastes()))
    assert "cut short" in caplog.text
    assert asked.usage.requests == 1
    assert path.read_bytes().count(b"\n") == whole.count(b"\n")
    assert answered(path) == WHOLE


def test_damage_before_the_last_line_is_named(path):
    ask(path)
    lines = path.read_bytes().split(b"\n")
    lines[3] = lines[3].replace(b"0.", b"1.", 1)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptFile, match=r"answers\.jsonl: line 4 is damaged"):
        ask(path)


@pytest.mark.parametrize(
    ("consumers", "settings", "named"),
    [
        (Slow(tastes(), identity="another"), SETTINGS, 'consumers: "slow one", now "another"'),
        (Slow(tastes()), replace(SETTINGS, seed=1), "seed: 0, now 1"),
        (Slow(tastes()), replace(SETTINGS, choice="random"), 'choice: "active", now "random"'),
        (Slow(tastes(products=5)), SETTINGS, "market: "),
    ],
)
def test_other_questions_or_consumers_are_refused(path, consumers, settings, named):
    ask(path)
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match=r"other questions or of other consumers") as error:
        ask(path, consumers, settings)
    assert named in str(error.value)
    assert path.read_bytes() == before


def test_an_answer_under_another_question_is_refused(path):
    ask(path, settings=replace(SETTINGS, choice="random"))
    lines = path.read_text().splitlines()
    other = json.loads(lines[2])["entry"]
    from malles_env.consumers.distil.answers import _line  # the file's own way to write a line

    lines[1] = _line({**other, "number": 0}).decode().rstrip("\n")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidInput, match="questions 0 was another question"):
        ask(path, settings=replace(SETTINGS, choice="random"))


def test_two_processes_do_not_write_one_file(path):
    with (
        AnswerLog(path, {"a": 1}),
        pytest.raises(InvalidInput, match="another process is asking these questions"),
    ):
        AnswerLog(path, {"a": 1})
    with AnswerLog(path, {"a": 1}) as log:
        assert log.kept == {}


def test_a_full_disk_keeps_what_was_written_and_says_so(path):
    import resource

    whole = ask(None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))  # the file cannot grow beyond
    try:
        with pytest.raises(InvalidInput, match=r"cannot be written \(File too large\); free space and run again"):
            ask(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = answered(path)
    assert 0 < kept < WHOLE
    assert path.read_bytes().endswith(b"\n")
    found = ask(path, asked := Slow(tastes()))
    assert asked.usage.requests == WHOLE - kept
    np.testing.assert_array_equal(found.tastes.alpha, whole.tastes.alpha)


def test_answers_go_into_plain_files_only(tmp_path):
    with pytest.raises(InvalidInput, match="is no plain file"):
        ask(Path("/dev/zero"))
    with pytest.raises(InvalidInput, match="cannot be written"):
        ask(tmp_path)


def test_a_file_of_something_else_is_left_alone(path):
    path.write_text("my notes\nmore notes\n")
    with pytest.raises(CorruptFile, match="line 1 is damaged"):
        ask(path)
    path.write_text("my notes")
    with pytest.raises(CorruptFile, match="line 1"):
        ask(path)
    assert path.read_text() == "my notes"


def test_no_distribution_is_kept(path):
    class Half(Slow):
        def respond(self, offer):
            answer = super().respond(offer)
            return replace(answer, probability=answer.probability / 2)

    with pytest.raises(InvalidInput, match="distributions with sum 1"):
        ask(path, Half(tastes()))
    assert answered(path) == 0


def test_identity_tells_consumers_apart():
    first, same, other = (LogitConsumers(tastes(seed)) for seed in (0, 0, 1))
    assert identity_of(first) == identity_of(same) != identity_of(other)
    assert identity_of(Slow(tastes())) == "slow one"
