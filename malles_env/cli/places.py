"""Options that say where: what a command writes, checked before any work is done, and which machines do the work."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from malles_env.errors import MallesError, invalid

EngineOption = Annotated[
    str, typer.Option(help="Where the work is done: processes of this machine, or ray: a Ray cluster.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Of a running Ray cluster: HOST:PORT, or auto; default $RAY_ADDRESS, else Ray is started here."),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Pieces of work under way at once; default all cores, here or of the cluster.")
]


def file_option(words: str, *names: str) -> Any:
    """Return an option that names a file to write: a plain one or none stands there, and one can be made there.

    Args:
        words: Help.
        names: As typed, e.g. ``"--json"``; by default that of the argument.
    """
    return typer.Option(*names, callback=_file, help=words)


def folder_option(words: str, *names: str) -> Any:
    """Return an option that names a folder to write into, likewise."""
    return typer.Option(*names, callback=_folder, help=words)


def folder_or_file_option(words: str, *names: str) -> Any:
    """Return an option that names a file or a folder to write, likewise."""
    return typer.Option(*names, callback=_either, help=words)


def picture_option(words: str, *names: str) -> Any:
    """Return an option that names a .png file, or else a folder, to write, likewise."""
    return typer.Option(*names, callback=_picture, help=words)


def _file(param: typer.CallbackParam, value: Path | None) -> Path | None:
    return None if value is None else _checked(param.opts[0], value, folder=False)


def _folder(param: typer.CallbackParam, value: Path | None) -> Path | None:
    return None if value is None else _checked(param.opts[0], value, folder=True)


def _either(param: typer.CallbackParam, value: Path | None) -> Path | None:
    if value is None:
        return None
    return _checked(param.opts[0], value, folder=value.is_dir() or (not value.is_file() and not value.suffix))


def _picture(param: typer.CallbackParam, value: Path | None) -> Path | None:
    return None if value is None else _checked(param.opts[0], value, folder=value.suffix != ".png")


def _checked(option: str, path: Path, *, folder: bool) -> Path:
    kind = "folder" if folder else "file"
    try:
        if path.exists() and not (path.is_dir() if folder else path.is_file()):
            found = "folder" if path.is_dir() else "file" if path.is_file() else "device"
            raise invalid(option, str(path), f"a {kind}, not a {found}")
        home = path if path.is_dir() else path.absolute().parent
        while not home.exists():
            home = home.parent
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise invalid(option, str(path), f"a place where a {kind} can be written ({error.strerror})") from None
    except ValueError as error:
        if isinstance(error, MallesError):
            raise
        raise invalid(option, str(path), f"the path of a {kind}") from None
    return path
