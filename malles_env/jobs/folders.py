"""Work that keeps its results as files in a folder, also where the folder is on another machine."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from malles_env.files import replacing
from malles_env.jobs.executor import Check, Done, Executor, Job

Files = list[tuple[str, bytes]]
"""Paths inside the folder, and contents, the file written last at the end."""


@contextmanager
def spread_into(
    out: Path,
    executor: Executor,
    work: Callable[..., Any],
    jobs: Sequence[Job],
    needed: Callable[[Job], Iterable[Path]],
    checks: Sequence[Check] = (),
) -> Iterator[Iterator[Done]]:
    """Give each job with its result; `work` has the folder for its last argument and keeps files there.

    Where workers see `out`, they work in it, so that what they keep on the way (checkpoints) outlives them. Where they
    do not, each works in a folder of its own, and its files come with its result.

    Args:
        out: The folder.
        executor: Where jobs are done.
        work: As in `Executor.spread`; called with the job's arguments and the folder.
        jobs: Arguments before the folder.
        needed: Gives the files inside `out` that a job continues from.
        checks: As in `Executor.spread`.
    """
    out = out.absolute()
    if executor.shares_disk:
        with executor.spread(work, [(*job, out) for job in jobs]) as found:
            yield ((job[:-1], result) for job, result in found)
        return
    out.mkdir(parents=True, exist_ok=True)
    mark = out / f".{uuid.uuid4().hex}"
    mark.touch()
    try:
        sent = [(job, _packed(out, needed(job))) for job in jobs]
        with executor.spread(_work_in, sent, common=(work, str(mark)), checks=checks) as found:
            yield _unpacked(out, found)
    finally:
        mark.unlink(missing_ok=True)


def _work_in(work: Callable[..., Any], mark: str, job: Job, files: Files) -> tuple[Any, Files]:
    """Do a job in the caller's folder if this machine has it, else in a passing one; return the files of the latter."""
    if Path(mark).is_file():
        return work(*job, Path(mark).parent), []
    with tempfile.TemporaryDirectory(prefix="malles-job-") as name:
        folder = Path(name)
        for path, content in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        before = {path: path.stat().st_mtime_ns for path in _files(folder)}
        result = work(*job, folder)
        return result, _packed(folder, (path for path in _files(folder) if before.get(path) != path.stat().st_mtime_ns))


def _unpacked(out: Path, found: Iterator[Done]) -> Iterator[Done]:
    for (job, _), (result, files) in found:
        for path, content in files:
            with replacing(out / path) as temporary:
                temporary.write_bytes(content)
        yield job, result


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _packed(folder: Path, paths: Iterable[Path]) -> Files:
    """Return files with what was written last at the end: it says that the others are whole."""
    ordered = sorted(paths, key=lambda path: path.stat().st_mtime_ns)
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in ordered]
