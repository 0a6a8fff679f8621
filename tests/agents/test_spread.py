"""Jobs over processes: all are done, elsewhere where there are several workers, here where there is one."""

from __future__ import annotations

import os

import pytest

from malles_agents.spread import spread


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_comes_back_with_its_result(workers: int) -> None:
    assert dict(spread(divmod, [(7, 2), (9, 4), (8, 3)], workers)) == {(7, 2): (3, 1), (9, 4): (2, 1), (8, 3): (2, 2)}


@pytest.mark.parametrize(("jobs", "workers", "here"), [(2, 1, True), (1, 4, True), (2, 2, False)])
def test_one_worker_or_one_job_starts_no_process(jobs: int, workers: int, here: bool) -> None:
    found = {number for _, number in spread(os.getpid, [()] * jobs, workers)}
    assert (found == {os.getpid()}) == here
    assert here or os.getpid() not in found


def test_an_error_of_a_job_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(spread(divmod, [(1, 1), (1, 0)], 1))
    assert not list(spread(divmod, [], 3))
