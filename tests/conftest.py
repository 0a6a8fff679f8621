"""Settings shared by all tests."""

import fcntl
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(shared_folder: Path) -> None:
    """Keep what tests write out of the user's cache; a cache given from outside is honoured.

    One folder for all workers: what a taste model reads in one of them the others find.
    """
    os.environ.setdefault("MALLES_CACHE", str(shared_folder / "cache"))


@pytest.fixture(scope="session", autouse=True)
def _command_line_once() -> Iterator[None]:
    """Build the command line once; `CliRunner` does so at each call, which takes longer than most refusals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.testing._get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(shared_folder: Path) -> None:
    """Let one worker compile what nearly every test steps, while the others wait to load it from numba's cache."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    from malles_env import parallel_env, vec_env

    with (shared_folder / "compiling").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for scenario in ("bertrand-duopoly", "gifts"):  # without and with quantity discounts
            env = parallel_env(scenario)
            env.reset(seed=0)
            env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        markets = vec_env("bertrand-duopoly", num_markets=2)
        markets.reset()
        markets.step(np.stack([markets.action_space.sample() for _ in range(markets.num_envs)]))
