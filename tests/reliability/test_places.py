"""Where a command cannot write, it says so in one line before any work, and leaves what stands there as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.errors import InvalidInput
from malles_env.files import replacing

FILE_OPTIONS = [
    ["evaluate", "bertrand-duopoly", "--json"],
    ["distil", "bertrand-duopoly", "--out", "x.yaml", "--json"],
    ["distil", "bertrand-duopoly", "--out", "x.yaml", "--answers"],
    ["scenario", "show", "bertrand-duopoly", "--elasticities", "--json"],
    ["scenario", "show", "bertrand-duopoly", "--elasticities", "--plot"],
    ["consumers", "audit", "bertrand-duopoly", "--json"],
    ["consumers", "backtest", "soft-drinks", "--json"],
    ["consumers", "forces", "all", "--json"],
    ["consumers", "validate", "all", "--docs"],
    ["consumers", "calibrate", "soft-drinks", "--out"],
    ["audit", "injection", "--json"],
    ["reproduce", "calvano", "--json"],
    ["tournament", "--readme"],
]
FOLDER_OPTIONS = [
    ["train", "bertrand-duopoly", "--out"],
    ["demo", "--out"],
    ["study", "--out"],
    ["tournament", "--out"],
    ["align", "--out"],
    ["align-prompted", "--out"],
    ["reproduce", "calvano", "--out"],
    ["consumers", "audit", "bertrand-duopoly", "--out"],
    ["consumers", "backtest", "soft-drinks", "--out"],
]


def refused(words: list[str]) -> str:
    """Return the one line that a command answers with."""
    result = CliRunner().invoke(app, words)
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2 and len(lines) == 1 and lines[0].startswith("error: "), (words, result.output)
    return lines[0]


@pytest.mark.parametrize("words", FILE_OPTIONS, ids=" ".join)
def test_files_that_cannot_be_written(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    places = (".", "file/below.png", "/dev/null", "n" * 300, "/proc/none.png", "deep/" * 900 + "x.png")
    for place in places:
        line = refused([*words, place])
        assert line.startswith(f"error: {words[-1]}: got ") and "; allowed: " in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine" and Path("/dev/null").is_char_device()


@pytest.mark.parametrize("words", FOLDER_OPTIONS, ids=" ".join)
def test_folders_that_cannot_be_written(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/below", "/dev/null", "n" * 300, "/proc/none"):
        line = refused([*words, place])
        assert line.startswith(f"error: {words[-1]}: got ") and "; allowed: " in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_readme_without_a_place_for_the_table_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("no marks")
    out = tmp_path / "matches"
    line = refused(["tournament", "--out", str(out), "--readme", str(tmp_path / "readme.md")])
    assert "got no place for the table" in line and not out.exists()


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(InvalidInput, match="is a device"), replacing(Path("/dev/null")):
        pass
    assert Path("/dev/null").is_char_device()
