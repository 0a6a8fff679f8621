"""What does jobs: the contract that processes and a Ray cluster share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Job = tuple[Any, ...]
"""Arguments of one call; they and the result can be pickled."""
Done = tuple[Job, Any]
"""A job and its result."""
Check = tuple[Any, ...]
"""A function of a module and its arguments, called on each machine before jobs are: it raises what is missing there."""


class Executor(Protocol):
    """Does jobs somewhere."""

    @property
    def shares_disk(self) -> bool:
        """Whether jobs see the caller's files."""
        ...

    def session(self) -> AbstractContextManager[object]:
        """Stay ready between several calls of `spread`: on a cluster, workers keep what they have loaded."""
        ...

    def spread(
        self,
        work: Callable[..., Any],
        jobs: Sequence[Job],
        *,
        common: tuple[Any, ...] = (),
        checks: Sequence[Check] = (),
    ) -> AbstractContextManager[Iterator[Done]]:
        """Give each job with what `work` makes of it, in the order in which they end, each exactly once.

        Args:
            work: A function of a module, so that other processes can import it; the same arguments give the same
                result wherever it runs.
            jobs: Its last arguments, one tuple per call.
            common: Its first arguments, the same for all jobs; sent once where that can be.
            checks: What every other machine must have.

        Raises:
            MallesError: A machine lacks something, or workers were lost again and again.
            Exception: Whatever a job raises; jobs not yet begun may then never be.
        """
        ...
