"""Jobs: independent calls of a function, done on the cores of this machine or on a Ray cluster."""

from __future__ import annotations

from malles_env.jobs.engines import make_executor
from malles_env.jobs.executor import Check, Executor
from malles_env.jobs.processes import Processes
from malles_env.jobs.ray_tasks import RayTasks

__all__ = ["Check", "Executor", "Processes", "RayTasks", "make_executor"]
