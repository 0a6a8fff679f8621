"""Starts the studio: Streamlit behind a server bound to 127.0.0.1, without telemetry and without outside requests."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from malles_env.errors import InvalidInput, MissingResource, invalid, missing_extra, what_failed
from malles_env.studio.settings import Settings, choose
from malles_env.type_aliases import OnMessage

ADDRESS = "127.0.0.1"
APP = Path(__file__).with_name("app.py")


def serve(settings: Settings, port: int = 8501, *, ready: OnMessage = print) -> None:
    """Serve the studio until Ctrl-C.

    Args:
        settings: What it shows and where it writes.
        port: Of 127.0.0.1; 0 takes a free one.
        ready: Called with the page's address once it can be opened.

    Raises:
        InvalidInput: The port is taken, or the scenario is not there.
        MissingResource: Streamlit is not installed; the message says how to get it.
    """
    from malles_env.scenarios import load_scenario

    load_scenario(settings.scenario)
    with _listening(port) as listening:
        port = listening.getsockname()[1]
        try:
            import uvicorn
            from starlette.middleware import Middleware
            from streamlit import App
            from streamlit.web.bootstrap import load_config_options
        except ImportError as error:
            hint = missing_extra("streamlit") or "streamlit is not installed: run  pip install 'malles-env[studio]'"
            raise MissingResource(f"{hint} ({error})") from None
        from malles_env.studio.local_only import LocalOnly

        load_config_options(_options(settings, port))
        choose(settings)
        threading.Thread(target=warm_up, args=(settings.scenario,), daemon=True).start()
        app = App(APP, middleware=[Middleware(LocalOnly)])
        ready(f"http://{ADDRESS}:{port}")
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(port: int) -> socket.socket:
    """Return a socket bound to a port of this machine.

    Raises:
        InvalidInput: No such port, or it is taken.
    """
    if not 0 <= port <= 65535:
        raise invalid("port", port, "a whole number from 0 to 65535")
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((ADDRESS, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise InvalidInput(f"port: got {port} ({what_failed(error)}); allowed: a free port, or 0 for any") from None
    return found


def _options(settings: Settings, port: int) -> dict[str, object]:
    """Return settings of Streamlit as its command line takes them, so that they prevail over a user's config.toml."""
    return {
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "global.developmentMode": False,
        "logger.level": "warning",
        "runner.magicEnabled": False,
        "server.address": ADDRESS,
        "server.enableCORS": True,
        "server.enableStaticServing": False,
        "server.enableXsrfProtection": True,
        "server.fileWatcherType": "none",
        "server.headless": True,
        "server.maxUploadSize": settings.upload,
        "server.port": port,
    }


def warm_up(scenario: str) -> None:
    """Load what the first page needs and compile the market's kernels, so that the first visitor waits for neither."""
    from malles_env.studio.logic.market import open_world
    from malles_env.studio.logic.play import HandPlay, usual_move

    world = open_world(scenario)
    play = HandPlay(world, "seller_0")
    play.play(usual_move(world, "seller_0"))
