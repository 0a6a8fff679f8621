"""The scoring benchmark: its file has the promised keys, its floor is above every row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scoring import PERSONAS, floor_seconds, prompts
from tests.consumers.language.tiny import local


def test_the_floor_counts_shared_tokens_once() -> None:
    model = local()
    spelled = model.wording.ids([model.wording.text(prompt) for prompt in prompts()])
    shared = floor_seconds(model.model, spelled)(1.0) * len(spelled)
    apart = sum(floor_seconds(model.model, [ids])(1.0) for ids in spelled)
    assert len(spelled) == PERSONAS
    assert apart > 2 * shared > 0
    assert floor_seconds(model.model, spelled)(2.0) == pytest.approx(shared / len(spelled) / 2)


@pytest.mark.slow
def test_the_benchmark_writes_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "scoring.json"
    subprocess.run([sys.executable, "-m", "benchmarks.scoring", "--rounds", "1", "--json", str(file)], check=True)
    found = json.loads(file.read_text())
    rows = [found[name] for name in ("prefix", "forward", "generate", "server")]
    assert max(rows) < found["floor"]
    assert found["prefix"] > found["forward"] > found["generate"] > 0
    assert set(found["spread"]) >= {"prefix", "forward", "generate", "server", "floor"}
