"""A signal whose exception is swallowed on its way still ends the command, with one line."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

WORK = """
import ctypes, os, signal, sys, threading, time
import typer
from malles_env.cli import failures

app = typer.Typer(cls=failures.ReadableGroup)

class Closing:
    def __del__(self):
        time.sleep(0.001)

def compared(left, right):
    time.sleep(0.002)
    return 0

@app.callback()
def root():
    pass

@app.command()
def work(how: str, number: int):
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compared)
    numbers = (ctypes.c_int * 50)()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if how == "closing":
            Closing()
            time.sleep(0.001)
        elif how == "from-c":
            ctypes.CDLL(None).qsort(numbers, 50, 4, compare)
        else:
            try:
                time.sleep(0.01)
            except BaseException:
                if how == "other-error":
                    raise ValueError("a result without an exception set") from None

failures.hear_signals()
app()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM that a handler sees")
@pytest.mark.parametrize(
    ("how", "number"),
    [("closing", signal.SIGTERM), ("from-c", signal.SIGINT), ("other-error", signal.SIGTERM), ("never", signal.SIGINT)],
)
def test_a_swallowed_signal_is_raised_again(how: str, number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK, "work", how, str(int(number))], capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + number, "stopped\n")
