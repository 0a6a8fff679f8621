"""How a command ends that cannot go on: errors in one line, what to install, and what to type after an interruption."""

from __future__ import annotations

import errno
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from malles_env.errors import MallesError, invalid, missing_extra, what_failed

UsageError: Any = typer.BadParameter.__mro__[1]
"""Base of all mistakes in a command line; newer versions of typer bring their own click."""
GO_ON = ("train", "tournament", "study", "demo", "align", "align-prompted", "distil", "consumers evaluate")
"""Commands that go on where they were stopped when called again."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came; ends what Ctrl-C ends."""


class ReadableGroup(TyperGroup):
    """A command group that answers a user's mistake, or the machine's, with one line and exit code 2.

    An interrupted command says how to go on and exits with 128 + the number of the signal, as shells expect.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read what stands before the command's name."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            _end_usage(error, given)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; print what ends it as a message on standard error."""
        given = [*getattr(ctx, "_protected_args", []), *ctx.args]
        try:
            return super().invoke(ctx)
        except MallesError as error:
            _end(f"error: {error}")
        except UsageError as error:
            _end_usage(error, given)
        except KeyboardInterrupt as error:
            number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
            _end(f"stopped{_next_command(sys.argv[1:])}", 128 + number)
        except ModuleNotFoundError as error:
            told = missing_extra(error.name or "")
            if told is None:
                raise
            _end(f"error: {told}")
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has gone
                raise
            _end(f"error: {what_failed(error)}")


def _end(message: str, code: int = 2) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code) from None


def _end_usage(error: Any, given: Sequence[str]) -> NoReturn:
    """Say what is wrong with a command line: the option, what was given and what is allowed."""
    if type(error).__name__ == "NoArgsIsHelpError":  # no mistake: whoever gives nothing is shown what there is
        raise error
    message = " ".join(error.format_message().split())
    options = getattr(getattr(error, "param", None), "opts", None) or []
    value = _value_of(options, given)
    if value is not None and isinstance(error, typer.BadParameter):
        told = error.message.removeprefix("Input should be ").rstrip(".")
        message = str(invalid(options[0], value, told))
    command = getattr(getattr(error, "ctx", None), "command_path", "") or "malles"
    _end(f"error: {message} (see: {command} --help)")


def _value_of(options: Sequence[str], given: Sequence[str]) -> str | None:
    """Return the last value given to an option, None where it is none or got none."""
    found = None
    for at, word in enumerate(given):
        name, equals, value = word.partition("=")
        if name in options and name.startswith("-"):
            found = value if equals else given[at + 1] if at + 1 < len(given) else None
    return found


def _next_command(arguments: Sequence[str]) -> str:
    if not arguments or not {arguments[0], " ".join(arguments[:2])} & set(GO_ON):
        return ""
    more = ["--resume"] if arguments[0] == "train" and "--resume" not in arguments else []
    return f"; go on with: {shlex.join(['malles', *arguments, *more])}"


def leave_threads_quiet() -> None:
    """Print no traceback of a thread that met a full disk: the main thread meets it too, and ends in one line."""
    before = threading.excepthook

    def tell(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            before(failed)

    threading.excepthook = tell


def hear_signals() -> None:
    """Let SIGTERM end a command as Ctrl-C does: in order, with its workers, telling how to go on."""

    def stop(number: int, frame: object) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
