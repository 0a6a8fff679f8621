"""Transcripts: every discussion of a run as JSON lines in one file, for people and programs to read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.files import mend_lines

FORMAT = 1
START = f'{{"format": {FORMAT}'.encode()
"""Beginning of every line."""


@dataclass(frozen=True)
class Turn:
    """What one role said in one round.

    Attributes:
        round: From 1.
        phase: Name of the phase.
        role: Name of the role.
        form: ``note``, ``proposal`` or ``ballot``.
        said: The words; empty when the role was silent.
        named: Codes nominated or voted for, the likeliest first.
        quantity: Units voted for; None where there is no vote.
        prompt_tokens, completion_tokens: Read and written for the words; reading of nominations not included.
    """

    round: int
    phase: str
    role: str
    form: str
    said: str
    named: tuple[str, ...] = ()
    quantity: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def words(self) -> str:
        """Return the turn as the others hear it."""
        vote = f"{self.named[0]}, {self.quantity}. " if self.form == "ballot" else ""
        names = f" (proposes {', '.join(self.named)})" if self.form == "proposal" and self.named else ""
        return f"{self.role}{names}: {vote}{self.said or '(silent)'}"


@dataclass(frozen=True)
class Verdict:
    """What the moderator decides.

    Attributes:
        probability: Code -> choice probability; ``N`` is the outside option. Sums to 1.
        quantity: Code -> mean units per buyer; empty where not asked.
    """

    probability: dict[str, float]
    quantity: dict[str, float] = field(default_factory=dict)


@dataclass
class Discussion:
    """One talk about one shelf for one buyer.

    Attributes:
        buyer: Who buys, in words.
        shelf: Code -> title.
        turns: In the order they were taken.
        agreed: Codes that a majority proposed.
        verdict: None until the moderator has decided.
    """

    buyer: str
    shelf: dict[str, str]
    turns: list[Turn] = field(default_factory=list)
    agreed: tuple[str, ...] = ()
    verdict: Verdict | None = None

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens read and written in turns of words."""
        return sum(t.prompt_tokens for t in self.turns), sum(t.completion_tokens for t in self.turns)


class TranscriptFile:
    """A file of discussions that grows by whole discussions.

    A discussion and its line breaks are written by one call; if that fails (disk full, say), the file is cut back to
    what it held before. A last line that a kill left unfinished is cut off when the file is opened again.

    Args:
        path: The ``.jsonl`` file; its folder is made. An existing file of transcripts is continued.
        about: Written into every discussion's line: model, cast, scenario and the like.

    Raises:
        InvalidInput: The file cannot be written.
        CorruptFile: It holds something else than transcripts; it is left as it is.
    """

    def __init__(self, path: Path, about: dict[str, Any] | None = None) -> None:
        self.path, self.about = Path(path), dict(about or {})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            mend_lines(self.path, START, lambda line: b'"turns": [' in line)
        except OSError as error:
            raise InvalidInput(f"{self.path}: cannot be written ({error.strerror})") from None

    def add(self, discussions: list[Discussion], **more: Any) -> None:
        """Append discussions, all of them or none; `more` goes into each line.

        Raises:
            InvalidInput: The file cannot be written; it then holds what it held before.
        """
        lines = [{"format": FORMAT, **self.about, **more, **asdict(each)} for each in discussions]
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise InvalidInput(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            before = os.fstat(handle).st_size
            try:
                while data:
                    data = data[os.write(handle, data) :]
                os.fsync(handle)
            except OSError as error:
                with suppress(OSError):  # a device cannot be cut
                    os.ftruncate(handle, before)
                raise InvalidInput(f"{self.path}: cannot be written ({error.strerror}); nothing was added") from None
        finally:
            os.close(handle)


def read_transcript(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the discussions of a file, oldest first, as plain dictionaries.

    Raises:
        MissingResource: No such file.
        CorruptFile: A line that is no discussion; names it. A last line cut short by a kill is passed over.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingResource(f"{path}: there is no such transcript") from None
    lines = text.split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            found = json.loads(line)
            known = found["format"] == FORMAT and isinstance(found["turns"], list)
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise CorruptFile(f"{path}: line {number} is no discussion of this format; remove the line")
        yield found
