"""The way to a Ray cluster: its address, its version, and what its machines have."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from malles_env.errors import InvalidInput, MallesError, MissingResource, brief, invalid
from malles_env.jobs.executor import Check

OLDEST = (2, 60)
"""Version of Ray, the least that is known to do."""
START = "start one with `ray start --head`, add machines with `ray start --address=HOST:6379`, or leave --address out"
ADDRESSES = "HOST:PORT of a running cluster, or auto for the one that this machine belongs to"
_LOOKING = 5.0
"""Seconds in which a port answers or nobody is there."""


def needed_ray() -> Any:
    """Return the module `ray`.

    Raises:
        MissingResource: It is not installed, or too old.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingResource("ray is not installed: run  pip install 'malles-env[ray]'") from None
    found = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if found < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise MissingResource(f"ray {ray.__version__} is too old: run  pip install --upgrade 'ray>={oldest}'")
    return ray


@contextmanager
def connected(address: str | None = None, cores: int | None = None) -> Iterator[Any]:
    """Yield `ray`, connected to a cluster, and leave the cluster afterwards.

    A connection that the caller made before is used as it is, and stays.

    Args:
        address: ``HOST:PORT``, or ``"auto"``; None takes ``$RAY_ADDRESS``, else starts Ray on this machine for as
            long as the block lasts.
        cores: Of a Ray started here; default all.

    Raises:
        InvalidInput: There is no cluster, or one of another version of Ray or Python.
        MissingResource: Ray is not installed, or too old.
    """
    ray = needed_ray()
    if ray.is_initialized():
        yield ray
        return
    named = address or os.environ.get("RAY_ADDRESS") or "local"
    _connect(ray, named, cores)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str, cores: int | None) -> None:
    if address not in ("local", "auto"):
        _look_for(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    here: dict[str, Any] = {"num_cpus": cores, "include_dashboard": False} if address == "local" else {}
    try:
        with held_back() as said:
            try:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
            finally:
                words = said()
    except Exception as error:  # ConnectionError, RuntimeError, ValueError and gRPC's own
        ray.shutdown()
        if "InvalidAuthToken" in words + str(error):
            raise InvalidInput(
                f"address: the cluster at {address} wants a token: set RAY_AUTH_MODE=token here, with its token where "
                "Ray looks for one (`ray get-auth-token` shows it on the cluster)"
            ) from None
        if "Version mismatch" in str(error):
            reason = " ".join(str(error).replace("Version mismatch:", "").split())
            raise InvalidInput(
                f"address: the cluster at {address} has another version of Ray or Python ({reason}); allowed: the same "
                "on every machine"
            ) from None
        raise invalid("address", address, f"{ADDRESSES} ({brief(error)}); {START}") from None


@contextmanager
def held_back() -> Iterator[Callable[[], str]]:
    """Hold back what compiled code writes to standard error, which Ray's does at every turn; give what it was."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _look_for(address: str) -> None:
    """Refuse an address at which nobody answers: Ray would look for a minute."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise invalid("address", address, ADDRESSES)
    try:
        socket.create_connection((host.strip("[]"), int(port)), _LOOKING).close()
    except OSError as error:
        raise invalid("address", address, f"{ADDRESSES}; nobody answers there ({brief(error)}); {START}") from None


def check_machines(ray: Any, checks: Sequence[Check]) -> None:
    """Ask each machine of the cluster whether it has this version of malles_env and what the checks look for.

    Raises:
        MallesError: One lacks something; the message names it.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look(version: str, checks: Sequence[Check]) -> str | None:  # sent whole: malles_env may not be there
        from importlib import import_module

        try:
            found = import_module("malles_env").__version__
        except ModuleNotFoundError as error:
            return f"has no {error.name}: install malles-env=={version} there"
        if found != version:
            return f"has malles-env {found}, not {version}: install the same everywhere"
        try:
            for check, *arguments in checks:
                check(*arguments)
        except import_module("malles_env.errors").MallesError as error:
            return str(error)
        return None

    version = sys.modules["malles_env"].__version__
    machines = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not machines:
        raise InvalidInput("address: the cluster has no machine with a CPU to give; add one with `ray start`")
    asked = ray.remote(look)
    at = [NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False) for node in machines]
    answers = [asked.options(num_cpus=0, scheduling_strategy=place).remote(version, list(checks)) for place in at]
    for node, answer in zip(machines, answers, strict=True):
        try:
            lacks = ray.get(answer)
        except ray.exceptions.RayTaskError as error:  # not even the checks can be imported there
            lacks = f"cannot begin: {brief(error.cause)}; install malles-env=={version} there"
        except ray.exceptions.RayError:  # it has gone; whoever takes its place is asked before its first job
            continue
        if lacks is not None:
            raise MissingResource(f"machine {node['NodeManagerAddress']} of the cluster {lacks}")


def here() -> str:
    """Return the address of the machine this runs on, as the cluster knows it."""
    import ray

    return str(ray.util.get_node_ip_address())


def with_machine(error: MallesError) -> MallesError:
    """Return an error of this machine's that names it."""
    return MissingResource(f"machine {here()} of the cluster: {error}")
