"""Jobs over processes: all are done, elsewhere where there are several workers, here where there is one."""

from __future__ import annotations

import os
import time
from multiprocessing import active_children

import pytest

from malles_env.errors import InvalidInput, MallesError
from malles_env.jobs.processes import spread


def nobody_left() -> bool:
    """Return whether all workers have ended; who reaps one may take a moment to note it."""
    deadline = time.monotonic() + 5.0
    while active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_comes_back_with_its_result(workers: int) -> None:
    with spread(divmod, [(7, 2), (9, 4), (8, 3)], workers) as found:
        assert dict(found) == {(7, 2): (3, 1), (9, 4): (2, 1), (8, 3): (2, 2)}


@pytest.mark.parametrize(("jobs", "workers", "here"), [(2, 1, True), (1, 4, True), (2, 2, False)])
def test_one_worker_or_one_job_starts_no_process(jobs: int, workers: int, here: bool) -> None:
    with spread(os.getpid, [()] * jobs, workers) as results:
        found = {number for _, number in results}
    assert (found == {os.getpid()}) == here
    assert here or os.getpid() not in found


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_reaches_the_caller_and_no_worker_is_left(workers: int) -> None:
    with pytest.raises(ZeroDivisionError), spread(divmod, [(1, 1), (1, 0)], workers) as found:
        list(found)
    assert nobody_left()
    with spread(divmod, [], 3) as nothing:
        assert not list(nothing)


def test_an_error_of_the_caller_ends_workers_in_the_middle_of_their_work() -> None:
    began = time.monotonic()
    with pytest.raises(OSError, match="disk full"), spread(time.sleep, [(0.0,), (600.0,)], 2) as found:
        next(found)
        raise OSError("disk full")
    assert nobody_left() and time.monotonic() - began < 60


def test_a_worker_that_the_system_ends_is_one_line() -> None:
    with pytest.raises(MallesError, match="the system ended one"), spread(os._exit, [(9,), (9,)], 2) as found:
        list(found)
    assert nobody_left()


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers: int) -> None:
    with pytest.raises(InvalidInput, match="workers: got"), spread(divmod, [(1, 1)], workers):
        pass
