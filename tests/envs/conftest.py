"""The compiled period, made once for all workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.envs.bundled import make, sampled


@pytest.fixture(scope="session", autouse=True)
def _compiled(shared_folder: Path) -> None:
    """Play one period: the first worker compiles it, the others wait and load what it compiled."""
    try:
        import fcntl
    except ImportError:  # Windows: every worker compiles, which is slower and not wrong
        return
    with (shared_folder / "compiling").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        env = make("bertrand-duopoly")
        env.reset(seed=0)
        env.step(sampled(env, 0, 1)[0])
