"""Compiled code is kept where that is possible; where it is not, markets run all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from malles_env import compiling

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


def test_a_folder_of_compiled_code_serves_another_copy_of_the_source(tmp_path: Path) -> None:
    """The copies differ in place and date; one that says something else is compiled anew."""
    sources = {"one": KERNELS, "two": KERNELS, "three": KERNELS.replace("2.0 * x", "3.0 * x")}
    kept = tmp_path / "kept"
    printed = {}
    for name, source in sources.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernels.py").write_text(source)
        os.utime(tmp_path / name / "kernels.py", (1e9, 1e9 + len(printed)))
        done = _run(tmp_path / name, NUMBA_CACHE_DIR=str(kept), NUMBA_DEBUG_CACHE="1")
        assert done.returncode == 0, done.stderr
        printed[name] = done.stdout
    assert [text.splitlines()[-1] for text in printed.values()] == ["42.0", "42.0", "63.0"]
    assert ["data loaded" in text for text in printed.values()] == [False, True, False]
    assert list((kept / "kernels").glob("kernels.doubled*.nbi"))


def test_compiled_code_is_known_by_all_files_that_are_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel is compiled with what it calls, so a change in any of them counts for all."""
    files = compiling._compiled_files()
    names = {file.name for file in files}
    assert {"period_kernel.py", "response_kernel.py", "sampling.py", "ordering.py", "step_kernel.py"} <= names
    package = files[0].parents[2]
    found = {file for file in package.rglob("*.py") if "@njit(" in file.read_text(encoding="utf-8")}
    assert found - {package / "compiling.py"} == set(files)
    before = compiling._stamp.__wrapped__(str(files[0]))
    changed = tmp_path / files[-1].name
    changed.write_text(files[-1].read_text(encoding="utf-8") + "\n", encoding="utf-8")
    monkeypatch.setattr(compiling, "_compiled_files", lambda: [*files[:-1], changed])
    assert compiling._stamp.__wrapped__(str(files[0])) != before


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


AHEAD = """
import numba
from numba.core import event

from malles_env import list_scenarios, load_scenario, parallel_env
from malles_env.envs.precompile import compile_kernels
from malles_env.envs.vector import PricingVectorEnv

compile_kernels()
compiled = []


class Compiled(event.Listener):
    def on_start(self, happened):
        compiled.append(happened.data["dispatcher"].py_func.__name__)

    def on_end(self, happened):
        pass


with event.install_listener("numba:compile", Compiled()):
    played = [name for name in list_scenarios() if load_scenario(name).consumers.kind == "logit"]
    for name in played:
        for mode in ("continuous", "discrete"):
            env = parallel_env(name, action_mode=mode)
            env.reset(seed=0)
            env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        batch = PricingVectorEnv(2, name)
        batch.reset(seed=0)
        batch.step(batch.action_space.sample())
print(len(played), *compiled)
"""


def test_nothing_is_compiled_in_play_that_could_be_compiled_ahead() -> None:
    done = subprocess.run([sys.executable, "-c", AHEAD], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
