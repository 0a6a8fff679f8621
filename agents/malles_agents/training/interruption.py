"""Ctrl-C and SIGTERM during work that can end in order: the first asks it to, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from malles_env.type_aliases import OnMessage

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Request:
    """Whether somebody asked to stop.

    Attributes:
        number: The signal that came; None: nobody asked.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def obey(self) -> None:
        """Let the signal do what it does outside, where one came: raise `KeyboardInterrupt`, or end the process."""
        if self.number is not None:
            self.restore()
            signal.raise_signal(self.number)

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


@contextmanager
def stop_requests(say: OnMessage) -> Iterator[Request]:
    """Note the first signal instead of obeying it until the block ends; the next ones act as they did before.

    In other threads than the main one, and where somebody has chosen to ignore a signal, nothing is changed.

    Args:
        say: Called with what will happen.

    Yields:
        Where to look whether one came; whoever works calls its `obey` when all is in order.
    """
    request = Request()

    def note(number: int, frame: object) -> None:
        request.number = number
        request.restore()
        say("stopping at the end of this rollout, with a checkpoint (once more: at once)")

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                request._before[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        request.restore()
    request.obey()  # one that came after the last look
