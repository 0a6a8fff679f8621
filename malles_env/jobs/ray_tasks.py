"""Jobs as tasks of a Ray cluster: lost ones are done again elsewhere, each result comes once."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from malles_env.errors import MallesError, MissingResource
from malles_env.jobs.cluster import check_machines, connected, with_machine
from malles_env.jobs.executor import Check, Done, Job

RETRIES = 10
"""Times a job is begun anew whose worker or machine was lost."""


@dataclass(frozen=True)
class RayTasks:
    """Does jobs on a Ray cluster; see `Executor`. Each takes one CPU.

    Attributes:
        address: Of the cluster, see `malles_env.jobs.cluster.connected`; None starts Ray on this machine.
        workers: Jobs under way at once, at most; default all CPUs of the cluster.
    """

    address: str | None = None
    workers: int | None = None
    shares_disk = False

    def session(self) -> AbstractContextManager[object]:
        """Stay connected between several calls of `spread`."""
        return connected(self.address, self.workers)

    @contextmanager
    def spread(
        self,
        work: Callable[..., Any],
        jobs: Sequence[Job],
        *,
        common: tuple[Any, ...] = (),
        checks: Sequence[Check] = (),
    ) -> Iterator[Iterator[Done]]:
        """Give each job with its result; a job whose worker or machine is lost is done again elsewhere."""
        if not jobs:
            yield iter(())
            return
        with connected(self.address, self.workers) as ray:
            check_machines(ray, checks)
            shared = ray.put((uuid.uuid4().hex, work, common, tuple(checks), os.getcwd()))
            task = ray.remote(_do).options(num_cpus=1, max_retries=RETRIES)
            waiting: dict[Any, Job] = {}
            try:
                yield self._results(ray, task, shared, jobs, waiting)
            finally:
                for part in waiting:
                    with suppress(Exception):  # the cluster may be gone
                        ray.cancel(part, force=True)

    def _results(
        self, ray: Any, task: Any, shared: Any, jobs: Sequence[Job], waiting: dict[Any, Job]
    ) -> Iterator[Done]:
        left = iter(jobs)
        while True:
            while len(waiting) < (self.workers or len(jobs)) and (job := next(left, None)) is not None:
                waiting[task.remote(shared, job)] = job
            if not waiting:
                return
            (part,), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(part), _result(ray, part)


def _result(ray: Any, part: Any) -> Any:
    lost = ray.exceptions
    try:
        return ray.get(part)
    except lost.RayTaskError as error:
        if isinstance(error.cause, MallesError):
            raise error.cause from None
        raise error.cause from error
    except lost.OutOfMemoryError:
        raise MallesError("workers: a machine has too little memory for a job; go on with fewer --workers") from None
    except (lost.RayError, ConnectionError) as error:
        raise MallesError(
            f"workers: the cluster lost a job for good ({type(error).__name__}, after {RETRIES} tries); what was done "
            "is kept: run the same command again to go on"
        ) from None


_READY: set[str] = set()
"""Which calls of `spread` found all they need on this machine; asked once per process."""


def _do(shared: tuple[str, Callable[..., Any], tuple[Any, ...], tuple[Check, ...], str], job: Job) -> Any:
    """Do a job in a worker, in the folder that the caller works in, where it is there."""
    number, work, common, checks, folder = shared
    if os.path.isdir(folder):
        os.chdir(folder)
    try:
        if number not in _READY:
            for check, *arguments in checks:
                check(*arguments)
            _READY.add(number)
        return work(*common, *job)
    except MissingResource as error:
        raise with_machine(error) from None
