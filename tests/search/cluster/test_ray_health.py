"""A Ray that has lost a vital process is found out at once, its own or that of a cluster that was joined."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
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
    gcs_address: str = ""

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


@dataclass
class _Cluster:
    node: _Node
    raylet: socket.socket
    gcs: socket.socket


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Cluster]:
    with ExitStack() as stack:
        raylet = stack.enter_context(socket.socket(socket.AF_UNIX))
        raylet.bind(str(tmp_path / "raylet"))
        raylet.listen()
        gcs = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"127.0.0.1:{gcs.getsockname()[1]}"
        node = _Node(raylet_socket_name=str(tmp_path / "raylet"), gcs_address=address)
        _connect(node, monkeypatch)
        check_alive()
        yield _Cluster(node, raylet, gcs)


def test_joined_cluster_whose_raylet_here_has_ended_is_lost(joined: _Cluster) -> None:
    joined.raylet.close()
    with pytest.raises(RayLostError, match=r"^Ray's raylet on this machine has ended$"):
        check_alive()


def test_joined_cluster_is_lost_once_its_control_store_was_silent_for_long(
    joined: _Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = ray_health.time.monotonic()
    monkeypatch.setattr(ray_health.time, "monotonic", lambda: now_s)
    check_alive()
    joined.gcs.close()
    now_s += 39.0
    check_alive()
    with socket.create_server(("127.0.0.1", int(joined.node.gcs_address.rpartition(":")[2]))):
        # Started again, as a cluster with a store that lasts does.
        check_alive()
    now_s += 39.0
    check_alive()
    now_s += 2.0
    with pytest.raises(RayLostError, match=f"^the Ray cluster at {joined.node.gcs_address} has not answered for 40 s$"):
        check_alive()
