"""The user's cache, files and folders written whole or not at all, and hashes."""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import math
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from malles_env.errors import CorruptFile, InvalidInput, MissingResource, brief, invalid

_LOG = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Return the user cache, ``$MALLES_CACHE`` when set; where nobody has a home, a folder for this process alone.

    Raises:
        InvalidInput: The variable names the home of a user who does not exist.
    """
    if chosen := os.environ.get("MALLES_CACHE"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise invalid("MALLES_CACHE", chosen, "a folder") from None
    from platformdirs import user_cache_dir

    try:
        folder = Path(user_cache_dir("malles-env"))
    except RuntimeError:  # no home to be found; older versions of platformdirs answer "~/.cache"
        return _passing_cache()
    return folder if folder.is_absolute() else _passing_cache()


@cache
def _passing_cache() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="malles-env-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _LOG.warning("there is no home folder: what is kept goes when this process ends; MALLES_CACHE names another place")
    return folder


@contextmanager
def keeping(path: Path) -> Iterator[None]:
    """Let a block that keeps something for the next time fail over the disk: a warning says that it was not kept.

    Args:
        path: What is written, for the warning.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        _LOG.warning("%s: not kept for the next time (%s); MALLES_CACHE names another place", path, reason)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place when the block ends well.

    A kill at any moment leaves either the old file or the new one, never half of one; an error leaves the old one.

    Args:
        path: Where the file shall stand; its folder is made. The temporary name keeps the suffix.

    Raises:
        InvalidInput: A device stands there.
        OSError: It cannot be written.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # /dev/null would become a file for everybody
        raise InvalidInput(f"{path}: is a device; a file is written there")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, path.suffix)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):  # what kept it from being written says more
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any, *, sort_keys: bool = False, allow_nan: bool = True) -> Path:
    """Write `content` as indented JSON, whole or not at all, and return the path.

    Args:
        path: Where the file shall stand; its folder is made.
        content: What JSON can hold.
        sort_keys: Whether the keys of each object are sorted, so that the same content is the same file.
        allow_nan: Whether NaN and the infinities may be written, which strict readers of JSON refuse.

    Raises:
        TypeError: `content` holds what JSON cannot; the old file stays.
        ValueError: `content` holds NaN or an infinity and `allow_nan` is false; the old file stays.
        OSError: The file cannot be written.
    """
    text = json.dumps(content, indent=2, sort_keys=sort_keys, allow_nan=allow_nan) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def json_plain(content: Any) -> Any:
    """Return `content` as strict JSON holds it, for `write_json` with ``allow_nan=False``.

    NaN and the infinities become None, tuples and arrays lists, numbers of NumPy plain ones, keys text.
    """
    if isinstance(content, Mapping):
        return {str(key): json_plain(part) for key, part in content.items()}
    if isinstance(content, (list, tuple)):
        return [json_plain(part) for part in content]
    if hasattr(content, "tolist"):
        return json_plain(content.tolist())
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text, whole or not at all, and return the path.

    Raises:
        InvalidInput: The path cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written ({error.strerror})") from None
    return path


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        MissingResource: There is no such file.
        CorruptFile: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingResource(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFile(f"{path}: not valid JSON ({brief(error)}); delete it and make it anew") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MissingResource: There is no such file.
        CorruptFile: The file is not a JSON object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise CorruptFile(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hex.

    Raises:
        MissingResource: There is no such file.
    """
    if not path.is_file():
        raise MissingResource(f"{path}: no such file")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def text_hash(*parts: str) -> str:
    """Return the SHA-256 of some texts, in hex; the boundaries between them count."""
    return json_hash(parts)


def json_hash(content: Any, *, sort_keys: bool = False, default: Callable[[Any], Any] | None = None) -> str:
    """Return the SHA-256 of what JSON can hold, in hex.

    Args:
        content: Plain values.
        sort_keys: Whether the order of the keys of objects does not matter.
        default: What stands for values that JSON cannot hold.

    Raises:
        TypeError: `content` holds what JSON cannot, and there is no `default`.
    """
    return sha256(json.dumps(content, sort_keys=sort_keys, default=default))


def sha256(content: str | bytes) -> str:
    """Return the SHA-256 of a text (in UTF-8) or of bytes, in hex."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def slug(text: str) -> str:
    """Return a text as a plain file name in lower case, e.g. ``ice-cream-milk-sherbts-premium``."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def mend_lines(path: Path, start: bytes, ours: Callable[[bytes], bool]) -> None:
    """Cut off what a kill left of the last line of a file of JSON lines; leave any other file as it is.

    Args:
        path: The file; nothing happens where there is none, or no plain one.
        start: What each line begins with.
        ours: Whether a whole line, which begins so, is one of those the file is for.

    Raises:
        CorruptFile: The file holds something else; not a byte of it is changed.
        OSError: It cannot be read or written.
    """
    if not path.is_file():
        return
    with path.open("r+b") as file:
        data = file.read()
        *whole, last = data.split(b"\n")
        known = all(line.startswith(start) and ours(line) for line in whole)
        if not known or not (last.startswith(start) or start.startswith(last)) or (_is_json(last) and not ours(last)):
            raise CorruptFile(f"{path}: holds other lines than would be added; left as it is, name another file")
        if last:
            file.truncate(len(data) - len(last))


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def check_replaceable(folder: Path, mark: str) -> None:
    """Refuse to replace a folder that is not one of ours.

    Args:
        folder: What would be replaced; it may be missing or empty.
        mark: File that every folder of this kind holds.

    Raises:
        InvalidInput: Something else stands there.
    """
    if folder.is_file() or (folder.is_dir() and not (folder / mark).is_file() and any(folder.iterdir())):
        raise InvalidInput(f"{folder}: holds something else (no {mark}) and would be replaced; name another folder")


@contextmanager
def new_directory(path: Path, mark: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that becomes `path` when the block ends well; an older one is replaced.

    Args:
        path: Where the folder shall stand.
        mark: File by which an older folder is known as one that may be replaced; None where only this package writes.

    Raises:
        InvalidInput: Another folder stands there.
    """
    if mark is not None:
        check_replaceable(path, mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(path), _beside(path, ".old")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path, suffix: str = "") -> Path:
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{suffix}")
