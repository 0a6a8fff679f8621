"""Importing a retailer's export: wall time, CPU time and memory from the raw file to a checked log.

Run it as ``python -m benchmarks.data_import [--file EXPORT] [--lines N] [--json FILE]``. A fresh process does what
`malles data import` does: it reads the file, applies the rules, checks the log and writes it with its report into a
temporary folder. All that the process does counts, its start and its imports too. Without a file, an export of N lines
with semicolons, decimal commas and dates in the order of day, month and year is made up first, which does not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fresh import in_fresh_process, say_used

SECONDS, GIGABYTES = 30.0, 1.5
"""Aims for the UCI Online Retail log (541,909 lines) on two cores."""
MILLION_SECONDS = 60.0
"""Aim for a made-up log of a million lines."""


def import_file(path: str, out: str) -> None:
    """Import a file in this process and print what that took as JSON.

    Args:
        path: The export.
        out: Folder of the log.
    """
    from malles_env.data.exports import ImportChoices, import_log, planned

    choices = ImportChoices()
    found = import_log(planned([Path(path)], choices), choices)
    found.write(Path(out))
    kept, lost = len(found.tables.transactions), len(found.dropped)
    say_used(lines=kept + lost, kept=kept)


def made_up(lines: int, path: Path, seed: int = 0) -> Path:
    """Write an export of so many lines; return its path.

    Args:
        lines: Rows below the header.
        path: A .csv file.
        seed: Of customers, products, prices and times.
    """
    import polars as pl

    draw = np.random.default_rng(seed)
    receipt = np.sort(draw.integers(0, lines // 4, lines))
    trips = lines // 4
    customer, minute = draw.integers(0, trips // 20 + 1, trips), np.sort(draw.integers(0, 365 * 24 * 60, trips))
    product = draw.zipf(1.2, lines) % 2000
    when = np.datetime64("2024-01-01T00:00", "us") + minute[receipt].astype("timedelta64[m]")
    week = minute[receipt] // (7 * 24 * 60)
    price = 1 + (product % 90) / 10 - 0.3 * ((week + product) % 5 == 0)
    frame = pl.DataFrame(
        {"Bonnummer": receipt, "Kundennummer": customer[receipt], "Datum": when, "Artikelnr": product,
         "Bezeichnung": product, "Warengruppe": product % 40, "Menge": 1 + draw.poisson(0.3, lines),
         "Einzelpreis": price}
    )  # fmt: skip
    frame = frame.with_columns(
        pl.col("Datum").dt.strftime("%d/%m/%Y %H:%M"),
        pl.format("Product number {}", "Bezeichnung").alias("Bezeichnung"),
        pl.format("Group {}", "Warengruppe").alias("Warengruppe"),
        pl.col("Einzelpreis").round(2).cast(pl.String).str.replace(".", ",", literal=True),
    )
    frame.write_csv(path, separator=";")
    return path


def measure(path: Path) -> dict[str, float]:
    """Return wall_s, cpu_s, peak_gb, lines and kept of one import in a fresh process.

    Raises:
        CalledProcessError: The import failed; its own message stands on standard error.
    """
    code = "import sys; from benchmarks.data_import import import_file; import_file(*sys.argv[1:])"
    with tempfile.TemporaryDirectory(prefix="malles-import-") as folder:
        return in_fresh_process(code, str(path), f"{folder}/log")


def main(
    file: Annotated[Path | None, typer.Option(help="Export to import; default: made up.")] = None,
    lines: Annotated[int, typer.Option(help="Lines of the made-up export.")] = 1_000_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers here.")] = None,
) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="malles-export-") as folder:
        if file is None:
            code = "import sys, pathlib; from benchmarks.data_import import made_up; "
            code += "made_up(int(sys.argv[1]), pathlib.Path('export.csv'))"
            root = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])}
            subprocess.run([sys.executable, "-c", code, str(lines)], cwd=folder, check=True, env=root)
        found = measure((Path(folder) / "export.csv") if file is None else file.resolve())
    table = Table(title=f"Import of {file or f'{lines:,} made-up lines'}; {os.cpu_count()} cores")
    for heading in ("what", "measured", "aim (2 cores)"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    seconds, memory = (MILLION_SECONDS, "") if file is None else (SECONDS, f"below {GIGABYTES:.1f} GB")
    table.add_row("wall time", f"{found['wall_s']:.1f} s", f"below {seconds:.0f} s")
    table.add_row("CPU time", f"{found['cpu_s']:.1f} s", "")
    table.add_row("peak memory (resident)", f"{found['peak_gb']:.2f} GB", memory)
    table.add_row("lines read", f"{found['lines']:,}", "")
    table.add_row("lines kept", f"{found['kept']:,}", "")
    Console(width=100).print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
