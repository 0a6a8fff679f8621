"""Answers kept as they come: an append-only file of checked lines, from which an interrupted experiment continues."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import CorruptFile, InvalidInput
from malles_env.files import sha256
from malles_env.market import Offer
from malles_env.type_aliases import FloatArray

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)
Key = tuple[str, int]
START = b'{"check": "'
"""Beginning of every line."""


class AnswerLog:
    """Answers by part and number, in memory and, if a path is given, on disk.

    The first line says what was asked of whom. Every further line is one answer with the offer it belongs to, or
    which questions were chosen next; each carries a checksum and is on disk before the next question is put. A kill
    at any moment therefore loses the question in flight and no other; what a kill left of a line is cut off.

    Args:
        path: The file, made if need be; None keeps answers in memory only.
        asked: What the answers depend on: market, design, seed, identity of the consumers. JSON values by name.

    Raises:
        InvalidInput: The file holds answers to other questions, or of other consumers; says which differ. Or another
            process is writing it, or it cannot be written.
        CorruptFile: A line before the last one is damaged; names the line.
    """

    def __init__(self, path: Path | None, asked: dict[str, Any]) -> None:
        self.path = path
        self.kept: dict[Key, dict[str, Any]] = {}
        self.resumed = 0
        self._file: int | None = None
        if path is not None:
            self._file = _opened(path)
            try:
                self._read(path, json.loads(json.dumps(asked)))
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; other processes may then go on with it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def answer(self, part: str, number: int, offer: Offer) -> dict[str, Any] | None:
        """Return the kept answer to a question, None when there is none.

        Raises:
            InvalidInput: Another question stands under this number.
        """
        found = self.kept.get((part, number))
        if found is not None and found["offer"] != offer_json(offer):
            raise InvalidInput(
                f"{self.path}: {part} {number} was another question; the file belongs to another question set. "
                "Give another file, or delete this one to ask anew"
            )
        return found

    def keep(self, part: str, number: int, entry: dict[str, Any], offer: Offer | None = None) -> None:
        """Append an entry and wait until it is on disk.

        Raises:
            InvalidInput: The file cannot be written, e.g. as the disk is full; nothing of the entry is kept.
        """
        line = {"part": part, "number": number, **({} if offer is None else {"offer": offer_json(offer)}), **entry}
        self._append(line)
        self.kept[(part, number)] = line

    def _read(self, path: Path, asked: dict[str, Any]) -> None:
        lines = list(self._whole_lines(path))
        if not lines:
            self._append({"asked": asked})
            return
        found = lines[0].get("asked")
        if not isinstance(found, dict):
            raise CorruptFile(f"{path}: line 1 does not say what was asked; it is no file of answers")
        differing = sorted(name for name in {*found, *asked} if found.get(name) != asked.get(name))
        if differing:
            changes = "; ".join(
                f"{name}: {_short(found.get(name))}, now {_short(asked.get(name))}" for name in differing
            )
            raise InvalidInput(
                f"{path}: holds answers to other questions or of other consumers ({changes}). "
                "Give another file, or delete this one to ask anew"
            )
        self.kept = {(line["part"], line["number"]): line for line in lines[1:]}
        self.resumed = sum("probability" in line for line in self.kept.values())

    def _whole_lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """Yield the checked lines; cut off what a kill left of the last one."""
        content = path.read_bytes()
        if content[: len(START)] != START[: len(content)]:
            raise CorruptFile(f"{path}: line 1 is damaged or of something else; it is no file of answers")
        pieces = content.split(b"\n")
        good = 0
        for place, piece in enumerate(pieces):
            entry = _checked(piece) if place < len(pieces) - 1 else None
            if entry is None:
                if any(rest.strip() for rest in pieces[place + 1 :]):
                    raise CorruptFile(f"{path}: line {place + 1} is damaged; delete the file to ask anew")
                if len(content) > good and self._file is not None:
                    logger.warning("%s: the last line was cut short and is asked again", path)
                    os.ftruncate(self._file, good)
                return
            good += len(piece) + 1
            yield entry

    def _append(self, entry: dict[str, Any]) -> None:
        if self._file is None:
            return
        with _writing(self._file, self.path):
            data = _line(entry)
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)


def offer_json(offer: Offer) -> dict[str, Any]:
    """Return one offer (B = 1) as JSON values, from which it can be built again exactly."""
    return {
        "prices": offer.prices[0].tolist(),
        "available": offer.available[0].tolist(),
        "mean_field": offer.mean_field[0].tolist(),
        "loyalty": offer.loyalty[0].tolist(),
    }


def arrays(entry: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Return the probability ``(S, J + 1)`` and quantity ``(S, J)`` of an answer."""
    return np.asarray(entry["probability"], dtype=np.float64), np.asarray(entry["quantity"], dtype=np.float64)


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, allow_nan=False)
    return f'{{"check": "{sha256(text)[:16]}", "entry": {text}}}\n'.encode()


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return a line's entry, None when the line is not whole."""
    try:
        found = json.loads(line)
        entry, check = found["entry"], found["check"]
    except (ValueError, KeyError, TypeError):
        return None
    return entry if isinstance(entry, dict) and check == sha256(json.dumps(entry, allow_nan=False))[:16] else None


def _opened(path: Path) -> int:
    """Open the file for appending, for this process alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InvalidInput(f"{path}: is no plain file; answers are kept in one")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # no such locks on this system
        pass
    except OSError:
        os.close(file)
        raise InvalidInput(
            f"{path}: another process is asking these questions; wait for it, or give another file"
        ) from None
    return file


@contextmanager
def _writing(file: int, path: Path | None) -> Iterator[None]:
    """Undo a write that fails half-way."""
    size = os.fstat(file).st_size
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(file, size)
        raise InvalidInput(f"{path}: cannot be written ({error.strerror}); free space and run again to go on") from None


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
