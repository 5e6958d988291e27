"""A local Ray takes orders from this machine alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_START = """
import os, sys
import ray
from depthweave.search.cluster import cluster
with cluster(None):
    ray.get(ray.remote(lambda: None).remote())
    print(os.environ["MARK"], flush=True)
    sys.stdin.read()
assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
"""
_LISTENS = "0A"
_LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same as an address of IPv6, and ::1, as /proc writes them."""


def _marked(mark: str) -> list[Path]:
    """Processes that inherited the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append(folder)
        except OSError:
            continue
    return found


def _sockets(process: Path) -> set[str]:
    found = set()
    for link in (process / "fd").glob("*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").rstrip("]"))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads sockets in /proc")
def test_local_ray_listens_on_loopback_only(tmp_path: Path) -> None:
    mark = tmp_path.name + str(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", _START],
        env={**os.environ, "MARK": mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == mark
        processes = _marked(mark)
        sockets = {inode for item in processes for inode in _sockets(item)}
        lines = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
        ]
        listening = [line[1] for line in lines if line[3] == _LISTENS and line[9] in sockets]
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert len(processes) > 3, "the driver, the control store, the raylet and workers"
    assert len(listening) > 3
    assert {address.partition(":")[0] for address in listening} <= _LOOPBACK
