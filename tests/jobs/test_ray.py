"""The tests of Ray, run in an environment that has it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from malles_env.errors import MissingResource
from malles_env.jobs import RayTasks
from tests.examples.environments import run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tests/jobs/test_on_ray.py", "tests/agents/training/test_on_rllib.py"])
def test_in_an_environment_with_ray(name: str) -> None:
    printed = run(
        "ray", "-m", "pytest", "-q", "-p", "no:xdist", "-o", "filterwarnings=", "-m", "slow", name, timeout=3000
    )
    assert " passed" in printed


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_one_line_says_what_to_install() -> None:
    printed = r"ray is not installed: run  pip install 'malles-env\[ray\]'"
    with pytest.raises(MissingResource, match=printed), RayTasks().spread(abs, [(1,)]) as found:
        list(found)
