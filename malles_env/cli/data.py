"""`malles data`: check a log of purchases, and turn it into choice occasions."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.cli.data_import import import_command, template_command
from malles_env.cli.places import folder_option
from malles_env.errors import InvalidInput

if TYPE_CHECKING:
    from malles_env.data.checks import ImportReport
    from malles_env.data.log.tables import Tables
    from malles_env.data.settings import BuildSettings

data_app = typer.Typer(no_args_is_help=True, help="Your own log of purchases: check it, and build choice occasions.")

COMPLETE_JOURNEY = "complete-journey"

FolderArgument = Annotated[
    str,
    typer.Argument(help=f"Folder of transactions and products (.parquet or .csv), or {COMPLETE_JOURNEY}."),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings", help="YAML or JSON file of build settings; default: settings.yaml in FOLDER, else the package's."
    ),
]
ZoneOption = Annotated[
    str | None, typer.Option("--time-zone", help="Timestamps are UTC; convert them to this zone, e.g. Europe/Berlin.")
]


data_app.command("import")(import_command)
data_app.command("template")(template_command)


@data_app.callback()
def _data() -> None:
    """Your own log of purchases: check it, and build choice occasions."""


@data_app.command("check")
def check_command(
    folder: FolderArgument,
    settings: SettingsOption = None,
    time_zone: ZoneOption = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the report to this file, too.")] = None,
) -> None:
    """Check prices, periods, clock, order and shelves of a log; exit code 1 when a check says error."""
    from malles_env.data.checks import check_log
    from malles_env.files import write_json

    report = check_log(read_log(folder, time_zone), log_settings(folder, settings))
    if as_json is not None:
        write_json(as_json, report.as_json())
    typer.echo(str(report))
    if report.verdict == "error":
        raise typer.Exit(1)


@data_app.command("build")
def build_command(
    folder: FolderArgument,
    out: Annotated[Path, folder_option("Folder of choice occasions to write.", "--out")],
    settings: SettingsOption = None,
    time_zone: ZoneOption = None,
    despite_errors: Annotated[
        bool, typer.Option("--despite-errors", help="Build although a check says error.")
    ] = False,
) -> None:
    """Turn a log into choice occasions, which `malles align --occasions OUT` trains on; refuse what a check refuses."""
    from malles_env.data.building.build import build_occasions
    from malles_env.data.building.dropped import dropped_words
    from malles_env.data.checks import check_log

    if out.exists() and not (out / "meta.json").is_file():
        raise InvalidInput(f"--out: got {str(out)!r}; allowed: a new folder, or one of choice occasions to replace")
    tables, chosen = read_log(folder, time_zone), log_settings(folder, settings)
    if not despite_errors:
        refuse_errors(folder, check_log(tables, chosen))
    occasions = build_occasions(tables, chosen)
    occasions.save(out)
    typer.echo(f"{out}: {len(occasions):,} choice occasions of {len(occasions.markets)} markets")
    typer.echo(dropped_words(occasions.meta["purchases"]))
    typer.echo(f"next: {shlex.join(['malles', 'align', '--occasions', str(out), '--out', f'{out}-model'])}")


def refuse_errors(folder: str, report: ImportReport) -> None:
    """Refuse a log that a check calls an error.

    Raises:
        InvalidInput: Names the checks, what they found, and how to go on all the same.
    """
    errors = [check for check in report.checks if check.verdict == "error"]
    if errors:
        found = "; ".join(f"{check.name}: {check.finding}" for check in errors)
        raise InvalidInput(f"{folder}: got {found}; allowed: a log without errors of `malles data check`, "
                           "or --despite-errors")  # fmt: skip


def read_log(folder: str, zone: str | None = None) -> Tables:
    """Return a log by its folder, or the Complete Journey by its name.

    Args:
        folder: The folder, or ``complete-journey``.
        zone: Zone of the stores where timestamps are UTC.
    """
    from malles_env.data.checks import in_time_zone

    if folder == COMPLETE_JOURNEY:
        from malles_env.data.sources.complete_journey import load_complete_journey

        tables = load_complete_journey()
    else:
        from malles_env.data.log.readers import read_tables

        tables = read_tables(folder)
    return tables if zone is None else in_time_zone(tables, zone)


def log_settings(folder: str, path: Path | None = None) -> BuildSettings | None:
    """Return the settings in a file, else those that lie in the log's folder; None: the package's.

    Args:
        folder: Of the log.
        path: YAML or JSON file.
    """
    from malles_env.data.checks import read_settings

    own = Path(folder) / "settings.yaml"
    if path is None and folder != COMPLETE_JOURNEY and own.is_file():
        path = own
    return None if path is None else read_settings(path)
