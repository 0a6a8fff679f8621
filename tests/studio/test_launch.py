"""How the studio is started: on this machine only, with one-line errors where it cannot be."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from malles_env.errors import InvalidInput, MissingResource
from malles_env.studio.launch import ADDRESS, serve
from malles_env.studio.local_only import LocalOnly
from malles_env.studio.settings import Settings
from tests.studio.browser import started_studio


def answer(kind: str, **headers: str) -> list[dict[str, Any]]:
    """Return what the server's gate says to a request; ``[]``: it was let through."""
    said: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.clear()

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {"type": kind, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    said.append({"type": "untouched"})
    asyncio.run(LocalOnly(app)(scope, receive, send))
    return [message for message in said if message["type"] != "untouched"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_pages_of_this_machine_are_answered(kind: str) -> None:
    refused = [("websocket.close", 1008)] if kind == "websocket" else [("http.response.start", 403)]

    def verdict(**headers: str) -> list[tuple[str, int]]:
        said = answer(kind, **headers)
        return [(message["type"], message.get("code", message.get("status"))) for message in said[:1]]

    assert verdict(host="127.0.0.1:8501") == []
    assert verdict(host="localhost:8501", origin="http://localhost:8501") == []
    assert verdict(host="127.0.0.1:8501", origin="https://evil.example") == refused, "a page of another site"
    assert verdict(host="127.0.0.1:8501", origin="http://127.0.0.1:9000") == refused, "another server here"
    assert verdict(host="evil.example:8501") == refused, "a name that was made to point here"
    assert verdict() == refused


def test_a_taken_port_and_a_missing_market_are_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((ADDRESS, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidInput, match=rf"^port: got {port} \(.*in use\); allowed: a free port, or 0 for any$"):
            serve(Settings("bertrand-duopoly"), port)
    with pytest.raises(InvalidInput, match=r"allowed: .*ice-cream"):
        serve(Settings("no-such-market"))
    with pytest.raises(MissingResource, match="no such scenario file"):
        serve(Settings(str(tmp_path / "gone.yaml")))
    with pytest.raises(InvalidInput, match="upload: got 0; allowed: a whole number from 1 to 1000, megabytes"):
        Settings(upload=0)


@pytest.mark.slow
def test_the_server_answers_this_machine_only_and_calls_nobody(tmp_path: Path) -> None:
    pytest.importorskip("streamlit")
    import urllib.error
    import urllib.request

    with started_studio(tmp_path, "bertrand-duopoly") as studio:
        with urllib.request.urlopen(studio.address, timeout=30) as page:
            assert page.status == 200
        asked = urllib.request.Request(studio.address, headers={"Origin": "https://evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(asked, timeout=30)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", studio.port), timeout=2)  # answers where a server listens to all
    assert studio.called() == []
