"""Values that nobody should give and somebody will, and the rule for what has to happen then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from malles_env.errors import MallesError

LIMIT = 10.0
NUMBERS: list[Any] = [
    0, -1, 1, 2, 3, 7, 0.0, -0.0, 0.5, 1e-320, 1e-9, 1e308, -1e308, 1e12, 10**9, 2**63, 2**64, 10**30, math.nan,
    math.inf, -math.inf, True, False,
]  # fmt: skip
TEXTS: list[Any] = ["", " ", "a", "nan", "-1", "1:30", "\x00", "../x", "ü" * 300, "{x}", "*", "%s", "all", "auto"]
OTHERS: list[Any] = [None, [], {}, [1.0], [[1.0], [2.0, 3.0]], {"a": 1}, {"a": {"b": [None]}}, [[[[1.0]]]], (1,)]
OBJECTS: list[Any] = [
    object(), b"x", 1j, np.float64(2.0), np.int64(1), np.zeros(3), np.array(["a"]), np.array([object()], dtype=object),
    np.ma.masked_array([1.0, 2.0], mask=[True, False]), {1, 2}, range(3), print, np.nan, np.array(3), "x" * 100_000,
    np.datetime64("2020-01-01"), frozenset(), iter([1]), type, [float("nan")] * 3,
]  # fmt: skip
PLAIN = st.sampled_from([*NUMBERS, *TEXTS, *OTHERS])
"""What a file can hold."""
ANYTHING = st.one_of(PLAIN, st.sampled_from(OBJECTS))
"""What a caller can pass."""


def judged(call: Callable[[], object]) -> str:
    """Return ``"legal"`` or ``"refused"``; anything else than a clear error within the limit fails the test."""
    verdict, took = _tried(call)
    if took > LIMIT:  # the first of its kind may have compiled code, which is kept
        verdict, took = _tried(call)
    assert took < LIMIT, took
    return verdict


def _tried(call: Callable[[], object]) -> tuple[str, float]:
    """Return the verdict, and the seconds it took this process, whatever else the machine does."""
    began = time.process_time()
    try:
        call()
        verdict = "legal"
    except MallesError as error:
        verdict = "refused"
        message = str(error)
        assert message and all(line.strip() for line in message.splitlines()), repr(message)
        assert max(map(len, message.splitlines())) < 1500, message
        assert ":" in message, message
    return verdict, time.process_time() - began


def in_both_sizes(strategy: st.SearchStrategy[Any], quick: int, thorough: int) -> Callable[[Any], tuple[Any, Any]]:
    """Return a decorator that makes two tests of a function of one drawn case: a quick one and a slow one."""

    def decorate(body: Callable[[Any], None]) -> tuple[Any, Any]:
        def one(case: Any) -> None:
            body(case)

        def other(case: Any) -> None:
            body(case)

        common: dict[str, Any] = {
            "deadline": None, "database": None, "print_blob": True, "suppress_health_check": list(HealthCheck),
        }  # fmt: skip
        small = settings(max_examples=quick, derandomize=True, **common)(given(case=strategy)(one))
        large = settings(max_examples=thorough, **common)(given(case=strategy)(other))
        return small, pytest.mark.slow(large)

    return decorate
