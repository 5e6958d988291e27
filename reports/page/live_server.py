"""A local server for the report of a running search: it renders the report again whenever the store has changed.

The report itself allows no network connection. The server therefore sends a page with a frame: it asks every two
seconds whether the store has changed, and then replaces the report by a new copy with the same scroll position.
"""

from __future__ import annotations

import html
import json
import logging
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from depthweave.reports.page.page import page_of, render
from depthweave.reports.store.run_store import RunStore

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""The only address, because the report belongs to this user and the server asks for no password."""
PORT = 8765
"""Tried first, so that a tunnel to another machine can use a fixed port."""
MAX_CONNECTIONS = 32
"""The most at a time; a browser opens six."""
REQUEST_LIMIT_S = 10.0
"""From the connection to the end of the request."""
_SEND_LIMIT_S = 120.0
"""For one response of some megabytes through a tunnel."""


class LivePage:
    """The report of a run; rendered at most once for each state of the store."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._stamp = ""
        self._page = b""

    @property
    def name(self) -> str:
        """The run's name."""
        return self._store.info.name

    def stamp(self) -> str:
        """Returns the stamp of the store's present content."""
        return self._store.stamp()

    def page(self) -> bytes:
        """Returns the report of the store's content at the time of the call or later."""
        with self._lock:
            # Taken before the store is read: a record written in between then changes the next stamp.
            stamp = self._store.stamp()
            if stamp != self._stamp:
                running = not self._store.has_file("front.parquet")
                self._page = render(page_of(self._store, running=running)).encode()
                self._stamp = stamp
            return self._page


class ReportServer(ThreadingHTTPServer):
    """Serves one run on `HOST`.

    At most `MAX_CONNECTIONS` are open; a further one is closed at once. A connection without a complete request after
    `REQUEST_LIMIT_S` is closed. A browser polls again every two seconds.
    """

    daemon_threads = True
    # A second server on the same port would receive half of the requests.
    allow_reuse_port = False

    def __init__(self, store: RunStore, *, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.live_page = LivePage(store)
        self._deadlines: dict[socket.socket, float] = {}
        """Connections without a complete request, each with its deadline."""
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    @property
    def url(self) -> str:
        """The address for a browser."""
        return f"http://{HOST}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handles the request in a new thread, or closes the connection if there are too many."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._deadlines[request] = time.monotonic() + REQUEST_LIMIT_S
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handles the request in this thread, then frees the connection's slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.end_deadline(request)
            self._slots.release()

    def end_deadline(self, request: Any) -> None:
        """Marks the request of this connection as complete."""
        self._deadlines.pop(request, None)

    def service_actions(self) -> None:
        """Closes the connections whose request takes too long. The library calls this twice a second."""
        now = time.monotonic()
        for request, deadline in list(self._deadlines.items()):
            if now > deadline:
                self.end_deadline(request)
                with suppress(OSError):
                    # The thread that reads this connection then sees the end of the request.
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs the error: a client that disconnects is not an error of the server."""
        logger.debug("%s: the connection was lost", client_address, exc_info=True)


def open_server(store: RunStore, *, port: int | None = None) -> ReportServer:
    """Returns a server that listens on `port`; without one on `PORT`, or on any free port if that is taken.

    Raises `ValueError` with one line if the given port cannot be used.
    """
    try:
        return ReportServer(store, port=PORT if port is None else port)
    except (OSError, OverflowError) as error:
        if port is None:
            return ReportServer(store, port=0)
        raise ValueError(f"--port {port}: cannot be used ({error}): give another port or leave it out") from None


class _Handler(BaseHTTPRequestHandler):
    """Serves `/` (the page with the frame), `/report.html` and `/stamp`."""

    server: ReportServer
    server_version, sys_version = "Depthweave", ""
    timeout = _SEND_LIMIT_S

    def do_GET(self) -> None:
        self.server.end_deadline(self.connection)
        # With another host name that resolves to this address (DNS rebinding) a foreign page could read the run.
        if self.headers.get("Host", "") not in {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}:
            self.send_error(403, "only 127.0.0.1 and localhost")
            return
        path = self.path.partition("?")[0]
        try:
            if path == "/":
                self._send(_frame(self.server.live_page), kind="text/html")
            elif path == "/report.html":
                self._send(self.server.live_page.page(), kind="text/html")
            elif path == "/stamp":
                self._send(json.dumps({"stamp": self.server.live_page.stamp()}).encode(), kind="application/json")
            else:
                self.send_error(404)
        except (ConnectionError, TimeoutError):
            # The client has disconnected.
            return
        except Exception as error:
            # For example a file that is being replaced. The frame keeps the old report and asks again.
            logger.warning("%s: %s", path, error)
            self.send_error(500, " ".join(f"{type(error).__name__}: {error}".split())[:200])

    def _send(self, body: bytes, *, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)


def _frame(live_page: LivePage) -> bytes:
    text = (Path(__file__).parent / "assets" / "live.html").read_text(encoding="utf-8")
    return text.replace("STAMP", live_page.stamp()).replace("RUN_NAME", html.escape(live_page.name)).encode()
