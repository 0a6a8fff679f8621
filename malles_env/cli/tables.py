"""Tables of text cells, cut to the width of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def fitting(cells: list[list[str]], width: int) -> Iterator[list[list[str]]]:
    """Yield a table, header first, in parts no wider than a terminal; each begins with the first column."""
    sizes = [max(map(len, column)) + 3 for column in zip(*cells, strict=True)]
    taken = [0]
    for at in range(1, len(sizes)):
        if len(taken) > 1 and sum(sizes[n] for n in [*taken, at]) > width:
            yield [[row[n] for n in taken] for row in cells]
            taken = [0]
        taken.append(at)
    yield [[row[n] for n in taken] for row in cells]


def cell_table(cells: list[list[str]], title: str) -> Any:
    """Return cells, header first, as a table to print."""
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(cells[0]):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in cells[1:]:
        table.add_row(*row)
    return table
