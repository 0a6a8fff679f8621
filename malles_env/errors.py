"""Errors a user can act on; the command line prints them as one line each."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection

_SECRETS = re.compile(r"(?<=://)[^\s'\"]*@|(?<=\?)[^\s'\"]*=[^\s'\"]*")
"""Where URLs hold secrets: before an @, and behind a question mark."""
_LONGEST = 1200
"""Characters of a line of a message."""


_NOT_FOR_USERS = ("dev", "docs", "bench", "agilerl", "benchmarl", "rllib", "skrl", "torchrl", "zoo")
"""Extras that no command needs."""


class MallesError(Exception):
    """Base class of every error this package raises on purpose."""

    def __str__(self) -> str:
        """Return the message; of a line that names something very long, its beginning and its end."""
        lines = super().__str__().splitlines()
        return "\n".join(line if len(line) <= _LONGEST else f"{line[:900]} ... {line[-200:]}" for line in lines)


class InvalidInput(MallesError, ValueError):
    """A value that the caller gave is not allowed."""


class MissingResource(MallesError, FileNotFoundError):
    """A file, package or set of weights is needed and not there; the message says how to get it."""


class CorruptFile(MallesError, ValueError):
    """A file exists but cannot be what its name says it is."""


class LanguageModelError(MallesError, RuntimeError):
    """A language model could not be asked, or what it answered cannot be used; the message says what to do.

    Nothing is counted and nothing kept of the question: asking again, once the cause is gone, continues from there.
    """


def check_choice(field: str, value: object, choices: Collection[str | None]) -> None:
    """Refuse whatever is none of the choices, of any type.

    Raises:
        InvalidInput: Names the field, the value and the choices.
    """
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise invalid(field, value, ", ".join(str(choice) for choice in choices))


def invalid(field: str, value: object, allowed: str) -> InvalidInput:
    """Return an `InvalidInput` that names the field, the value and what is allowed.

    Args:
        field: Dotted name of the argument or file entry, e.g. ``products[2].unit_cost``.
        value: What was found there; shortened when long, and without user names, passwords and queries of URLs.
        allowed: What may stand there, in words.

    Returns:
        The error, to be raised by the caller.
    """
    try:
        shown = _SECRETS.sub("***", " ".join(repr(value)[:100_000].split()))
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, a list in itself
        shown = f"a {type(value).__name__}"
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return InvalidInput(f"{field}: got {shown}; allowed: {allowed}")


def missing_extra(module: str) -> str | None:
    """Return what to install for a module that is not there; None where no extra of ours brings it.

    Args:
        module: Its name as imported, e.g. ``"polars"``.
    """
    from importlib.metadata import PackageNotFoundError, requires

    top = module.partition(".")[0]
    try:
        listed = requires("malles-env") or []
    except PackageNotFoundError:
        return None
    for line in listed:
        name, _, condition = line.partition(";")
        package = name.strip().split("[")[0].rstrip("0123456789.<>=!~, ")
        _, _, extra = condition.partition("extra ==")
        extra = extra.strip(" '\"")
        if extra and extra not in _NOT_FOR_USERS and package.replace("-", "_").lower() == top.lower():
            return f"{top} is not installed: run  pip install 'malles-env[{extra}]'"
    return None


def what_failed(error: OSError) -> str:
    """Return in one line what the machine refused, and where there is a hint what to do."""
    named = error.filename if error.filename is not None else ""
    place = f"{named}: " if named != "" else ""
    hints = {
        errno.ENOSPC: "; free some space and run the same command again",
        errno.ENAMETOOLONG: "; choose a shorter one",
    }
    return f"{place}{error.strerror or error}{hints.get(error.errno or 0, '')}"


def brief(words: object, most: int = 200) -> str:
    """Return words in one line of bounded length, e.g. what an error of another library says.

    Args:
        words: An error or a text.
        most: Characters.
    """
    line = " ".join(str(words)[:100_000].split()) or type(words).__name__
    return line if len(line) <= most else line[: most - 3] + "..."
