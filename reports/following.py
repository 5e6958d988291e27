"""A page that follows a running search: served on this machine alone, made anew whenever the store changed.

The report itself allows no connection, so a frame around it asks: it shows the report, asks every other second whether
the store has changed, and then puts a new copy, scrolled to the same place, where the old one was.
"""

from __future__ import annotations

import html
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from depthweave.reports.page import page_of, render
from depthweave.reports.store import RunStore

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""Never another: a report is its owner's, and asks nobody for a password."""
PORT = 8765
"""Tried first, so that a tunnel to another machine can stay as it is."""


class Follower:
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
    """Serves one run on `HOST`; `serve_forever` until it is shut down."""

    daemon_threads = True
    # A second server on the same port would answer half of the questions.
    allow_reuse_port = False

    def __init__(self, store: RunStore, *, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.follower = Follower(store)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server_port}/"


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

    def do_GET(self) -> None:
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
        except (BrokenPipeError, ConnectionResetError):
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


def _frame(follower: Follower) -> bytes:
    text = (Path(__file__).parent / "following.html").read_text(encoding="utf-8")
    return text.replace("STAMP", follower.stamp()).replace("RUN_NAME", html.escape(follower.name)).encode()
