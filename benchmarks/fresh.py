"""What some work takes in a process of its own: wall time, CPU time and memory, its start and its imports included."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path


def say_used(**more: float) -> None:
    """Print what this process has used so far, and `more` that it knows, as JSON: what `in_fresh_process` reads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_gb": used.ru_maxrss * unit / 1e9, **more}))


def in_fresh_process(code: str, *arguments: str) -> dict[str, float]:
    """Return wall_s and what `say_used` printed at the end of some Python code, run from the repository's root.

    The peak of a process starts at that of its parent, which therefore loads nothing large.

    Args:
        code: Python; it sees the arguments in `sys.argv`.
        arguments: Passed on.

    Raises:
        CalledProcessError: The code failed; its own message stands on standard error.
    """
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - began
    return {"wall_s": wall, **json.loads(done.stdout)}
