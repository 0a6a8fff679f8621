"""SIGKILL, SIGTERM and Ctrl-C in long commands: nothing is lost but the unit in hand, and nobody is left running.

A stopped command names the next one; that one is run as it stands there, and what it ends with is what a run that
nobody stopped ends with.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from malles_agents.sellers.sb3.stored import read_parameters
from malles_env.data.building.build import build_occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits

MALLES = [sys.executable, "-c", "from malles_env.cli import main; main()"]
PATIENCE = 600.0
DUOPOLY = "bertrand-duopoly"
NOT_THE_SAME = {"seconds", "check", "wall_seconds", "command", "made_by", "out", "minutes", "time", "date"}
"""Fields that tell how long something took, or where; and checksums over them."""


@dataclass(frozen=True)
class Command:
    """A long command.

    Attributes:
        words: What is typed; OUT stands for where it writes.
        units: Pattern of files, below the folder, that appear when a unit of work is done.
        results: Pattern of the files that it ends with.
    """

    words: str
    units: str
    results: str


COMMANDS = {
    "train": Command(
        f"train {DUOPOLY} --steps 24000 --checkpoint-every 4000 --out OUT/run", "run/checkpoints/*.zip",
        "run/policy.zip",
    ),
    "demo": Command(
        f"demo --scenario {DUOPOLY} --steps 24000 --seeds 2 --out OUT", "ppo-0/checkpoints/*.zip", "results.json",
    ),
    "tournament": Command(
        f"tournament --scenario {DUOPOLY} --seller cost-plus --seller random --seller undercut --episodes 4 "
        "--cycles 3000 --workers 2 --out OUT", f"{DUOPOLY}/*--*.json",
        f"{DUOPOLY}/*--*.json",
    ),
    "study": Command(
        f"study --scenario {DUOPOLY} --steps 24000 --seeds 2 --workers 2 --algo ppo --out OUT",
        f"{DUOPOLY}/*/checkpoints/*.zip", f"{DUOPOLY}/*/score.json",
    ),
    "distil": Command(f"distil {DUOPOLY} --questions 300 --fresh 0 --out OUT/x.yaml", "x.answers.jsonl", "x.*"),
    "align": Command(
        "align --occasions OCCASIONS --train-on seen --limit 400 --steps 40 --head-steps 12 --cold-steps 8 "
        "--validate-every 4 --batch-size 32 --members 1 --out OUT", "*/checkpoints/step-*/progress.json",
        "model/*.safetensors",
    ),
}  # fmt: skip
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


@functools.cache
def occasions() -> Path:
    """Return a folder of choice occasions of a made-up log."""
    settings = BuildSettings(splits=Splits(held_out_categories=frozenset({"SNACKS"})), min_market_purchases=100)
    built = build_occasions(synthetic_transactions(seed=3, num_households=80)[0], settings)
    return built.save(Path(tempfile.mkdtemp()) / "occasions")


def words_of(name: str, out: Path) -> list[str]:
    text = COMMANDS[name].words.replace("OUT", str(out))
    return shlex.split(text.replace("OCCASIONS", str(occasions())) if "OCCASIONS" in text else text)


def heed_ctrl_c() -> None:
    """Undo what a shell does to commands in its background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def begin(words: list[str]) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [*MALLES, *words], env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed_ctrl_c,
    )  # fmt: skip


def finish(words: list[str]) -> None:
    child = begin(words)
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, said


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def units(name: str, out: Path) -> dict[str, bytes]:
    """Return the files of finished units."""
    paths = [path for path in out.glob(COMMANDS[name].units) if not path.name.startswith(".")]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def numbers(part: Any) -> Any:
    """Return nested tables of tensors as bytes, which can be compared."""
    if isinstance(part, dict):
        return {name: numbers(value) for name, value in part.items()}
    return part.numpy().tobytes() if hasattr(part, "numpy") else part


def same_fields(text: str) -> Any:
    return json.loads(text, object_hook=lambda fields: {k: v for k, v in fields.items() if k not in NOT_THE_SAME})


def content(path: Path) -> Any:
    """Return what a result says, without how long it took."""
    if path.suffix == ".zip":
        return numbers(read_parameters(path))
    if path.suffix == ".safetensors":
        return {name: values.tobytes() for name, values in load_file(path).items()}
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".json", ".jsonl"):
        return [same_fields(part) for part in ([text] if path.suffix == ".json" else text.splitlines())]
    return [line for line in text.splitlines() if not line.startswith(("made_by", "  "))]


def results(name: str, out: Path) -> dict[str, Any]:
    paths = [path for path in sorted(out.glob(COMMANDS[name].results)) if not path.name.startswith(".")]
    found = {str(path.relative_to(out)): content(path) for path in paths}
    assert found, list(out.rglob("*"))
    return found


@functools.cache
def uninterrupted(name: str) -> dict[str, Any]:
    """Return what the command ends with when nobody stops it."""
    with tempfile.TemporaryDirectory() as folder:
        finish(words_of(name, Path(folder) / "whole"))
        return results(name, Path(folder) / "whole")


def alive(group: int) -> list[int]:
    """Return the processes of a group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def stopped(name: str, out: Path, number: signal.Signals) -> tuple[int, str, dict[str, bytes]]:
    """Run a command until a unit is done, stop it, and return its code, what it said and the units there were."""
    child = begin(words_of(name, out))
    try:
        until(lambda: units(name, out) or child.poll() is not None, f"{name}: no unit in time")
        assert child.poll() is None, child.communicate()
        before = units(name, out)
        if number == signal.SIGINT:  # a terminal sends it to the whole group
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
        _, said = child.communicate(timeout=PATIENCE)
        until(lambda: not alive(child.pid), f"{name}: orphans {alive(child.pid)}")
        return child.returncode, said, before
    finally:
        for left in alive(child.pid):
            os.kill(left, signal.SIGKILL)


def next_command(name: str, out: Path, number: signal.Signals, said: str) -> list[str]:
    """Return what to type next: what was printed, or after SIGKILL the same again."""
    if number == signal.SIGKILL:
        return [*words_of(name, out), *(["--resume"] if name == "train" else [])]
    (line,) = [line for line in said.splitlines() if line.startswith("stopped")]
    start, printed = line.split("; go on with: ")
    assert start == "stopped"
    first, *words = shlex.split(printed)
    assert first == "malles" and words[0] == name
    return words


def kept(name: str, before: dict[str, bytes], after: dict[str, bytes]) -> bool:
    """Return whether the units of before are there, or newer ones of the same run."""
    if name == "tournament":
        return all(after[path] == unit for path, unit in before.items())
    if name == "distil":  # one file that grows; the line in hand may have been half of one
        return all(after[path].startswith(unit.rpartition(b"\n")[0]) for path, unit in before.items())
    return max(after) >= max(before)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(name, number, marks=pytest.mark.slow, id=f"{name}-{number.name}")
        for name in COMMANDS
        for number in SIGNALS
    ],
)
def test_a_stopped_command_goes_on_to_the_same_end(name: str, number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said, before = stopped(name, out, number)
    assert "Traceback" not in said, said
    assert code == (-number if number == signal.SIGKILL else 128 + number), said
    assert kept(name, before, units(name, out))
    if number != signal.SIGKILL:
        assert not [path for path in out.rglob(".*") if path.is_file()], "half-written files are taken away"
    finish(next_command(name, out, number, said))
    assert results(name, out) == uninterrupted(name)
