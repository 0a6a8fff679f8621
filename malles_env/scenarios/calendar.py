"""Calendars: what a market's real sellers asked week by week, kept as a small file beside the scenario."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.errors import CorruptFile, InvalidInput, MissingResource, invalid
from malles_env.files import read_json, write_text
from malles_env.scenarios.blocks.entries import AlignedEntry
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

HOME = Path(__file__).parent / "calendars"


@dataclass(frozen=True)
class Calendar:
    """T weeks of a market's J products. Statistics of a week over households; no purchase and no household is in it.

    Attributes:
        scenario: Name of the scenario it was made for.
        product_ids: The products [J].
        weeks: Numbers of the weeks in the log [T].
        prices: Median shelf price, money [T, J].
        listed: Whether the product was on the shelf [T, J].
        deal: Whether the price was 10% or more below the usual one [T, J].
        source, licence, made_by: Where it comes from, on what terms, and the command that wrote it.
    """

    scenario: str
    product_ids: tuple[str, ...]
    weeks: IntArray
    prices: FloatArray
    listed: BoolArray
    deal: BoolArray
    source: str = ""
    licence: str = ""
    made_by: str = ""

    def __len__(self) -> int:
        """Return T."""
        return len(self.weeks)

    def check_fits(self, scenario: Scenario) -> None:
        """Check that this calendar is about the scenario's products.

        Raises:
            InvalidInput: It is about others.
        """
        if self.product_ids != scenario.product_ids:
            raise invalid(
                f"calendar of {self.scenario}", ", ".join(self.product_ids),
                f"a calendar of {scenario.name}'s own products {', '.join(scenario.product_ids)}; make one with "
                "`malles scenario calendar`",
            )  # fmt: skip


def list_calendars() -> list[str]:
    """Return the names of the scenarios that have a bundled calendar, sorted."""
    return sorted(path.stem for path in HOME.glob("*.json"))


def find_calendar(scenario: Scenario, path: str | os.PathLike[str] | None = None) -> Calendar:
    """Return the calendar of a scenario.

    Args:
        scenario: Whose; the bundled one goes by its name.
        path: A file to read instead of the bundled one.

    Raises:
        MissingResource: The scenario has no bundled calendar, or there is no such file.
        InvalidInput: The calendar is about other products.
        CorruptFile: The file is no calendar.
    """
    file = HOME / f"{scenario.name}.json" if path is None else Path(path)
    if path is None and not file.exists():
        raise MissingResource(
            f"calendar: {scenario.name} has none; allowed: {', '.join(list_calendars())}, or calendar:FILE.json "
            "written by `malles scenario calendar`"
        )
    found = read_calendar(file)
    found.check_fits(scenario)
    return found


def read_calendar(path: str | os.PathLike[str]) -> Calendar:
    """Return the calendar in a file.

    Raises:
        MissingResource: No such file.
        CorruptFile: It is not the JSON of a calendar, or its tables do not fit together.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingResource(f"{file}: there is no such calendar")
    try:
        fields: dict[str, Any] = dict(read_json(file))
        table = {name: np.array(fields.pop(name)) for name in ("weeks", "prices", "listed", "deal")}
        texts = {name: str(fields[name]) for name in ("scenario", "source", "licence", "made_by")}
        found = Calendar(
            product_ids=tuple(map(str, fields["product_ids"])), weeks=table["weeks"].astype(np.int64),
            prices=table["prices"].astype(np.float64), listed=table["listed"].astype(bool),
            deal=table["deal"].astype(bool), **texts,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{file}: is no calendar ({type(error).__name__}: {error})") from None
    shape = (len(found.weeks), len(found.product_ids))
    shapes = {getattr(found, name).shape for name in ("prices", "listed", "deal")}
    if shapes != {shape} or 0 in shape or not (np.isfinite(found.prices) & (found.prices > 0)).all():
        raise CorruptFile(f"{file}: is no calendar (tables of shape {sorted(shapes)}, or a price that is not above 0)")
    return found


def make_calendar(scenario: Scenario, made_by: str = "") -> Calendar:
    """Return the calendar of a scenario that was built from the Complete Journey, made anew from the installed data.

    The same data give the same calendar. Weeks of training and validation only: test weeks are never looked at.

    Args:
        scenario: Built by `malles scenario build`.
        made_by: The command that asked for it.

    Raises:
        MissingResource: The data package is not installed.
        InvalidInput: The scenario was not built from the log, or the log has no such products.
    """
    from malles_env.data.sources.complete_journey import load_complete_journey
    from malles_env.data.statistics import market_statistics
    from malles_env.data.weekly import FEWEST, weekly_prices
    from malles_env.scenarios.from_log.panel import matched_lines
    from malles_env.scenarios.from_log.provenance import COMPLETE_JOURNEY

    entry = scenario.consumers
    if not isinstance(entry, AlignedEntry) or " | " not in entry.market:
        raise InvalidInput(f"calendar: {scenario.name} was not built from the Complete Journey; allowed: one that was")
    tables = load_complete_journey([entry.market])
    statistics = market_statistics(tables, entry.market, max_lines=1000, min_share=0.0)
    lines = statistics.lines["product_id"].gather(matched_lines(scenario, statistics)).to_list()
    owners = [product.seller for product in scenario.products]
    found = weekly_prices(tables, entry.market, lines, owners, scenario.catalog().regular_price)
    first, last = int(found.weeks[0]), int(found.weeks[-1])
    return Calendar(
        scenario.name, scenario.product_ids, found.weeks, found.prices, found.listed, found.deal,
        f"{COMPLETE_JOURNEY.source}, market {entry.market!r}, weeks {first} to {last} (training and validation; later "
        f"weeks are kept for tests); medians of a week over {FEWEST} households or more",
        COMPLETE_JOURNEY.licence, made_by,
    )  # fmt: skip


def save_calendar(calendar: Calendar, path: str | os.PathLike[str]) -> Path:
    """Write a calendar as JSON, one week per line, whole or not at all.

    Returns:
        The path written.

    Raises:
        InvalidInput: The path cannot be written.
    """
    words = {name: getattr(calendar, name) for name in ("scenario", "source", "licence", "made_by")}
    plain = {"product_ids": calendar.product_ids, "weeks": calendar.weeks.tolist()}
    tables = {"prices": calendar.prices, "listed": calendar.listed.astype(int), "deal": calendar.deal.astype(int)}
    parts = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in {**words, **plain}.items()]
    for name, table in tables.items():
        rows = ",\n".join(f"    {json.dumps(row)}" for row in table.tolist())
        parts.append(f"  {json.dumps(name)}: [\n{rows}\n  ]")
    return write_text(Path(path), "{\n" + ",\n".join(parts) + "\n}\n")
