"""Settings shared by all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests write out of the user's cache; a cache given from outside is honoured."""
    os.environ.setdefault("MALLES_CACHE", str(tmp_path_factory.mktemp("cache")))
