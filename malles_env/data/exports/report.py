"""The report of an import as text, and the commands that come next."""

from __future__ import annotations

import shlex
from pathlib import Path

from malles_env.data.exports.importing import Imported
from malles_env.files import slug


def text_report(found: Imported, out: Path) -> str:
    """Return the report as lines of text: how values were read, what each rule did, the checks, what comes next.

    Args:
        found: The import.
        out: Folder of the log.
    """
    kept, lost = len(found.tables.transactions), len(found.dropped)
    lines = [f"{topic}: {words}" for topic, words in found.how.items()]
    lines += ["", f"{kept + lost:,} rows read, {kept:,} kept, {lost:,} dropped"]
    lines += [f"  {finding}" for finding in found.findings]
    lines += [
        "",
        str(found.report),
        "",
        f"written: {out} (report.html shows it in pictures; rows left out: dropped.parquet)",
    ]
    errors = [check.name for check in found.report.checks if check.verdict == "error"]
    if errors:
        lines.append(f"an error was found ({', '.join(errors)}): data build refuses this log without --despite-errors")
    return "\n".join([*lines, "next:", *(f"  {command}" for command in next_commands(found, out))])


def next_commands(found: Imported, out: Path) -> list[str]:
    """Return the commands from the log to a trained seller."""
    name = slug(found.market)[:40] or "market"
    scenario = f"{name}.yaml"
    return [
        shlex.join(["malles", "scenario", "build", found.market, "--log", str(out), "--out", scenario]),
        shlex.join(["malles", "train", scenario, "--out", f"runs/{name}"]),
    ]
