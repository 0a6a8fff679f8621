"""A reproduction as a person sees it: progress, the table beside the published figures, files written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from malles_agents.console import make_console
from malles_agents.reproduce.base import Options, Reproduction, ResultRow
from malles_agents.reproduce.registry import EXPERIMENTS, Entry, run_experiment
from malles_agents.standard_errors import plus_minus
from malles_env.errors import InvalidInput
from malles_env.files import json_plain, write_json
from malles_env.type_aliases import OnProgress


def list_in_console(experiments: Mapping[str, Entry] = EXPERIMENTS) -> None:
    """Print the experiments."""
    from rich import box
    from rich.table import Table

    table = Table("experiment", "what it reproduces", "sessions", box=box.SIMPLE_HEAD)
    for name, entry in experiments.items():
        table.add_row(name, entry.summary, str(entry.sessions))
    make_console().print(table)


def reproduce_in_console(
    name: str,
    options: Options,
    out: Path,
    json_file: Path | None,
    experiments: Mapping[str, Entry] = EXPERIMENTS,
) -> Reproduction:
    """Run an experiment, print its table, write its picture and, if asked, its figures.

    Args:
        name: One of the experiments.
        options: How to run it; `say` and `watch` are replaced.
        out: Folder of the picture.
        json_file: File for all figures.
        experiments: Those there are, by name.

    Raises:
        InvalidInput: An unknown experiment, an option out of range, or a file that cannot be written.
    """
    console = make_console()
    with _progress(console, name) as watch:
        shown = replace(options, say=console.print, watch=watch)
        found = run_experiment(name, shown, experiments)
    console.print(as_table(found))
    for note in found.notes:
        console.print(f"note: {note}")
    if "periods_per_cpu_s" in found.data:
        console.print(f"speed: {found.data['periods_per_cpu_s'] / 1e6:.1f} million periods per CPU-second")
    if found.draw is not None:
        out.mkdir(parents=True, exist_ok=True)
        console.print(f"picture: {found.draw(out / f'{found.name}.png')}")
    if json_file is not None:
        console.print(f"figures: {write_json_file(found, json_file)}")
    return found


def as_table(found: Reproduction) -> Group:
    """Return measured and published figures side by side, their sources below."""
    from rich import box
    from rich.table import Table

    table = Table(title=found.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("measured", "published"):
        table.add_column(name, justify="right", no_wrap=True)
    sources = list(dict.fromkeys(line.source for line in found.rows if line.source))
    for line in found.rows:
        mark = f" [{sources.index(line.source) + 1}]" if line.source else ""
        table.add_row(line.quantity, _measured(line), Text(_published(line) + mark))
    samples = list(dict.fromkeys(line.sample for line in found.rows if line.sample))
    below = [Text(f"[{k}] {source}") for k, source in enumerate(sources, 1)]
    return Group(table, Text(f"± standard error over {'; '.join(samples)}" if samples else "exact figures"), *below)


def _measured(line: ResultRow) -> str:
    return f"{line.measured:.5g}" if line.se is None else plus_minus(line.measured, line.se, ".4g", ".2g")


def _published(line: ResultRow) -> str:
    said = line.published
    return "" if said is None else said if isinstance(said, str) else f"{said:g}"


def as_json(found: Reproduction) -> dict[str, Any]:
    """Return everything of a reproduction that a program may want; the data stand at the top level."""
    return {
        "experiment": found.name,
        "title": found.title,
        "settings": found.settings,
        **found.data,
        "rows": [asdict(line) for line in found.rows],
        "notes": list(found.notes),
    }


def write_json_file(found: Reproduction, path: Path) -> Path:
    """Write the figures to a file, whole or not at all.

    Raises:
        InvalidInput: The file cannot be written.
    """
    try:
        return write_json(path, json_plain(as_json(found)), allow_nan=False)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written ({error.strerror})") from None


@contextmanager
def _progress(console: Console, name: str) -> Iterator[OnProgress]:
    """Show sessions done: a bar in a terminal, a line per fifth elsewhere."""
    if not console.is_terminal:
        reported = [0]

        def line(done: int, whole: int) -> None:
            if done * 5 // whole > reported[0]:
                reported[0] = done * 5 // whole
                console.print(f"{name}: {done:,} of {whole:,} sessions")

        yield line
        return
    from rich.progress import Progress

    with Progress(console=console) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)
