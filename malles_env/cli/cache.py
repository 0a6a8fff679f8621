"""`malles cache info`, `compile` and `clear`: what is kept on disk."""

from __future__ import annotations

from pathlib import Path

import typer

cache_app = typer.Typer(no_args_is_help=True, help="What is kept on disk, and the answers of language models.")


@cache_app.command("info")
def info() -> None:
    """Show where the cache is and what it holds."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from malles_env.consumers.language.cache import DEFAULT_LIMIT, AnswerCache
    from malles_env.files import cache_dir

    folder = cache_dir()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("kept")
    table.add_column("files", justify="right")
    table.add_column("size", justify="right")
    found = AnswerCache().info()
    table.add_row("answers", f"{found.entries:,}", f"{_size(found.size)} of {_size(DEFAULT_LIMIT)}")
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        if place.is_dir() and place.name != "answers":
            sizes = [file.stat().st_size for file in place.rglob("*") if file.is_file()]
            table.add_row(place.name, f"{len(sizes):,}", _size(sum(sizes)))
    typer.echo(f"cache: {_shown(folder)}")
    Console().print(table)


@cache_app.command("compile")
def compile_command() -> None:
    """Compile what markets play, so that no later process has to; about a minute once for each version and machine.

    It is kept beside the package, else in the user's cache; NUMBA_CACHE_DIR names a folder that several copies share.
    """
    from malles_env.cli.progress import progress_words
    from malles_env.envs.precompile import compile_kernels

    with progress_words() as notify:
        compile_kernels(notify)


@cache_app.command("clear")
def clear() -> None:
    """Remove the answers of language models; they are asked again when needed."""
    from malles_env.consumers.language.cache import AnswerCache

    gone = AnswerCache().clear()
    typer.echo(f"removed {gone.entries:,} answers, {_size(gone.size)}")


def _size(count: float) -> str:
    """Return bytes in words, e.g. ``"1.5 MB"``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _shown(folder: Path) -> str:
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)
