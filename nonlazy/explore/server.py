"""The page's server: on this machine's loopback address alone, under an address that nobody can guess."""

from __future__ import annotations

import secrets
import signal
import threading
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nonlazy.errors import InputError, NonlazyError

if TYPE_CHECKING:
    from panel.io.server import Server

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535


def serve(port: int = 0, browser: bool = True, announce: Callable[[str], None] = print) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        port: 0 picks a free one.
        browser: open the page in the browser.
        announce: gets the address.

    Raises:
        NonlazyError: Panel is not installed.
        InputError: a port that is out of range or taken.
    """
    stopped = threading.Event()
    server, address = make_server(port, stopped)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.start()
        announce(address)
        if browser:
            webbrowser.open(address)
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        # A network that is being sampled ends at its next report.
        stopped.set()
        server.stop()
        signal.signal(signal.SIGTERM, previous)


def make_server(port: int, stopped: threading.Event) -> tuple[Server, str]:
    """The server, bound but not started, and the address of its page."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= MAX_PORT:
        raise InputError(f"port must be an integer from 0 (any free port) to {MAX_PORT}, got {port!r}.")
    if find_spec("panel") is None:
        raise NonlazyError("nonlazy explore needs Panel, which is not installed: pip install 'nonlazy[explore]'.")
    from panel.io.server import get_server

    from nonlazy.explore.loopback import LoopbackOnly
    from nonlazy.explore.page import page

    # Other users of this machine reach its loopback address too: they would have to know this part of the page's address.
    token = secrets.token_urlsafe(24)
    try:
        # Web sockets are accepted from pages of localhost at this port alone, the default of the server.
        server = get_server(
            {token: lambda: page(stopped)},
            port=port,
            address=LOOPBACK,
            title={token: "nonlazy explore"},
            auth_provider=LoopbackOnly(),
            use_index=False,
            redirect_root=False,
        )
    except OSError as error:
        raise InputError(f"port {port} cannot be used: {error.strerror}. Choose another one, or 0 for any.") from error
    return server, f"http://localhost:{server.port}/{token}"
