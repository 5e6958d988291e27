"""A page that follows a running search: served on this machine alone, made anew whenever the store changed.

The report itself allows no connection, so a frame around it asks: it shows the report, asks every other second whether
the store has changed, and then puts a new copy, scrolled to the same place, where the old one was.
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
"""Never another: a report is its owner's, and asks nobody for a password."""
PORT = 8765
"""Tried first, so that a tunnel to another machine can stay as it is."""
MAX_CONNECTIONS = 32
"""At once; a browser opens six."""
QUESTION_LIMIT_S = 10.0
"""From the connection to the end of the question."""
_SEND_LIMIT_S = 120.0
"""For one answer: some megabytes, through a tunnel."""


class LivePage:
    """The page of a run as the store has it; built at most once for each state of the store."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._stamp = ""
        self._page = b""

    @property
    def name(self) -> str:
        """What a reader calls the run."""
        return self._store.info.name

    def stamp(self) -> str:
        """Of what the store holds now."""
        return self._store.stamp()

    def page(self) -> bytes:
        """The report, as of a moment not before the call."""
        with self._lock:
            # Before the reading: what is written meanwhile changes the next stamp.
            stamp = self._store.stamp()
            if stamp != self._stamp:
                running = not self._store.has_file("front.parquet")
                self._page = render(page_of(self._store, running=running)).encode()
                self._stamp = stamp
            return self._page


class ReportServer(ThreadingHTTPServer):
    """Serves one run on `HOST`; `serve_forever` until it is shut down.

    It has `MAX_CONNECTIONS` at most, each with a time limit: what is open longer without a whole question is closed,
    and a further one is closed at once. A browser that follows a run asks again every other second.
    """

    daemon_threads = True
    # A second server on the same port would answer half of the questions.
    allow_reuse_port = False

    def __init__(self, store: RunStore, *, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.follower = LivePage(store)
        self._asking: dict[socket.socket, float] = {}
        """Connections whose question is not yet known, each with its deadline."""
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers in a thread of its own, where one is free."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._asking[request] = time.monotonic() + QUESTION_LIMIT_S
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the library's; the thread's place is free afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_asked(request)
            self._slots.release()

    def has_asked(self, request: Any) -> None:
        """The question of this connection is known."""
        self._asking.pop(request, None)

    def service_actions(self) -> None:
        """Called twice a second: closes the connections that take too long to ask."""
        now = time.monotonic()
        for request, deadline in list(self._asking.items()):
            if now > deadline:
                self.has_asked(request)
                with suppress(OSError):
                    # Its thread, which reads, finds the end of the question.
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault; and a fault of one answer is none of the server's."""
        logger.debug("%s: the connection broke off", client_address, exc_info=True)


def open_server(store: RunStore, *, port: int | None = None) -> ReportServer:
    """A server that listens; without a port on `PORT`, or where that is taken on any free one.

    Raises `ValueError`, one line, where the given port cannot be had.
    """
    try:
        return ReportServer(store, port=PORT if port is None else port)
    except (OSError, OverflowError) as error:
        if port is None:
            return ReportServer(store, port=0)
        raise ValueError(f"--port {port}: cannot be listened on ({error}): give another or none") from None


class _Handler(BaseHTTPRequestHandler):
    """Answers `/`, the frame; `/report.html`; and `/stamp`."""

    server: ReportServer
    server_version, sys_version = "Depthweave", ""
    timeout = _SEND_LIMIT_S

    def do_GET(self) -> None:
        self.server.has_asked(self.connection)
        # A name that leads here from elsewhere (DNS rebinding) would let a foreign page read the run.
        if self.headers.get("Host", "") not in {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}:
            self.send_error(403, "only 127.0.0.1 and localhost")
            return
        path = self.path.partition("?")[0]
        try:
            if path == "/":
                self._send(_frame(self.server.follower), kind="text/html")
            elif path == "/report.html":
                self._send(self.server.follower.page(), kind="text/html")
            elif path == "/stamp":
                self._send(json.dumps({"stamp": self.server.follower.stamp()}).encode(), kind="application/json")
            else:
                self.send_error(404)
        except (ConnectionError, TimeoutError):
            # The reader has gone.
            return
        except Exception as error:
            # A file that is just being replaced, say: the frame keeps the old page and asks again.
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


def _frame(follower: LivePage) -> bytes:
    text = (Path(__file__).parent / "assets" / "live.html").read_text(encoding="utf-8")
    return text.replace("STAMP", follower.stamp()).replace("RUN_NAME", html.escape(follower.name)).encode()
