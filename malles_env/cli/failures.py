"""How a command ends that cannot go on: errors in one line, what to install, and what to type after an interruption."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from malles_env.errors import MallesError, invalid, missing_extra, what_failed

UsageError: Any = typer.BadParameter.__mro__[1]
"""Base of all mistakes in a command line; newer versions of typer bring their own click."""
GO_ON = ("train", "tournament", "study", "demo", "align", "align-prompted", "distil", "consumers evaluate")
"""Commands that go on where they were stopped when called again."""


class Stopped(KeyboardInterrupt):
    """SIGTERM or Ctrl-C came.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


AGAIN, MOST = 0.005, 50
"""Seconds after which a signal is raised again whose exception was dropped, and how often before we end at once."""
_came: list[int] = []
"""Signals that came."""
_in_flight: set[weakref.ref[Stopped]] = set()
_heard = threading.Event()
"""Set once a command ends because of a signal."""


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
            result = super().invoke(ctx)
            _heard.set()
            return result
        except KeyboardInterrupt as error:
            _end_stopped(getattr(error, "number", signal.SIGINT))
        except Exception as error:
            if _came:  # it broke because it was stopped
                _end_stopped(_came[0])
            _end_failed(error, given)
            raise


def _end_failed(error: Exception, given: Sequence[str]) -> None:
    """End with one line where a user or the machine is at fault; return where we are."""
    if isinstance(error, MallesError):
        _end(f"error: {error}")
    if isinstance(error, UsageError):
        _end_usage(error, given)
    if isinstance(error, ModuleNotFoundError) and (hint := missing_extra(error.name or "")) is not None:
        _end(f"error: {hint}")
    if isinstance(error, OSError) and error.errno != errno.EPIPE:  # else whoever read our output has gone
        _end(f"error: {what_failed(error)}")


def _end_stopped(number: int) -> NoReturn:
    _heard.set()
    _end(f"stopped{_next_command(sys.argv[1:])}", 128 + number)


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
        allowed = error.message.removeprefix("Input should be ").rstrip(".")
        message = str(invalid(options[0], value, allowed))
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

    def report_others(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            before(failed)

    threading.excepthook = report_others


def hear_signals() -> None:
    """Let SIGTERM and Ctrl-C end a command in order, with its workers, and say how to go on.

    Code that is called back from C can swallow the exception and go on with half of its work: the signal is then raised
    again, until the command ends. A signal that somebody chose to ignore stays ignored.
    """
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def _leave_swallowed_quiet() -> None:
    """Print no traceback of a `Stopped` that was swallowed: it is raised again, and then reported in one line.

    Called when a signal comes, since typer sets a hook of its own when a command begins.
    """
    swallowed, printed = sys.unraisablehook, sys.excepthook  # Cython calls both for what it swallows

    def report_swallowed(failed: sys.UnraisableHookArgs) -> None:
        if not isinstance(failed.exc_value, Stopped):
            swallowed(failed)

    def report_printed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, Stopped):
            printed(kind, error, trace)

    sys.unraisablehook, sys.excepthook = report_swallowed, report_printed


def _stop(number: int, frame: object) -> NoReturn:
    if not _came:
        _leave_swallowed_quiet()
    _came.append(number)
    error = Stopped(number)
    _in_flight.add(weakref.ref(error, _dropped))
    try:
        raise error
    finally:
        del error  # else the traceback would hold it, and nobody would see it dropped


def _dropped(dead: weakref.ref[Stopped]) -> None:
    """Raise the signal again unless the command has ended."""
    _in_flight.discard(dead)
    if not _heard.is_set():
        again = threading.Timer(AGAIN, _insist)
        again.daemon = True
        again.start()


def _insist() -> None:
    if _heard.is_set():
        return
    if len(_came) < MOST:
        signal.raise_signal(_came[0])
        return
    sys.stderr.write(f"stopped{_next_command(sys.argv[1:])}\n")
    sys.stderr.flush()
    os._exit(128 + _came[0])  # files are whole at any moment, and workers end with their parent
