"""Compiled functions, kept on disk for the next process where that is possible and compiled anew where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numba
from numba.core.caching import FunctionCache

_LOG = logging.getLogger(__name__)


class _Kept(FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function; a file that cannot be read or written costs time and nothing else."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None where it is not kept or cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a cut or foreign file raises whatever its pickle meets
            _tell_once(f"what was kept cannot be read ({type(error).__name__})")
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, if the disk lets us."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _tell_once(str(error))


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return numba's `njit`, except that a place to keep compiled code is a convenience and not a condition.

    Args:
        cache: Keep what is compiled: beside the source, else in the user's cache, else (one warning) nowhere.
        options: Of `numba.njit`.
    """
    compile_later = numba.njit(**options)

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = compile_later(function)
        if cache:
            try:
                dispatcher._cache = _Kept(function)
            except (RuntimeError, OSError):  # numba: no locator available
                _tell_once("neither the package's folder nor the user's cache can be written")
        return dispatcher

    return decorate


@cache
def _tell_once(reason: str) -> None:
    _LOG.warning(
        "compiled code is not kept: %s; every process compiles anew, which takes it seconds "
        "(NUMBA_CACHE_DIR names a folder for it)",
        reason,
    )
