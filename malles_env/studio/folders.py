"""A visitor's folder: the only place uploads are written to."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from malles_env.errors import InvalidInput, invalid, what_failed

MOST_FILES = 20
_NAME = re.compile(r"[^\w.\- ]+")


@dataclass(frozen=True)
class Folder:
    """One visitor's folder below that of all visitors; made when something is written to it.

    Attributes:
        out: Folder of all visitors.
        most: Largest upload, bytes.
        name: A name nobody can guess.
    """

    out: Path
    most: int
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def path(self) -> Path:
        """Where this visitor's files lie."""
        return self.out / self.name

    def save(self, name: str, data: bytes) -> Path:
        """Write an upload, whole or not at all, and return its path.

        Args:
            name: As the visitor's computer calls it; folders in it and odd characters are left out.
            data: Its content.

        Raises:
            InvalidInput: Too large, too many, no name, or the disk refuses.
        """
        from malles_env.files import replacing

        plain = _NAME.sub("_", Path(name.replace("\\", "/")).name).strip(" .")[-100:]
        if not plain:
            raise invalid("upload", name, "a file with a name")
        if len(data) > self.most:
            raise invalid(f"{plain}: size", f"{len(data):,} bytes", f"at most {self.most:,} bytes")
        target = self.path / "uploads" / plain
        others = [path for path in target.parent.glob("*") if path != target]
        if len(others) >= MOST_FILES:
            raise invalid("uploads", len(others) + 1, f"at most {MOST_FILES} files")
        try:
            with replacing(target) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise InvalidInput(f"{plain}: cannot be written ({what_failed(error)})") from None
        return target
