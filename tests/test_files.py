"""Files and folders are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from malles_env.errors import InvalidInput, MissingResource
from malles_env.files import json_plain, new_directory, write_json


def test_new_directory_leaves_nothing_behind_on_failure(tmp_path: Path) -> None:
    """A failure inside keeps the old folder."""
    with new_directory(tmp_path / "d") as first:
        (first / "x").write_text("old")
    with pytest.raises(RuntimeError), new_directory(tmp_path / "d") as second:
        (second / "x").write_text("new")
        raise RuntimeError
    assert (tmp_path / "d" / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_json_comes_back_as_it_was_in_a_folder_made_for_it(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None], "a": {"words": "naïve, 12 €"}, "no end": math.inf}
    path = write_json(tmp_path / "new" / "a.json", content)
    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_sorted_keys_make_the_same_file_of_the_same_content(tmp_path: Path) -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    files = [write_json(tmp_path / f"{k}.json", content, sort_keys=True) for k, content in enumerate((one, other))]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("refused", [{"a": math.nan}, {"a": [math.inf]}, {"a": {1, 2}}])
def test_what_json_cannot_hold_leaves_the_old_file_and_no_other(tmp_path: Path, refused: dict[str, object]) -> None:
    path = write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises((TypeError, ValueError)):
        write_json(path, refused, allow_nan=False)
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_failed_move_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match=r"a\.json"):
        write_json(tmp_path / "a.json", {"new": 1})
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_module_brings_no_heavy_imports() -> None:
    code = "import sys; before = set(sys.modules); import malles_env.files; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "malles_env.files" in loaded
    assert not {"torch", "transformers", "polars", "matplotlib"} & {name.split(".")[0] for name in loaded}


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    mine, ours, empty = (tmp_path / name for name in ("mine", "ours", "empty"))
    for folder in (mine, ours, empty):
        folder.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    (ours / "card.json").write_text("{}")
    for folder in (ours, empty, tmp_path / "new"):
        with new_directory(folder, "card.json") as fresh:
            (fresh / "card.json").write_text("new")
        assert (folder / "card.json").read_text() == "new"
    with pytest.raises(InvalidInput, match="mine"), new_directory(mine, "card.json"):
        pass
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_errors_of_very_long_names_keep_both_ends() -> None:
    error = MissingResource("n" * 5000 + ": no such file")
    assert len(str(error)) < 1200 and str(error).startswith("nnn") and str(error).endswith("n: no such file")
    assert str(InvalidInput("a: got 1\nb: got 2")) == "a: got 1\nb: got 2"
    assert str(pickle.loads(pickle.dumps(InvalidInput("a: got 1")))) == "a: got 1"


def test_plain_content_is_strict_json() -> None:
    content = {1: (math.nan, np.float64(-np.inf), 0.5), "whole": np.int64(3), "true": np.bool_(True), "no": None}
    content["rows"] = np.array([[1.0, math.nan]])
    plain = {"1": [None, None, 0.5], "whole": 3, "true": True, "no": None, "rows": [[1.0, None]]}
    assert json_plain(content) == plain
    assert json.loads(json.dumps(json_plain(content), allow_nan=False)) == plain
