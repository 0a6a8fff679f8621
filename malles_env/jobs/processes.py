"""Jobs over processes; a single worker or a single job is done in this process, which spares starting another."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

from malles_env.errors import MallesError, invalid
from malles_env.jobs.executor import Check, Done

PATIENCE = 20.0
"""Seconds that workers have to end in order, with a checkpoint where they train, before they are killed."""
_at_work = False


@dataclass(frozen=True)
class Processes:
    """Does jobs on the cores of this machine; see `Executor`.

    Attributes:
        workers: Processes, at most; default all cores. With one, jobs are done in this process.
    """

    workers: int | None = None
    shares_disk = True

    def session(self) -> AbstractContextManager[object]:
        """Do nothing: each call of `spread` has processes of its own."""
        return nullcontext()

    def spread(
        self,
        work: Callable[..., Any],
        jobs: Sequence[tuple[Any, ...]],
        *,
        common: tuple[Any, ...] = (),
        checks: Sequence[Check] = (),
    ) -> AbstractContextManager[Iterator[Done]]:
        """Give each job with its result; the checks are of other machines, so none is made here."""
        return spread(partial(work, *common) if common else work, jobs, self.workers)


@contextmanager
def spread(
    work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int | None = None
) -> Iterator[Iterator[Done]]:
    """Give each job with what `work` makes of it, in the order in which they end.

    However the block ends, also by Ctrl-C or SIGTERM, no worker is left; and if this process is killed, its workers
    end by themselves.

    Args:
        work: A function of a module, so that other processes can import it.
        jobs: Its arguments, one tuple per call; they and the results can be pickled.
        workers: Processes, at most; default all cores.

    Yields:
        An iterator over pairs of job and result.

    Raises:
        InvalidInput: `workers` is less than 1.
        MallesError: The system ended a worker.
        Exception: Whatever a job raises; jobs not yet begun may then never be.
    """
    if workers is not None and workers < 1:
        raise invalid("workers", workers, "a whole number of at least 1")
    processes = min(workers or os.cpu_count() or 1, len(jobs))
    if processes <= 1:
        yield ((job, work(*job)) for job in jobs)
        return
    before = set(active_children())
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_follow)
    try:
        with _deaf():
            waiting = {pool.submit(_worked, work, *job): job for job in jobs}
        yield ((waiting[part], part.result()) for part in as_completed(waiting))
        pool.shutdown()
    except BaseException as error:
        _end(pool, [child for child in active_children() if child not in before])
        if isinstance(error, BrokenProcessPool):
            raise MallesError(
                "workers: the system ended one, perhaps for want of memory; run the same command again to go on, with "
                "fewer workers"
            ) from None
        raise


class _Ended(BaseException):
    """The parent wants a worker to end; raised, so that half-written files are taken away."""


def _worked(work: Callable[..., Any], *job: Any) -> Any:
    global _at_work
    _at_work = True
    try:
        return work(*job)
    except _Ended:
        os._exit(1)
    finally:
        _at_work = False


def _end_worker(number: int, frame: object) -> None:
    if _at_work:
        raise _Ended
    os._exit(1)


def _follow() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_worker)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextmanager
def _deaf() -> Iterator[None]:
    """Hold Ctrl-C back while workers are started: they inherit that, and would else print tracebacks of their own."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(pool: ProcessPoolExecutor, children: Sequence[Any]) -> None:
    """End a pool that is not done: its workers by SIGTERM, and by SIGKILL those that do not heed it.

    The pool's own thread ends with them and is waited for: while it closes its pipe, Python's exit would write to it
    and print a traceback.
    """
    manager = getattr(pool, "_executor_manager_thread", None)
    pool.shutdown(wait=False, cancel_futures=True)
    for child in children:
        child.terminate()
    for child in children:
        child.join(PATIENCE)
        if child.is_alive():
            child.kill()
            child.join()
    if manager is not None:
        manager.join(PATIENCE)
