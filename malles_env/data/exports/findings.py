"""What the importer found in the rows: one finding per rule, named, counted, with an example and what was done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Action = Literal["dropped", "kept", "mended"]


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Attributes:
        name: Short name, e.g. ``returns``.
        found: Rows, or whatever `unit` says, to which the rule applies.
        action: What was done with them.
        dropped: Rows left out for this reason; each row counts under the first rule that drops it.
        rule: The rule, in words.
        unit: What `found` counts.
        example: One of them, in words.
        advice: What a person may do about it; empty where nothing needs to be done.
        warn: Whether a person should look at it.
    """

    name: str
    found: int
    action: Action
    dropped: int
    rule: str
    unit: str = "rows"
    example: str = ""
    advice: str = ""
    warn: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the finding in one line, and its advice in a second."""
        share = {"dropped": f"dropped {self.dropped:,}", "kept": "kept", "mended": "mended"}[self.action]
        example = f"; e.g. {self.example}" if self.example else ""
        line = f"{self.name:17} {self.found:>10,} {self.unit:10} {share}: {self.rule}{example}"
        return f"{line}\n{'':18} -> {self.advice}" if self.advice else line


def check_balance(findings: list[Finding], kept: int, total: int) -> None:
    """Check that every row is accounted for once.

    Raises:
        RuntimeError: The counts do not add up; a fault of this package.
    """
    lost = sum(finding.dropped for finding in findings)
    if lost + kept != total:
        raise RuntimeError(f"{total} rows were read, {kept} kept and {lost} dropped")
