"""SIGKILL, SIGTERM and Ctrl-C in long commands: nothing is lost but the unit in hand, and nobody is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
MALLES = [sys.executable, "-c", "from malles_env.cli import main; main()"]
PATIENCE = 240.0
DUOPOLY = "bertrand-duopoly"
COMMANDS: dict[str, tuple[list[str], str]] = {
    # the second is a pattern of files that appear when a unit of work is done
    "train": (["train", DUOPOLY, "--steps", "100000000", "--checkpoint-every", "20000"], "checkpoints/*.zip"),
    "demo": (["demo", "--scenario", DUOPOLY, "--steps", "100000000", "--seeds", "2"], "ppo-0/checkpoints/*.zip"),
    "tournament": (
        ["tournament", "--scenario", DUOPOLY, "--episodes", "4", "--cycles", "4000", "--workers", "2"],
        f"{DUOPOLY}/*--*.json",
    ),
    "study": (
        ["study", "--scenario", DUOPOLY, "--steps", "100000000", "--seeds", "2", "--workers", "2", "--algo", "ppo"],
        f"{DUOPOLY}/*/checkpoints/*.zip",
    ),
    "distil": (["distil", DUOPOLY, "--questions", "100000", "--fresh", "0"], "x.answers.jsonl"),
}
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


def begin(name: str, out: Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell does."""
    place = str(out / "x.yaml") if name == "distil" else str(out)
    return subprocess.Popen(
        [*MALLES, *COMMANDS[name][0], "--out", place], env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def units(name: str, out: Path) -> dict[str, bytes]:
    """Return the files of finished units."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob(COMMANDS[name][1])}


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
    child = begin(name, out)
    try:
        until(lambda: units(name, out) or child.poll() is not None, f"{name}: no unit in time")
        assert child.poll() is None, child.communicate()
        time.sleep(1.0)
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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_stopped_command_leaves_units_and_no_orphans(name: str, number: signal.Signals, tmp_path: Path) -> None:
    code, said, before = stopped(name, tmp_path / "run", number)
    after = units(name, tmp_path / "run")
    assert "Traceback" not in said, said
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 128 + number, said
        (line,) = [line for line in said.splitlines() if line.startswith("stopped")]
        assert "go on with: malles " + name in line
    if name == "distil":  # a file that grows
        (old,), (new,) = before.values(), after.values()
        assert new.startswith(old.rpartition(b"\n")[0])
    elif name == "tournament":
        assert all(after[path] == content for path, content in before.items())
    else:  # checkpoints: the newest of before is there, or newer ones are
        assert max(after) >= max(before)
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.is_file() and number != signal.SIGKILL]
