"""A Ray cluster of two machines on loopback for the tests, and workers that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.language.servers import free_port

ray = pytest.importorskip("ray")


@contextmanager
def two_machines() -> Iterator[Any]:
    """Yield a cluster of two machines with a CPU each; nobody is connected to it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def can_hide_folders() -> bool:
    """Return whether a process can have a file system of its own."""
    program = shutil.which("unshare")
    return program is not None and subprocess.run([program, "-m", "true"], capture_output=True).returncode == 0


@contextmanager
def machine_without(folder: Path) -> Iterator[str]:
    """Yield the address of a cluster whose one working machine sees an empty folder in place of this one."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    start = Path(sys.executable).with_name("ray")
    command = f"mount -t tmpfs tmpfs {folder} && exec {start} start --address={cluster.address} --num-cpus=1 --block"
    machine = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        deadline = time.monotonic() + 120
        while ray.cluster_resources().get("CPU") != 1 and time.monotonic() < deadline:
            time.sleep(0.2)
        ray.shutdown()
        yield cluster.address
    finally:
        ray.shutdown()
        machine.send_signal(signal.SIGTERM)
        machine.wait(60)
        cluster.shutdown()


@contextmanager
def machine_with_token(token: str) -> Iterator[str]:
    """Yield the address of a cluster of one machine that wants a token."""
    port = free_port()
    start = Path(sys.executable).with_name("ray")
    command = [str(start), "start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--block"]
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    machine = subprocess.Popen(
        command, env={**os.environ, **secret}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        machine.send_signal(signal.SIGTERM)
        machine.wait(60)


def busy_workers(name: str) -> list[int]:
    """Return the processes that do a task or belong to an actor of that name now."""
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words.startswith(f"ray::{name}"):
            found.append(int(entry))
    return found


class Killer:
    """Kills a worker once, in the middle of work: give `watch` to what reports progress.

    Args:
        name: Of the task or actor.
        after: Reports before it strikes.
    """

    def __init__(self, name: str, after: int = 1, strike: Callable[[], object] | None = None) -> None:
        self.name, self.after, self.strike = name, after, strike
        self.reports: list[tuple[Any, ...]] = []
        self.killed: list[int] = []

    def watch(self, *report: Any) -> None:
        """Note a report, and strike after some."""
        self.reports.append(report)
        if self.killed or len(self.reports) <= self.after:
            return
        if self.strike is not None:
            self.strike()
            self.killed.append(0)
            return
        for worker in busy_workers(self.name)[:1]:
            os.kill(worker, signal.SIGKILL)
            self.killed.append(worker)
