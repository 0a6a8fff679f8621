"""Jobs over processes; a single worker or a single job is done in this process, which spares starting another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any


def spread(
    work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int | None = None
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each job with what `work` makes of it, in the order in which they end.

    Args:
        work: A function of a module, so that other processes can import it.
        jobs: Its arguments, one tuple per call; they and the results can be pickled.
        workers: Processes, at most; default all cores.

    Raises:
        Exception: Whatever a job raises; jobs not yet begun may then never be.
    """
    processes = min(workers or os.cpu_count() or 1, len(jobs))
    if processes <= 1:
        for job in jobs:
            yield job, work(*job)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(work, *job): job for job in jobs}
        for part in as_completed(waiting):
            yield waiting[part], part.result()
