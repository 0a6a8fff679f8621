"""Addresses of language-model servers: plain ones only, shown without secrets, and which of them get the user's key."""

from __future__ import annotations

import ipaddress
import logging
import os
from functools import cache
from urllib.parse import SplitResult, urlsplit

from malles_env.errors import InvalidInput

TRUSTED_SERVERS = "MALLES_TRUSTED_SERVERS"
"""Environment variable: base URLs, separated by commas, that get ``$OPENAI_API_KEY`` also when a file names them."""
NO_KEY = "none"
"""Sent as the bearer where there is no key, as servers of one's own often need none."""
_PORTS = {"http": 80, "https": 443}
_LOG = logging.getLogger(__name__)


def checked_url(url: str, field: str = "base_url") -> str:
    """Return a server's base URL if it is a plain one.

    Args:
        url: ``http://`` or ``https://``, host, perhaps a port and a path.
        field: Name of the argument or file entry, for the error.

    Raises:
        InvalidInput: It is no such URL, or holds a user name, a password, a query or a fragment. The message shows
            nothing of it, as that may be a secret.
    """
    _parts(url, field)
    return url


def origin(url: str) -> str:
    """Return scheme, host and port of a checked URL, all that is ever shown of it, e.g. ``http://127.0.0.1:8000``."""
    parts = _parts(url, "url")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}"


def is_trusted(url: str) -> bool:
    """Return whether the user lists the server in ``$MALLES_TRUSTED_SERVERS``: same scheme, host and port.

    Raises:
        InvalidInput: The variable holds something that is no plain URL.
    """
    listed = [entry.strip() for entry in os.environ.get(TRUSTED_SERVERS, "").split(",")]
    return origin(url) in {origin(checked_url(entry, TRUSTED_SERVERS)) for entry in listed if entry}


def warn_if_readable(url: str) -> None:
    """Log a warning, once per server, where what is sent to it can be read on the way."""
    parts = _parts(url, "url")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        _warn_once(origin(url))


@cache
def _warn_once(place: str) -> None:
    _LOG.warning("%s: plain http beyond this machine; prompts, answers and any key can be read on the way", place)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parts(url: str, field: str) -> SplitResult:
    wrong = InvalidInput(
        f"{field}: got a URL that is not shown, as it may hold a secret; allowed: http:// or https://, host, port and "
        "path, without user name, password, query or fragment (a key goes into OPENAI_API_KEY)"
    )
    # What another reader of URLs might take for the end of the host or drop is refused, not interpreted.
    if not url.isascii() or not url.isprintable() or any(sign in url for sign in " \\@?#"):
        raise wrong
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise wrong from None
    if not usable:
        raise wrong
    return parts
