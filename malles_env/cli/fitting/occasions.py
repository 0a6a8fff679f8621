"""The choice occasions that commands train and judge on: an option, loading, their licence, a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.type_aliases import OnProgress

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions


OccasionsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of choice occasions; by default the Complete Journey, built once into the cache."),
]


def load_occasions(folder: Path | None) -> Occasions:
    """Return occasions from a folder, or the Complete Journey's."""
    if folder is not None:
        from malles_env.data.occasions import Occasions

        return Occasions.load(folder)
    from malles_env.data.sources.prepare import prepare_complete_journey

    return prepare_complete_journey()


def data_licence(folder: Path | None) -> str:
    """Return what a card says of the data behind a model."""
    from malles_env.preference.store.card import COMPLETE_JOURNEY

    return COMPLETE_JOURNEY if folder is None else f"that of its owner; trained on {folder}"


def reading_progress() -> OnProgress:
    """Return a callback that shows how far a backbone's readings are."""
    from rich.progress import Progress

    bar = Progress()
    task = bar.add_task("reading texts with the backbone", total=None)

    def show(done: int, whole: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=whole)
        if done >= whole:
            bar.stop()

    return show
