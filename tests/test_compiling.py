"""Compiled code is kept where that is possible; where it is not, markets run all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PART = """
import logging, sys
from malles_env.compiling import njit
logging.basicConfig(format="%(levelname)s %(message)s")
sys.path.insert(0, {folder!r})
import kernels
print(kernels.doubled(21.0))
"""
KERNELS = """
from malles_env.compiling import njit

@njit(cache=True)
def doubled(x):
    return 2.0 * x

@njit(cache=True)
def halved(x):
    return 0.5 * x
"""


def _run(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"} | more
    return subprocess.run(
        [sys.executable, "-c", PART.format(folder=str(folder))], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_compiled_code_is_kept_beside_its_source(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    done = _run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "42.0\n", "")
    assert list((tmp_path / "__pycache__").glob("kernels.doubled*.nbi"))


@pytest.mark.slow
def test_kept_code_that_is_damaged_is_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    _run(tmp_path)
    for file in (tmp_path / "__pycache__").glob("kernels.doubled*.nb?"):
        file.write_bytes(file.read_bytes()[:40])
    done = _run(tmp_path)
    assert (done.returncode, done.stdout) == (0, "42.0\n")
    assert done.stderr.count("WARNING") == 1
    assert _run(tmp_path).stderr == ""  # it was put in order


@pytest.mark.parametrize("place", ["/dev/full", "/proc"])
def test_without_a_place_for_it_code_runs_all_the_same_and_one_line_says_so(tmp_path: Path, place: str) -> None:
    """No place that can be written: a file or /proc stands where the folder should be made."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "kernels.py").write_text(KERNELS)
    (folder / "__pycache__").write_text("a file, so that nothing can be put into it")
    done = _run(folder, HOME=f"{place}/nobody", XDG_CACHE_HOME=f"{place}/cache", PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stdout) == (0, "42.0\n"), done.stderr
    assert done.stderr.count("WARNING") == 1 and "compiled code is not kept" in done.stderr
