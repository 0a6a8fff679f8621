"""What commands share that ask consumers for minutes or hours: a look at where they write, a console, a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from malles_env.errors import invalid

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
