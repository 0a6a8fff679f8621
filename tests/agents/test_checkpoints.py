"""Files are written whole, and damaged ones are named."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from malles_agents.checkpoints import check_zip, found_checkpoints, newest_good, prune, write_whole
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.files import read_json, write_json


def policy_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "{}" * 200)
        archive.writestr("policy.pth", bytes(500))
    return path


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_json(tmp_path / "a.json", {"old": 1}, allow_nan=False)

    def fail(buffer: BytesIO) -> None:
        buffer.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_newest_by_steps_not_by_name(tmp_path):
    for steps in (900, 1000000000000, 20):
        policy_file(tmp_path / f"checkpoint_{steps}.zip")
    (tmp_path / "checkpoint_old.zip").write_text("not one of ours")
    assert found_checkpoints(tmp_path)[0].name == "checkpoint_1000000000000.zip"
    prune(tmp_path, keep=1)
    assert len(found_checkpoints(tmp_path)) == 1


def test_a_cut_checkpoint_is_named_and_passed_over(tmp_path):
    good = policy_file(tmp_path / "checkpoint_000000100.zip")
    cut = policy_file(tmp_path / "checkpoint_000000200.zip")
    cut.write_bytes(cut.read_bytes()[:150])
    said: list[str] = []
    assert newest_good(tmp_path, said.append) == good
    assert len(said) == 1
    assert "checkpoint_000000200.zip" in said[0]
    good.write_bytes(b"")
    with pytest.raises(CorruptFile, match="none of the 2 checkpoints"):
        newest_good(tmp_path, said.append)


def test_no_checkpoint_yet(tmp_path):
    assert newest_good(tmp_path / "nothing", print) is None


def test_damaged_bytes_inside_a_zip(tmp_path):
    path = policy_file(tmp_path / "policy.zip")
    check_zip(path)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match=r"policy\.zip"):
        check_zip(path)


def test_missing_policy_says_how_to_get_one(tmp_path):
    with pytest.raises(MissingResource, match="malles train"):
        check_zip(tmp_path / "policy.zip")


def test_half_a_json(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"algo": ')
    with pytest.raises(CorruptFile, match=r"config\.json"):
        read_json(path)


def test_a_checkpoint_of_rllib_is_no_policy(tmp_path):
    (tmp_path / "class_and_ctor_args.pkl").write_bytes(b"pickle")
    with pytest.raises(InvalidInput, match=r"policy: got .*; allowed: a policy.zip; this is a checkpoint of"):
        check_zip(tmp_path)
