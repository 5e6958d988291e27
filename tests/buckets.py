"""Object storage on this machine: in memory, or a server that speaks S3 with a gate before it that can be shut."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import fs

needs_server = pytest.mark.skipif(importlib.util.find_spec("moto") is None, reason="needs the server of moto[s3]")


class Gate:
    """Forwards connections to a server; while it is shut it refuses new ones and has closed the old."""

    def __init__(self, port: int) -> None:
        self._port, self._open = port, threading.Event()
        self._open.set()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def shut(self) -> Iterator[None]:
        self._open.clear()
        for item in list(self._sockets):
            _end(item)
        try:
            yield
        finally:
            self._open.set()

    def close(self) -> None:
        """Closes all connections and refuses new ones."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self._open.is_set():
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets |= {client, server}
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=(source, target), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                target.sendall(data)
        for item in (source, target):
            _end(item)
            self._sockets.discard(item)


def _end(item: socket.socket) -> None:
    with suppress(OSError):
        item.shutdown(socket.SHUT_RDWR)
    item.close()


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    """The way to an S3 server that knows no bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        gate = Gate(port)
        try:
            yield gate
        finally:
            gate.close()
            process.terminate()


@pytest.fixture
def bucket(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a bucket, and an environment as a user of such a server has it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "of-a-test",
        "AWS_SECRET_ACCESS_KEY": "of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": gate.address,
    }.items():
        monkeypatch.setenv(name, value)
    _filesystem().create_dir("bucket")
    return "s3://bucket"


def in_memory() -> fs.FileSystem:
    """A filesystem that is not the local disk, empty."""
    memory = MemoryFileSystem(skip_instance_cache=True)
    # fsspec shares the contents among all instances of the class.
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    return fs.PyFileSystem(fs.FSSpecHandler(memory))


def copied(address: str, folder: Path) -> Path:
    """A local copy of everything at an `s3://` address."""
    folder.mkdir()
    fs.copy_files(address.removeprefix("s3://"), str(folder), source_filesystem=_filesystem())
    return folder


def _filesystem() -> fs.S3FileSystem:
    host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    return fs.S3FileSystem(endpoint_override=host, scheme="http", allow_bucket_creation=True)
