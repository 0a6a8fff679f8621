"""What commands share that ask consumers for minutes or hours: a look at where they write, a console, a bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from malles_env.errors import invalid
from malles_env.type_aliases import OnMessage

if TYPE_CHECKING:
    from rich.console import Console


def check_scenario_out(out: Path) -> None:
    """Refuse the path of another kind of file before consumers are asked for hours.

    Raises:
        InvalidInput: `out` is no YAML file.
    """
    if out.suffix not in (".yaml", ".yml"):
        raise invalid("out", str(out), "a .yaml file")


def plain_console() -> Console:
    """Return a console that highlights nothing of its own accord."""
    from rich.console import Console

    return Console(highlight=False)


@contextmanager
def asking_bar(console: Console, name: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show what is asked, how much of it is done and how long it will take; a bar in a terminal, nothing elsewhere.

    Yields:
        A function of words, number done and number in all.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda words, done, of: bar.update(task, description=words, completed=done, total=of)


@contextmanager
def progress_words(console: Console | None = None) -> Iterator[OnMessage]:
    """Show what is being done, with the time it takes: in a terminal as it passes, elsewhere a plain line for each.

    Args:
        console: Where a terminal shows it; default standard error. Plain lines go to standard error.
    """
    from rich.console import Console as RichConsole
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = console or RichConsole(stderr=True)
    if not console.is_terminal:
        begun = time.perf_counter()
        yield lambda words: typer.echo(f"{time.perf_counter() - begun:6.0f} s  {words}", err=True)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading", total=None)
        yield lambda words: bar.reset(task, description=words, total=None)
