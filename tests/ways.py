"""Which files of malles_env a call enters, in the order in which it first enters them.

Run it as ``python -m tests.ways {step,vector,log} [FOLDER]``; it prints what `docs/design/ways.md` lists. Kernels run
as plain Python here, so that one sees into them.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # before numba is imported

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import malles_env
from malles_env import parallel_env, vec_env
from malles_env.market.kernels import simd_math

PACKAGE = str(Path(malles_env.__file__).parent)
MOVED = str(Path(PACKAGE) / "_moved.py")


class Way:
    """Files entered so far: a function of theirs was called, other than by importing them."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE) and name not in self.files and not imports(frame):
            self.files[name] = None

    def follow(self, call: Callable[[], Any]) -> None:
        """Note the files that a call enters."""
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)

    def names(self) -> list[str]:
        """Return them from the package's folder on."""
        return [Path(name).relative_to(PACKAGE).as_posix() for name in self.files]


def imports(frame: FrameType | None) -> bool:
    """Say whether a frame runs because a module, or a name of one that is loaded late, is being imported."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(("<frozen importlib", MOVED)) or code.co_name == "__getattr__":
            return True
        frame = frame.f_back
    return False


def step() -> list[str]:
    """Return the files of a step of `parallel_env("soft-drinks")`."""
    env, way = parallel_env("soft-drinks"), Way()
    env.reset(seed=0)
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    env.step(actions)  # what is imported late is imported now
    way.follow(lambda: env.step(actions))
    return way.names()


def vector() -> list[str]:
    """Return the files of a step of `vec_env("soft-drinks")` with two markets."""
    env, way = vec_env("soft-drinks", num_markets=2), Way()
    env.seed(0)
    env.reset()
    actions = np.full_like(np.stack([env.action_space.sample()] * env.num_envs), 0.5)
    env.step(actions)
    way.follow(lambda: env.step(actions))
    return way.names()


def log(folder: Path) -> list[str]:
    """Return the files of `malles data import` and `malles scenario build` on a made-up shop's export."""
    from malles_env.cli import app
    from tests.data.exports import shop

    (folder / "sales.csv").write_bytes(shop.german(shop.receipts(customers=100)))
    way = Way()
    build = ["scenario", "build", "Tee", "--log", str(folder / "log"), "--out", str(folder / "tee.yaml")]
    for words in (["data", "import", str(folder / "sales.csv"), "--out", str(folder / "log")], build):
        way.follow(partial(app, words, standalone_mode=False))
        print()
    return way.names()


def main() -> None:
    """Print the files of one way, after a line of dashes."""
    simd_math._as_bits = lambda x: int(np.float64(x).view(np.int64))
    simd_math._as_float = lambda x: float(np.int64(x).view(np.float64))
    warnings.simplefilter("ignore")  # whole numbers wrap around in a random stream
    names = {"step": step, "vector": vector}[sys.argv[1]]() if len(sys.argv) == 2 else log(Path(sys.argv[2]))
    print("-" * 10, *names, sep="\n")


if __name__ == "__main__":
    main()
