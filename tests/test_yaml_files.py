"""YAML of strangers: what it looks like is what it is, and what would take for ever is refused before it is built."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from malles_env.data.checks import read_settings
from malles_env.data.exports.cleaning.products import read_keywords
from malles_env.errors import CorruptFile, InvalidInput, MallesError, MissingResource
from malles_env.scenarios import load_scenario, parse_scenario
from malles_env.yaml_files import parse_yaml, read_plain_text

BOMB = "a: [" + "&a [8,8,8,8,8,8,8,8,8,8], " + ", ".join(
    f"&{name} [{', '.join(['*' + before] * 10)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True)
) + "]"  # fmt: skip
REFUSED = {
    "aliases of aliases": (BOMB, "line 1: more than 200,000 entries, aliases counted"),
    "a list that holds itself": ("a: &x [*x, 8]", r"line 1: \*x holds itself"),
    "a mapping that holds itself": ("&x\na: *x", r"\*x holds itself"),
    "a mapping as a key": ("a: 1\n? {b: 1}\n: 3", "line 2, column 3: a key is a list or a mapping"),
    "a list as a key": ("? [1]\n: 3", "a key is a list or a mapping"),
    "a key twice": ("a: 1\na: 2", "the key 'a' stands there twice"),
    "a number of 5,000 digits": ("a: " + "9" * 5000, "line 1: a number of 5,000 digits; allowed: at most 30"),
    "nested lists": ("[" * 50 + "]" * 50, "nested deeper than 20 levels"),
    "a tag that runs code": ("!!python/object/apply:os.system [true]", "is not valid YAML"),
    "a date that is none": ("!!timestamp 2020-13-45", "is not valid YAML"),
    "megabytes": ("a: " + "x" * 1_000_001, "allowed: at most 1,000,000"),
    "half a list": ("a: [1", "is not valid YAML"),
    "a control character": ("a: \x00", "is not valid YAML"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(text: str, message: str) -> None:
    began = time.process_time()
    with pytest.raises((InvalidInput, CorruptFile), match=f"^file.yaml: .*{message}") as error:
        parse_yaml(text, "file.yaml")
    assert time.process_time() - began < 5.0
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("1:30", "1:30"), ("010", "010"), ("1e5", 1e5), ("1_000", 1000), ("-3", -3), ("0.5", 0.5), (".5", 0.5),
     ("'9999999999999999999999999999999999'", "9" * 34), ("2024-01-01", "2024-01-01"), ("", None), ("yes", True),
     ("&x [1, 1]", [1, 1]), ("[&x [1], *x]", [[1], [1]])],
)  # fmt: skip
def test_what_is_read_is_what_it_looks_like(text: str, value: object) -> None:
    assert parse_yaml(text, "file.yaml") == value


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unit_cost: 1.0", "unit_cost: 1:30", r"products\[0\].unit_cost: got '1:30'; allowed: a number"),
        ("unit_cost: 1.0", "unit_cost: 1.0e+308", r"products\[0\].unit_cost: got 1e\+308; allowed: at most 1e\+12"),
        ("max_cycles: 52", "max_cycles: " + "9" * 300, "a number of 300 digits"),
        ("max_cycles: 52", "max_cycles: " + "9" * 25, "max_cycles: got 9"),
    ],
)
def test_numbers_no_market_can_have(old: str, new: str, message: str) -> None:
    text = (Path(load_scenario.__code__.co_filename).parent / "bertrand-duopoly.yaml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(InvalidInput, match=message):
        parse_scenario(text.replace(old, new), "file.yaml")


READERS: list[Callable[[Path], object]] = [read_settings, read_keywords, load_scenario]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_every_reader_of_yaml_refuses_pipes_devices_and_bombs(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "bomb.yaml").write_text(BOMB)
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 3000)
    (tmp_path / "latin.yaml").write_bytes("a: Zürich".encode("cp1252"))
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(MallesError, match=path.name):
            read(path)
    with pytest.raises(MissingResource, match=r"none\.yaml"):
        read(tmp_path / "none.yaml")
    with pytest.raises(InvalidInput, match="is a folder"):
        read(tmp_path / "..")
    assert read_plain_text(tmp_path / "bomb.yaml") == BOMB
