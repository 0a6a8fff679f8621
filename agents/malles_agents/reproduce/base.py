"""What a reproduction is: figures beside the published ones, data for a file, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from malles_agents.standard_errors import mean_se
from malles_env.type_aliases import OnMessage, OnProgress


@dataclass(frozen=True)
class ResultRow:
    """One figure beside the published one.

    Attributes:
        quantity: What it is, in words.
        measured: What this run gave.
        se: Its standard error; None for exact figures, NaN with a single number.
        published: The figure in the source, a number or words; None where there is none.
        source: Where the published figure stands.
        sample: What the error is over, e.g. ``"1000 sessions"``.
        note: What a reader should know.
    """

    quantity: str
    measured: float
    se: float | None = None
    published: float | str | None = None
    source: str = ""
    sample: str = ""
    note: str = ""


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Options:
    """How to run an experiment.

    Attributes:
        sessions: Sessions (runs, instances) of each cell; None: the experiment's own number.
        seed: Of all draws.
        workers: Threads; None: all cores.
        say: Called with what happens, in words.
        watch: Called with how many parts of how many are done.
        steps: Optimizer steps of each training run; None: the experiment's own number.
    """

    sessions: int | None = None
    seed: int = 0
    workers: int | None = None
    say: OnMessage = _nothing
    watch: OnProgress = _nothing
    steps: int | None = None


@dataclass(frozen=True)
class Reproduction:
    """What an experiment found.

    Attributes:
        name: Of the experiment.
        title: In words.
        rows: The table.
        data: Further figures, written at the top level of the JSON file.
        settings: What the run was made with.
        notes: Caveats, in words.
        draw: Writes a picture to a path and returns it; None where there is none.
    """

    name: str
    title: str
    rows: tuple[ResultRow, ...]
    data: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    draw: Callable[[Path], Path] | None = None


Experiment = Callable[[Options], Reproduction]


def row(
    quantity: str, values: ArrayLike, published: float | str | None = None, *, source: str = "", sample: str = ""
) -> ResultRow:
    """Return the row of a sample's mean and standard error."""
    found = mean_se(values)
    return ResultRow(quantity, found.mean, found.se, published, source, sample)


def parts(options: Options, cells: Sequence[Any], each: int) -> list[OnProgress]:
    """Return one progress callback per cell; together they report sessions done of all sessions of all cells."""
    whole = each * len(cells)

    def watched(before: int) -> OnProgress:
        return lambda done, _: options.watch(before + done, whole)

    return [watched(each * k) for k in range(len(cells))]
