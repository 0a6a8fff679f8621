"""`malles data`: check a log of purchases, and turn it into choice occasions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.errors import InvalidInput

if TYPE_CHECKING:
    from malles_env.data.settings import BuildSettings
    from malles_env.data.tables import Tables

data_app = typer.Typer(no_args_is_help=True, help="Your own log of purchases: check it, and build choice occasions.")

COMPLETE_JOURNEY = "complete-journey"

FolderArgument = Annotated[
    str,
    typer.Argument(help=f"Folder of transactions and products (.parquet or .csv), or {COMPLETE_JOURNEY}."),
]
SettingsOption = Annotated[
    Path | None, typer.Option("--settings", help="YAML or JSON file of build settings; default: those of the package.")
]
ZoneOption = Annotated[
    str | None, typer.Option("--time-zone", help="Timestamps are UTC; convert them to this zone, e.g. Europe/Berlin.")
]


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
    from malles_env.data.importer import check_log
    from malles_env.files import write_json

    report = check_log(_tables(folder, time_zone), _settings(settings))
    if as_json is not None:
        write_json(as_json, report.as_json())
    typer.echo(str(report))
    if report.verdict == "error":
        raise typer.Exit(1)


@data_app.command("build")
def build_command(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder of choice occasions to write.")],
    settings: SettingsOption = None,
    time_zone: ZoneOption = None,
) -> None:
    """Turn a log into choice occasions, which `malles align --occasions OUT` trains on."""
    from malles_env.data.build import build_occasions

    if out.exists() and not (out / "meta.json").is_file():
        raise InvalidInput(f"--out: got {str(out)!r}; allowed: a new folder, or one of choice occasions to replace")
    occasions = build_occasions(_tables(folder, time_zone), _settings(settings))
    occasions.save(out)
    typer.echo(f"{out}: {len(occasions):,} choice occasions of {len(occasions.markets)} markets")


def _tables(folder: str, zone: str | None) -> Tables:
    from malles_env.data.importer import in_time_zone

    if folder == COMPLETE_JOURNEY:
        from malles_env.data.complete_journey import load_complete_journey

        tables = load_complete_journey()
    else:
        from malles_env.data.readers import read_tables

        tables = read_tables(folder)
    return tables if zone is None else in_time_zone(tables, zone)


def _settings(path: Path | None) -> BuildSettings | None:
    from malles_env.data.importer import read_settings

    return None if path is None else read_settings(path)
