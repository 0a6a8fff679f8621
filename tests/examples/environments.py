"""Virtual environments for examples whose libraries do not fit into the one of the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from malles_env.files import cache_dir

ROOT = Path(__file__).parents[2]
REQUIREMENTS: dict[str, list[str]] = {
    "d3rlpy": [".[logs]", "d3rlpy>=2.8"],
    "skrl": [".[skrl]"],
    "torchrl": [".[benchmarl]"],
    "ray": [".[rllib,serve]", "hypothesis>=6.100", "polars>=1.28", "pytest>=8"],
    "agilerl": [".[agilerl]"],
    "zoo": [".[zoo]"],
}
"""What is installed into each, besides the pinned torch."""
TOO_STRICT = {"d3rlpy": ["gymnasium>=1.1"]}
"""What is installed last, against a library's own declaration."""


PATIENT = {"RAY_raylet_start_wait_time_s": "600", "RAY_worker_niceness": "0"}
"""Ray gives its processes 30 seconds to start, and its workers what other processes leave: too little on a busy one."""


def pinned_torch() -> str:
    """Return the line that pins torch, e.g. ``torch==2.13.0``: repeated in each command, it keeps the CPU build."""
    found = re.search(r"^torch==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[0]


def python_of(name: str) -> Path:
    """Return the interpreter of an environment; it is made at the first call, which takes minutes.

    ``MALLES_TEST_ENVIRONMENTS`` names another folder for them than one in the user's cache.
    """
    home = Path(os.environ.get("MALLES_TEST_ENVIRONMENTS") or cache_dir() / "test-environments")
    python = home / name / "bin" / "python"
    if python.exists():
        return python
    try:
        subprocess.run([sys.executable, "-m", "venv", str(home / name)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar", "off"]
        wanted = [item if item[0] != "." else f"{ROOT}{item[1:]}" for item in REQUIREMENTS[name]]
        subprocess.run([*pip, pinned_torch()], check=True)
        if name in TOO_STRICT:  # its declaration and ours exclude each other: one after the other
            for item in reversed(wanted):
                subprocess.run([*pip, pinned_torch(), item], check=True)
            subprocess.run([*pip, *TOO_STRICT[name]], check=True)
        else:
            subprocess.run([*pip, pinned_torch(), *wanted], check=True)
    except BaseException:
        shutil.rmtree(home / name, ignore_errors=True)
        raise
    return python


def run(name: str, *arguments: str, timeout: float = 1800.0) -> str:
    """Run this checkout's code with an environment's libraries and return what it printed.

    Raises:
        AssertionError: It failed; the message holds what it printed last.
    """
    places = os.pathsep.join([str(ROOT), str(ROOT / "agents")])
    done = subprocess.run(
        [str(python_of(name)), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **PATIENT, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout
