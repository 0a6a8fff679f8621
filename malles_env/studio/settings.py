"""What the studio was started with; the same for every visitor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from malles_env.errors import invalid

MOST_UPLOAD = 1000


@dataclass(frozen=True)
class Settings:
    """Where the studio reads and writes.

    Attributes:
        scenario: Name or path of the market that is shown first.
        runs: Folder below which runs, saved policies and transcripts are looked for; only read.
        out: Folder below which uploads and what is built from them are written, a folder of its own per visitor.
        upload: Largest file that may be uploaded, megabytes, from 1 to MOST_UPLOAD.

    Raises:
        InvalidInput: An upload limit out of range.
    """

    scenario: str = "ice-cream"
    runs: Path = Path("runs")
    out: Path = Path("runs/studio")
    upload: int = 50

    def __post_init__(self) -> None:
        """Check the limit."""
        if not 1 <= self.upload <= MOST_UPLOAD:
            raise invalid("upload", self.upload, f"a whole number from 1 to {MOST_UPLOAD}, megabytes")


_chosen = [Settings()]


def choose(settings: Settings) -> None:
    """Start every page from these settings."""
    _chosen[0] = settings


def chosen() -> Settings:
    """Return the settings of this process."""
    return _chosen[0]
