"""From a retailer's export to a market to play in: columns, checks, and the scenario."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_env.consumers.aligned import DRAW_MODELS
from malles_env.errors import invalid
from malles_env.files import slug
from malles_env.scenarios import Scenario, parse_scenario, save_scenario

if TYPE_CHECKING:
    from malles_env.data.exports import Imported
    from malles_env.data.exports.importing import Plan

GUESS, LEAVE_OUT = "(guess)", "(leave out)"
LIGHTS = {"ok": "green", "warn": "orange", "error": "red", "skipped": "gray"}
"""Colour of each verdict."""


@dataclass(frozen=True)
class LogChoices:
    """What a person gives the importer beside columns; see `malles_env.data.exports.ImportChoices`.

    Attributes:
        columns: Canonical column -> column of the files; GUESS and LEAVE_OUT may stand there.
        one_market: Name of one market for all products; empty: as the export says.
        date_format: ``"dmy"``, ``"mdy"``, ``"ymd"``; empty: decided over the column.
        keep_guests: Whether rows without a customer are kept.
    """

    columns: Mapping[str, str]
    one_market: str = ""
    date_format: str = ""
    keep_guests: bool = False


def _choices(choices: LogChoices) -> Any:
    from malles_env.data.exports import ImportChoices

    columns = {
        name: "" if column == LEAVE_OUT else column for name, column in choices.columns.items() if column != GUESS
    }
    return ImportChoices(
        columns=columns, one_market=choices.one_market or None, date_format=choices.date_format or None,
        drop_guests=not choices.keep_guests,
    )  # fmt: skip


def read_files(files: Sequence[Path], choices: LogChoices) -> Plan:
    """Read an export and decide which column is which; see `malles_env.data.exports.planned`."""
    from malles_env.data.exports import planned

    return planned(list(files), _choices(choices))


def headers(files: Sequence[Path]) -> list[str]:
    """Return the columns of an export by name, before anything is decided about them."""
    from malles_env.data.exports.reading.files import read_exports
    from malles_env.data.exports.reading.names import known_columns

    frames = [export.frame for path in files for export in read_exports(path, known=known_columns)]
    return list(dict.fromkeys(name for frame in frames for name in frame.columns))


def column_meanings() -> dict[str, str]:
    """Return what each canonical column holds."""
    from malles_env.data.exports.reading.names import TARGETS

    return TARGETS


def import_files(files: Sequence[Path], choices: LogChoices, out: Path) -> Imported:
    """Turn an export into a log, write it to `out`, and return it; an earlier import there is replaced."""
    from malles_env.data.exports import import_log
    from malles_env.data.exports.writing import write_import

    found = import_log(read_files(files, choices), _choices(choices))
    write_import(found, out, overwrite=True, files_read=files)
    return found


def check_rows(imported: Imported) -> list[dict[str, str]]:
    """Return the checks: verdict, what was found, and what to do where something is to be done."""
    return [
        {
            "check": check.name.replace("_", " "),
            "verdict": check.verdict,
            "finding": check.finding,
            "advice": check.advice if check.verdict in ("warn", "error") else "",
        }
        for check in imported.report.checks
    ]


def dropped_rows(imported: Imported) -> list[dict[str, Any]]:
    """Return what the rules found in the rows, and did with them."""
    return [
        {
            "rule": finding.name.replace("_", " "),
            "found": finding.found,
            "done": finding.action,
            "dropped": finding.dropped,
            "why": finding.rule,
            "advice": finding.advice,
        }
        for finding in imported.findings
    ]


def market_names(imported: Imported) -> list[str]:
    """Return the markets of a log, the one with the most rows first."""
    names = sorted(imported.tables.products["market"].unique().to_list())
    return [imported.market, *(name for name in names if name != imported.market)]


def build(
    imported: Imported,
    log: Path,
    out: Path,
    market: str,
    *,
    purchase_rate: float | None = None,
    min_households: int = 20,
    segments: int = 14,
) -> Path:
    """Build a scenario from a log and write it.

    Args:
        imported: The log.
        log: The folder it was written to.
        out: Folder for the scenario.
        market: Which of its markets.
        purchase_rate: Share of consumers who buy in a week; None: what the log says.
        min_households: Fewest households in a segment.
        segments: Segments wanted.

    Raises:
        InvalidInput: A log that a check calls an error, or too little data for a scenario.
    """
    from malles_env.scenarios.from_log.build import build_scenario
    from malles_env.scenarios.from_log.choices import BuildChoices
    from malles_env.scenarios.from_log.provenance import log_origin

    errors = [check for check in imported.report.checks if check.verdict == "error"]
    if errors:
        found = "; ".join(f"{check.name}: {check.finding}" for check in errors)
        raise invalid("log", found, "a log whose checks are not red")
    title = market.rsplit("|", 1)[-1].strip().capitalize()
    path = out / f"{slug(market) or 'market'}.yaml"
    choices = BuildChoices(
        name=path.stem, title=title, purchase_rate=purchase_rate, min_households=min_households, segments=segments
    )
    command = ["malles", "scenario", "build", market, "--out", path.name, "--log", log.name, "--no-forces"]
    command += ["--purchase-rate", str(purchase_rate)] if purchase_rate is not None else []
    command += ["--min-households", str(min_households)] if min_households != 20 else []
    command += ["--segments", str(segments)] if segments != 14 else []
    scenario = build_scenario(
        market, choices, made_by=shlex.join(command), tables=imported.tables, settings=imported.settings,
        origin=log_origin(log),
    )  # fmt: skip
    return save_scenario(scenario, path)


def checked_scenario(name: str, data: bytes) -> Scenario:
    """Return the scenario of an uploaded file, if nothing in it reaches beyond itself.

    Raises:
        InvalidInput, CorruptFile: No scenario, one whose consumers a server or a file decides, or a model that is not
            shipped.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise invalid("scenario", name, "a text file in UTF-8") from None
    found = parse_scenario(text, name)
    if found.consumers.kind not in ("logit", "aligned"):
        raise invalid(f"{name}: consumers.kind", found.consumers.kind, "logit or aligned")
    model = getattr(found.consumers, "model", None)
    if model not in (None, *DRAW_MODELS):
        raise invalid(f"{name}: consumers.model", model, ", ".join(DRAW_MODELS))
    return found
