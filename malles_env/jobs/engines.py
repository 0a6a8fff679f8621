"""Executors by name."""

from __future__ import annotations

from malles_env.errors import check_choice, invalid
from malles_env.jobs.executor import Executor
from malles_env.jobs.processes import Processes
from malles_env.jobs.ray_tasks import RayTasks

ENGINES = ("processes", "ray")


def make_executor(engine: str = "processes", workers: int | None = None, address: str | None = None) -> Executor:
    """Return what does jobs.

    Args:
        engine: ``"processes"`` of this machine, or ``"ray"``.
        workers: Jobs under way at once, at most; default all cores, of the machine or the cluster.
        address: Of a running Ray cluster, see `malles_env.jobs.cluster.connected`.

    Raises:
        InvalidInput: No such engine, no number of workers, or an address without a cluster to go to.
    """
    check_choice("engine", engine, ENGINES)
    if workers is not None and workers < 1:
        raise invalid("workers", workers, "a whole number of at least 1")
    if engine == "ray":
        return RayTasks(address, workers)
    if address is not None:
        raise invalid("address", address, "nothing without --engine ray")
    return Processes(workers)
