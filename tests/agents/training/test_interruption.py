"""A signal that comes while work is under way is obeyed in the end, whenever it came."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from malles_agents.training.interruption import stop_requests


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """A shell lets commands in its background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_after_the_last_look_is_obeyed_when_the_work_is_done() -> None:
    before, said, done = signal.getsignal(signal.SIGINT), [], []
    with pytest.raises(KeyboardInterrupt), stop_requests(said.append) as request:
        signal.raise_signal(signal.SIGINT)
        done.append(request.number)
    assert done == [signal.SIGINT] and len(said) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_signal_ends_the_work_at_once() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), stop_requests(lambda text: None):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("more")
    assert not done


def test_without_a_signal_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_requests(lambda text: None) as request:
        request.obey()
    assert request.number is None and signal.getsignal(signal.SIGINT) is before
