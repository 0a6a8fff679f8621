"""AnswerCache and CachedModel: hits, damage, several processes, limits, full disks, calls answered in part."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.consumers.language import AnswerCache, CachedModel, LanguageModel, Prompt, Sampling, Usage
from malles_env.consumers.language.cache import answer_key
from malles_env.consumers.language.local import LocalModel
from malles_env.consumers.language.partial import PartlyAnswered
from malles_env.errors import LanguageModelError
from malles_env.type_aliases import FloatArray
from tests.consumers.language.tiny import LABELS, local, questions


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return local()


@pytest.fixture
def cached(model: LocalModel, tmp_path: Path) -> CachedModel:
    model.usage = Usage()
    return CachedModel(model, AnswerCache(tmp_path))


def test_a_second_question_is_answered_without_the_model(cached: CachedModel) -> None:
    first = cached.label_log_probabilities(questions(), LABELS)
    tokens = cached.usage.prompt_tokens
    again = CachedModel(cached.model, AnswerCache(cached.cache.folder))
    np.testing.assert_array_equal(again.label_log_probabilities(questions(), LABELS), first)
    assert (again.usage.requests, again.usage.cached, again.usage.prompt_tokens) == (6, 6, tokens)
    assert isinstance(again, LanguageModel)
    assert (again.name, again.identity) == (cached.model.name, cached.model.identity)


def test_words_are_kept_too_and_seeds_distinguished(cached: CachedModel) -> None:
    sampling = Sampling(max_tokens=6, temperature=1.0, seed=1, schema=None)
    first = cached.complete(questions(2), sampling)
    assert cached.complete(questions(2), sampling) == first
    cached.complete(questions(2), Sampling(max_tokens=6, temperature=1.0, seed=2))
    assert (cached.usage.requests, cached.usage.cached) == (4, 2)


def test_equal_questions_of_one_call_are_asked_once_wherever_they_are_cut(cached: CachedModel) -> None:
    prompt = questions(1)[0]
    moved = Prompt(prompt.system, "", prompt.shared + prompt.own, prompt.lead)
    logs = cached.label_log_probabilities([prompt, moved, prompt], LABELS)
    assert (cached.usage.requests, cached.usage.cached) == (1, 2)
    np.testing.assert_array_equal(logs[0], logs[1])


def test_keys_tell_models_prompts_and_labels_apart() -> None:
    prompt = questions(1)[0]
    keys = {
        answer_key(identity, asked_prompt, labels)
        for identity in ("one", "other")
        for asked_prompt in (prompt, Prompt(prompt.system, prompt.shared, prompt.own, "So:"))
        for labels in (["A", "B"], ["B", "A"])
    }
    assert len(keys) == 8


@pytest.mark.parametrize("damage", [b"", b"{", b"0" * 64 + b"\n[1.0]"])
def test_damaged_answers_are_noticed_and_asked_again(cached: CachedModel, damage: bytes) -> None:
    first = cached.label_log_probabilities(questions(3), LABELS)
    victim = sorted(cached.cache.folder.glob("??/*.json"))[1]
    victim.write_bytes(damage)
    np.testing.assert_allclose(cached.label_log_probabilities(questions(3), LABELS), first, atol=1e-5)
    assert (cached.usage.requests, cached.usage.cached, cached.cache.damaged) == (4, 2, 1)
    cached.label_log_probabilities(questions(3), LABELS)
    assert cached.usage.requests == 4


def test_a_flipped_bit_is_damage(cached: CachedModel) -> None:
    cached.label_log_probabilities(questions(1), LABELS)
    (file,) = cached.cache.folder.glob("??/*.json")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    cached.label_log_probabilities(questions(1), LABELS)
    assert (cached.cache.damaged, cached.usage.requests) == (1, 2)


def test_the_answers_unused_for_longest_go_first(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, limit=1000)
    for number in range(12):
        cache.put([(f"{number:064x}", "x" * 50)])
        file = tmp_path / "00" / f"{number:064x}.json"
        if file.exists():
            os.utime(file, (number, number))
        if number >= 1:
            assert cache.get(f"{1:064x}") is not None  # used, so kept
    assert cache.info().size <= 1000
    assert cache.get(f"{0:064x}") is None
    assert cache.get(f"{11:064x}") == "x" * 50


class HalfAnswered:
    """A model whose line drops after the first answers; asked anew it goes on."""

    def __init__(self, model: LocalModel, drops: int) -> None:
        self.name, self.identity, self.usage, self.model, self.drops = "half", "half", model.usage, model, drops

    def label_log_probabilities(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> FloatArray:
        logs = self.model.label_log_probabilities(prompts, labels)
        if self.drops:
            self.drops -= 1
            raise PartlyAnswered("line dropped", dict(enumerate(logs[:2])))
        return logs

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list:
        raise NotImplementedError


def test_what_was_answered_before_a_fault_is_not_asked_again(model: LocalModel, tmp_path: Path) -> None:
    cached = CachedModel(HalfAnswered(model, drops=1), AnswerCache(tmp_path))
    with pytest.raises(LanguageModelError, match="line dropped"):
        cached.label_log_probabilities(questions(5), LABELS)
    assert cached.cache.info().entries == 2
    before = cached.usage.cached
    cached.label_log_probabilities(questions(5), LABELS)
    assert cached.usage.cached - before == 2
    assert cached.cache.info().entries == 5


FULL = """
    import resource, sys
    from pathlib import Path
    from malles_env.consumers.language.cache import AnswerCache
    from malles_env.errors import LanguageModelError
    cache = AnswerCache(Path(sys.argv[1]))
    cache.put([("a" * 64, [1.0])])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    for _ in range(2):
        try:
            cache.put([("b" * 64, [2.0] * 9), ("c" * 64, [3.0] * 9)])
        except LanguageModelError as error:
            print(error)
        assert cache.get("b" * 64) == [2.0] * 9 and cache.info().entries == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    cache.put([])
    print(cache.info().entries, len(list(Path(sys.argv[1]).rglob(".*"))))
"""


def test_a_full_disk_is_a_clear_error_that_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own whose files may not grow beyond 16 bytes, as on a full disk."""
    script = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path)]
    *errors, last = subprocess.run(script, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(errors) == 2
    assert all("2 answers not written are kept in memory" in error for error in errors)
    assert last == "3 0"


RACE = """
    import sys
    from pathlib import Path
    from malles_env.consumers.language.cache import AnswerCache
    cache = AnswerCache(Path(sys.argv[1]), limit=20_000)
    for turn in range(120):
        key = f"{turn % 40:064x}"
        found = cache.get(key)
        assert found is None or found == [turn % 40] * 50, found
        cache.put([(key, [turn % 40] * 50)])
    assert cache.damaged == 0
"""


def test_several_processes_write_and_read_and_trim_at_once(tmp_path: Path) -> None:
    script = [sys.executable, "-c", textwrap.dedent(RACE), str(tmp_path)]
    running = [subprocess.Popen(script, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert AnswerCache(tmp_path).info().entries > 0


def test_the_command_line_shows_and_clears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    AnswerCache().put([("a" * 64, [1.0]), ("b" * 64, [2.0])])
    shown = CliRunner().invoke(app, ["cache", "info"])
    assert shown.exit_code == 0
    assert "answers" in shown.output
    assert "2" in shown.output
    assert "removed 2 answers" in CliRunner().invoke(app, ["cache", "clear"]).output
    assert AnswerCache().info().entries == 0
