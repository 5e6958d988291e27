"""A Ray that has lost a vital process ends the search in one line: its own, or a cluster that was joined."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ray._private import worker

from depthweave.search.cluster import ray_health
from depthweave.search.cluster.ray_health import RayLostError, check_alive


@dataclass
class _Process:
    code: int

    def poll(self) -> int:
        return self.code


@dataclass
class _Node:
    """As Ray's own: with processes where it started them, otherwise with addresses alone."""

    dead: list[tuple[str, _Process]] = field(default_factory=list)
    all_processes: dict[str, list[_Process]] = field(default_factory=dict)
    raylet_socket_name: str = ""

    def dead_processes(self) -> list[tuple[str, _Process]]:
        return self.dead


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_health, "_GRACE_S", 0.0)


def _connect(node: _Node | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_global_node", node)


@pytest.mark.parametrize("code", [-9, 1])
def test_local_ray_without_its_raylet_is_lost(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raylet = _Process(code)
    dead = [("log_monitor", _Process(code)), ("raylet", raylet)]
    _connect(_Node(dead, all_processes={"raylet": [raylet]}), monkeypatch)
    message = "SIGKILL, as where memory runs out" if code < 0 else "exit code 1"
    with pytest.raises(RayLostError, match=rf"^Ray's raylet has ended \({message}\)"):
        check_alive()
    _connect(None, monkeypatch)
    check_alive()


def test_joined_cluster_whose_raylet_here_has_ended_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _connect(_Node(raylet_socket_name=str(tmp_path / "raylet")), monkeypatch)
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(str(tmp_path / "raylet"))
        raylet.listen()
        check_alive()
    with pytest.raises(RayLostError, match=r"^Ray's raylet on this machine has ended$"):
        check_alive()


_SCRIPT = """
import socket, sys, time, types
worker = types.ModuleType("ray._private.worker")
server = socket.create_server(("127.0.0.1", 0))
address = f"127.0.0.1:{server.getsockname()[1]}"
worker._global_node = types.SimpleNamespace(gcs_address=address)
private = types.ModuleType("ray._private")
private.worker = worker
sys.modules |= {"ray": types.ModuleType("ray"), "ray._private": private, "ray._private.worker": worker}
from depthweave.search.cluster import ray_health
ray_health._PROBE_S = 0.01
with ray_health.ended_when_silent():
    time.sleep(1.0)
    print(address, flush=True)
    server.close()
    if sys.argv[1:]:
        with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
            time.sleep(1.0)
        sys.exit(0)
    time.sleep(60.0)
"""


@pytest.mark.parametrize("is_restarted", [False, True])
def test_process_ends_with_one_line_once_the_control_store_was_silent_for_long(is_restarted: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *["restarted"] * is_restarted],
        env={**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": "0.8"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    address = done.stdout.strip()
    if is_restarted:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: the Ray cluster at {address} has not answered for 1 s; what was ")
        assert len(done.stderr.splitlines()) == 1
