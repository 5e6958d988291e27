"""The live report: served on this machine only, rendered again when the store changes, at the reader's position."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.page import live_server
from depthweave.reports.page.live_server import ReportServer, open_server
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.browser import Browser, find_browser
from tests.reports.synthetic import make_record, synthetic_trials

Append = Callable[[Record], None]


class Answer(NamedTuple):
    status: int
    body: str


@contextmanager
def serving(store: RunStore) -> Iterator[ReportServer]:
    with open_server(store, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: ReportServer, path: str, *, host: str | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return Answer(answer.status, body)


def test_page_is_rendered_again_only_when_the_store_changed(
    store: RunStore, append: Append, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    page_of = live_server.page_of
    monkeypatch.setattr(live_server, "page_of", lambda *args, **named: made.append(1) or page_of(*args, **named))
    append(make_record(0, reference=True))
    with serving(store) as server:
        first = ask(server, "/report.html")
        stamp = json.loads(ask(server, "/stamp").body)["stamp"]
        assert ask(server, "/report.html") == first
        assert len(made) == 1
        append(make_record(1, perplexity=3.5, architecture_id="feedfacecafe"))
        assert json.loads(ask(server, "/stamp").body)["stamp"] != stamp
        assert "feedfacecafe" in ask(server, "/report.html").body
        assert "feedfacecafe" not in first.body
        assert len(made) == 2
        # The search has not written its front, so it is still running.
        assert "still running" in first.body
        write_front(store, store.records())
        assert "still running" not in ask(server, "/report.html").body


def test_other_hosts_other_paths_and_other_machines_get_nothing(store: RunStore) -> None:
    with serving(store) as server:
        assert ask(server, "/").status == 200
        assert ask(server, "/", host=f"localhost:{server.server_port}").status == 200
        for host in ("evil.example", f"evil.example:{server.server_port}", f"127.0.0.1:{server.server_port + 1}"):
            assert ask(server, "/report.html", host=host).status == 403
        for path in ("/run.json", "/../run.json", "/report.html/.."):
            assert ask(server, path).status == 404
        assert server.server_address[0] == "127.0.0.1"


def test_name_of_the_run_cannot_become_markup(store: RunStore) -> None:
    store.info = dataclasses.replace(store.info, name="</title><script>alert(1)</script>")
    with serving(store) as server:
        assert "<script>alert" not in ask(server, "/").body


def test_error_while_the_page_is_rendered_is_a_response_and_the_next_one_works(
    store: RunStore, append: Append, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(make_record(0))
    with serving(store) as server:
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "records", lambda _: (_ for _ in ()).throw(OSError("lost\nfor a moment")))
            assert ask(server, "/report.html").status == 500
        assert ask(server, "/report.html").status == 200


def test_taken_port_is_refused_if_it_was_given(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"--port {port}: cannot be used .* give another port or leave it out"):
            open_server(store, port=port)
        monkeypatch.setattr(live_server, "PORT", port)
        with open_server(store) as server:
            assert server.server_port != port


@pytest.mark.slow
def test_clients_that_disconnect_or_send_nothing_use_a_bounded_number_of_threads(
    store: RunStore, append: Append, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    append(make_record(0))
    monkeypatch.setattr(live_server, "REQUEST_LIMIT_S", 0.5)
    before = threading.active_count()
    with serving(store) as server, ExitStack() as opened:
        address = ("127.0.0.1", server.server_port)
        silent = [opened.enter_context(socket.create_connection(address)) for _ in range(100)]
        for number, connection in enumerate(silent):
            if number % 3 == 0:
                # A reset before the request is complete.
                connection.sendall(b"GET / HT")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        assert threading.active_count() <= before + 2 + live_server.MAX_CONNECTIONS
        for connection in silent[1::3]:
            connection.settimeout(30)
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b"", "it is closed"
        # The slots are free again.
        monkeypatch.setattr(live_server, "REQUEST_LIMIT_S", 60.0)
        assert ask(server, "/report.html").status == 200
    assert capfd.readouterr().err == ""


def test_client_that_disconnects_during_the_response_is_no_error(
    store: RunStore, append: Append, capfd: pytest.CaptureFixture[str]
) -> None:
    append(make_record(0))
    with serving(store) as server:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
                host = f"Host: 127.0.0.1:{server.server_port}"
                connection.sendall(f"GET /report.html HTTP/1.1\r\n{host}\r\n\r\n".encode())
                connection.recv(100)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert ask(server, "/stamp").status == 200
    assert capfd.readouterr().err == ""


def test_ctrl_c_ends_the_command_tidily(store: RunStore, append: Append) -> None:
    append(make_record(0))
    # A background job ignores SIGINT, and its child processes inherit that.
    restore_sigint = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = f"{restore_sigint}from depthweave.search.cli import main; main()"
    command = [sys.executable, "-c", program, "report", store.where, "--watch", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


@pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_browser_shows_a_new_record_without_losing_the_place(
    store: RunStore, append: Append, tmp_path: Path, width: int
) -> None:
    trials = synthetic_trials()
    for trial in trials[:20]:
        store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    view = "document.querySelector('iframe').contentWindow"
    with Browser(width=width) as browser:
        with serving(store) as server:
            browser.open(server.url)
            browser.wait(_or_null(f"{view}.document.querySelector('#front-plot svg')"))
            # Waits until the page has its final height.
            browser.wait(f"{view}.document.documentElement.scrollHeight > 2500")
            browser.wait(f"({view}.scrollTo(0, 1500), {view}.scrollY === 1500)")
            browser.run(f"{view}.document.querySelector('details:not(.words)').open = true")
            append(make_record(99, architecture_id="feedfacecafe", perplexity=3.0, latency=0.5))
            browser.wait(_or_null(f"{view}.document.body.textContent.includes('feedfacecafe')"))
            browser.wait("document.querySelectorAll('iframe').length === 1")
            assert browser.run(f"{view}.scrollY") == 1500
            assert browser.run(f"{view}.document.querySelector('details:not(.words)').open")
            assert browser.run("document.getElementById('state').textContent") == ""
            assert browser.complaints == []
        browser.wait("document.getElementById('state').textContent.includes('has ended')")
        assert browser.run(f"{view}.document.body.textContent.includes('feedfacecafe')")


def _or_null(expression: str) -> str:
    """Returns the expression, or null if it throws while the frame is replaced."""
    return f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()"
