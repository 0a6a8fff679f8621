"""Checkpoints of a training run: written whole or not at all, and never trusted before they are read."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from malles_env.errors import CorruptFile, MissingResource, invalid
from malles_env.files import replacing
from malles_env.type_aliases import OnMessage

RLLIB_FILES = ("class_and_ctor_args.pkl", "rllib_checkpoint.json")
"""What RLlib's own checkpoints hold, folders of pickles."""
NAME = re.compile(r"^checkpoint_(\d+)\.zip$")


def write_whole(path: Path, write: Callable[[BytesIO], object]) -> Path:
    """Let `write` fill a buffer, then write it beside `path` and put it in place in one move.

    A kill at any moment leaves either the old file or the new one, never half of one.

    Args:
        path: Where the file shall stand.
        write: Called with the buffer: libraries word the errors of a full disk in their own ways, or not at all.

    Raises:
        OSError: It cannot be written; the old file stays.
    """
    buffer = BytesIO()
    write(buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    return path


def check_zip(path: Path) -> None:
    """Refuse a policy file that is missing, cut short or damaged.

    Raises:
        MissingResource: It is not there.
        InvalidInput: It is a folder that RLlib itself wrote.
        CorruptFile: It cannot be what its name says.
    """
    if any(os.path.isfile(path / name) for name in RLLIB_FILES):
        raise invalid(
            "policy", str(path), "a policy.zip; this is a checkpoint of RLlib's own, whose pickles are not read: "
            "`malles train --engine rllib` writes policy.zip beside its checkpoints"
        )  # fmt: skip
    if not os.path.isfile(path):  # also of names that no file can have
        raise MissingResource(f"{path}: no such policy; `malles train` writes policy.zip into its --out folder")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise CorruptFile(f"{path}: half-written or corrupt policy ({error})") from None
    if damaged is not None or not {"data", "policy.pth"} <= names:
        raise CorruptFile(f"{path}: not a Stable-Baselines3 policy, or damaged at {damaged or 'its list of parts'}")


def found_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest (most steps) first."""
    steps = {path: int(match[1]) for path in folder.glob("*.zip") if (match := NAME.match(path.name))}
    return sorted(steps, key=lambda path: steps[path], reverse=True)


def file_name(text: str) -> str:
    """Return a seller's name without what file names cannot hold."""
    return text.replace(":", "_").replace("/", "_")


def newest_good(folder: Path, warn: OnMessage) -> Path | None:
    """Return the newest checkpoint that can be read; name each damaged one to `warn` and pass over it.

    Returns:
        The path, or None when the run has no checkpoint yet.

    Raises:
        CorruptFile: There are checkpoints and none can be read.
    """
    found = found_checkpoints(folder)
    for path in found:
        try:
            check_zip(path)
        except CorruptFile as error:
            warn(f"skipped {error}")
            continue
        return path
    if found:
        raise CorruptFile(f"{folder}: none of the {len(found)} checkpoints can be read; start anew without --resume")
    return None


def prune(folder: Path, keep: int = 3) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for path in found_checkpoints(folder)[keep:]:
        path.unlink(missing_ok=True)
