"""What the importer found: one line per check, with its number, its threshold and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["ok", "warn", "error", "skipped"]
_RANK: dict[str, int] = {"skipped": 0, "ok": 1, "warn": 2, "error": 3}


@dataclass(frozen=True)
class Check:
    """One check of a log.

    Attributes:
        name: Short name, e.g. ``agreeing_prices``.
        value: What was measured, in the unit that `finding` names; None where it could not be measured.
        threshold: Where the verdict turns from ok to warn, same unit.
        verdict: ``ok``, ``warn``, ``error`` (do not train on this), or ``skipped`` (not measurable here).
        finding: What was measured, in words and numbers.
        advice: One sentence: what to do.
        details: Further numbers; JSON values.
    """

    name: str
    value: float | None
    threshold: float | None
    verdict: Verdict
    finding: str
    advice: str
    details: dict[str, Any] = field(default_factory=dict)


def skipped(name: str, why: str, advice: str = "Nothing to do.") -> Check:
    """Return a check that this log does not allow."""
    return Check(name, None, None, "skipped", why, advice)


def graded(value: float, warn: float, error: float) -> Verdict:
    """Return the verdict of a value whose thresholds lie on one side of the good values.

    Args:
        value: What was measured.
        warn: From here on ``warn``.
        error: From here on ``error``; above `warn` where large values are bad, below where small ones are.
    """
    sign = 1.0 if error > warn else -1.0
    if sign * value >= sign * error:
        return "error"
    return "warn" if sign * value >= sign * warn else "ok"


def worse(*verdicts: Verdict) -> Verdict:
    """Return the worst of several verdicts."""
    return max(verdicts, key=lambda verdict: _RANK[verdict])


@dataclass(frozen=True)
class ImportReport:
    """All checks of one log.

    Attributes:
        facts: Sizes of the log: rows, households, stores, baskets, products, markets, periods, first and last day.
        checks: In the order in which they were made.
    """

    facts: dict[str, Any]
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict; ``skipped`` only where nothing could be measured."""
        return max((check.verdict for check in self.checks), key=lambda verdict: _RANK[verdict], default="ok")

    def __getitem__(self, name: str) -> Check:
        """Return the check of that name; KeyError where there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"verdict": self.verdict, "facts": self.facts, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        """Return the report as plain text: a line of sizes, then three lines per check."""
        facts = ", ".join(f"{value:,} {name}" for name, value in self.facts.items() if isinstance(value, int))
        lines = [facts, f"from {self.facts['first_day']} to {self.facts['last_day']}", ""]
        for check in self.checks:
            lines += [f"{check.verdict.upper():8}{check.name}", f"        {check.finding}"]
            if check.verdict in ("warn", "error"):
                lines.append(f"        -> {check.advice}")
        return "\n".join(lines)
