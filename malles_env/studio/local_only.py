"""Keeps other computers and other web pages away from a server that only its own machine may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
OWN = ("127.0.0.1", "localhost")


class LocalOnly:
    """ASGI middleware that refuses requests which do not come from the server's own pages.

    A page of another site that a visitor has open could otherwise talk to a server on the same machine, directly (its
    `Origin` is then another) or by a name that it lets point to 127.0.0.1 (`Host` is then another). Streamlit alone
    would answer the first by asking a server on the internet for this machine's address.

    Args:
        app: What is protected.
    """

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or _is_own(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"only for pages of this machine's studio\n"})


def _is_own(scope: Message) -> bool:
    """Return whether host and, where there is one, origin are this server's."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    origin = headers.get(b"origin")
    return urlsplit(f"//{host}").hostname in OWN and origin in (None, f"http://{host}")
