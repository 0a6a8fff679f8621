"""`malles consumers audit`: whether a scenario's consumers obey economics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.cli.places import file_option, folder_option
from malles_env.cli.progress import plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from malles_env.evaluation.audit.runner import AuditReport
    from malles_env.evaluation.audit.subject import Watch

VERDICT_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def audit_command(
    scenario: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")],
    consumers: Annotated[
        str | None, typer.Option(help="Taste model to read the consumers with: embedded, smollm2 or a folder.")
    ] = None,
    out: Annotated[Path | None, folder_option("Folder for report.md and a plot per test.")] = None,
    json_file: Annotated[Path | None, file_option("File for all numbers as JSON.", "--json")] = None,
    states: Annotated[int, typer.Option(min=1, help="Random states per test; few for consumers that are slow.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the states.")] = 0,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Change of a probability that counts as none; more for sampled answers.")
    ] = 1e-9,
    batch: Annotated[int, typer.Option(min=1, help="Offers asked at once.")] = 64,
    orders: Annotated[int, typer.Option(min=1, help="Other orders of the shelf.")] = 3,
    wordings: Annotated[int, typer.Option(min=1, help="Other wordings of the products.")] = 3,
) -> None:
    """Test consumers against economics: law of demand, substitution, elasticities, transitivity, order, budget."""
    from malles_env.evaluation.audit.report import write_numbers, write_report
    from malles_env.evaluation.audit.runner import AuditSettings, audit
    from malles_env.scenarios import load_scenario
    from malles_env.workflows.audit import audit_subject, rereadable

    settings = AuditSettings(states, seed, batch, tolerance, orders=orders, wordings=wordings)
    loaded = load_scenario(scenario)
    console = plain_console()
    subject = audit_subject(loaded, rereadable(loaded, consumers))
    with _watched(console) as watch:
        report = audit(subject, settings, watch)
    who = consumers or getattr(loaded.consumers, "model", None)
    title = f"Audit of the consumers of {loaded.name}" + (f", read by {who}" if who else "")
    show(console, report, title)
    command = " ".join(["malles", *sys.argv[1:]])
    if out is not None:
        console.print(f"report: {write_report(report, out, title, command)}", markup=False)
    if json_file is not None:
        about = {"scenario": loaded.name, "consumers": who, "command": command}
        console.print(f"written: {write_numbers(report, json_file, about)}", markup=False)


def show(console: Console, report: AuditReport, title: str) -> None:
    """Print an audit as a table, with the worst cases below it."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from malles_env.evaluation.audit.report import rows, summary

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)
    table.add_column("test: what is measured", ratio=5)
    table.add_column("value", ratio=4)
    table.add_column("verdict: bound", ratio=4)
    table.add_column("asked", justify="right")
    for row in rows(report):
        name, measure, value, bound, verdict, asked = (escape(cell) for cell in row)
        judged = f"[{VERDICT_STYLES.get(verdict, 'dim')}]{verdict}[/]" + (f": {bound}" if value != "-" else "")
        table.add_row(f"[bold]{name}[/]: {measure}", value, judged, asked.replace(" ", "\n"))
    console.print(table)
    for finding in report.findings:
        if finding.worst:
            console.print(f"{finding.name}: {escape(finding.worst)}")
    console.print(f"{summary(report)}; {report.seconds:.1f} s")


@contextmanager
def _watched(console: Console) -> Iterator[Watch]:
    """Show which test is asking and how far it is; a bar in a terminal, nothing elsewhere."""
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("asking", total=None)
        yield lambda label, done, total: bar.update(task, description=label, completed=done, total=total)
