"""A small server of the OpenAI protocol on loopback, whose answers depend on the question alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from malles_env.files import sha256

LABELS = ("A", "B")


class Small:
    """A server on loopback that answers by the question alone, so that any two answer alike.

    Attributes:
        url: Its base URL.
        answered: Questions that it answered.
        delay: Seconds that an answer takes.
        dies_after: Answers after which it hangs up on everybody and listens no more.
        words: What it says to a fixed question.
    """

    def __init__(self, port: int = 0, labels: tuple[str, ...] = LABELS) -> None:
        self.labels = labels
        self.answered, self.delay, self.words, self.most = 0, 0.0, "Monday", 0
        self.dies_after: int | None = None
        self._busy, self._begun, self._lock = 0, 0, threading.Lock()
        small = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send({"data": [{"id": "m"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if not self.path.endswith("/chat/completions"):
                    self._send({}, 404)
                elif "logprobs" not in body:
                    self._send({"choices": [{"message": {"content": small.words}, "finish_reason": "stop"}]})
                elif small.is_dead():
                    self.close_connection = True
                    threading.Thread(target=small.die).start()
                else:
                    self._send(small.answer(body))

            def _send(self, answer: dict, status: int = 200) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.httpd = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.httpd.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.thread = threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def is_dead(self) -> bool:
        """Count a question that begins, and return whether it is one too many."""
        with self._lock:
            self._begun += 1
            return self.dies_after is not None and self._begun > self.dies_after

    def answer(self, body: dict) -> dict:
        """Answer with a probability that the question's hash says."""
        with self._lock:
            self._busy += 1
            self.most = max(self.most, self._busy)
        time.sleep(self.delay)
        draw = np.random.default_rng(int(sha256(json.dumps(body["messages"]))[:12], 16))
        shares = draw.dirichlet(np.full(len(self.labels), 5.0))
        with self._lock:
            self._busy -= 1
            self.answered += 1
        result = [{"token": name, "logprob": float(np.log(p))} for name, p in zip(self.labels, shares, strict=True)]
        return {"model": "m", "choices": [{"logprobs": {"content": [{"top_logprobs": result}]}}], "usage": {}}

    def die(self) -> None:
        """Listen no more."""
        self.httpd.shutdown()
        self.httpd.server_close()


@contextmanager
def servers(count: int = 2, labels: tuple[str, ...] = LABELS) -> Iterator[list[Small]]:
    """Yield servers that listen until the end, or until they die."""
    with ExitStack() as stack:
        made = [Small(labels=labels) for _ in range(count)]
        for small in made:
            stack.callback(small.die)
        yield made
