"""An audit as a person and a program read it: Markdown with its pictures, and plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from malles_env.evaluation.audit.plots import draw_findings, file_name
from malles_env.evaluation.audit.runner import AuditReport
from malles_env.files import json_plain, write_json, write_text

COLUMNS = ("test", "measured", "value", "bound", "verdict", "offers asked")


def rows(report: AuditReport) -> list[tuple[str, ...]]:
    """Return one row of `COLUMNS` per finding, as text."""
    return [
        (
            found.name,
            found.measure,
            found.shown or "-",
            found.bound,
            found.verdict,
            f"{found.asked:,}" + (" (shared)" if found.shared else ""),
        )
        for found in report.findings
    ]


def summary(report: AuditReport) -> str:
    """Return how many tests came out how, and how much was asked."""
    verdicts = [finding.verdict for finding in report.findings]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    tolerance = f"changes up to {report.settings.tolerance:g} count as none"
    return f"{counts}; {tolerance}; {report.asked:,} offers asked ({report.answers:,} answers of segments)"


def as_json(report: AuditReport, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the audit as plain JSON.

    Args:
        report: The audit.
        about: What was audited, e.g. scenario and model.
    """
    content = {
        **about,
        "settings": asdict(report.settings),
        "offers_asked": report.asked,
        "answers": report.answers,
        "seconds": round(report.seconds, 2),
        "failed": list(report.failed),
        "findings": {finding.name: finding.as_json() for finding in report.findings},
    }
    cleaned: dict[str, Any] = json_plain(content)
    return cleaned


def as_markdown(report: AuditReport, title: str, command: str = "", *, pictures: bool = True) -> str:
    """Return the audit as Markdown.

    Args:
        report: The audit.
        title: Its heading.
        command: Command line that made it.
        pictures: Whether the tests' pictures are linked, by file name.
    """
    lines = [f"# {title}", "", *([f"Made by `{command}`.", ""] if command else []), f"{summary(report)}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows(report)]
    for finding in report.findings:
        lines += ["", f"## {finding.name}: {finding.verdict}", "", f"{finding.measure}: {finding.shown or '-'}."]
        if finding.worst:
            reason = "Why not" if finding.verdict == "not applicable" else "Worst case"
            reason = "Range" if finding.name == "own-price elasticities" else reason
            lines += ["", f"{reason}: {finding.worst}."]
        if pictures and finding.chart is not None:
            lines += ["", f"![{finding.name}]({file_name(finding)})"]
    return "\n".join(lines) + "\n"


def write_report(report: AuditReport, folder: Path, title: str, command: str = "") -> Path:
    """Write ``report.md`` and a picture per test into `folder`, beside what is there; return the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_findings(report.findings, folder)
    return write_text(folder / "report.md", as_markdown(report, title, command))


def write_numbers(report: AuditReport, path: Path, about: Mapping[str, Any]) -> Path:
    """Write `as_json` to a file, whole or not at all, and return its path."""
    return write_json(path, as_json(report, about), allow_nan=False)
