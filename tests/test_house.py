"""The house keeps its shape: no level of the packages has more than a dozen files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.house import PACKAGES, ROOT, WIDE, circles, wide_levels


def test_no_level_has_more_than_a_dozen_files() -> None:
    assert wide_levels(ROOT) == {}


@pytest.mark.parametrize("files", [WIDE, WIDE + 1])
def test_a_level_is_wide_beyond_a_dozen(tmp_path: Path, files: int) -> None:
    for folder in PACKAGES.values():
        (tmp_path / folder / "room").mkdir(parents=True)
    for name in ["__init__", *map("m{}".format, range(files))]:
        (tmp_path / "malles_env" / "room" / f"{name}.py").touch()
    assert wide_levels(tmp_path) == ({"malles_env.room": files} if files > WIDE else {})


def test_circles_are_groups_that_reach_one_another() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"e", "a"}}
    assert list(circles(arrows)) == [("a", "b", "c")]
