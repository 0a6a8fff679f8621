"""Compiled functions, kept on disk for the next process where that is possible and compiled anew where it is not."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

_LOG = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parent


class _Kept(FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function; a file that cannot be read or written costs time and nothing else.

    Numba knows a source by its path and date, and does not see that a function called from another file has changed.
    Here it is known by what it says, and what the package's compiled files say; in NUMBA_CACHE_DIR a module's folder
    has its name. So such a folder serves other copies of the package, on any machine with that CPU.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        if numba.config.CACHE_DIR:
            self._cache_path = os.path.join(numba.config.CACHE_DIR, function.__module__)
        stamp = _stamp(function.__code__.co_filename)
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, stamp)

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
            os.makedirs(self._cache_path, exist_ok=True)
            super().save_overload(sig, data)
        except Exception as error:
            _tell_once(str(error))


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return numba's `njit`, except that a place to keep compiled code is a convenience and not a condition.

    Args:
        cache: Keep what is compiled: beside the source, else in the user's cache, else (one warning) nowhere.
        options: Of `numba.njit`.
    """
    compile_later = numba.njit(no_cfunc_wrapper=True, **options)  # C never calls them: a fifteenth of compiling

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
def _stamp(path: str) -> str:
    """Return a digest of a source file and of the package's files with compiled functions, which it may call."""
    return hashlib.sha256(b"".join(one.read_bytes() for one in [Path(path), *_compiled_files()])).hexdigest()


@cache
def _compiled_files() -> list[Path]:
    folders = (_PACKAGE / "market" / "kernels", _PACKAGE / "envs" / "spaces")
    return [file for folder in folders for file in sorted(folder.glob("*.py")) if b"@njit(" in file.read_bytes()]


@cache
def _tell_once(reason: str) -> None:
    _LOG.warning(
        "compiled code is not kept: %s; every process compiles anew, which takes it seconds "
        "(NUMBA_CACHE_DIR names a folder for it)",
        reason,
    )
